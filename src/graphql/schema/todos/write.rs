use async_graphql::{Context, ID, Object, SimpleObject};

use super::error::WriteError;
use super::history::{LatestEvent, TodoEvent};
use super::input::{CreateTodoInput, CreateTodosInput, UpdateTodoInput, UpdateTodosInput};
use super::targets::{TodoInput, TodosInput, UndoEventsInput, UndoInput};
use super::writer::{ChangedTodo, Writer, Written};
use super::{Todo, parse_id};
use crate::error::AppError;
use crate::graphql::error_code::ErrorCode;
use crate::graphql::schema::directives::{any_reason, errors};

/// Error codes of creations.
const CREATION: [ErrorCode; 3] = [ErrorCode::BadUserInput, ErrorCode::Conflict, ErrorCode::Unauthenticated];
/// Error codes of mutations on one todo.
const ONE: [ErrorCode; 3] = [ErrorCode::NotFound, ErrorCode::Conflict, ErrorCode::Unauthenticated];
/// Error codes of mutations on several todos.
const MANY: [ErrorCode; 4] =
    [ErrorCode::BadUserInput, ErrorCode::NotFound, ErrorCode::Conflict, ErrorCode::Unauthenticated];

/// The mutations on todos.
#[derive(Default)]
pub(in crate::graphql::schema) struct TodoMutation;

/// Write operations on todos. A mutation on several todos applies to all of them or to none.
#[Object]
impl TodoMutation {
    /// Creates a todo. With a client-generated `id` it is idempotent: the same request returns the same todo.
    #[graphql(directive = errors::apply(CREATION.into(), any_reason()))]
    async fn create_todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todo.")] input: CreateTodoInput,
    ) -> Result<TodoPayload, WriteError> {
        let writer = Writer::new(ctx)?;
        writer.create(&[input.parse()?]).await?.try_into()
    }

    /// Creates up to 100 todos, all or none; see `createTodo`.
    #[graphql(directive = errors::apply(CREATION.into(), any_reason()))]
    async fn create_todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todos.")] input: CreateTodosInput,
    ) -> Result<TodosPayload, WriteError> {
        let writer = Writer::new(ctx)?;
        Ok(writer.create(&input.parse()?).await?.into())
    }

    /// Changes the given fields of a todo.
    #[graphql(directive = errors::apply([&ONE[..], &[ErrorCode::BadUserInput]].concat(), any_reason()))]
    async fn update_todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todo and its changes.")] input: UpdateTodoInput,
    ) -> Result<TodoPayload, WriteError> {
        let writer = Writer::new(ctx)?;
        let (targets, changes) = input.parse()?;
        writer.update(&targets, &changes).await?.try_into()
    }

    /// Makes the same changes to up to 100 todos, all or none; see `updateTodo`.
    #[graphql(directive = errors::apply(MANY.into(), any_reason()))]
    async fn update_todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todos and their changes.")] input: UpdateTodosInput,
    ) -> Result<TodosPayload, WriteError> {
        let writer = Writer::new(ctx)?;
        let (targets, changes) = input.parse()?;
        Ok(writer.update(&targets, &changes).await?.into())
    }

    /// Marks a todo as completed. No effect on a completed todo.
    #[graphql(directive = errors::apply(ONE.into(), any_reason()))]
    async fn complete_todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todo.")] input: TodoInput,
    ) -> Result<TodoPayload, WriteError> {
        Writer::new(ctx)?.complete(&input.parse()?).await?.try_into()
    }

    /// Marks up to 100 todos as completed, all or none; see `completeTodo`.
    #[graphql(directive = errors::apply(MANY.into(), any_reason()))]
    async fn complete_todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todos.")] input: TodosInput,
    ) -> Result<TodosPayload, WriteError> {
        Ok(Writer::new(ctx)?.complete(&input.parse()?).await?.into())
    }

    /// Marks a todo as not completed. No effect on an open todo.
    #[graphql(directive = errors::apply(ONE.into(), any_reason()))]
    async fn reopen_todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todo.")] input: TodoInput,
    ) -> Result<TodoPayload, WriteError> {
        Writer::new(ctx)?.reopen(&input.parse()?).await?.try_into()
    }

    /// Marks up to 100 todos as not completed, all or none; see `reopenTodo`.
    #[graphql(directive = errors::apply(MANY.into(), any_reason()))]
    async fn reopen_todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todos.")] input: TodosInput,
    ) -> Result<TodosPayload, WriteError> {
        Ok(Writer::new(ctx)?.reopen(&input.parse()?).await?.into())
    }

    /// Moves a todo to the trash, from where it is purged after a retention period. No effect on a todo in the trash.
    #[graphql(directive = errors::apply(ONE.into(), any_reason()))]
    async fn delete_todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todo.")] input: TodoInput,
    ) -> Result<TodoPayload, WriteError> {
        Writer::new(ctx)?.delete(&input.parse()?).await?.try_into()
    }

    /// Moves up to 100 todos to the trash, all or none; see `deleteTodo`.
    #[graphql(directive = errors::apply(MANY.into(), any_reason()))]
    async fn delete_todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todos.")] input: TodosInput,
    ) -> Result<TodosPayload, WriteError> {
        Ok(Writer::new(ctx)?.delete(&input.parse()?).await?.into())
    }

    /// Takes a todo out of the trash. No effect on a todo outside of it.
    #[graphql(directive = errors::apply(ONE.into(), any_reason()))]
    async fn restore_todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todo.")] input: TodoInput,
    ) -> Result<TodoPayload, WriteError> {
        Writer::new(ctx)?.restore(&input.parse()?).await?.try_into()
    }

    /// Takes up to 100 todos out of the trash, all or none; see `restoreTodo`.
    #[graphql(directive = errors::apply(MANY.into(), any_reason()))]
    async fn restore_todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todos.")] input: TodosInput,
    ) -> Result<TodosPayload, WriteError> {
        Ok(Writer::new(ctx)?.restore(&input.parse()?).await?.into())
    }

    /// Permanently deletes a todo and the content of its history, in the trash or not.
    #[graphql(directive = errors::apply(ONE.into(), any_reason()))]
    async fn purge_todo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todo.")] input: TodoInput,
    ) -> Result<PurgedTodoPayload, WriteError> {
        let writer = Writer::new(ctx)?;
        let targets = input.parse()?;
        let Written { value: (), latest } = writer.purge(&targets).await?;
        let purged_todo_id = targets.ids().iter().copied().next().ok_or(AppError::NotFound)?.into();
        Ok(PurgedTodoPayload { purged_todo_id, latest })
    }

    /// Permanently deletes up to 100 todos, all or none; see `purgeTodo`.
    #[graphql(directive = errors::apply(MANY.into(), any_reason()))]
    async fn purge_todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todos.")] input: TodosInput,
    ) -> Result<PurgedTodosPayload, WriteError> {
        let writer = Writer::new(ctx)?;
        let targets = input.parse()?;
        let Written { value: (), latest } = writer.purge(&targets).await?;
        Ok(PurgedTodosPayload {
            purged_todo_ids: targets.ids().iter().copied().map(ID::from).collect(),
            latest,
        })
    }

    /// Permanently deletes all todos in the trash.
    #[graphql(directive = errors::apply(vec![ErrorCode::Unauthenticated], any_reason()))]
    async fn empty_trash(&self, ctx: &Context<'_>) -> Result<EmptyTrashPayload, WriteError> {
        let Written { value: purged_count, latest } = Writer::new(ctx)?.empty_trash().await?;
        Ok(EmptyTrashPayload { purged_count, latest })
    }

    /// Reverts an event: the fields that it changed get their previous values, and a created todo moves to the trash. A
    /// `CONFLICT` if one of the fields has changed since. An undo can itself be undone. No effect on an event that has already
    /// been reverted.
    #[graphql(directive = errors::apply(ONE.into(), any_reason()))]
    async fn undo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The event.")] input: UndoInput,
    ) -> Result<TodoPayload, WriteError> {
        let writer = Writer::new(ctx)?;
        writer.undo(&[parse_id(&input.event_id)?]).await?.try_into()
    }

    /// Reverts up to 100 events, all or none; see `undo`. A field that several of them changed gets its value from before the
    /// earliest. Returns the todo of each event, so a todo appears once for each of its events; one event reverts them all.
    #[graphql(directive = errors::apply(MANY.into(), any_reason()))]
    async fn undo_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The events.")] input: UndoEventsInput,
    ) -> Result<TodosPayload, WriteError> {
        let writer = Writer::new(ctx)?;
        Ok(writer.undo(&input.parse()?).await?.into())
    }
}

/// The result of a mutation on a todo.
#[derive(SimpleObject)]
struct TodoPayload {
    /// Todo after the mutation.
    todo: Todo,
    /// The mutation's event; pass its `id` to `undo`. A repeated creation, undo or write with `expectedVersion` returns the
    /// event of the first request. Null if the mutation changed nothing, or if the event has been deleted since.
    event: Option<TodoEvent>,
    #[graphql(flatten)]
    latest: LatestEvent,
}

impl TryFrom<Written<Vec<ChangedTodo>>> for TodoPayload {
    type Error = WriteError;

    fn try_from(Written { value, latest }: Written<Vec<ChangedTodo>>) -> Result<Self, WriteError> {
        let ChangedTodo { todo, event } = value.into_iter().next().ok_or(AppError::NotFound)?;
        Ok(Self { todo, event, latest })
    }
}

/// The result of a mutation on several todos.
#[derive(SimpleObject)]
struct TodosPayload {
    /// Todos after the mutation, in the order of the input.
    todos: Vec<Todo>,
    /// Event of each of the `todos`, in the same order; pass the `id`s to `undoEvents`. Null for a todo that did not change:
    /// see `TodoPayload.event`.
    events: Vec<Option<TodoEvent>>,
    #[graphql(flatten)]
    latest: LatestEvent,
}

impl From<Written<Vec<ChangedTodo>>> for TodosPayload {
    fn from(Written { value, latest }: Written<Vec<ChangedTodo>>) -> Self {
        let (todos, events) = value.into_iter().map(|changed| (changed.todo, changed.event)).unzip();
        Self { todos, events, latest }
    }
}

/// The result of a permanent deletion.
#[derive(SimpleObject)]
struct PurgedTodoPayload {
    /// Identifier of the todo, for removing it from a cache.
    purged_todo_id: ID,
    #[graphql(flatten)]
    latest: LatestEvent,
}

/// The result of a permanent deletion of several todos.
#[derive(SimpleObject)]
struct PurgedTodosPayload {
    /// Identifiers of the todos, for removing them from a cache.
    purged_todo_ids: Vec<ID>,
    #[graphql(flatten)]
    latest: LatestEvent,
}

/// The result of emptying the trash.
#[derive(SimpleObject)]
struct EmptyTrashPayload {
    /// Number of deleted todos.
    purged_count: usize,
    #[graphql(flatten)]
    latest: LatestEvent,
}
