use async_graphql::{Context, Enum, InputObject};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::Todo;
use crate::domain::{Problem, Tags, Title};
use crate::error::{AppError, FieldProblem};
use crate::graphql::context::ContextExt;
use crate::graphql::scalars::DateTime;
use crate::graphql::schema::pages::{self, Connection, Edge, PageArguments};
use crate::models::{self, KeyValue, Priority, TodoKey, TodoPosition};

/// The longest search, in characters.
const MAX_SEARCH: usize = 200;

/// Which todos: those that meet all the conditions given.
#[derive(Default, InputObject)]
pub(super) struct TodoFilter {
    /// Those that are done, or those that are not.
    completed: Option<bool>,
    /// Those that are due before this instant.
    due_before: Option<DateTime>,
    /// Those that are due at this instant or later.
    due_after: Option<DateTime>,
    /// Those with one of these priorities.
    priority: Option<Vec<Priority>>,
    /// Those with these tags.
    tags: Option<TodoTagsFilter>,
    /// Those with all of these words in title or description, whatever the case; the last word may be unfinished. At most
    /// 200 characters. Nothing but blanks finds everything.
    search: Option<String>,
    /// Those in the trash, instead of those that are not.
    #[graphql(default)]
    in_trash: bool,
}

/// Which tags; if both conditions are given, both are to be met. An empty list is no condition.
#[derive(InputObject)]
struct TodoTagsFilter {
    /// At least one of these, at most 20.
    any: Option<Vec<String>>,
    /// All of these, at most 20.
    all: Option<Vec<String>>,
}

/// By what todos are ordered.
#[derive(Clone, Copy, Enum, Eq, PartialEq)]
enum TodoOrderField {
    /// When they were made.
    CreatedAt,
    /// When they last changed.
    UpdatedAt,
    /// When they are due; those that never are come last in both directions.
    DueAt,
    /// How important they are.
    Priority,
    /// Their titles, whatever the case; letters by their code points.
    Title,
}

/// In which direction a list is ordered.
#[derive(Clone, Copy, Default, Enum, Eq, PartialEq)]
enum OrderDirection {
    /// The smallest, earliest or least important first.
    #[default]
    Asc,
    /// The largest, latest or most important first.
    Desc,
}

/// The order of todos.
#[derive(Clone, Copy, InputObject)]
pub(super) struct TodoOrder {
    /// By what.
    field: TodoOrderField,
    /// In which direction.
    #[graphql(default)]
    direction: OrderDirection,
}

impl From<TodoOrder> for models::TodoOrder {
    fn from(order: TodoOrder) -> Self {
        let key = match order.field {
            TodoOrderField::CreatedAt => TodoKey::CreatedAt,
            TodoOrderField::UpdatedAt => TodoKey::UpdatedAt,
            TodoOrderField::DueAt => TodoKey::DueAt,
            TodoOrderField::Priority => TodoKey::Priority,
            TodoOrderField::Title => TodoKey::Title,
        };
        Self { key, descending: order.direction == OrderDirection::Desc }
    }
}

impl TodoFilter {
    fn parse(self) -> Result<models::TodoFilter, AppError> {
        let mut problems = Vec::new();
        let mut note = |path: &[&'static str], problem| {
            let path = std::iter::once("filter").chain(path.iter().copied()).map(Into::into).collect();
            problems.push(FieldProblem { path, problem });
        };
        let tags = self.tags.unwrap_or(TodoTagsFilter { any: None, all: None });
        let mut parse_tags = |name, tags: Option<Vec<String>>| {
            Tags::parse(&tags.unwrap_or_default()).unwrap_or_else(|problem| {
                note(&["tags", name], problem);
                Tags::default()
            })
        };
        let (any_tags, all_tags) = (parse_tags("any", tags.any), parse_tags("all", tags.all));
        let search = self.search.filter(|text| !text.trim().is_empty());
        if let Some(text) = &search {
            if text.chars().count() > MAX_SEARCH {
                let message = format!("A search has at most {MAX_SEARCH} characters.");
                note(&["search"], Problem { code: "TOO_LONG", message });
            } else if text.contains('\0') {
                let message = "A search has no control characters.".into();
                note(&["search"], Problem { code: "INVALID", message });
            }
        }
        for (name, time) in [("dueBefore", self.due_before), ("dueAfter", self.due_after)] {
            if time.is_some_and(|DateTime(time)| !pages::is_writable(time)) {
                note(&[name], super::input::unwritable());
            }
        }
        if !problems.is_empty() {
            return Err(AppError::BadUserInput(problems));
        }
        Ok(models::TodoFilter {
            completed: self.completed,
            due_before: self.due_before.map(|time| time.0),
            due_after: self.due_after.map(|time| time.0),
            priorities: self.priority,
            any_tags,
            all_tags,
            search,
            in_trash: self.in_trash,
        })
    }
}

/// A page of a user's todos.
pub(super) async fn todos(
    ctx: &Context<'_>,
    user_id: Uuid,
    arguments: PageArguments<'_>,
    filter: TodoFilter,
    order: Option<TodoOrder>,
) -> Result<Connection<Todo, Edge<Todo>>, AppError> {
    let latest_first = models::TodoOrder { key: TodoKey::CreatedAt, descending: true };
    let order = order.map_or(latest_first, models::TodoOrder::from);
    let (page, filter) = (arguments.page(|cursor| decode(order, cursor))?, filter.parse()?);
    let asked = pages::asks_for_total(ctx);
    let found = ctx.state()?.database.read_of(user_id, async |conn| {
        let total = if asked { models::Todo::count(conn, user_id, &filter).await? } else { 0 };
        Ok((models::Todo::list(conn, user_id, &filter, order, &page).await?, total))
    });
    let (todos, total) = found.await?;
    let todos = todos.into_iter().map(|todo| Owned(user_id, todo)).collect();
    Ok(Connection::new(&page, todos, total, |Owned(_, todo)| encode(order, &order.position(todo))))
}

/// A todo and whose it is.
struct Owned(Uuid, models::Todo);

impl From<Owned> for Todo {
    fn from(Owned(user_id, todo): Owned) -> Self {
        Self::new(user_id, todo)
    }
}

/// Begins a cursor; another meaning of the rest gets another number.
const VERSION: u8 = 3;

/// What of an order tells its cursors from those of others.
fn tag(order: models::TodoOrder) -> u8 {
    let key = match order.key {
        TodoKey::CreatedAt => 0,
        TodoKey::UpdatedAt => 1,
        TodoKey::DueAt => 2,
        TodoKey::Priority => 3,
        TodoKey::Title => 4,
    };
    key * 2 + u8::from(order.descending)
}

const PRIORITIES: [Priority; 4] = [Priority::None, Priority::Low, Priority::Medium, Priority::High];

fn encode(order: models::TodoOrder, position: &TodoPosition) -> String {
    let mut bytes = vec![VERSION, tag(order)];
    bytes.extend(position.id.as_bytes());
    match &position.value {
        KeyValue::Time(None) => {}
        KeyValue::Time(Some(time)) => bytes.extend(time.timestamp_micros().to_be_bytes()),
        KeyValue::Priority(priority) => bytes.extend(priority.as_str().as_bytes()),
        KeyValue::Text(text) => bytes.extend(text.as_bytes()),
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(order: models::TodoOrder, cursor: &str) -> Option<TodoPosition> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    if *head != [VERSION, tag(order)] {
        return None;
    }
    let value = match order.key {
        TodoKey::DueAt if rest.is_empty() => KeyValue::Time(None),
        TodoKey::CreatedAt | TodoKey::UpdatedAt | TodoKey::DueAt => {
            let time = chrono::DateTime::from_timestamp_micros(i64::from_be_bytes(rest.try_into().ok()?))?;
            KeyValue::Time(Some(time).filter(|time| pages::is_writable(*time)).map(Some)?)
        }
        TodoKey::Priority => {
            let same = |priority: &Priority| priority.as_str().as_bytes() == rest;
            KeyValue::Priority(PRIORITIES.into_iter().find(same)?)
        }
        TodoKey::Title => {
            KeyValue::Text(Title::parse(std::str::from_utf8(rest).ok()?).ok()?.as_str().to_owned())
        }
    };
    Some(TodoPosition { value, id: Uuid::from_bytes(*id) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_in_its_own_order_only() {
        let time = chrono::DateTime::from_timestamp_micros(1_764_000_000_123_456).unwrap();
        let orders = [
            (TodoKey::CreatedAt, KeyValue::Time(Some(time))),
            (TodoKey::DueAt, KeyValue::Time(None)),
            (TodoKey::Priority, KeyValue::Priority(Priority::Medium)),
            (TodoKey::Title, KeyValue::Text("Über".into())),
        ];
        for (key, value) in orders {
            let order = models::TodoOrder { key, descending: true };
            let position = TodoPosition { value, id: Uuid::from_u128(7) };
            let cursor = encode(order, &position);
            assert_eq!(decode(order, &cursor), Some(position.clone()));
            assert_eq!(decode(models::TodoOrder { key, descending: false }, &cursor), None);
            for broken in ["", "x", &cursor[2..], &cursor[..cursor.len() / 2], "Aw"] {
                assert_eq!(decode(order, broken), None, "{broken}");
            }
        }
        let order = models::TodoOrder { key: TodoKey::Title, descending: false };
        let evil = TodoPosition { value: KeyValue::Text("a\0".into()), id: Uuid::nil() };
        assert_eq!(decode(order, &encode(order, &evil)), None);
    }
}
