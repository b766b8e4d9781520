use async_graphql::Context;
use uuid::Uuid;

use super::Todo;
use super::error::WriteError;
use super::input::Targets;
use crate::error::AppError;
use crate::graphql::context::ContextExt;
use crate::models::{self, Actor, NewTodo, TodoChanges, WriteOutcome};
use crate::state::AppState;

/// Writes the requester's todos, one or many alike.
pub(super) struct Writer<'a> {
    state: &'a AppState,
    actor: Actor<'a>,
}

impl<'a> Writer<'a> {
    /// Requires an authenticated requester.
    pub(super) fn new(ctx: &'a Context<'_>) -> Result<Self, AppError> {
        let caller = ctx.caller()?;
        let user_id = caller.requester.require_identity()?.user_id;
        let request_id = caller.client.request_id().unwrap_or_default();
        Ok(Self { state: ctx.state()?, actor: Actor { user_id, request_id } })
    }

    /// Creates todos; returns them in the order given. Idempotent if the client made all identifiers.
    pub(super) async fn create(&self, new: &[NewTodo]) -> Result<Vec<Todo>, WriteError> {
        let database = &self.state.database;
        let owner = self.actor.user_id;
        let create = async |conn: &mut _| self.actor.create(conn, new).await;
        let created = if new.iter().all(|todo| todo.repeatable) {
            database.write_idempotent_for(owner, create).await?
        } else {
            database.write_for(owner, create).await?
        };
        let ids: Vec<_> = new.iter().map(|todo| todo.id).collect();
        Ok(self.in_order(self.done(created)?, &ids))
    }

    /// Changes todos, all or none; returns them in the order given. Idempotent unless a version is expected.
    pub(super) async fn update(
        &self,
        Targets { ids, expected_version }: &Targets,
        changes: &TodoChanges,
    ) -> Result<Vec<Todo>, WriteError> {
        let database = &self.state.database;
        let owner = self.actor.user_id;
        let update = async |conn: &mut _| self.actor.update(conn, ids, *expected_version, changes).await;
        let updated = if expected_version.is_none() {
            database.write_idempotent_for(owner, update).await?
        } else {
            database.write_for(owner, update).await?
        };
        Ok(self.in_order(self.done(updated)?, ids))
    }

    pub(super) async fn complete(&self, targets: &Targets) -> Result<Vec<Todo>, WriteError> {
        self.update(targets, &TodoChanges { completed: Some(true), ..TodoChanges::default() }).await
    }

    pub(super) async fn reopen(&self, targets: &Targets) -> Result<Vec<Todo>, WriteError> {
        self.update(targets, &TodoChanges { completed: Some(false), ..TodoChanges::default() }).await
    }

    pub(super) async fn delete(&self, targets: &Targets) -> Result<Vec<Todo>, WriteError> {
        self.update(targets, &TodoChanges { in_trash: Some(true), ..TodoChanges::default() }).await
    }

    pub(super) async fn restore(&self, targets: &Targets) -> Result<Vec<Todo>, WriteError> {
        self.update(targets, &TodoChanges { in_trash: Some(false), ..TodoChanges::default() }).await
    }

    /// Permanently deletes todos, all or none.
    pub(super) async fn purge(&self, Targets { ids, expected_version }: &Targets) -> Result<(), WriteError> {
        let purge = async |conn: &mut _| self.actor.purge(conn, ids, *expected_version).await;
        let purged = self.state.database.write_for(self.actor.user_id, purge).await?;
        self.done(purged)
    }

    /// Permanently deletes the todos in the trash; returns their number.
    pub(super) async fn empty_trash(&self) -> Result<usize, WriteError> {
        let purge = async |conn: &mut _| self.actor.empty_trash(conn).await;
        Ok(self.state.database.write_for(self.actor.user_id, purge).await?)
    }

    /// Reverts an event; returns its todo.
    pub(super) async fn undo(&self, event_id: Uuid) -> Result<Todo, WriteError> {
        let undo = async |conn: &mut _| self.actor.undo(conn, event_id).await;
        let undone = self.state.database.write_for(self.actor.user_id, undo).await?;
        let todo = self.done(undone)?;
        Ok(Todo::new(self.actor.user_id, todo))
    }

    fn done<T>(&self, written: WriteOutcome<T>) -> Result<T, WriteError> {
        match written {
            WriteOutcome::Done(done) => Ok(done),
            WriteOutcome::Missing => Err(AppError::NotFound.into()),
            WriteOutcome::Conflict(todo) => {
                Err(WriteError::Conflict(Box::new(Todo::new(self.actor.user_id, *todo))))
            }
        }
    }

    fn in_order(&self, mut todos: Vec<models::Todo>, ids: &[Uuid]) -> Vec<Todo> {
        todos.sort_by_key(|todo| ids.iter().position(|id| *id == todo.id));
        todos.into_iter().map(|todo| Todo::new(self.actor.user_id, todo)).collect()
    }
}
