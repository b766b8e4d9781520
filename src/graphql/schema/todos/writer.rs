use async_graphql::Context;
use uuid::Uuid;

use super::Todo;
use super::error::WriteError;
use super::history::{LatestEvent, TodoEvent};
use crate::db::WriteMode;
use crate::error::AppError;
use crate::graphql::context::ContextExt;
use crate::models::{Actor, NewTodo, Noted, TodoChanges, TodoTargets, WriteOutcome, WrittenTodo};
use crate::state::AppState;

/// Writes the requester's todos, one or many alike.
pub(super) struct Writer<'a> {
    state: &'a AppState,
    actor: Actor<'a>,
}

/// The result of a write, and the place in the stream of events after it.
pub(super) struct Written<T> {
    pub(super) value: T,
    pub(super) latest: LatestEvent,
}

/// A todo after a write, and the event of the write.
pub(super) struct ChangedTodo {
    pub(super) todo: Todo,
    pub(super) event: Option<TodoEvent>,
}

impl<'a> Writer<'a> {
    /// Requires an authenticated requester.
    pub(super) fn new(ctx: &'a Context<'_>) -> Result<Self, AppError> {
        let caller = ctx.caller()?;
        let user_id = caller.requester.require_identity()?.user_id;
        let request_id = caller.client.request_id().unwrap_or_default();
        let returns_last_event = LatestEvent::is_selected(ctx);
        let returns_events = TodoEvent::is_selected(ctx);
        let actor = Actor { user_id, request_id, returns_last_event, returns_events };
        Ok(Self { state: ctx.state()?, actor })
    }

    /// Creates todos; returns them in the order given. Idempotent if the client made all identifiers.
    pub(super) async fn create(&self, new: &[NewTodo]) -> Result<Written<Vec<ChangedTodo>>, WriteError> {
        let create = async |conn: &mut _| {
            let created = self.actor.create(conn, new).await?;
            self.actor.note(conn, created).await
        };
        let mode = self.mode(new.iter().all(|todo| todo.repeatable));
        let created = self.state.database.write_in_mode_for(self.actor.user_id, mode, create).await?;
        let ids: Vec<_> = new.iter().map(|todo| todo.id).collect();
        self.in_order(created, &ids)
    }

    /// Changes todos, all or none; returns them in the order given. Idempotent.
    pub(super) async fn update(
        &self,
        targets: &TodoTargets,
        changes: &TodoChanges,
    ) -> Result<Written<Vec<ChangedTodo>>, WriteError> {
        let update = async |conn: &mut _| {
            let updated = self.actor.update(conn, targets, changes).await?;
            self.actor.note(conn, updated).await
        };
        let mode = self.mode(true);
        let updated = self.state.database.write_in_mode_for(self.actor.user_id, mode, update).await?;
        self.in_order(updated, targets.ids())
    }

    pub(super) async fn complete(
        &self,
        targets: &TodoTargets,
    ) -> Result<Written<Vec<ChangedTodo>>, WriteError> {
        self.update(targets, &TodoChanges { completed: Some(true), ..TodoChanges::default() }).await
    }

    pub(super) async fn reopen(
        &self,
        targets: &TodoTargets,
    ) -> Result<Written<Vec<ChangedTodo>>, WriteError> {
        self.update(targets, &TodoChanges { completed: Some(false), ..TodoChanges::default() }).await
    }

    pub(super) async fn delete(
        &self,
        targets: &TodoTargets,
    ) -> Result<Written<Vec<ChangedTodo>>, WriteError> {
        self.update(targets, &TodoChanges { in_trash: Some(true), ..TodoChanges::default() }).await
    }

    pub(super) async fn restore(
        &self,
        targets: &TodoTargets,
    ) -> Result<Written<Vec<ChangedTodo>>, WriteError> {
        self.update(targets, &TodoChanges { in_trash: Some(false), ..TodoChanges::default() }).await
    }

    /// Permanently deletes todos, all or none.
    pub(super) async fn purge(&self, targets: &TodoTargets) -> Result<Written<()>, WriteError> {
        let purge = async |conn: &mut _| {
            let purged = self.actor.purge(conn, targets).await?;
            self.actor.note(conn, purged).await
        };
        let mode = self.mode(false);
        let purged = self.state.database.write_in_mode_for(self.actor.user_id, mode, purge).await?;
        self.done(purged)
    }

    /// Permanently deletes the todos in the trash; returns their number.
    pub(super) async fn empty_trash(&self) -> Result<Written<usize>, WriteError> {
        let purge = async |conn: &mut _| {
            let purged = self.actor.empty_trash(conn).await?;
            self.actor.note(conn, WriteOutcome::Done(purged)).await
        };
        let mode = self.mode(false);
        let purged = self.state.database.write_in_mode_for(self.actor.user_id, mode, purge).await?;
        self.done(purged)
    }

    /// Reverts events, all or none; returns their todos in the order given. Idempotent.
    pub(super) async fn undo(&self, event_ids: &[Uuid]) -> Result<Written<Vec<ChangedTodo>>, WriteError> {
        let undo = async |conn: &mut _| {
            let undone = self.actor.undo(conn, event_ids).await?;
            self.actor.note(conn, undone).await
        };
        let mode = self.mode(true);
        let undone = self.state.database.write_in_mode_for(self.actor.user_id, mode, undo).await?;
        self.changed(undone)
    }

    fn mode(&self, is_idempotent: bool) -> WriteMode {
        match (self.actor.returns_last_event || self.actor.returns_events, is_idempotent) {
            (true, _) => WriteMode::Transaction,
            (false, true) => WriteMode::Idempotent,
            (false, false) => WriteMode::Once,
        }
    }

    fn done<T>(&self, noted: Noted<WriteOutcome<T>>) -> Result<Written<T>, WriteError> {
        match noted.written {
            WriteOutcome::Done(value) => Ok(Written { value, latest: noted.last_event.into() }),
            WriteOutcome::Missing => Err(AppError::NotFound.into()),
            WriteOutcome::Conflict(todo) => {
                Err(WriteError::Conflict(Box::new(Todo::new(self.actor.user_id, *todo))))
            }
        }
    }

    fn in_order(
        &self,
        mut noted: Noted<WriteOutcome<Vec<WrittenTodo>>>,
        ids: &[Uuid],
    ) -> Result<Written<Vec<ChangedTodo>>, WriteError> {
        if let WriteOutcome::Done(todos) = &mut noted.written {
            todos.sort_by_key(|written| ids.iter().position(|id| *id == written.todo.id));
        }
        self.changed(noted)
    }

    fn changed(
        &self,
        noted: Noted<WriteOutcome<Vec<WrittenTodo>>>,
    ) -> Result<Written<Vec<ChangedTodo>>, WriteError> {
        let Written { value, latest } = self.done(noted)?;
        let changed = value.into_iter().map(|WrittenTodo { todo, event }| ChangedTodo {
            todo: Todo::new(self.actor.user_id, todo),
            event: event.map(TodoEvent::from),
        });
        Ok(Written { value: changed.collect(), latest })
    }
}
