//! Partial todos: only the requested columns are read.

use chrono::{DateTime, Utc};
use diesel::dsl::case_when;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::list::restrict_to_page;
use super::{
    Page, Priority, TextColumn, Todo, TodoFilter, TodoOrder, TodoPosition, TodoSortKey, TodoSortValue,
};
use crate::db::schema::todos;

/// A column of a todo besides its identifier.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TodoColumn {
    /// Title.
    Title,
    /// Notes.
    Description,
    /// Importance.
    Priority,
    /// Due time.
    DueAt,
    /// Labels.
    Tags,
    /// Number of the last change.
    Version,
    /// Time of creation.
    CreatedAt,
    /// Time of the last change.
    UpdatedAt,
    /// Time of completion.
    CompletedAt,
    /// Time of the move to the trash.
    DeletedAt,
}

/// A set of columns.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TodoColumns(u16);

impl TodoColumns {
    /// Set of all columns.
    pub const ALL: Self = Self(u16::MAX);

    /// Adds a column.
    pub fn insert(&mut self, column: TodoColumn) {
        self.0 |= 1 << column as u16;
    }

    /// Returns true if the set has a column.
    pub fn contains(self, column: TodoColumn) -> bool {
        self.0 & 1 << column as u16 != 0
    }
}

/// A todo with some of its columns; those that were not read are `None`.
#[derive(Clone, Debug, Queryable)]
#[diesel(check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "as the columns of the same name")]
pub struct PartialTodo {
    pub id: Uuid,
    pub title: Option<String>,
    pub description: Option<String>,
    pub priority: Option<TextColumn<Priority>>,
    pub due_at: Option<DateTime<Utc>>,
    pub tags: Option<Vec<Option<String>>>,
    pub version: Option<i64>,
    pub created_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    pub completed_at: Option<DateTime<Utc>>,
    pub deleted_at: Option<DateTime<Utc>>,
}

impl PartialTodo {
    /// Loads some columns of a page of a user's todos in the direction of reading, plus one row if there are more.
    pub async fn list(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        columns: TodoColumns,
        filter: &TodoFilter,
        order: TodoOrder,
        page: &Page<TodoPosition>,
    ) -> QueryResult<Vec<Self>> {
        // One statement for all sets of columns: a connection keeps each statement that it has prepared.
        let wanted = |column| columns.contains(column).into_sql::<Bool>();
        let query = todos::table.select((
            todos::id,
            case_when(wanted(TodoColumn::Title), todos::title),
            case_when(wanted(TodoColumn::Description), todos::description),
            case_when(wanted(TodoColumn::Priority), todos::priority),
            case_when(wanted(TodoColumn::DueAt), todos::due_at),
            case_when(wanted(TodoColumn::Tags), todos::tags),
            case_when(wanted(TodoColumn::Version), todos::version),
            case_when(wanted(TodoColumn::CreatedAt), todos::created_at),
            case_when(wanted(TodoColumn::UpdatedAt), todos::updated_at),
            case_when(wanted(TodoColumn::CompletedAt), todos::completed_at),
            case_when(wanted(TodoColumn::DeletedAt), todos::deleted_at),
        ));
        restrict_to_page(query.into_boxed(), user_id, filter, order, page).load(conn).await
    }

    /// Returns true if the list has todos behind the start of a page.
    pub async fn are_behind(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        filter: &TodoFilter,
        order: TodoOrder,
        page: &Page<TodoPosition>,
    ) -> QueryResult<bool> {
        let Some(behind) = page.behind() else { return Ok(false) };
        let found = Self::list(conn, user_id, TodoColumns::default(), filter, order, &behind).await?;
        Ok(!found.is_empty())
    }

    /// Returns the todo if all its columns were read.
    pub fn into_whole(self) -> Option<Todo> {
        Some(Todo {
            id: self.id,
            title: self.title?,
            description: self.description?,
            priority: self.priority?,
            due_at: self.due_at,
            tags: self.tags?,
            version: self.version?,
            created_at: self.created_at?,
            updated_at: self.updated_at?,
            completed_at: self.completed_at,
            deleted_at: self.deleted_at,
        })
    }
}

impl TodoOrder {
    /// Returns the column of the sort key.
    pub fn column(self) -> TodoColumn {
        match self.key {
            TodoSortKey::CreatedAt => TodoColumn::CreatedAt,
            TodoSortKey::UpdatedAt => TodoColumn::UpdatedAt,
            TodoSortKey::DueAt => TodoColumn::DueAt,
            TodoSortKey::Priority => TodoColumn::Priority,
            TodoSortKey::Title => TodoColumn::Title,
        }
    }

    /// Returns the position of a todo in a list of this order; `None` if its sort key was not read.
    pub fn position_of(self, todo: &PartialTodo) -> Option<TodoPosition> {
        let value = match self.key {
            TodoSortKey::CreatedAt => TodoSortValue::Time(Some(todo.created_at?)),
            TodoSortKey::UpdatedAt => TodoSortValue::Time(Some(todo.updated_at?)),
            TodoSortKey::DueAt => TodoSortValue::Time(todo.due_at),
            TodoSortKey::Priority => TodoSortValue::Priority(todo.priority.as_ref()?.0),
            TodoSortKey::Title => TodoSortValue::Text(todo.title.clone()?),
        };
        Some(TodoPosition { value, id: todo.id })
    }
}
