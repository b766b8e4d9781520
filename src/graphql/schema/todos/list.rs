use async_graphql::{Context, Enum, InputObject};
use uuid::Uuid;

use super::history::LatestEvent;
use super::{Todo, TodoPage, TodoPriority};
use crate::domain::{Problem, Tags, is_visible, normalise};
use crate::error::{AppError, FieldProblem};
use crate::graphql::context::ContextExt;
use crate::graphql::scalars::{DateTime, is_representable};
use crate::graphql::schema::connections::{Connection, Extras, PageArguments, Rows, Selected};
use crate::graphql::schema::cursors::Cursors;
use crate::models::{self, Page, PartialTodo, TodoColumns, TodoEvent, TodoPosition, TodoSortKey};
use crate::state::AppState;

/// Maximum length of a search, in characters.
const MAX_SEARCH: usize = 200;

/// Conditions on todos, all of which must hold. An empty list is no condition.
#[derive(Default, InputObject)]
pub(in crate::graphql) struct TodoFilter {
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
pub(in crate::graphql) struct TodoOrder {
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

/// The parsed arguments of a page of a user's todos.
pub(in crate::graphql) struct TodoPageQuery {
    user_id: Uuid,
    filter: models::TodoFilter,
    pub(in crate::graphql) order: models::TodoOrder,
    pub(in crate::graphql) page: Page<TodoPosition>,
}

/// True for each part of a page that is requested and costs a query of its own.
#[derive(Clone, Copy)]
pub(in crate::graphql) struct Wanted {
    pub(in crate::graphql) selected: Selected,
    pub(in crate::graphql) event_id: bool,
}

/// The rows of a page, with the requested parts.
pub(in crate::graphql) struct LoadedPage {
    pub(in crate::graphql) rows: Rows<PartialTodo>,
    pub(in crate::graphql) total_count: i64,
    pub(in crate::graphql) event_id: Uuid,
}

impl TodoPageQuery {
    /// Parses the arguments; reports the problems of the page before those of the filter.
    pub(in crate::graphql) fn parse(
        user_id: Uuid,
        arguments: PageArguments<'_>,
        filter: Option<TodoFilter>,
        order: Option<TodoOrder>,
    ) -> Result<Self, AppError> {
        let latest_first = models::TodoOrder { key: TodoSortKey::CreatedAt, descending: true };
        let order = order.map_or(latest_first, models::TodoOrder::from);
        let page = arguments.parse(&order)?;
        Ok(Self { user_id, filter: filter.unwrap_or_default().parse()?, order, page })
    }

    /// Loads the page, its rows with the given columns only.
    pub(in crate::graphql) async fn load(
        &self,
        state: &AppState,
        columns: TodoColumns,
        wanted: Wanted,
    ) -> Result<LoadedPage, AppError> {
        let Self { user_id, filter, order, page } = self;
        let user_id = *user_id;
        let order = *order;
        let Wanted { selected, event_id } = wanted;
        let (todos, extras, event_id) = state
            .database
            .read_for(user_id, async |conn| {
                // Before the list, so that no change falls between them: the list may hold changes after this event, but
                // lacks none up to it.
                let event_id = if event_id { TodoEvent::last_id(conn, user_id).await? } else { Uuid::nil() };
                let total_count =
                    if selected.total_count { models::Todo::count(conn, user_id, filter).await? } else { 0 };
                let has_more_behind = selected.has_more_behind
                    && PartialTodo::are_behind(conn, user_id, filter, order, page).await?;
                let todos = PartialTodo::list(conn, user_id, columns, filter, order, page).await?;
                Ok((todos, Extras { total_count, has_more_behind }, event_id))
            })
            .await?;
        let total_count = extras.total_count;
        Ok(LoadedPage { rows: Rows::arrange(page, todos, extras), total_count, event_id })
    }
}

/// Loads a page of a user's todos for resolvers.
pub(super) async fn todos(ctx: &Context<'_>, query: TodoPageQuery) -> Result<TodoPage, AppError> {
    let wanted = Wanted { selected: Selected::of(ctx, &query.page), event_id: LatestEvent::is_selected(ctx) };
    let LoadedPage { rows, total_count, event_id } =
        query.load(ctx.state()?, TodoColumns::ALL, wanted).await?;
    let rows = rows.try_map(|todo| {
        let todo = todo.into_whole();
        todo.ok_or_else(|| AppError::internal(anyhow::anyhow!("a column was not read")))
    })?;
    let cursor = |todo: &models::Todo| query.order.encode(&query.order.position(todo));
    let todo = |todo| Todo::new(query.user_id, todo);
    Ok(Connection::from_rows(rows, total_count, cursor, todo).with_fields(event_id.into()))
}
