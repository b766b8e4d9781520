use std::collections::HashMap;

use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::resolver_utils::EnumType;
use async_graphql::{Context, Enum, ID, SimpleObject};
use serde_json::Value;
use uuid::Uuid;

use crate::error::AppError;
use crate::graphql::scalars::DateTime;
use crate::graphql::schema::connections::{Connection, Extras, PageArguments, Selected};
use crate::graphql::schema::cursors::{ByNumber, Cursors};
use crate::models::{self, Page};
use crate::state::AppState;

/// A kind of change of a todo.
#[derive(Clone, Copy, Enum, Eq, PartialEq)]
#[graphql(remote = "models::TodoEventKind")]
pub(super) enum TodoEventKind {
    /// Todo created.
    Created,
    /// Content changed.
    Updated,
    /// Todo completed.
    Completed,
    /// Todo reopened.
    Reopened,
    /// Todo moved to the trash.
    Deleted,
    /// Todo taken out of the trash.
    Restored,
    /// Todo deleted permanently, by its owner or after the retention period of the trash.
    Purged,
}

/// A change of a todo.
#[derive(SimpleObject)]
pub(in crate::graphql::schema) struct TodoEvent {
    /// Identifier, a UUID. Pass it to `undo`, or to `todoChanged` to resume from here.
    pub(in crate::graphql::schema) id: ID,
    /// Kind of change.
    kind: TodoEventKind,
    /// Time of the change.
    at: DateTime,
    /// Changed fields; for a new todo all of them.
    changes: Vec<TodoFieldChange>,
}

impl TodoEvent {
    /// Returns true if the client selects the event of each written todo, which costs a query of its own.
    pub(super) fn is_selected(ctx: &Context<'_>) -> bool {
        ["event", "events"].into_iter().any(|name| ctx.look_ahead().field(name).exists())
    }
}

/// The field `eventId` of lists and payloads.
#[derive(SimpleObject)]
pub(in crate::graphql) struct LatestEvent {
    /// The latest event whose change is part of this result. Pass it to `todoChanged` as `after` to receive all later
    /// changes. Also set before the first event, and after the last one has been deleted.
    event_id: ID,
}

impl LatestEvent {
    /// Returns true if the client selects it, which costs a query of its own.
    pub(super) fn is_selected(ctx: &Context<'_>) -> bool {
        ctx.look_ahead().field("eventId").exists()
    }
}

impl From<Uuid> for LatestEvent {
    fn from(id: Uuid) -> Self {
        Self { event_id: id.into() }
    }
}

/// The change of a field.
#[derive(SimpleObject)]
struct TodoFieldChange {
    /// The changed field.
    field: TodoField,
    /// Previous value, in the format of `Todo`; null for a new todo.
    before: Option<Value>,
    /// New value.
    after: Option<Value>,
}

/// A field of a todo that can change.
#[derive(Clone, Copy, Enum, Eq, PartialEq)]
enum TodoField {
    /// `Todo.title`.
    Title,
    /// `Todo.description`.
    Description,
    /// `Todo.priority`.
    Priority,
    /// `Todo.dueAt`.
    DueAt,
    /// `Todo.tags`.
    Tags,
    /// `Todo.completedAt`, and with it `Todo.completed`.
    CompletedAt,
    /// `Todo.deletedAt`.
    DeletedAt,
}

impl TodoField {
    /// Returns the column that holds the field.
    fn column(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Description => "description",
            Self::Priority => "priority",
            Self::DueAt => "due_at",
            Self::Tags => "tags",
            Self::CompletedAt => "completed_at",
            Self::DeletedAt => "deleted_at",
        }
    }
}

impl From<models::TodoEvent> for TodoEvent {
    fn from(event: models::TodoEvent) -> Self {
        let value =
            |row: &Option<Value>, column| row.as_ref()?.get(column).map(|value| readable(column, value));
        let changes = TodoField::items().iter().filter_map(|item| {
            let column = item.value.column();
            let before = value(&event.before, column);
            let after = value(&event.after, column)?;
            let unset = before.is_none() && after.is_null();
            (!unset).then_some(TodoFieldChange { field: item.value, before, after: Some(after) })
        });
        let changes = changes.collect();
        Self { id: event.id.into(), kind: event.kind.0.into(), at: DateTime(event.created_at), changes }
    }
}

/// Rewrites a time from PostgreSQL's format to the API's.
fn readable(column: &str, value: &Value) -> Value {
    use async_graphql::ScalarType;

    let time = value.as_str().filter(|_| column.ends_with("_at")).and_then(instant);
    let text = time.and_then(|time| DateTime(time).to_value().into_json().ok());
    text.unwrap_or_else(|| value.clone())
}

/// Parses a time of the history. Older events have the offset of the session that wrote them; before the age of railways
/// offsets have seconds, which RFC 3339 does not know.
fn instant(text: &str) -> Option<chrono::DateTime<chrono::Utc>> {
    let parse = |text: &str| Some(chrono::DateTime::parse_from_rfc3339(text).ok()?.to_utc());
    parse(text).or_else(|| {
        let (rest, seconds) = text.rsplit_once(':')?;
        let seconds = chrono::TimeDelta::seconds(seconds.parse().ok()?);
        let east = rest.get(rest.len().checked_sub(6)?..)?.starts_with('+');
        parse(rest)?.checked_add_signed(if east { -seconds } else { seconds })
    })
}

/// Batches the histories of several todos into one query.
pub(in crate::graphql::schema) struct HistoryLoader(pub(in crate::graphql) AppState);

/// A page of a todo's history.
#[derive(Clone, Eq, Hash, PartialEq)]
struct HistoryKey {
    user_id: Uuid,
    todo_id: Uuid,
    page: Page<i64>,
    selected: Selected,
}

/// Events of a page of a history.
#[derive(Clone, Default)]
pub(in crate::graphql::schema) struct HistoryPage {
    events: Vec<models::TodoEvent>,
    extras: Extras,
}

impl Loader<HistoryKey> for HistoryLoader {
    type Value = HistoryPage;
    type Error = AppError;

    async fn load(&self, keys: &[HistoryKey]) -> Result<HashMap<HistoryKey, HistoryPage>, AppError> {
        // One statement per distinct page.
        let mut pages: HashMap<(Uuid, &Page<i64>, Selected), Vec<Uuid>> = HashMap::new();
        for key in keys {
            pages.entry((key.user_id, &key.page, key.selected)).or_default().push(key.todo_id);
        }
        let mut found: HashMap<_, HistoryPage> = HashMap::new();
        for ((user_id, page, selected), ids) in pages {
            let read = self.0.database.read_for(user_id, async |conn| {
                let totals = if selected.total_count {
                    models::TodoEvent::count(conn, user_id, &ids).await?
                } else {
                    Vec::new()
                };
                let behind = if selected.has_more_behind {
                    models::TodoEvent::todos_behind(conn, user_id, &ids, page).await?
                } else {
                    Vec::new()
                };
                let events = models::TodoEvent::list_by_todo(conn, user_id, &ids, page).await?;
                Ok((events, totals, behind))
            });
            let (events, totals, behind) = read.await?;
            let key = |todo_id| HistoryKey { user_id, todo_id, page: *page, selected };
            for (id, count) in totals {
                found.entry(key(id)).or_default().extras.total_count = count;
            }
            for id in behind {
                found.entry(key(id)).or_default().extras.has_more_behind = true;
            }
            for event in events {
                found.entry(key(event.todo_id)).or_default().events.push(event);
            }
        }
        Ok(found)
    }
}

/// Loads a page of a todo's history.
pub(super) async fn history(
    ctx: &Context<'_>,
    user_id: Uuid,
    todo_id: Uuid,
    first: Option<i32>,
    after: Option<&str>,
) -> Result<Connection<TodoEvent>, AppError> {
    let page = PageArguments { first, after, ..PageArguments::default() }.parse(&ByNumber)?;
    let loader = ctx.data::<DataLoader<HistoryLoader>>();
    let loader =
        loader.map_err(|_| AppError::internal(anyhow::anyhow!("the schema was built without state")))?;
    let key = HistoryKey { user_id, todo_id, page, selected: Selected::of(ctx, &page) };
    let HistoryPage { events, extras } = loader.load_one(key).await?.unwrap_or_default();
    Ok(Connection::new(&page, events, extras, |event| ByNumber.encode(&event.number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphql::schema::todos::TodoPriority;
    use crate::models::{Priority, TextEnum};

    #[test]
    fn times_of_the_history_are_shown_in_utc_whatever_offset_they_were_written_with() {
        for (stored, shown) in [
            ("2030-01-01T02:00:00+02:00", "2030-01-01T00:00:00.000000Z"),
            ("2029-12-31T16:00:00.5-08:00", "2030-01-01T00:00:00.500000Z"),
            ("2030-01-01T05:45:00+05:45", "2030-01-01T00:00:00.000000Z"),
            ("1900-01-01T00:19:32+00:19:32", "1900-01-01T00:00:00.000000Z"),
            ("1879-12-31T23:58:45-00:01:15", "1880-01-01T00:00:00.000000Z"),
            ("infinity", "infinity"),
        ] {
            assert_eq!(readable("due_at", &stored.into()), shown, "{stored}");
        }
        assert_eq!(readable("title", &"2030-01-01T02:00:00+02:00".into()), "2030-01-01T02:00:00+02:00");
    }

    #[test]
    fn each_kind_and_priority_is_read_back_from_the_word_it_is_stored_as() {
        for item in TodoEventKind::items() {
            let kind = models::TodoEventKind::from(item.value);
            assert_eq!(kind.as_str(), item.name);
            assert_eq!(models::TodoEventKind::parse(kind.as_str()), Some(kind));
        }
        for item in TodoPriority::items() {
            let priority = Priority::from(item.value);
            assert_eq!(priority.as_str(), item.name);
            assert_eq!(Priority::parse(priority.as_str()), Some(priority));
        }
    }
}
