use std::collections::HashMap;

use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::{Context, Enum, ID, SimpleObject};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use uuid::Uuid;

use crate::error::AppError;
use crate::graphql::scalars::DateTime;
use crate::graphql::schema::pages::{self, Connection, Edge, PageArguments};
use crate::models::{self, Page, TodoEventKind};
use crate::state::AppState;

/// Something that happened to a todo.
#[derive(SimpleObject)]
pub(in crate::graphql::schema) struct TodoEvent {
    /// Identifier, a UUID: give it to `undo`, or to `todoChanged` to go on from here.
    id: ID,
    /// What happened.
    kind: TodoEventKind,
    /// When.
    at: DateTime,
    /// What changed; of a new todo all of it.
    changes: Vec<TodoFieldChange>,
}

/// What became of a field.
#[derive(SimpleObject)]
struct TodoFieldChange {
    /// Which field.
    field: TodoField,
    /// Its value before, as `Todo` has it; null for a new todo.
    before: Option<Value>,
    /// Its value afterwards.
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

/// The fields and the columns that hold them.
const FIELDS: [(TodoField, &str); 7] = [
    (TodoField::Title, "title"),
    (TodoField::Description, "description"),
    (TodoField::Priority, "priority"),
    (TodoField::DueAt, "due_at"),
    (TodoField::Tags, "tags"),
    (TodoField::CompletedAt, "completed_at"),
    (TodoField::DeletedAt, "deleted_at"),
];

impl From<models::TodoEvent> for TodoEvent {
    fn from(event: models::TodoEvent) -> Self {
        let value =
            |row: &Option<Value>, column| row.as_ref()?.get(column).map(|value| readable(column, value));
        let changes = FIELDS.into_iter().filter_map(|(field, column)| {
            let (before, after) = (value(&event.before, column), value(&event.after, column)?);
            let nothing = before.is_none() && after.is_null();
            (!nothing).then_some(TodoFieldChange { field, before, after: Some(after) })
        });
        let changes = changes.collect();
        Self { id: event.id.into(), kind: event.kind, at: DateTime(event.created_at), changes }
    }
}

/// A value as clients read it: PostgreSQL writes times in another way.
fn readable(column: &str, value: &Value) -> Value {
    use async_graphql::ScalarType;

    let time = value.as_str().filter(|_| column.ends_with("_at"));
    let time = time.and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    let text = time.and_then(|time| DateTime(time.to_utc()).to_value().into_json().ok());
    text.unwrap_or_else(|| value.clone())
}

/// Reads the histories of all todos of a request together.
pub(in crate::graphql::schema) struct HistoryLoader(pub(in crate::graphql) AppState);

/// Which piece of which todo's history.
#[derive(Clone, Eq, Hash, PartialEq)]
struct Wanted {
    user_id: Uuid,
    todo_id: Uuid,
    page: Page<i64>,
    total: bool,
}

/// A piece of a history, and how long all of it is.
type Found = (Vec<models::TodoEvent>, i64);

impl Loader<Wanted> for HistoryLoader {
    type Value = Found;
    type Error = AppError;

    async fn load(&self, wanted: &[Wanted]) -> Result<HashMap<Wanted, Found>, AppError> {
        // Those that are alike are read by one statement.
        let mut alike: HashMap<(Uuid, &Page<i64>, bool), Vec<Uuid>> = HashMap::new();
        for key in wanted {
            alike.entry((key.user_id, &key.page, key.total)).or_default().push(key.todo_id);
        }
        let mut found = HashMap::new();
        for ((user_id, page, total), ids) in alike {
            let read = self.0.database.read_of(user_id, async |conn| {
                let totals =
                    if total { models::TodoEvent::count(conn, user_id, &ids).await? } else { Vec::new() };
                Ok((models::TodoEvent::of_todos(conn, user_id, &ids, page).await?, totals))
            });
            let (events, totals) = read.await?;
            let key = |todo_id| Wanted { user_id, todo_id, page: *page, total };
            for (id, count) in totals {
                found.entry(key(id)).or_insert_with(Found::default).1 = count;
            }
            for event in events {
                found.entry(key(event.todo_id)).or_insert_with(Found::default).0.push(event);
            }
        }
        Ok(found)
    }
}

/// A page of a todo's history.
pub(super) async fn history(
    ctx: &Context<'_>,
    (user_id, todo_id): (Uuid, Uuid),
    first: Option<i32>,
    after: Option<&str>,
) -> Result<Connection<TodoEvent, Edge<TodoEvent>>, AppError> {
    let page = PageArguments { first, after, ..PageArguments::default() }.page(decode)?;
    let loader = ctx.data::<DataLoader<HistoryLoader>>();
    let loader =
        loader.map_err(|_| AppError::internal(anyhow::anyhow!("the schema was built without state")))?;
    let wanted = Wanted { user_id, todo_id, page, total: pages::asks_for_total(ctx) };
    let (events, total) = loader.load_one(wanted).await?.unwrap_or_default();
    Ok(Connection::new(&page, events, total, |event| encode(event.number)))
}

/// Begins a cursor; another meaning of the rest gets another number.
const VERSION: u8 = 2;

fn encode(number: i64) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(number.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(cursor: &str) -> Option<i64> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (version, rest) = bytes.split_first()?;
    let number = i64::from_be_bytes(rest.try_into().ok()?);
    (*version == VERSION).then_some(number)
}
