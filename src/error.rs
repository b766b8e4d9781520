//! Expected failures of an operation. `graphql` maps them to GraphQL errors with stable codes.
//!
//! Error types by layer: queries return `QueryResult`, [`db::Error`] classifies it, the rules in [`crate::auth`] and the
//! resolvers return [`AppError`], and code outside a request uses `anyhow`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Enum;
use async_graphql::resolver_utils::EnumType;

use crate::db;
use crate::domain::Problem;

/// The value of `extensions.code` in every error. Each value says whether a retry can succeed.
#[derive(Clone, Copy, Debug, Enum, Eq, PartialEq)]
pub enum ErrorCode {
    /// A value is invalid. `extensions.fields` lists all problems, each as `{ path, code, message }`. Retry only with
    /// other values.
    BadUserInput,
    /// Login failed: unknown email address or wrong password; the error does not say which. Also returned when the
    /// password that confirms a change is wrong.
    InvalidCredentials,
    /// The operation needs a valid access token. `extensions.reason` says what is wrong with the one sent: see
    /// `UnauthenticatedReason`. Log in or refresh the session, then retry.
    Unauthenticated,
    /// The request is understood but not allowed. Retrying cannot succeed.
    Forbidden,
    /// Not found, or owned by another user; the error does not say which. Retrying cannot succeed.
    NotFound,
    /// The email address belongs to another account. Retry only with a different address.
    EmailTaken,
    /// The todo is not in the expected state: it has another version, other content, or a field has changed since.
    /// `extensions.todo` is the current todo, `extensions.currentVersion` its version. Nothing was written; retry with
    /// that version if the change is still wanted.
    Conflict,
    /// Too many attempts. Retry after `extensions.retryAfter` seconds.
    RateLimited,
    /// The service or its database is busy or unreachable. Retry after `extensions.retryAfter` seconds.
    ServiceUnavailable,
    /// Unexpected error in the service; quote `extensions.requestId` when reporting it. A retry may succeed.
    InternalServerError,
    /// The request is not a GraphQL request, for example because its body is not JSON. Retrying the same request cannot
    /// succeed.
    BadRequest,
    /// The document has a syntax error. Retrying the same document cannot succeed.
    GraphqlParseFailed,
    /// The document does not match the schema. Retrying the same document cannot succeed.
    GraphqlValidationFailed,
    /// `operationName` is missing or matches no operation. Retrying the same request cannot succeed.
    OperationResolutionFailure,
    /// The document is larger than `extensions.limit` bytes.
    DocumentTooLarge,
    /// The document has more than `extensions.limit` tokens.
    TooManyTokens,
    /// The operation is nested deeper than `extensions.limit` levels.
    OperationTooDeep,
    /// The operation requests more than `extensions.limit` fields, where fields of a list count once per item of the
    /// page. Request fewer fields or smaller pages.
    OperationTooComplex,
    /// The operation has more than `extensions.limit` aliases.
    TooManyAliases,
    /// The operation has more than `extensions.limit` root fields.
    TooManyRootFields,
    /// The operation has more than `extensions.limit` directives.
    TooManyDirectives,
    /// The operation repeats one field more than `extensions.limit` times in one selection set.
    TooManyDuplicateFields,
    /// The operation nests more than `extensions.limit` lists in introspection.
    IntrospectionTooDeep,
    /// Introspection is disabled. Retrying cannot succeed.
    IntrospectionDisabled,
    /// The variables are larger than `extensions.limit` bytes.
    VariablesTooLarge,
    /// The batch has more than `extensions.limit` operations.
    BatchTooLarge,
    /// The socket already runs `extensions.limit` operations. Retry when one of them has completed.
    TooManyOperations,
    /// No document with this hash is known (any more). Retry with both the hash and the document.
    PersistedQueryNotFound,
    /// The service runs trusted documents only, and this hash is not one of them. Retrying cannot succeed.
    PersistedQueryNotInList,
    /// The service runs trusted documents only, and this document is not one of them. Retrying cannot succeed.
    QueryNotInSafelist,
    /// Mutations need POST.
    MethodNotAllowed,
    /// Subscriptions need the WebSocket.
    SubscriptionOverHttp,
    /// `Accept` names no media type that the service can send. Retry with `application/json`.
    NotAcceptable,
    /// The body's media type is not supported. Retry with `Content-Type: application/json`.
    UnsupportedMediaType,
    /// The body is larger than `extensions.limit` bytes.
    PayloadTooLarge,
    /// The request timed out, either while it arrived (status 408) or during execution; in the latter case a mutation may
    /// or may not have taken effect.
    RequestTimeout,
}

impl ErrorCode {
    /// Returns the code as clients see it, such as `BAD_USER_INPUT`.
    pub fn as_str(self) -> &'static str {
        let items = <Self as EnumType>::items().iter();
        items.clone().find(|item| item.value == self).map_or("INTERNAL_SERVER_ERROR", |item| item.name)
    }

    /// Parses the code of an error of ours; an unknown one is a bug and counts as internal.
    pub(crate) fn parse(text: &str) -> Self {
        let items = <Self as EnumType>::items().iter();
        items.clone().find(|item| item.name == text).map_or(Self::InternalServerError, |item| item.value)
    }
}

/// The value of `extensions.reason` in an `UNAUTHENTICATED` error.
#[derive(Clone, Copy, Debug, Enum, Eq, PartialEq)]
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
    /// Authenticated or not, this is not allowed; holds the message.
    #[error("{0}")]
    Forbidden(&'static str),
    /// No such row, or it belongs to another user.
    #[error("Not found.")]
    NotFound,
    /// The email address belongs to another account.
    #[error("An account with this email address exists already.")]
    EmailTaken,
    /// The todo is not in the expected state; nothing was written.
    #[error("The todo has changed, or is not as expected.")]
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
    #[error("The service is busy. Please try again in a moment.")]
    Unavailable(String),
    /// A bug or a broken dependency; holds the cause for the log.
    #[error("Something went wrong. Please try again, and report it if it stays.")]
    Internal(Arc<anyhow::Error>),
}

/// Seconds after which a client may retry while the service is unavailable.
pub(crate) const RETRY_AFTER: u64 = 1;

impl AppError {
    /// Wraps an unexpected error.
    pub fn internal(source: impl Into<anyhow::Error>) -> Self {
        Self::Internal(Arc::new(source.into()))
    }

    /// Returns the stable code of this failure.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::BadUserInput(_) | Self::InvalidAccount(_) => ErrorCode::BadUserInput,
            Self::InvalidCredentials => ErrorCode::InvalidCredentials,
            Self::Unauthenticated(_) => ErrorCode::Unauthenticated,
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::NotFound => ErrorCode::NotFound,
            Self::EmailTaken => ErrorCode::EmailTaken,
            Self::Conflict { .. } => ErrorCode::Conflict,
            Self::RateLimited { .. } => ErrorCode::RateLimited,
            Self::Unavailable(_) => ErrorCode::ServiceUnavailable,
            Self::Internal(_) => ErrorCode::InternalServerError,
        }
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
