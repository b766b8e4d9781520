use async_graphql::Context;
use uuid::Uuid;

use super::Todo;
use super::input::Targets;
use crate::db;
use crate::domain::Patch;
use crate::error::AppError;
use crate::graphql::context::ContextExt;
use crate::models::{self, Author, NewTodo, TodoChanges, Written};
use crate::state::AppState;

/// Writes the requester's todos, one or many alike.
pub(super) struct Writer<'a> {
    state: &'a AppState,
    author: Author<'a>,
}

impl<'a> Writer<'a> {
    /// Requires an authenticated requester.
    pub(super) fn new(ctx: &'a Context<'_>) -> Result<Self, AppError> {
        let caller = ctx.caller()?;
        let user_id = caller.requester.require_identity()?.user_id;
        let request_id = caller.client.request_id().unwrap_or_default();
        Ok(Self { state: ctx.state()?, author: Author { user_id, request_id } })
    }

    /// Creates todos; returns them in the order given. Idempotent if the client made all identifiers.
    pub(super) async fn create(&self, new: &[NewTodo]) -> Result<Vec<Todo>, AppError> {
        let database = &self.state.database;
        let create = async |conn: &mut _| self.author.create(conn, new).await;
        let created = if new.iter().all(|todo| todo.repeatable) {
            database.write_repeatably(create).await
        } else {
            database.write(create).await
        };
        let ids: Vec<_> = new.iter().map(|todo| todo.id).collect();
        Ok(self.in_order(self.done(self.noted(created).await?)?, &ids))
    }

    /// Changes todos, all or none; returns them in the order given. Idempotent unless a version is expected.
    pub(super) async fn update(
        &self,
        Targets { ids, expected_version }: &Targets,
        changes: &TodoChanges,
    ) -> Result<Vec<Todo>, AppError> {
        let database = &self.state.database;
        let update = async |conn: &mut _| self.author.update(conn, ids, *expected_version, changes).await;
        let updated = if expected_version.is_none() {
            database.write_repeatably(update).await
        } else {
            database.write(update).await
        };
        Ok(self.in_order(self.done(self.noted(updated).await?)?, ids))
    }

    pub(super) async fn complete(&self, targets: &Targets) -> Result<Vec<Todo>, AppError> {
        let completed_at = Patch::Set(self.state.clock.now());
        self.update(targets, &TodoChanges { completed_at, ..TodoChanges::default() }).await
    }

    pub(super) async fn reopen(&self, targets: &Targets) -> Result<Vec<Todo>, AppError> {
        self.update(targets, &TodoChanges { completed_at: Patch::Clear, ..TodoChanges::default() }).await
    }

    pub(super) async fn delete(&self, targets: &Targets) -> Result<Vec<Todo>, AppError> {
        let deleted_at = Patch::Set(self.state.clock.now());
        self.update(targets, &TodoChanges { deleted_at, ..TodoChanges::default() }).await
    }

    pub(super) async fn restore(&self, targets: &Targets) -> Result<Vec<Todo>, AppError> {
        self.update(targets, &TodoChanges { deleted_at: Patch::Clear, ..TodoChanges::default() }).await
    }

    /// Permanently deletes todos, all or none.
    pub(super) async fn purge(&self, Targets { ids, expected_version }: &Targets) -> Result<(), AppError> {
        let purge = async |conn: &mut _| self.author.purge(conn, ids, *expected_version).await;
        let purged = self.state.database.write(purge).await;
        self.done(self.noted(purged).await?)
    }

    /// Permanently deletes the todos in the trash; returns their number.
    pub(super) async fn empty_trash(&self) -> Result<usize, AppError> {
        let purge = async |conn: &mut _| self.author.empty_trash(conn).await;
        let purged = self.state.database.write(purge).await;
        self.noted(purged).await
    }

    /// Reverts an event; returns its todo.
    pub(super) async fn undo(&self, event_id: Uuid) -> Result<Todo, AppError> {
        let undo = async |conn: &mut _| self.author.undo(conn, event_id).await;
        let undone = self.state.database.write(undo).await;
        let todo = self.done(self.noted(undone).await?)?;
        Ok(Todo::new(self.author.user_id, todo))
    }

    /// Notes the write's position for replicas. Also when the outcome is unknown, so that the user's next read shows the
    /// write if it happened.
    async fn noted<R>(&self, written: Result<R, db::Error>) -> Result<R, AppError> {
        let noted = match &written {
            Err(error) if !error.is_outage() => Ok(()),
            _ => self.state.database.note_write_of(self.author.user_id).await,
        };
        let written = written?;
        noted?;
        Ok(written)
    }

    fn done<T>(&self, written: Written<T>) -> Result<T, AppError> {
        match written {
            Written::Done(done) => Ok(done),
            Written::Missing => Err(AppError::NotFound),
            Written::Conflict(todo) => {
                let version = todo.version;
                Err(AppError::Conflict { version, todo: Todo::new(self.author.user_id, *todo).into_value() })
            }
        }
    }

    fn in_order(&self, mut todos: Vec<models::Todo>, ids: &[Uuid]) -> Vec<Todo> {
        todos.sort_by_key(|todo| ids.iter().position(|id| *id == todo.id));
        todos.into_iter().map(|todo| Todo::new(self.author.user_id, todo)).collect()
    }
}
