use async_graphql::Error;

use super::Todo;
use crate::db;
use crate::error::AppError;

/// Failure of a write.
pub(super) enum WriteError {
    /// The todo is not in the expected state; holds the current one.
    Conflict(Box<Todo>),
    /// Any other failure.
    Other(AppError),
}

impl From<AppError> for WriteError {
    fn from(error: AppError) -> Self {
        Self::Other(error)
    }
}

impl From<db::Error> for WriteError {
    fn from(error: db::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Conflict(todo) => {
                let mut error = Self::from(AppError::Conflict { version: todo.version });
                error.extensions.get_or_insert_default().set("todo", todo.into_value());
                error
            }
            WriteError::Other(error) => error.into(),
        }
    }
}
