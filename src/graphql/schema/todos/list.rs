use async_graphql::{Context, Enum, InputObject};
use uuid::Uuid;

use super::history::LatestEvent;
use super::{Todo, TodoPriority};
use crate::domain::{Problem, Tags, is_visible, normalise};
use crate::error::{AppError, FieldProblem};
use crate::graphql::context::ContextExt;
use crate::graphql::scalars::{DateTime, is_representable};
use crate::graphql::schema::connections::{Connection, Extras, PageArguments, Selected};
use crate::graphql::schema::cursors::Cursors;
use crate::models::{self, TodoEvent, TodoSortKey};

/// Maximum length of a search, in characters.
const MAX_SEARCH: usize = 200;

/// Conditions on todos, all of which must hold. An empty list is no condition.
#[derive(Default, InputObject)]
pub(super) struct TodoFilter {
    /// True for completed todos, false for open ones.
    completed: Option<bool>,
    /// Todos due before this time.
    due_before: Option<DateTime>,
    /// Todos due at this time or later.
    due_after: Option<DateTime>,
    /// Todos with one of these priorities.
    priority: Option<Vec<TodoPriority>>,
    /// Todos with these tags.
    tags: Option<TodoTagsFilter>,
    /// Full-text search: todos with all of these words in title or description, ignoring case and accents. The last word
    /// matches as a prefix; text of a script written without spaces matches anywhere, and so does Korean. Each emoji is a
    /// word. At most 200 characters; a blank search matches all todos.
    search: Option<String>,
    /// True for todos in the trash, false for all others.
    #[graphql(default)]
    in_trash: bool,
}

/// Conditions on tags, both of which must hold. An empty list is no condition.
#[derive(InputObject)]
struct TodoTagsFilter {
    /// Tags of which a todo must have at least one; at most 20.
    any: Option<Vec<String>>,
    /// Tags all of which a todo must have; at most 20.
    all: Option<Vec<String>>,
}

/// Sort keys of todos.
#[derive(Clone, Copy, Enum, Eq, PartialEq)]
enum TodoOrderField {
    /// Time of creation.
    CreatedAt,
    /// Time of the last change.
    UpdatedAt,
    /// Due time; todos without one come last in both directions.
    DueAt,
    /// Priority.
    Priority,
    /// Title, ignoring case, by code point.
    Title,
}

/// Sort directions.
#[derive(Clone, Copy, Default, Enum, Eq, PartialEq)]
enum OrderDirection {
    /// Ascending: smallest, earliest or least important first.
    #[default]
    Asc,
    /// Descending: largest, latest or most important first.
    Desc,
}

/// Sort order of todos.
#[derive(Clone, Copy, InputObject)]
pub(super) struct TodoOrder {
    /// Sort key.
    field: TodoOrderField,
    /// Sort direction.
    #[graphql(default)]
    direction: OrderDirection,
}

impl From<TodoOrder> for models::TodoOrder {
    fn from(order: TodoOrder) -> Self {
        let key = match order.field {
            TodoOrderField::CreatedAt => TodoSortKey::CreatedAt,
            TodoOrderField::UpdatedAt => TodoSortKey::UpdatedAt,
            TodoOrderField::DueAt => TodoSortKey::DueAt,
            TodoOrderField::Priority => TodoSortKey::Priority,
            TodoOrderField::Title => TodoSortKey::Title,
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
        let any_tags = parse_tags("any", tags.any);
        let all_tags = parse_tags("all", tags.all);
        let search = self.search.filter(|text| is_visible(text) || text.contains('\0'));
        let search = search.and_then(|text| match normalise("A search", &text, MAX_SEARCH) {
            Ok(text) if text.contains('\0') => {
                let message = "A search must not contain control characters.".into();
                note(&["search"], Problem { code: "INVALID", message });
                None
            }
            Ok(text) => Some(text),
            Err(problem) => {
                note(&["search"], problem);
                None
            }
        });
        for (name, time) in [("dueBefore", self.due_before), ("dueAfter", self.due_after)] {
            if time.is_some_and(|DateTime(time)| !is_representable(time)) {
                note(&[name], super::input::unrepresentable());
            }
        }
        if !problems.is_empty() {
            return Err(AppError::BadUserInput(problems));
        }
        Ok(models::TodoFilter {
            completed: self.completed,
            due_before: self.due_before.map(|time| time.0),
            due_after: self.due_after.map(|time| time.0),
            priorities: self.priority.unwrap_or_default().into_iter().map(Into::into).collect(),
            any_tags,
            all_tags,
            search,
            in_trash: self.in_trash,
        })
    }
}

/// Loads a page of a user's todos.
pub(super) async fn todos(
    ctx: &Context<'_>,
    user_id: Uuid,
    arguments: PageArguments<'_>,
    filter: TodoFilter,
    order: Option<TodoOrder>,
) -> Result<Connection<Todo, LatestEvent>, AppError> {
    let latest_first = models::TodoOrder { key: TodoSortKey::CreatedAt, descending: true };
    let order = order.map_or(latest_first, models::TodoOrder::from);
    let page = arguments.parse(&order)?;
    let filter = filter.parse()?;
    let selected = Selected::of(ctx, &page);
    let returns_event = LatestEvent::is_selected(ctx);
    let (todos, extras, latest) = ctx
        .state()?
        .database
        .read_for(user_id, async |conn| {
            // Before the list, so that no change falls between them: the list may hold changes after this event, but lacks
            // none up to it.
            let latest = if returns_event { TodoEvent::last_id(conn, user_id).await? } else { Uuid::nil() };
            let extras = Extras {
                total_count: if selected.total_count {
                    models::Todo::count(conn, user_id, &filter).await?
                } else {
                    0
                },
                has_more_behind: selected.has_more_behind
                    && models::Todo::are_behind(conn, user_id, &filter, order, &page).await?,
            };
            Ok((models::Todo::list(conn, user_id, &filter, order, &page).await?, extras, latest))
        })
        .await?;
    let todos = todos.into_iter().map(|todo| Owned(user_id, todo)).collect();
    let connection =
        Connection::new(&page, todos, extras, |Owned(_, todo)| order.encode(&order.position(todo)));
    Ok(connection.with_fields(latest.into()))
}

/// A todo and its owner.
struct Owned(Uuid, models::Todo);

impl From<Owned> for Todo {
    fn from(Owned(user_id, todo): Owned) -> Self {
        Self::new(user_id, todo)
    }
}
