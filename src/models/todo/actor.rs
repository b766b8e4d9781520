use std::collections::HashMap;

use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::{Todo, TodoEvent};
use crate::models::todo_event::LastEvent;

/// The setting in which the triggers find the request that they note in the history.
pub(super) const REQUEST_ID: &str = "todo_api.request_id";

/// The outcome of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteOutcome<T> {
    /// Written.
    Done(T),
    /// Not written: a todo or event does not exist or belongs to another user.
    Missing,
    /// Not written: the todo is not in the expected state. Holds its current state.
    Conflict(Box<Todo>),
}

impl<T> WriteOutcome<T> {
    /// Converts into a `Result`; the error is the refusal, as the outcome of another type of write.
    pub(super) fn or_refusal<U>(self) -> Result<T, WriteOutcome<U>> {
        match self {
            Self::Done(result) => Ok(result),
            Self::Missing => Err(WriteOutcome::Missing),
            Self::Conflict(todo) => Err(WriteOutcome::Conflict(todo)),
        }
    }
}

/// The acting user, who owns the todos, and the request that writes.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    /// Owner of the todos.
    pub user_id: Uuid,
    /// Identifier of the request, for the history.
    pub request_id: &'a str,
    /// True if writes return the user's last event, which takes a transaction.
    pub returns_last_event: bool,
    /// True if writes return the event of each todo, which takes a transaction.
    pub returns_events: bool,
}

/// A todo after a write.
#[derive(Clone, Debug)]
pub struct WrittenTodo {
    /// The todo.
    pub todo: Todo,
    /// Event of the write, or for a repeated write that of the first one. `None` if nothing changed, if the event has been
    /// deleted, or unless the actor [returns it](Actor::returns_events).
    pub event: Option<TodoEvent>,
}

/// The result of a write, and the user's last event after it.
#[derive(Clone, Debug)]
pub struct Noted<T> {
    /// Result of the write.
    pub written: T,
    /// Identifier of the last event; nil unless the actor [returns it](Actor::returns_last_event).
    pub last_event: Uuid,
}

impl Actor<'_> {
    /// Adds the last event to the result of a write.
    ///
    /// The todos of the result stay locked until the end of the transaction, so the last event is none of a later change.
    pub async fn note<T>(self, conn: &mut AsyncPgConnection, written: T) -> QueryResult<Noted<T>> {
        let last_event =
            if self.returns_last_event { TodoEvent::last_id(conn, self.user_id).await? } else { Uuid::nil() };
        Ok(Noted { written, last_event })
    }

    /// Pairs each todo with its last event, if that meets the condition.
    pub(super) async fn add_events(
        self,
        conn: &mut AsyncPgConnection,
        todos: Vec<Todo>,
        event: LastEvent,
    ) -> QueryResult<Vec<WrittenTodo>> {
        let mut events = HashMap::new();
        if self.returns_events {
            let ids: Vec<_> = todos.iter().map(|todo| todo.id).collect();
            for event in TodoEvent::last_by_todo(conn, self.user_id, &ids, event).await? {
                events.insert(event.todo_id, event);
            }
        }
        let written = todos.into_iter().map(|todo| WrittenTodo { event: events.remove(&todo.id), todo });
        Ok(written.collect())
    }
}
