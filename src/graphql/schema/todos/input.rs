use async_graphql::{ID, InputObject, MaybeUndefined};
use uuid::Uuid;

use crate::domain::{Description, Problem, Tags, Title};
use crate::error::{AppError, FieldProblem};
use crate::graphql::scalars::DateTime;
use crate::graphql::schema::pages::is_writable;
use crate::models::{NewTodo, Priority, TodoChanges};

/// A todo to be made.
#[derive(InputObject)]
pub(super) struct CreateTodoInput {
    /// An identifier made by the client, a UUID. It makes repetitions safe: sent again with the same content it gives the
    /// todo that was made first, with other content it is a `CONFLICT`. Left out, the service makes one.
    id: Option<ID>,
    /// What is to be done: 1 to 200 characters in one line, blanks around it left out.
    title: String,
    /// What else there is to say: at most 10,000 characters.
    description: Option<String>,
    /// How important it is; `NONE` if left out.
    priority: Option<Priority>,
    /// By when it is to be done.
    due_at: Option<DateTime>,
    /// Words to sort it by: at most 20, of 1 to 50 characters.
    tags: Option<Vec<String>>,
}

/// Changes to a todo. What is left out stays as it is.
#[derive(InputObject)]
pub(super) struct UpdateTodoInput {
    /// Which todo.
    pub(super) id: ID,
    /// The version that the todo must have for the change to happen; a `CONFLICT` if it has another one.
    pub(super) expected_version: Option<i64>,
    #[graphql(flatten)]
    pub(super) changes: Changes,
}

/// The same changes to many todos. What is left out stays as it is.
#[derive(InputObject)]
pub(super) struct UpdateTodosInput {
    /// Which todos: 1 to 100.
    pub(super) ids: Vec<ID>,
    #[graphql(flatten)]
    pub(super) changes: Changes,
}

/// Changes to todos. What is left out stays as it is.
#[derive(InputObject)]
pub(super) struct Changes {
    /// What is to be done: 1 to 200 characters in one line.
    title: MaybeUndefined<String>,
    /// What else there is to say: at most 10,000 characters; null for nothing.
    description: MaybeUndefined<String>,
    /// How important it is; null for `NONE`.
    priority: MaybeUndefined<Priority>,
    /// By when it is to be done; null for no particular time.
    due_at: MaybeUndefined<DateTime>,
    /// Words to sort it by: at most 20, of 1 to 50 characters; null for none.
    tags: MaybeUndefined<Vec<String>>,
}

/// The problems of an input, with where they are.
struct Problems {
    path: Vec<String>,
    found: Vec<FieldProblem>,
}

impl Problems {
    fn at(path: Vec<String>) -> Self {
        Self { path, found: Vec::new() }
    }

    /// The value, unless it breaks a rule, which is noted.
    fn check<T>(&mut self, field: &'static str, parsed: Result<T, Problem>) -> Option<T> {
        parsed
            .map_err(|problem| {
                let path = self.path.iter().cloned().map(Into::into).chain([field.into()]).collect();
                self.found.push(FieldProblem { path, problem });
            })
            .ok()
    }

    fn time(&mut self, field: &'static str, time: Option<DateTime>) -> Option<chrono::DateTime<chrono::Utc>> {
        let DateTime(time) = time?;
        self.check(field, if is_writable(time) { Ok(time) } else { Err(unwritable()) })
    }
}

/// What is wrong with an instant outside the calendar.
pub(super) fn unwritable() -> Problem {
    Problem { code: "INVALID", message: "Give a time from the years 1 to 9999.".into() }
}

impl CreateTodoInput {
    /// Checks the input, which stands at a place within the arguments.
    pub(super) fn parse(self, path: Vec<String>) -> Result<NewTodo, Vec<FieldProblem>> {
        let mut problems = Problems::at(path);
        let bad_id = |_| Problem { code: "INVALID", message: "An identifier is a UUID.".into() };
        let id = self.id.and_then(|id| problems.check("id", id.parse::<Uuid>().map_err(bad_id)));
        let title = problems.check("title", Title::parse(&self.title));
        let description =
            problems.check("description", Description::parse(self.description.unwrap_or_default()));
        let due_at = problems.time("dueAt", self.due_at);
        let tags = problems.check("tags", Tags::parse(&self.tags.unwrap_or_default()));
        match (title, description, tags) {
            (Some(title), Some(description), Some(tags)) if problems.found.is_empty() => Ok(NewTodo {
                id: id.unwrap_or_else(Uuid::now_v7),
                repeatable: id.is_some(),
                title,
                description,
                priority: self.priority.unwrap_or_default(),
                due_at,
                tags,
            }),
            _ => Err(problems.found),
        }
    }
}

impl Changes {
    /// Checks the input.
    pub(super) fn parse(self) -> Result<TodoChanges, AppError> {
        let mut problems = Problems::at(vec!["input".into()]);
        let mut changes = TodoChanges::default();
        if let Some(title) = given(self.title) {
            // Nothing is as bad as blanks.
            if let Some(title) = problems.check("title", Title::parse(&title.unwrap_or_default())) {
                changes = changes.title(&title);
            }
        }
        if let Some(text) = given(self.description) {
            let description = Description::parse(text.unwrap_or_default());
            if let Some(description) = problems.check("description", description) {
                changes = changes.description(&description);
            }
        }
        if let Some(priority) = given(self.priority) {
            changes = changes.priority(priority.unwrap_or_default());
        }
        if let Some(time) = given(self.due_at) {
            changes = changes.due_at(problems.time("dueAt", time));
        }
        if let Some(tags) = given(self.tags)
            && let Some(tags) = problems.check("tags", Tags::parse(&tags.unwrap_or_default()))
        {
            changes = changes.tags(&tags);
        }
        if problems.found.is_empty() { Ok(changes) } else { Err(AppError::BadUserInput(problems.found)) }
    }
}

/// A value that was given, perhaps as null.
#[expect(clippy::option_option, reason = "null is not the same as nothing")]
fn given<T>(value: MaybeUndefined<T>) -> Option<Option<T>> {
    match value {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}
