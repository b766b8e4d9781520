//! Inputs that name the todos or events that a mutation acts on.

use std::borrow::Cow;

use async_graphql::{ID, InputObject};
use uuid::Uuid;

use super::parse_id;
use crate::domain::Problem;
use crate::error::{AppError, FieldProblem};
use crate::models::TodoTargets;

/// Maximum number of todos or events per bulk mutation.
const MAX_ITEMS: usize = 100;

/// A todo to act on.
#[derive(InputObject)]
pub(super) struct TodoInput {
    /// Identifier of the todo.
    pub(super) id: ID,
    /// Version that the todo must have; a `CONFLICT` if it has another one, unless it has the next one and already is as
    /// asked, as after a lost response.
    expected_version: Option<i64>,
}

/// Todos to act on: either `ids` or `todos`.
#[derive(InputObject)]
pub(super) struct TodosInput {
    /// Identifiers of the todos: 1 to 100.
    ids: Option<Vec<ID>>,
    /// Todos with their expected versions: 1 to 100. Use it instead of `ids` to detect concurrent changes.
    todos: Option<Vec<TodoInput>>,
}

/// An event to revert.
#[derive(InputObject)]
pub(super) struct UndoInput {
    /// Identifier of the event, from `TodoPayload.event`, `Todo.history` or `todoChanged`.
    pub(super) event_id: ID,
}

/// Events to revert.
#[derive(InputObject)]
pub(super) struct UndoEventsInput {
    /// Identifiers of the events: 1 to 100.
    event_ids: Vec<ID>,
}

impl TodoInput {
    pub(super) fn parse(&self) -> Result<TodoTargets, AppError> {
        parse_target(&self.id, self.expected_version)
    }
}

impl TodosInput {
    pub(super) fn parse(&self) -> Result<TodoTargets, AppError> {
        let mut targets = TodoTargets::default();
        match (&self.ids, &self.todos) {
            (Some(ids), None) => {
                check_count("ids", ids.len())?;
                for id in ids {
                    targets.insert(parse_id(id)?, None);
                }
            }
            (None, Some(todos)) => {
                check_count("todos", todos.len())?;
                for (index, todo) in todos.iter().enumerate() {
                    if !targets.insert(parse_id(&todo.id)?, todo.expected_version) {
                        let path = ["input".into(), "todos".into(), index.to_string().into()];
                        return Err(invalid(path, "Give each todo with one expected version."));
                    }
                }
            }
            _ => return Err(invalid(["input".into()], "Give either ids or todos.")),
        }
        Ok(targets)
    }
}

impl UndoEventsInput {
    /// Returns the identifiers without repetitions.
    pub(super) fn parse(&self) -> Result<Vec<Uuid>, AppError> {
        check_count("eventIds", self.event_ids.len())?;
        let mut unique = Vec::with_capacity(self.event_ids.len());
        for id in &self.event_ids {
            let id = parse_id(id)?;
            if !unique.contains(&id) {
                unique.push(id);
            }
        }
        Ok(unique)
    }
}

pub(super) fn parse_target(id: &ID, expected_version: Option<i64>) -> Result<TodoTargets, AppError> {
    let mut target = TodoTargets::default();
    target.insert(parse_id(id)?, expected_version);
    Ok(target)
}

pub(super) fn check_count(name: &'static str, count: usize) -> Result<(), AppError> {
    if (1..=MAX_ITEMS).contains(&count) {
        return Ok(());
    }
    Err(invalid(["input".into(), name.into()], format!("Give 1 to {MAX_ITEMS} items.")))
}

fn invalid<const N: usize>(path: [Cow<'static, str>; N], message: impl Into<String>) -> AppError {
    let problem = Problem { code: "INVALID", message: message.into() };
    AppError::BadUserInput(vec![FieldProblem { path: path.into(), problem }])
}
