use async_graphql::OutputType;
use async_graphql::connection::PageInfo;

use super::json::{Fields, JsonBuffer};
use crate::graphql::engine::PlannedField;
use crate::graphql::schema::connections::{Edge, Rows, Selected};
use crate::graphql::schema::cursors::Cursors;
use crate::graphql::schema::todos::{LoadedPage, Todo, TodoPage, TodoPageQuery, TodoPriority, Wanted};
use crate::models::{PartialTodo, TodoColumn, TodoColumns};

/// Typical size of a todo as JSON, in bytes; sizes the buffer.
pub(super) const TODO_BYTES: usize = 256;

/// The selected fields of a page of todos.
pub(super) struct PageFields(Fields<PageField>);

enum PageField {
    TypeName,
    Edges(Fields<EdgeField>),
    Nodes(Fields<TodoField>),
    PageInfo(Fields<PageInfoField>),
    TotalCount,
    EventId,
}

enum EdgeField {
    TypeName,
    Cursor,
    Node(Fields<TodoField>),
}

#[derive(Clone, Copy)]
enum TodoField {
    TypeName,
    Id,
    Completed,
    Column(TodoColumn),
}

#[derive(Clone, Copy)]
enum PageInfoField {
    TypeName,
    HasPreviousPage,
    HasNextPage,
    StartCursor,
    EndCursor,
}

impl PageFields {
    pub(super) fn compile(field: &PlannedField) -> Option<Self> {
        Fields::compile(field.selected_fields()?, parse_page_field).map(Self)
    }

    /// Returns the parts of the page that are selected besides the rows.
    pub(super) fn wanted(&self, query: &TodoPageQuery) -> Wanted {
        let has = |test: fn(&PageField) -> bool| self.0.iter().any(test);
        let behind = |field: &PageField| match field {
            PageField::PageInfo(fields) => fields.iter().any(|field| match field {
                PageInfoField::HasPreviousPage => !query.page.from_end,
                PageInfoField::HasNextPage => query.page.from_end,
                _ => false,
            }),
            _ => false,
        };
        let selected = Selected {
            total_count: has(|field| matches!(field, PageField::TotalCount)),
            has_more_behind: query.page.start().is_some() && self.0.iter().any(behind),
        };
        Wanted { selected, event_id: has(|field| matches!(field, PageField::EventId)) }
    }

    /// Returns the columns that the fields and the cursors need.
    pub(super) fn columns(&self, query: &TodoPageQuery) -> TodoColumns {
        let mut columns = TodoColumns::default();
        for field in self.0.iter() {
            match field {
                PageField::Nodes(todo) => add_columns(&mut columns, todo),
                PageField::Edges(edge) => {
                    for field in edge.iter() {
                        match field {
                            EdgeField::Node(todo) => add_columns(&mut columns, todo),
                            EdgeField::Cursor => columns.insert(query.order.column()),
                            EdgeField::TypeName => {}
                        }
                    }
                }
                PageField::PageInfo(_) => columns.insert(query.order.column()),
                PageField::TypeName | PageField::TotalCount | PageField::EventId => {}
            }
        }
        columns
    }

    /// Serializes the page that a query has loaded.
    pub(super) fn write(&self, json: &mut JsonBuffer, query: &TodoPageQuery, page: &LoadedPage) {
        let rows = &page.rows;
        json.object(&self.0, |json, field| match field {
            PageField::TypeName => json.unescaped(&TodoPage::type_name()),
            PageField::Edges(fields) => {
                json.list(&rows.items, |json, todo| write_edge(json, fields, query, todo));
            }
            PageField::Nodes(fields) => json.list(&rows.items, |json, todo| write_todo(json, fields, todo)),
            PageField::PageInfo(fields) => write_page_info(json, fields, query, rows),
            PageField::TotalCount => json.integer(page.total_count),
            PageField::EventId => json.id(page.event_id),
        });
    }
}

fn write_edge(json: &mut JsonBuffer, fields: &Fields<EdgeField>, query: &TodoPageQuery, todo: &PartialTodo) {
    json.object(fields, |json, field| match field {
        EdgeField::TypeName => json.unescaped(&Edge::<Todo>::type_name()),
        EdgeField::Cursor => write_cursor(json, query, Some(todo)),
        EdgeField::Node(fields) => write_todo(json, fields, todo),
    });
}

fn write_page_info(
    json: &mut JsonBuffer,
    fields: &Fields<PageInfoField>,
    query: &TodoPageQuery,
    rows: &Rows<PartialTodo>,
) {
    json.object(fields, |json, field| match field {
        PageInfoField::TypeName => json.unescaped(&PageInfo::type_name()),
        PageInfoField::HasPreviousPage => json.boolean(rows.has_previous_page),
        PageInfoField::HasNextPage => json.boolean(rows.has_next_page),
        PageInfoField::StartCursor => write_cursor(json, query, rows.items.first()),
        PageInfoField::EndCursor => write_cursor(json, query, rows.items.last()),
    });
}

fn write_cursor(json: &mut JsonBuffer, query: &TodoPageQuery, todo: Option<&PartialTodo>) {
    let position = todo.and_then(|todo| query.order.position_of(todo));
    json.optional(position, |json, position| json.unescaped(&query.order.encode(&position)));
}

fn parse_page_field(field: &PlannedField) -> Option<PageField> {
    Some(match field.name.as_str() {
        "__typename" => PageField::TypeName,
        "edges" => PageField::Edges(Fields::compile(field.selected_fields()?, parse_edge_field)?),
        "nodes" => PageField::Nodes(Fields::compile(field.selected_fields()?, parse_todo_field)?),
        "pageInfo" => PageField::PageInfo(Fields::compile(field.selected_fields()?, parse_page_info_field)?),
        "totalCount" => PageField::TotalCount,
        "eventId" => PageField::EventId,
        _ => return None,
    })
}

fn parse_edge_field(field: &PlannedField) -> Option<EdgeField> {
    Some(match field.name.as_str() {
        "__typename" => EdgeField::TypeName,
        "cursor" => EdgeField::Cursor,
        "node" => EdgeField::Node(Fields::compile(field.selected_fields()?, parse_todo_field)?),
        _ => return None,
    })
}

fn parse_page_info_field(field: &PlannedField) -> Option<PageInfoField> {
    Some(match field.name.as_str() {
        "__typename" => PageInfoField::TypeName,
        "hasPreviousPage" => PageInfoField::HasPreviousPage,
        "hasNextPage" => PageInfoField::HasNextPage,
        "startCursor" => PageInfoField::StartCursor,
        "endCursor" => PageInfoField::EndCursor,
        _ => return None,
    })
}

fn parse_todo_field(field: &PlannedField) -> Option<TodoField> {
    Some(match field.name.as_str() {
        "__typename" => TodoField::TypeName,
        "id" => TodoField::Id,
        "completed" => TodoField::Completed,
        "title" => TodoField::Column(TodoColumn::Title),
        "description" => TodoField::Column(TodoColumn::Description),
        "completedAt" => TodoField::Column(TodoColumn::CompletedAt),
        "priority" => TodoField::Column(TodoColumn::Priority),
        "dueAt" => TodoField::Column(TodoColumn::DueAt),
        "tags" => TodoField::Column(TodoColumn::Tags),
        "version" => TodoField::Column(TodoColumn::Version),
        "createdAt" => TodoField::Column(TodoColumn::CreatedAt),
        "updatedAt" => TodoField::Column(TodoColumn::UpdatedAt),
        "deletedAt" => TodoField::Column(TodoColumn::DeletedAt),
        _ => return None,
    })
}

fn add_columns(columns: &mut TodoColumns, fields: &Fields<TodoField>) {
    for field in fields.iter() {
        match field {
            TodoField::Column(column) => columns.insert(*column),
            TodoField::Completed => columns.insert(TodoColumn::CompletedAt),
            TodoField::TypeName | TodoField::Id => {}
        }
    }
}

fn write_todo(json: &mut JsonBuffer, fields: &Fields<TodoField>, todo: &PartialTodo) {
    json.object(fields, |json, field| match field {
        TodoField::TypeName => json.unescaped(&Todo::type_name()),
        TodoField::Id => json.id(todo.id),
        TodoField::Completed => json.boolean(todo.completed_at.is_some()),
        TodoField::Column(column) => write_column(json, *column, todo),
    });
}

fn write_column(json: &mut JsonBuffer, column: TodoColumn, todo: &PartialTodo) {
    match column {
        TodoColumn::Title => json.optional(todo.title.as_deref(), JsonBuffer::text),
        TodoColumn::Description => json.optional(todo.description.as_deref(), JsonBuffer::text),
        TodoColumn::Priority => {
            json.optional(todo.priority.as_ref(), |json, priority| {
                json.enumeration(TodoPriority::from(priority.0));
            });
        }
        TodoColumn::DueAt => json.optional(todo.due_at, JsonBuffer::time),
        TodoColumn::Tags => {
            json.optional(todo.tags.as_ref(), |json, tags| {
                json.list(tags.iter().flatten(), |json, tag| json.text(tag));
            });
        }
        TodoColumn::Version => json.optional(todo.version, JsonBuffer::integer),
        TodoColumn::CreatedAt => json.optional(todo.created_at, JsonBuffer::time),
        TodoColumn::UpdatedAt => json.optional(todo.updated_at, JsonBuffer::time),
        TodoColumn::CompletedAt => json.optional(todo.completed_at, JsonBuffer::time),
        TodoColumn::DeletedAt => json.optional(todo.deleted_at, JsonBuffer::time),
    }
}
