//! Todos: the owner comes from the token, and somebody else's todo is answered as one that does not exist.

mod bulk;
mod history;
mod input;
mod list;
mod live;
mod write;

use async_graphql::{ComplexObject, Context, ID, Name, Object, SimpleObject, Value};
use uuid::Uuid;

pub(super) use self::bulk::TodoBulkMutation;
use self::history::history;
pub(super) use self::history::{HistoryLoader, TodoEvent};
use self::list::{TodoFilter, TodoOrder};
pub(super) use self::live::Subscription;
pub(super) use self::write::TodoMutation;
use super::directives::{any_reason, errors};
use super::pages::{Connection, Edge, PageArguments};
use crate::error::{AppError, ErrorCode};
use crate::graphql::context::ContextExt;
use crate::graphql::scalars::DateTime;
use crate::models::{self, Priority};

/// Reads of one's own todos.
#[derive(Default)]
pub(super) struct TodoQuery;

/// Read operations on todos.
#[Object]
impl TodoQuery {
    /// One of one's own todos, also from the trash.
    #[graphql(directive = errors::apply(vec![ErrorCode::NotFound, ErrorCode::Unauthenticated], any_reason()))]
    async fn todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which todo.")] id: ID,
    ) -> Option<Result<Todo, AppError>> {
        Some(find(ctx, &id).await)
    }

    /// One's own todos, page by page. A page begins and ends at its cursors also while todos come and go.
    #[graphql(directive = errors::apply(vec![ErrorCode::BadUserInput, ErrorCode::Unauthenticated], any_reason()))]
    #[expect(clippy::too_many_arguments, reason = "those of Relay's lists")]
    async fn todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the beginning, from 0 to 100; 20 if this and last are left out.")]
        first: Option<i32>,
        #[graphql(desc = "The cursor after which to begin.")] after: Option<String>,
        #[graphql(desc = "How many from the end, from 0 to 100.")] last: Option<i32>,
        #[graphql(desc = "The cursor before which to end.")] before: Option<String>,
        #[graphql(desc = "Which todos; those that are not in the trash if this is left out.")] filter: Option<
            TodoFilter,
        >,
        #[graphql(desc = "In which order; the latest first if this is left out.")] order_by: Option<
            TodoOrder,
        >,
    ) -> Result<Connection<Todo, Edge<Todo>>, AppError> {
        let identity = ctx.caller()?.requester.require_identity()?;
        let arguments = PageArguments { first, after: after.as_deref(), last, before: before.as_deref() };
        list::todos(ctx, identity.user_id, arguments, filter.unwrap_or_default(), order_by).await
    }
}

async fn find(ctx: &Context<'_>, id: &ID) -> Result<Todo, AppError> {
    let user_id = ctx.caller()?.requester.require_identity()?.user_id;
    let id = parse_id(id)?;
    let todo = ctx
        .state()?
        .database
        .read_of(user_id, async |conn| models::Todo::find(conn, user_id, id).await)
        .await?;
    Ok(Todo::new(user_id, todo.ok_or(AppError::NotFound)?))
}

/// What is no UUID is the identifier of nothing.
fn parse_id(id: &ID) -> Result<Uuid, AppError> {
    id.parse().map_err(|_| AppError::NotFound)
}

/// Something to be done.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(super) struct Todo {
    #[graphql(skip)]
    key: (Uuid, Uuid),
    /// Identifier, a UUID.
    id: ID,
    /// What is to be done, in a line.
    title: String,
    /// What else there is to say; may be empty.
    description: String,
    /// Whether it is done.
    completed: bool,
    /// When it was done; null if it is not.
    completed_at: Option<DateTime>,
    /// How important it is.
    priority: Priority,
    /// By when it is to be done; null for no particular time.
    due_at: Option<DateTime>,
    /// Words to sort it by, in the order they were given.
    tags: Vec<String>,
    /// Raised by every change: give it as `expectedVersion` to change only what you have seen.
    version: i64,
    /// When it was made.
    created_at: DateTime,
    /// When it last changed.
    updated_at: DateTime,
    /// When it was put into the trash; null if it is not there.
    deleted_at: Option<DateTime>,
}

impl Todo {
    /// A user's todo as clients read it.
    pub(super) fn new(user_id: Uuid, todo: models::Todo) -> Self {
        Self {
            key: (user_id, todo.id),
            id: todo.id.into(),
            title: todo.title,
            description: todo.description,
            completed: todo.completed_at.is_some(),
            completed_at: todo.completed_at.map(DateTime),
            priority: todo.priority,
            due_at: todo.due_at.map(DateTime),
            tags: todo.tags.into_iter().flatten().collect(),
            version: todo.version,
            created_at: DateTime(todo.created_at),
            updated_at: DateTime(todo.updated_at),
            deleted_at: todo.deleted_at.map(DateTime),
        }
    }

    /// All its fields, for an error.
    fn into_value(self) -> Value {
        use async_graphql::ScalarType;

        let time = |time: Option<DateTime>| time.map_or(Value::Null, |time| time.to_value());
        let fields = [
            ("id", self.id.0.into()),
            ("title", self.title.into()),
            ("description", self.description.into()),
            ("completed", self.completed.into()),
            ("completedAt", time(self.completed_at)),
            ("priority", Value::Enum(Name::new(self.priority.as_str()))),
            ("dueAt", time(self.due_at)),
            ("tags", Value::List(self.tags.into_iter().map(Value::from).collect())),
            ("version", self.version.into()),
            ("createdAt", time(Some(self.created_at))),
            ("updatedAt", time(Some(self.updated_at))),
            ("deletedAt", time(self.deleted_at)),
        ];
        Value::Object(fields.into_iter().map(|(name, value)| (Name::new(name), value)).collect())
    }
}

#[ComplexObject]
impl Todo {
    /// What happened to the todo, the latest first. Older events are forgotten after a time.
    #[graphql(directive = errors::apply(vec![ErrorCode::BadUserInput], Vec::new()))]
    async fn history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, from 0 to 100; 20 if left out.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which to begin.")] after: Option<String>,
    ) -> Result<Connection<TodoEvent, Edge<TodoEvent>>, AppError> {
        history(ctx, self.key, first, after.as_deref()).await
    }
}
