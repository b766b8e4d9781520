use async_graphql::Enum;
use async_graphql::resolver_utils::EnumType;

use crate::error::{AppError, UnauthenticatedReason};

/// The value of `extensions.code` in every error. Each value says whether a retry can succeed.
#[derive(Clone, Copy, Debug, Enum, Eq, PartialEq)]
pub enum ErrorCode {
    /// A value is invalid, or a variable is missing or of the wrong type. `extensions.fields` lists all problems, each as
    /// `{ path, code, message }`. Retry only with other values.
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
    /// `extensions.todo` is the current todo, `extensions.currentVersion` its version; in a mutation of several todos,
    /// those of the first conflicting one. Nothing was written; retry with that version if the change is still wanted.
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
    /// The document has more than `extensions.limit` directives.
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
    /// Mutations must be sent by POST.
    MethodNotAllowed,
    /// A subscription needs the WebSocket, or an HTTP request of its own that accepts a stream. Retry over the WebSocket, or
    /// with `Accept: multipart/mixed;subscriptionSpec=1.0` or `text/event-stream`.
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

impl From<&AppError> for ErrorCode {
    fn from(error: &AppError) -> Self {
        match error {
            AppError::BadUserInput(_) | AppError::InvalidAccount(_) => Self::BadUserInput,
            AppError::InvalidCredentials => Self::InvalidCredentials,
            AppError::Unauthenticated(_) => Self::Unauthenticated,
            AppError::Forbidden(_) => Self::Forbidden,
            AppError::NotFound => Self::NotFound,
            AppError::EmailTaken => Self::EmailTaken,
            AppError::Conflict { .. } => Self::Conflict,
            AppError::RateLimited { .. } => Self::RateLimited,
            AppError::Unavailable(_) => Self::ServiceUnavailable,
            AppError::Internal(_) => Self::InternalServerError,
        }
    }
}

/// The value of `extensions.reason` in an `UNAUTHENTICATED` error.
#[derive(Clone, Copy, Debug, Enum, Eq, PartialEq)]
#[graphql(name = "UnauthenticatedReason", remote = "UnauthenticatedReason")]
pub(super) enum Reason {
    /// No token was sent.
    Missing,
    /// The value sent is not a token of this service, or was tampered with.
    Malformed,
    /// The token has expired. Refresh the session; if it was the refresh token, log in again.
    Expired,
    /// The session or the account has ended, or the refresh token was already used; log in again.
    Revoked,
}
