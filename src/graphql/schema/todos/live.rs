use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use async_graphql::futures_util::stream::{self, Stream};
use async_graphql::{Context, ID, SimpleObject};
use tokio::time::sleep;
use uuid::Uuid;

use super::{Todo, parse_id};
use crate::db;
use crate::error::{AppError, ErrorCode};
use crate::feed::Subscriber;
use crate::graphql::context::ContextExt;
use crate::graphql::scalars::DateTime;
use crate::graphql::schema::directives::{any_reason, errors};
use crate::models::{self, TodoEvent, TodoEventKind};
use crate::state::AppState;

/// Events that are read at once. No more wait in memory, however slowly a subscriber takes them.
const BATCH: i64 = 100;
/// How long to wait before reading again while the database is out of reach.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is told as it happens.
#[derive(Default)]
pub struct Subscription;

/// Operations that answer again and again.
#[async_graphql::Subscription]
impl Subscription {
    /// Every change of one's own todos, in order, from whichever client. Ends with the session. Whoever was cut off goes on
    /// without a gap by giving the last event seen as `after`; a `NOT_FOUND` says that it is too long ago, so that the
    /// list has to be loaded again.
    #[graphql(directive = errors::apply(vec![ErrorCode::NotFound, ErrorCode::Unauthenticated], any_reason()))]
    async fn todo_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The event after which to begin; from now on if left out.")] after: Option<ID>,
    ) -> Result<impl Stream<Item = Result<TodoChange, AppError>> + use<>, AppError> {
        let user_id = ctx.caller()?.requester.require_identity()?.user_id;
        let after = after.map(|id| parse_id(&id)).transpose()?;
        let state = ctx.state()?.clone();
        // First of all: what happens from here on is heard of.
        let subscriber = state.feed.listen(user_id);
        let number = state.database.read(async |conn| {
            if let Some(id) = after {
                return TodoEvent::number(conn, user_id, id).await;
            }
            let last = TodoEvent::last_numbers(conn, &[user_id]).await?;
            Ok(Some(last.first().map_or(0, |(_, number)| *number)))
        });
        let number = number.await?.ok_or(AppError::NotFound)?;
        let reader = Reader { state, user_id, subscriber, number, read: VecDeque::new() };
        Ok(stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            Some(match reader.next().await {
                Ok(change) => (Ok(change), Some(reader)),
                Err(error) => (Err(error), None),
            })
        }))
    }
}

/// A change of a todo.
#[derive(SimpleObject)]
struct TodoChange {
    /// Identifier of the event: give it as `after` to go on from here.
    event_id: ID,
    /// What happened.
    kind: TodoEventKind,
    /// When.
    at: DateTime,
    /// Identifier of the todo.
    todo_id: ID,
    /// The todo as it is now, perhaps after further changes; null if it is gone for good.
    todo: Option<Todo>,
}

/// Reads a user's events one after the other.
struct Reader {
    state: AppState,
    user_id: Uuid,
    subscriber: Subscriber,
    /// Place of the last event that was read.
    number: i64,
    read: VecDeque<TodoChange>,
}

impl Reader {
    async fn next(&mut self) -> Result<TodoChange, AppError> {
        loop {
            if let Some(change) = self.read.pop_front() {
                return Ok(change);
            }
            match self.read().await {
                Ok(()) => {}
                // It comes back, and nothing is lost until then.
                Err(error) if error.is_outage() => {
                    tracing::debug!(%error, "a subscription waits for the database");
                    sleep(RETRY_AFTER).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            if self.read.is_empty() {
                self.subscriber.wait_beyond(self.number).await;
            }
        }
    }

    async fn read(&mut self) -> Result<(), db::Error> {
        let (user_id, number) = (self.user_id, self.number);
        let found = self.state.database.read(async |conn| {
            let events = TodoEvent::since(conn, user_id, number, BATCH).await?;
            let ids: Vec<_> = events.iter().map(|event| event.todo_id).collect();
            let todos =
                if ids.is_empty() { Vec::new() } else { models::Todo::find_all(conn, user_id, &ids).await? };
            Ok((events, todos))
        });
        let (events, todos) = found.await?;
        if !events.is_empty() {
            // Who is told of a change can be quicker than the one who makes it, and asks for more of it.
            self.state.database.note_write_of(user_id).await?;
        }
        let todos: HashMap<_, _> = todos.into_iter().map(|todo| (todo.id, todo)).collect();
        self.number = events.last().map_or(number, |event| event.number);
        self.read.extend(events.into_iter().map(|event| TodoChange {
            event_id: event.id.into(),
            kind: event.kind,
            at: DateTime(event.created_at),
            todo_id: event.todo_id.into(),
            todo: todos.get(&event.todo_id).map(|todo| Todo::new(user_id, todo.clone())),
        }));
        Ok(())
    }
}
