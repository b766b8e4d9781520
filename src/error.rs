//! The failures that a client may see, and the one map from them to GraphQL errors.
//!
//! Which error type goes where: queries return `QueryResult`, [`db::Error`] judges it, resolvers and the
//! rules in [`crate::auth`] return [`AppError`], and `anyhow` serves what runs outside a request.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::resolver_utils::EnumType;
use async_graphql::{Enum, ErrorExtensionValues, Name, Value};

use crate::{db, domain::Problem};

/// Stands in `extensions.code` of every error. Whether a repetition can help is said with each value.
#[derive(Clone, Copy, Debug, Enum, Eq, PartialEq)]
pub enum ErrorCode {
    /// A value breaks a rule. `extensions.fields` lists all problems, each as `{ path, code, message }`.
    /// Repeat only with other values.
    BadUserInput,
    /// Login failed: no account has this email address, or the password is wrong. Which one is not told. Or the password
    /// that confirms a change is wrong.
    InvalidCredentials,
    /// The operation needs a valid access token. `extensions.reason` says what is wrong with the one sent: see
    /// `UnauthenticatedReason`. Log in or refresh the session, then repeat.
    Unauthenticated,
    /// The request is understood, but not allowed. A repetition does not help.
    Forbidden,
    /// There is no such thing, or it belongs to somebody else: the two are not told apart. A repetition does not help.
    NotFound,
    /// An account with this email address exists already. Repeat only with another address.
    EmailTaken,
    /// The todo is not as the request expects: it has another version, other content, or a field has changed since.
    /// `extensions.todo` is the todo as it is, `extensions.currentVersion` its version. Nothing was written; repeat with
    /// that version if the change is still wanted.
    Conflict,
    /// Too many attempts. Repeat after `extensions.retryAfter` seconds.
    RateLimited,
    /// The service or its database is busy or out of reach. Repeat after `extensions.retryAfter` seconds.
    ServiceUnavailable,
    /// Something went wrong in the service; quote `extensions.requestId` when reporting it.
    /// A repetition may help.
    InternalServerError,
    /// The request is no GraphQL request, for example because its body is no JSON. Repeat only a mended one.
    BadRequest,
    /// The document is no GraphQL. Repeat only a mended one.
    GraphqlParseFailed,
    /// The document does not fit the schema. Repeat only a mended one.
    GraphqlValidationFailed,
    /// Which operation of the document is meant is not said, or there is no such one. Repeat only a mended one.
    OperationResolutionFailure,
    /// The document is larger than `extensions.limit` bytes. Repeat only a smaller one.
    DocumentTooLarge,
    /// The document has more than `extensions.limit` tokens. Repeat only a smaller one.
    TooManyTokens,
    /// The operation has more than `extensions.limit` levels. Repeat only a flatter one.
    OperationTooDeep,
    /// The operation asks for more than `extensions.limit` fields, those of lists counted for each item of the page.
    /// Repeat only with fewer fields or smaller pages.
    OperationTooComplex,
    /// The operation has more than `extensions.limit` aliases. Repeat only with fewer.
    TooManyAliases,
    /// The operation has more than `extensions.limit` fields at its root. Repeat only with fewer.
    TooManyRootFields,
    /// The operation has more than `extensions.limit` directives. Repeat only with fewer.
    TooManyDirectives,
    /// One field is asked for more than `extensions.limit` times at one place. Repeat only with fewer.
    TooManyDuplicateFields,
    /// The operation has more than `extensions.limit` lists within each other in introspection.
    /// Repeat only a flatter one.
    IntrospectionTooDeep,
    /// This service does not describe its schema. A repetition does not help.
    IntrospectionDisabled,
    /// The variables are larger than `extensions.limit` bytes. Repeat only with smaller ones.
    VariablesTooLarge,
    /// The batch has more than `extensions.limit` operations. Repeat only with fewer.
    BatchTooLarge,
    /// The socket has `extensions.limit` operations under way already. Repeat when one of them has ended.
    TooManyOperations,
    /// The document with this hash is not known, or no longer. Repeat with the hash and the document.
    PersistedQueryNotFound,
    /// The service runs listed documents only, and this hash is not among them. A repetition does not help.
    PersistedQueryNotInList,
    /// The service runs listed documents only, and this one is not among them. A repetition does not help.
    QueryNotInSafelist,
    /// Mutations are sent by POST. Repeat only that way.
    MethodNotAllowed,
    /// Subscriptions are served over the WebSocket. Repeat only there.
    SubscriptionOverHttp,
    /// None of the media types that `Accept` names can be given. Repeat with `application/json`.
    NotAcceptable,
    /// The body's media type is not taken. Repeat with `Content-Type: application/json`.
    UnsupportedMediaType,
    /// The request's body is larger than `extensions.limit` bytes. Repeat only a smaller one.
    PayloadTooLarge,
    /// The request took longer than the service allows, to arrive (status 408) or to be executed; in the latter case
    /// it is not known whether a mutation took effect.
    RequestTimeout,
}

impl ErrorCode {
    /// The code as clients read it, such as `BAD_USER_INPUT`.
    pub fn as_str(self) -> &'static str {
        let items = <Self as EnumType>::items().iter();
        items.clone().find(|item| item.value == self).map_or("INTERNAL_SERVER_ERROR", |item| item.name)
    }

    /// The code that clients read; what is none of ours is a mistake of ours.
    pub(crate) fn parse(text: &str) -> Self {
        let items = <Self as EnumType>::items().iter();
        items.clone().find(|item| item.name == text).map_or(Self::InternalServerError, |item| item.value)
    }
}

/// Stands in `extensions.reason` of an `UNAUTHENTICATED` error.
#[derive(Clone, Copy, Debug, Enum, Eq, PartialEq)]
pub enum UnauthenticatedReason {
    /// No token was sent.
    Missing,
    /// What was sent is not a token of this service, or it was tampered with.
    Malformed,
    /// The token was good once. Refresh the session; if it was the refresh token, log in again.
    Expired,
    /// The session or the account has ended, or the refresh token was used before; log in again.
    Revoked,
}

/// A field of an input that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// Where the value is, from the argument inwards, such as `input`, `email`.
    pub path: Vec<Cow<'static, str>>,
    /// What is wrong with it.
    pub problem: Problem,
}

/// A failure of an operation.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppError {
    /// Values break rules: all of them.
    #[error("{}", summary(.0))]
    BadUserInput(Vec<FieldProblem>),
    /// Login failed, for a reason that is not told.
    #[error("The email address or the password is wrong.")]
    InvalidCredentials,
    /// A token is needed, or the one sent is bad.
    #[error("{}", explain(*.0))]
    Unauthenticated(UnauthenticatedReason),
    /// Known, but not allowed; the text says why.
    #[error("{0}")]
    Forbidden(&'static str),
    /// There is no such thing, or it is somebody else's.
    #[error("There is no such thing.")]
    NotFound,
    /// The address is taken.
    #[error("An account with this email address exists already.")]
    EmailTaken,
    /// A todo is not as expected; nothing was written.
    #[error("The todo has changed, or is not as expected.")]
    Conflict {
        /// The version it has.
        version: i64,
        /// The todo as clients read it.
        todo: Value,
    },
    /// Too many attempts.
    #[error("Too many attempts. Please try again later.")]
    RateLimited {
        /// How long to wait.
        wait: Duration,
    },
    /// Busy or out of reach; the text is for the log.
    #[error("The service is busy. Please try again in a moment.")]
    Unavailable(String),
    /// A mistake of ours; the source is for the log.
    #[error("Something went wrong. Please try again, and report it if it stays.")]
    Internal(Arc<anyhow::Error>),
}

/// Seconds after which a client may try again while the service is unavailable.
pub(crate) const RETRY_AFTER: u64 = 1;

impl AppError {
    /// A mistake of ours.
    pub fn internal(source: impl Into<anyhow::Error>) -> Self {
        Self::Internal(Arc::new(source.into()))
    }

    /// The stable code of this failure.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::BadUserInput(_) => ErrorCode::BadUserInput,
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

    fn extensions(&self) -> ErrorExtensionValues {
        let mut values = ErrorExtensionValues::default();
        values.set("code", self.code().as_str());
        match self {
            Self::BadUserInput(fields) => {
                values.set("fields", fields.iter().map(field_value).collect::<Vec<_>>());
            }
            Self::Unauthenticated(reason) => {
                values.set("reason", async_graphql::resolver_utils::enum_value(*reason));
            }
            Self::Conflict { version, todo } => {
                values.set("currentVersion", *version);
                values.set("todo", todo.clone());
            }
            Self::Unavailable(_) => values.set("retryAfter", RETRY_AFTER),
            // Rounded up: who comes back then is let through.
            Self::RateLimited { wait } => {
                values.set("retryAfter", wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
            }
            _ => {}
        }
        values
    }
}

impl From<AppError> for async_graphql::Error {
    fn from(error: AppError) -> Self {
        let mut wire = Self::new(error.to_string());
        wire.extensions = Some(error.extensions());
        wire.source = Some(Arc::new(error));
        wire
    }
}

impl From<db::Error> for AppError {
    fn from(error: db::Error) -> Self {
        match error {
            error if error.is_outage() => Self::Unavailable(error.reason()),
            // Whatever is written belongs to somebody: the account has just been deleted.
            db::Error::ForeignKeyViolation => Self::Unauthenticated(UnauthenticatedReason::Revoked),
            error => Self::internal(error),
        }
    }
}

fn field_value(field: &FieldProblem) -> Value {
    let path = field.path.iter().map(|part| Value::from(part.as_ref())).collect::<Vec<_>>();
    Value::Object(
        [
            (Name::new("path"), Value::List(path)),
            (Name::new("code"), Value::from(field.problem.code)),
            (Name::new("message"), Value::from(field.problem.message.clone())),
        ]
        .into(),
    )
}

fn summary(fields: &[FieldProblem]) -> String {
    let mut sentences: Vec<&str> = Vec::new();
    for field in fields {
        if !sentences.contains(&field.problem.message.as_str()) {
            sentences.push(&field.problem.message);
        }
    }
    sentences.join(" ")
}

fn explain(reason: UnauthenticatedReason) -> &'static str {
    match reason {
        UnauthenticatedReason::Missing => "Log in first: this needs an access token.",
        UnauthenticatedReason::Malformed => "The token is none of this service's.",
        UnauthenticatedReason::Expired => "The token has expired.",
        UnauthenticatedReason::Revoked => "The session has ended. Log in again.",
    }
}
