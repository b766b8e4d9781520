use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::input::{CreateTodoInput, UpdateTodoInput};
use super::{Todo, parse_id};
use crate::error::{AppError, ErrorCode};
use crate::graphql::context::ContextExt;
use crate::graphql::schema::directives::{any_reason, errors};
use crate::models::{self, Author, NewTodo, TodoChanges, Written};
use crate::state::AppState;

/// What may be wrong with a write.
fn failures() -> Vec<ErrorCode> {
    vec![ErrorCode::NotFound, ErrorCode::Conflict, ErrorCode::Unauthenticated]
}

/// Writing one todo.
#[derive(Default)]
pub(in crate::graphql::schema) struct TodoMutation;

/// Write operations on todos.
#[Object]
impl TodoMutation {
    /// Makes a todo. With an `id` of the client's, the same request sent again gives the same todo.
    #[graphql(directive = errors::apply(
        vec![ErrorCode::BadUserInput, ErrorCode::Conflict, ErrorCode::Unauthenticated],
        any_reason(),
    ))]
    async fn create_todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todo.")] input: CreateTodoInput,
    ) -> Result<TodoPayload, AppError> {
        let writer = Writer::new(ctx)?;
        let new = [input.parse(vec!["input".into()]).map_err(AppError::BadUserInput)?];
        writer.one(writer.create(&new).await?)
    }

    /// Changes what is given of a todo, and nothing else.
    #[graphql(directive = errors::apply(
        [failures(), vec![ErrorCode::BadUserInput]].concat(),
        any_reason(),
    ))]
    async fn update_todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which todo, and what changes.")] input: UpdateTodoInput,
    ) -> Result<TodoPayload, AppError> {
        let writer = Writer::new(ctx)?;
        let changes = input.changes.parse()?;
        writer.change(&input.id, input.expected_version, &changes).await
    }

    /// Marks a todo as done. One that is done already stays as it is.
    #[graphql(directive = errors::apply(failures(), any_reason()))]
    async fn complete_todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which todo.")] input: TodoInput,
    ) -> Result<TodoPayload, AppError> {
        let writer = Writer::new(ctx)?;
        let changes = TodoChanges::default().completed_at(Some(writer.state.clock.now()));
        writer.change(&input.id, input.expected_version, &changes).await
    }

    /// Marks a todo as not done. One that is not done stays as it is.
    #[graphql(directive = errors::apply(failures(), any_reason()))]
    async fn reopen_todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which todo.")] input: TodoInput,
    ) -> Result<TodoPayload, AppError> {
        let changes = TodoChanges::default().completed_at(None);
        Writer::new(ctx)?.change(&input.id, input.expected_version, &changes).await
    }

    /// Puts a todo into the trash, which empties itself after a time. One that is there already stays as it is.
    #[graphql(directive = errors::apply(failures(), any_reason()))]
    async fn delete_todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which todo.")] input: TodoInput,
    ) -> Result<TodoPayload, AppError> {
        let writer = Writer::new(ctx)?;
        let changes = TodoChanges::default().deleted_at(Some(writer.state.clock.now()));
        writer.change(&input.id, input.expected_version, &changes).await
    }

    /// Takes a todo out of the trash. One that is not there stays as it is.
    #[graphql(directive = errors::apply(failures(), any_reason()))]
    async fn restore_todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which todo.")] input: TodoInput,
    ) -> Result<TodoPayload, AppError> {
        let changes = TodoChanges::default().deleted_at(None);
        Writer::new(ctx)?.change(&input.id, input.expected_version, &changes).await
    }

    /// Deletes a todo for good, with what its history says of it; whether it is in the trash or not.
    #[graphql(directive = errors::apply(failures(), any_reason()))]
    async fn purge_todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which todo.")] input: TodoInput,
    ) -> Result<PurgedTodoPayload, AppError> {
        let writer = Writer::new(ctx)?;
        let ids = [parse_id(&input.id)?];
        let expected = input.expected_version;
        let purged = writer.write(false, async |conn| writer.author().purge(conn, &ids, expected).await);
        writer.settle(purged.await?)?;
        Ok(PurgedTodoPayload { purged_todo_id: input.id })
    }

    /// Deletes for good all that is in the trash.
    #[graphql(directive = errors::apply(vec![ErrorCode::Unauthenticated], any_reason()))]
    async fn empty_trash(&self, ctx: &Context<'_>) -> Result<EmptyTrashPayload, AppError> {
        let writer = Writer::new(ctx)?;
        let purged = writer.write(false, async |conn| writer.author().empty_trash(conn).await);
        Ok(EmptyTrashPayload { purged_count: purged.await? })
    }

    /// Takes back what an event did: the fields that it changed get the values they had before. What was made goes into
    /// the trash. A `CONFLICT` if one of the fields has changed since. It can itself be undone.
    #[graphql(directive = errors::apply(failures(), any_reason()))]
    async fn undo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which event.")] input: UndoInput,
    ) -> Result<TodoPayload, AppError> {
        let writer = Writer::new(ctx)?;
        let id = parse_id(&input.event_id)?;
        let undone = writer.write(false, async |conn| writer.author().undo(conn, id).await);
        let todo = writer.settle(undone.await?)?;
        Ok(TodoPayload { todo: Todo::new(writer.user_id, todo) })
    }
}

/// Which todo.
#[derive(InputObject)]
struct TodoInput {
    /// Identifier of the todo.
    id: ID,
    /// The version that the todo must have; a `CONFLICT` if it has another one.
    expected_version: Option<i64>,
}

/// What is to be undone.
#[derive(InputObject)]
struct UndoInput {
    /// Identifier of the event, from `Todo.history` or `todoChanged`.
    event_id: ID,
}

/// A todo that was written.
#[derive(SimpleObject)]
struct TodoPayload {
    /// The todo as it is now.
    todo: Todo,
}

/// A todo that is gone for good.
#[derive(SimpleObject)]
struct PurgedTodoPayload {
    /// Identifier of the todo, for removing it from a cache.
    purged_todo_id: ID,
}

/// What was in the trash is gone for good.
#[derive(SimpleObject)]
struct EmptyTrashPayload {
    /// How many todos that were.
    purged_count: usize,
}

/// Writes todos of the user who asks.
pub(super) struct Writer<'a> {
    pub(super) state: &'a AppState,
    pub(super) user_id: Uuid,
    request_id: &'a str,
}

impl<'a> Writer<'a> {
    /// For whoever asks, who must be known.
    pub(super) fn new(ctx: &'a Context<'_>) -> Result<Self, AppError> {
        let (state, caller) = (ctx.state()?, ctx.caller()?);
        let user_id = caller.requester.require_identity()?.user_id;
        Ok(Self { state, user_id, request_id: caller.client.request_id().unwrap_or_default() })
    }

    pub(super) fn author(&self) -> Author<'a> {
        Author { user_id: self.user_id, request_id: self.request_id }
    }

    async fn change(
        &self,
        id: &ID,
        expected_version: Option<i64>,
        changes: &TodoChanges,
    ) -> Result<TodoPayload, AppError> {
        self.one(self.update(&[parse_id(id)?], expected_version, changes).await?)
    }

    /// Makes todos. If the client made their identifiers, this can be repeated.
    pub(super) async fn create(&self, new: &[NewTodo]) -> Result<Written<Vec<models::Todo>>, AppError> {
        let repeatable = new.iter().all(|todo| todo.repeatable);
        self.write(repeatable, async |conn| self.author().create(conn, new).await).await
    }

    /// Changes todos. Unless they must have a certain version, this can be repeated.
    pub(super) async fn update(
        &self,
        ids: &[Uuid],
        expected_version: Option<i64>,
        changes: &TodoChanges,
    ) -> Result<Written<Vec<models::Todo>>, AppError> {
        let update = async |conn: &mut _| self.author().update(conn, ids, expected_version, changes).await;
        self.write(expected_version.is_none(), update).await
    }

    /// Writes; says whether it does no harm to do it again.
    pub(super) async fn write<R>(
        &self,
        repeatable: bool,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    ) -> Result<R, AppError>
    where
        R: Send,
    {
        let database = &self.state.database;
        let written =
            if repeatable { database.write_repeatably(work).await } else { database.write(work).await };
        // Also where it is not known whether it was written: whoever looks wants to know.
        let noted = match &written {
            Err(error) if !error.is_outage() => Ok(()),
            _ => database.note_write_of(self.user_id).await,
        };
        let written = written?;
        noted?;
        Ok(written)
    }

    fn one(&self, written: Written<Vec<models::Todo>>) -> Result<TodoPayload, AppError> {
        let todo = self.settle(written)?.into_iter().next().ok_or(AppError::NotFound)?;
        Ok(TodoPayload { todo: Todo::new(self.user_id, todo) })
    }

    /// What was written, or why nothing was.
    pub(super) fn settle<T>(&self, written: Written<T>) -> Result<T, AppError> {
        match written {
            Written::Done(done) => Ok(done),
            Written::Missing => Err(AppError::NotFound),
            Written::Conflict(todo) => {
                let version = todo.version;
                Err(AppError::Conflict { version, todo: Todo::new(self.user_id, *todo).into_value() })
            }
        }
    }
}
