//! Todos. The owner comes from the token; another user's todo is answered like one that does not exist.

mod error;
mod history;
mod input;
mod list;
mod live;
mod positions;
mod targets;
mod write;
mod writer;

use async_graphql::{ComplexObject, Context, Enum, ID, Name, Object, SimpleObject, Value};
use uuid::Uuid;

pub(super) use self::history::{HistoryLoader, TodoEvent};
use self::history::{LatestEvent, history};
pub(in crate::graphql) use self::list::{LoadedPage, TodoPageQuery, Wanted};
use self::list::{TodoFilter, TodoOrder};
pub(super) use self::live::Subscription;
pub(super) use self::write::TodoMutation;
use super::connections::{Connection, PageArguments};
use super::directives::{any_reason, errors};
use crate::error::AppError;
use crate::graphql::context::ContextExt;
use crate::graphql::error_code::ErrorCode;
use crate::graphql::scalars::DateTime;
use crate::models;

/// A page of todos.
pub(in crate::graphql) type TodoPage = Connection<Todo, LatestEvent>;

/// The queries on todos.
#[derive(Default)]
pub(super) struct TodoQuery;

/// Read operations on todos.
#[Object]
impl TodoQuery {
    /// One of the user's todos, including the trash.
    #[graphql(directive = errors::apply(vec![ErrorCode::NotFound, ErrorCode::Unauthenticated], any_reason()))]
    async fn todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Identifier of the todo.")] id: ID,
    ) -> Option<Result<Todo, AppError>> {
        Some(find(ctx, &id).await)
    }

    /// The user's todos. Cursors stay valid while todos are added and removed.
    #[graphql(directive = errors::apply(vec![ErrorCode::BadUserInput, ErrorCode::Unauthenticated], any_reason()))]
    #[expect(clippy::too_many_arguments, reason = "the arguments of a Relay connection")]
    async fn todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Number of items from the start, 0 to 100; 20 if both first and last are omitted.")]
        first: Option<i32>,
        #[graphql(desc = "Cursor after which the page starts.")] after: Option<String>,
        #[graphql(desc = "Number of items from the end, 0 to 100.")] last: Option<i32>,
        #[graphql(desc = "Cursor before which the page ends.")] before: Option<String>,
        #[graphql(desc = "Conditions on the todos; by default all todos outside of the trash.")]
        filter: Option<TodoFilter>,
        #[graphql(desc = "Sort order; by default newest first.")] order_by: Option<TodoOrder>,
    ) -> Result<TodoPage, AppError> {
        let identity = ctx.caller()?.requester.require_identity()?;
        let arguments = PageArguments { first, after: after.as_deref(), last, before: before.as_deref() };
        list::todos(ctx, TodoPageQuery::parse(identity.user_id, arguments, filter, order_by)?).await
    }
}

async fn find(ctx: &Context<'_>, id: &ID) -> Result<Todo, AppError> {
    let user_id = ctx.caller()?.requester.require_identity()?.user_id;
    let id = parse_id(id)?;
    let todo = ctx
        .state()?
        .database
        .read_for(user_id, async |conn| models::Todo::find(conn, user_id, id).await)
        .await?;
    Ok(Todo::new(user_id, todo.ok_or(AppError::NotFound)?))
}

/// Parses an identifier. Text that is not a UUID identifies nothing, hence `NOT_FOUND`.
fn parse_id(id: &ID) -> Result<Uuid, AppError> {
    id.parse().map_err(|_| AppError::NotFound)
}

/// The importance of a todo.
#[derive(Clone, Copy, Default, Enum, Eq, PartialEq)]
#[graphql(remote = "models::Priority")]
pub(in crate::graphql) enum TodoPriority {
    /// No priority.
    #[default]
    None,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
}

/// A task of the user.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(in crate::graphql) struct Todo {
    #[graphql(skip)]
    owner: Uuid,
    #[graphql(skip)]
    uuid: Uuid,
    /// Identifier, a UUID.
    pub(super) id: ID,
    /// Title, one line.
    title: String,
    /// Free-form notes; may be empty.
    description: String,
    /// True if the todo is completed.
    completed: bool,
    /// Time of completion; null while the todo is open.
    completed_at: Option<DateTime>,
    /// Priority.
    priority: TodoPriority,
    /// Due date and time.
    due_at: Option<DateTime>,
    /// Labels for filtering, in the order given.
    tags: Vec<String>,
    /// Version, incremented by every change. Pass it as `expectedVersion` to detect concurrent changes.
    version: i64,
    /// Time of creation.
    created_at: DateTime,
    /// Time of the last change.
    updated_at: DateTime,
    /// Time of the move to the trash; null outside of it.
    deleted_at: Option<DateTime>,
}

impl Todo {
    pub(super) fn new(user_id: Uuid, todo: models::Todo) -> Self {
        // Destructured here and below so that a new column does not compile without its field.
        let models::Todo {
            id,
            title,
            description,
            priority,
            due_at,
            tags,
            version,
            created_at,
            updated_at,
            completed_at,
            deleted_at,
        } = todo;
        Self {
            owner: user_id,
            uuid: id,
            id: id.into(),
            title,
            description,
            completed: completed_at.is_some(),
            completed_at: completed_at.map(DateTime),
            priority: priority.0.into(),
            due_at: due_at.map(DateTime),
            tags: tags.into_iter().flatten().collect(),
            version,
            created_at: DateTime(created_at),
            updated_at: DateTime(updated_at),
            deleted_at: deleted_at.map(DateTime),
        }
    }

    /// Returns all fields, for the error of a conflict.
    fn into_value(self) -> Value {
        use async_graphql::ScalarType;

        let Self {
            owner: _,
            uuid: _,
            id,
            title,
            description,
            completed,
            completed_at,
            priority,
            due_at,
            tags,
            version,
            created_at,
            updated_at,
            deleted_at,
        } = self;
        let time = |time: Option<DateTime>| time.map_or(Value::Null, |time| time.to_value());
        let fields = [
            ("id", id.0.into()),
            ("title", title.into()),
            ("description", description.into()),
            ("completed", completed.into()),
            ("completedAt", time(completed_at)),
            ("priority", priority.into()),
            ("dueAt", time(due_at)),
            ("tags", Value::List(tags.into_iter().map(Value::from).collect())),
            ("version", version.into()),
            ("createdAt", time(Some(created_at))),
            ("updatedAt", time(Some(updated_at))),
            ("deletedAt", time(deleted_at)),
        ];
        Value::Object(fields.into_iter().map(|(name, value)| (Name::new(name), value)).collect())
    }
}

#[ComplexObject]
impl Todo {
    /// Changes of the todo, latest first. Events are deleted after a retention period.
    #[graphql(directive = errors::apply(vec![ErrorCode::BadUserInput], Vec::new()))]
    async fn history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Number of events, 0 to 100; 20 if omitted.")] first: Option<i32>,
        #[graphql(desc = "Cursor after which the page starts.")] after: Option<String>,
    ) -> Result<Connection<TodoEvent>, AppError> {
        history(ctx, self.owner, self.uuid, first, after.as_deref()).await
    }
}
