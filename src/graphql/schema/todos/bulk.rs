use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use uuid::Uuid;

use super::input::{CreateTodoInput, UpdateTodosInput};
use super::write::Writer;
use super::{Todo, parse_id};
use crate::domain::Problem;
use crate::error::{AppError, ErrorCode, FieldProblem};
use crate::graphql::schema::directives::{any_reason, errors};
use crate::models::{self, TodoChanges};

/// The most todos of one write.
const MAX: usize = 100;

/// What may be wrong with a write of many todos.
fn failures() -> Vec<ErrorCode> {
    vec![ErrorCode::BadUserInput, ErrorCode::NotFound, ErrorCode::Unauthenticated]
}

/// Writing many todos at once: all of them or, if one can't be written, none.
#[derive(Default)]
pub(in crate::graphql::schema) struct TodoBulkMutation;

/// Write operations on many todos.
#[Object]
impl TodoBulkMutation {
    /// Makes up to 100 todos, all or none: see `createTodo`.
    #[graphql(directive = errors::apply(
        vec![ErrorCode::BadUserInput, ErrorCode::Conflict, ErrorCode::Unauthenticated],
        any_reason(),
    ))]
    async fn create_todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The todos.")] input: CreateTodosInput,
    ) -> Result<TodosPayload, AppError> {
        let writer = Writer::new(ctx)?;
        check_count("todos", input.todos.len())?;
        let (mut new, mut problems) = (Vec::new(), Vec::new());
        for (index, todo) in input.todos.into_iter().enumerate() {
            match todo.parse(vec!["input".into(), "todos".into(), index.to_string()]) {
                Ok(todo) if new.iter().any(|known: &models::NewTodo| known.id == todo.id) => {
                    let path = vec!["input".into(), "todos".into(), index.to_string().into(), "id".into()];
                    let message = "Each identifier can be given once.".into();
                    problems.push(FieldProblem { path, problem: Problem { code: "INVALID", message } });
                }
                Ok(todo) => new.push(todo),
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(AppError::BadUserInput(problems));
        }
        let made = writer.create(&new);
        let ids: Vec<_> = new.iter().map(|todo| todo.id).collect();
        Ok(payload(&writer, writer.settle(made.await?)?, &ids))
    }

    /// Changes up to 100 todos in the same way, all or none: see `updateTodo`.
    #[graphql(directive = errors::apply(failures(), any_reason()))]
    async fn update_todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which todos, and what changes.")] input: UpdateTodosInput,
    ) -> Result<TodosPayload, AppError> {
        let writer = Writer::new(ctx)?;
        let changes = input.changes.parse()?;
        change(&writer, &input.ids, &changes).await
    }

    /// Marks up to 100 todos as done, all or none: see `completeTodo`.
    #[graphql(directive = errors::apply(failures(), any_reason()))]
    async fn complete_todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which todos.")] input: TodosInput,
    ) -> Result<TodosPayload, AppError> {
        let writer = Writer::new(ctx)?;
        let changes = TodoChanges::default().completed_at(Some(writer.state.clock.now()));
        change(&writer, &input.ids, &changes).await
    }

    /// Marks up to 100 todos as not done, all or none: see `reopenTodo`.
    #[graphql(directive = errors::apply(failures(), any_reason()))]
    async fn reopen_todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which todos.")] input: TodosInput,
    ) -> Result<TodosPayload, AppError> {
        change(&Writer::new(ctx)?, &input.ids, &TodoChanges::default().completed_at(None)).await
    }

    /// Puts up to 100 todos into the trash, all or none: see `deleteTodo`.
    #[graphql(directive = errors::apply(failures(), any_reason()))]
    async fn delete_todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which todos.")] input: TodosInput,
    ) -> Result<TodosPayload, AppError> {
        let writer = Writer::new(ctx)?;
        let changes = TodoChanges::default().deleted_at(Some(writer.state.clock.now()));
        change(&writer, &input.ids, &changes).await
    }

    /// Takes up to 100 todos out of the trash, all or none: see `restoreTodo`.
    #[graphql(directive = errors::apply(failures(), any_reason()))]
    async fn restore_todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which todos.")] input: TodosInput,
    ) -> Result<TodosPayload, AppError> {
        change(&Writer::new(ctx)?, &input.ids, &TodoChanges::default().deleted_at(None)).await
    }

    /// Deletes up to 100 todos for good, all or none: see `purgeTodo`.
    #[graphql(directive = errors::apply(failures(), any_reason()))]
    async fn purge_todos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which todos.")] input: TodosInput,
    ) -> Result<PurgedTodosPayload, AppError> {
        let writer = Writer::new(ctx)?;
        let ids = parse_ids(&input.ids)?;
        let purged = writer.write(false, async |conn| writer.author().purge(conn, &ids, None).await);
        writer.settle(purged.await?)?;
        Ok(PurgedTodosPayload { purged_todo_ids: ids.into_iter().map(ID::from).collect() })
    }
}

/// Todos to be made.
#[derive(InputObject)]
struct CreateTodosInput {
    /// The todos: 1 to 100.
    todos: Vec<CreateTodoInput>,
}

/// Which todos.
#[derive(InputObject)]
struct TodosInput {
    /// Identifiers of the todos: 1 to 100.
    ids: Vec<ID>,
}

/// Todos that were written.
#[derive(SimpleObject)]
struct TodosPayload {
    /// The todos as they are now, in the order in which they were named.
    todos: Vec<Todo>,
}

/// Todos that are gone for good.
#[derive(SimpleObject)]
struct PurgedTodosPayload {
    /// Identifiers of the todos, for removing them from a cache.
    purged_todo_ids: Vec<ID>,
}

fn check_count(name: &'static str, count: usize) -> Result<(), AppError> {
    if (1..=MAX).contains(&count) {
        return Ok(());
    }
    let problem = Problem { code: "INVALID", message: format!("Give 1 to {MAX} todos.") };
    Err(AppError::BadUserInput(vec![FieldProblem { path: vec!["input".into(), name.into()], problem }]))
}

/// The identifiers, each once, in the order in which they were given.
fn parse_ids(ids: &[ID]) -> Result<Vec<Uuid>, AppError> {
    check_count("ids", ids.len())?;
    let mut parsed = Vec::with_capacity(ids.len());
    for id in ids {
        let id = parse_id(id)?;
        if !parsed.contains(&id) {
            parsed.push(id);
        }
    }
    Ok(parsed)
}

async fn change(writer: &Writer<'_>, ids: &[ID], changes: &TodoChanges) -> Result<TodosPayload, AppError> {
    let ids = parse_ids(ids)?;
    let done = writer.update(&ids, None, changes);
    Ok(payload(writer, writer.settle(done.await?)?, &ids))
}

/// What was written, in the order in which it was named.
fn payload(writer: &Writer<'_>, mut todos: Vec<models::Todo>, ids: &[Uuid]) -> TodosPayload {
    todos.sort_by_key(|todo| ids.iter().position(|id| *id == todo.id));
    TodosPayload { todos: todos.into_iter().map(|todo| Todo::new(writer.user_id, todo)).collect() }
}
