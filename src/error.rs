//! Expected failures of an operation. `graphql` maps them to errors with stable codes.
//!
//! Error types by layer: queries return `QueryResult`, [`db::Error`] classifies it, the rules in [`crate::auth`] and the
//! resolvers return [`AppError`], and code outside a request uses `anyhow`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::db;
use crate::domain::Problem;

/// Reason to reject a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnauthenticatedReason {
    /// No token was sent.
    Missing,
    /// The value sent is not a token of this service, or was tampered with.
    Malformed,
    /// The token has expired. Refresh the session; if it was the refresh token, log in again.
    Expired,
    /// The session or the account has ended, or the refresh token was already used; log in again.
    Revoked,
}

/// An invalid argument or input field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// Path from the argument inwards, such as `input`, `email`.
    pub path: Vec<Cow<'static, str>>,
    /// The violated rule.
    pub problem: Problem,
}

/// A value that a user enters about an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AccountField {
    /// The email address.
    Email,
    /// The display name.
    Name,
    /// The only password of the form: that of a new account, or the one that confirms a change.
    Password,
    /// The password to be replaced.
    CurrentPassword,
    /// The replacement of the current password.
    NewPassword,
}

/// An expected failure of an operation.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppError {
    /// Arguments are invalid; lists all problems.
    #[error("{}", join_messages(.0.iter().map(|field| &field.problem)))]
    BadUserInput(Vec<FieldProblem>),
    /// Values entered about an account are invalid; lists all problems.
    #[error("{}", join_messages(.0.iter().map(|(_, problem)| problem)))]
    InvalidAccount(Vec<(AccountField, Problem)>),
    /// Login failed; the reason stays secret.
    #[error("The email address or the password is wrong.")]
    InvalidCredentials,
    /// The access token is missing or bad.
    #[error("{}", explain(*.0))]
    Unauthenticated(UnauthenticatedReason),
    /// Not allowed, whether authenticated or not; holds the message.
    #[error("{0}")]
    Forbidden(&'static str),
    /// No such row, or it belongs to another user.
    #[error("Not found.")]
    NotFound,
    /// The email address belongs to another account.
    #[error("An account with this email address already exists.")]
    EmailTaken,
    /// The todo is not in the expected state; nothing was written.
    #[error("The todo is not in the expected state; nothing was written.")]
    Conflict {
        /// Current version of the todo.
        version: i64,
    },
    /// Too many attempts.
    #[error("Too many attempts. Please try again later.")]
    RateLimited {
        /// Time until the next attempt is let through.
        wait: Duration,
    },
    /// Busy or unreachable; holds the reason for the log.
    #[error("{BUSY}")]
    Unavailable(String),
    /// A bug or a broken dependency; holds the cause for the log.
    #[error("{INTERNAL}")]
    Internal(Arc<anyhow::Error>),
}

/// Seconds after which a client may retry while the service is unavailable.
pub(crate) const RETRY_AFTER: u64 = 1;
/// Message while the service is unavailable.
pub(crate) const BUSY: &str = "The service is busy. Please try again in a moment.";
/// Message of an unexpected error.
pub(crate) const INTERNAL: &str =
    "Something went wrong. Please try again; if it keeps happening, report it with the request id.";

impl AppError {
    /// Wraps an unexpected error.
    pub fn internal(source: impl Into<anyhow::Error>) -> Self {
        Self::Internal(Arc::new(source.into()))
    }
}

impl From<db::Error> for AppError {
    fn from(error: db::Error) -> Self {
        match error {
            error if error.is_outage() => Self::Unavailable(error.reason()),
            // Every row belongs to a user: the account was deleted while the request ran.
            db::Error::ForeignKeyViolation => Self::Unauthenticated(UnauthenticatedReason::Revoked),
            error => Self::internal(error),
        }
    }
}

/// Joins the messages, each once.
fn join_messages<'a>(problems: impl Iterator<Item = &'a Problem>) -> String {
    let mut sentences: Vec<&str> = Vec::new();
    for problem in problems {
        if !sentences.contains(&problem.message.as_str()) {
            sentences.push(&problem.message);
        }
    }
    sentences.join(" ")
}

fn explain(reason: UnauthenticatedReason) -> &'static str {
    match reason {
        UnauthenticatedReason::Missing => "Log in first: this needs an access token.",
        UnauthenticatedReason::Malformed => "The token was not issued by this service.",
        UnauthenticatedReason::Expired => "The token has expired.",
        UnauthenticatedReason::Revoked => "The session has ended. Log in again.",
    }
}
