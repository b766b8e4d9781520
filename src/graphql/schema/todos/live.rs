use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_graphql::futures_util::stream::{self, Stream};
use async_graphql::{Context, ID, SimpleObject};
use tokio::time::sleep;
use uuid::Uuid;

use super::history::TodoEventKind;
use super::positions::{Position, Positions};
use super::{Todo, parse_id};
use crate::db;
use crate::error::AppError;
use crate::feed::TodoSubscriber;
use crate::graphql::context::ContextExt;
use crate::graphql::error_code::ErrorCode;
use crate::graphql::scalars::DateTime;
use crate::graphql::schema::directives::{any_reason, errors};
use crate::models::{self, TodoEvent};
use crate::state::AppState;

/// Events per read, and so the maximum held in memory for a slow subscriber.
const BATCH: i64 = 100;
/// Delay between attempts while the database is unavailable.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The subscriptions.
#[derive(Default)]
pub struct Subscription {
    positions: Positions<Arc<Batch>>,
}

/// Event streams.
#[async_graphql::Subscription]
impl Subscription {
    /// Streams every change of the user's todos, in order, from all clients. Ends with the session. To start without missing
    /// events, pass the `eventId` of the loaded list as `after`; to resume after a disconnect, the last event received.
    /// `NOT_FOUND` means that events since have been deleted and the list must be reloaded.
    #[graphql(directive = errors::apply(vec![ErrorCode::NotFound, ErrorCode::Unauthenticated], any_reason()))]
    async fn todo_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Event after which the stream starts; by default it starts now.")] after: Option<ID>,
    ) -> Result<impl Stream<Item = Result<Arc<TodoChange>, AppError>> + use<>, AppError> {
        let user_id = ctx.caller()?.requester.require_identity()?.user_id;
        let after = after.map(|id| parse_id(&id)).transpose()?;
        let state = ctx.state()?.clone();
        // Boxed: the stream would keep room for this future as long as it lives.
        let reader = Box::pin(Reader::start(state, user_id, after, self.positions.clone())).await?;
        Ok(stream::unfold(Some(Box::new(reader)), |reader| async {
            let mut reader = reader?;
            Some(match reader.next().await {
                Ok(change) => (Ok(change), Some(reader)),
                Err(error) => (Err(error), None),
            })
        }))
    }
}

/// A streamed change of a todo.
#[derive(SimpleObject)]
struct TodoChange {
    /// Identifier of the event. Pass it as `after` to resume from here.
    event_id: ID,
    /// Kind of change.
    kind: TodoEventKind,
    /// Time of the change.
    at: DateTime,
    /// Identifier of the todo.
    todo_id: ID,
    /// Current state of the todo, which may include later changes; null if it was deleted permanently.
    todo: Option<Todo>,
}

/// Consecutive changes, shared by the subscribers that have reached the position before them.
struct Batch {
    changes: Vec<Arc<TodoChange>>,
    /// Number of the last event in the batch.
    last: i64,
}

/// Reads a user's events in order.
struct Reader {
    state: AppState,
    user_id: Uuid,
    subscriber: TodoSubscriber,
    positions: Positions<Arc<Batch>>,
    position: Arc<Position<Arc<Batch>>>,
    /// Changes before the position that have not been sent yet.
    unread: VecDeque<Arc<TodoChange>>,
}

impl Reader {
    /// Subscribes a reader that starts after an event, by default now.
    async fn start(
        state: AppState,
        user_id: Uuid,
        after: Option<Uuid>,
        positions: Positions<Arc<Batch>>,
    ) -> Result<Self, AppError> {
        // Before the first read, so that no event falls between the two.
        let subscriber = state.feed.subscribe_to_todos(user_id);
        let numbers = state.database.read(async |conn| {
            let last = TodoEvent::last_number(conn, user_id).await?;
            let start = match after {
                Some(id) => TodoEvent::number(conn, user_id, id).await?,
                None => Some(last),
            };
            Ok((start, last))
        });
        let (start, last) = numbers.await?;
        let start = start.ok_or(AppError::NotFound)?;
        subscriber.announce(last);
        let position = positions.join(user_id, start);
        Ok(Self { state, user_id, subscriber, positions, position, unread: VecDeque::new() })
    }

    async fn next(&mut self) -> Result<Arc<TodoChange>, AppError> {
        loop {
            if let Some(change) = self.unread.pop_front() {
                return Ok(change);
            }
            self.subscriber.wait_for_events_after(self.position.number()).await;
            // Boxed: single-flight, so most subscribers never read.
            match self.position.next(|| Box::pin(self.read())).await {
                Ok(batch) => {
                    self.position = self.positions.join(self.user_id, batch.last);
                    self.unread.extend(batch.changes.iter().cloned());
                }
                // Events are stored, so none is lost while the database is away.
                Err(error) if error.is_outage() => {
                    tracing::debug!(%error, "a subscription waits for the database");
                    sleep(RETRY_AFTER).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads the events after the position. Fails if there are none: they have been announced.
    async fn read(&self) -> Result<Arc<Batch>, db::Error> {
        let user_id = self.user_id;
        let number = self.position.number();
        // A subscriber can learn of a write before the writer has noted its position; its follow-up queries must not read
        // from a replica that lacks the write.
        let owner =
            |(events, _): &(Vec<TodoEvent>, Vec<models::Todo>)| (!events.is_empty()).then_some(user_id);
        let found = self.state.database.read_monotonic_for(owner, async |conn| {
            let events = TodoEvent::list_after(conn, user_id, number, BATCH).await?;
            let ids: Vec<_> = events.iter().map(|event| event.todo_id).collect();
            let todos =
                if ids.is_empty() { Vec::new() } else { models::Todo::find_all(conn, user_id, &ids).await? };
            Ok((events, todos))
        });
        let (events, todos) = found.await?;
        // No empty batch, which the position would keep: a primary that lost the event in a failover will write others.
        let missing = || db::Error::Unavailable("an announced event is missing".into());
        let last = events.last().ok_or_else(missing)?.number;
        let todos: HashMap<_, _> = todos.into_iter().map(|todo| (todo.id, todo)).collect();
        let change = |event: TodoEvent| {
            Arc::new(TodoChange {
                event_id: event.id.into(),
                kind: event.kind.0.into(),
                at: DateTime(event.created_at),
                todo_id: event.todo_id.into(),
                todo: todos.get(&event.todo_id).map(|todo| Todo::new(user_id, todo.clone())),
            })
        };
        let changes = events.into_iter().map(change).collect();
        Ok(Arc::new(Batch { changes, last }))
    }
}
