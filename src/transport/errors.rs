//! Errors that arise before or around the execution of an operation.

use async_graphql::{ServerError, Value};

use crate::error::{AppError, BUSY, INTERNAL, RETRY_AFTER, UnauthenticatedReason};
use crate::graphql::ErrorCode;
use crate::graphql::{RequestId, request_error, wire_error};

pub(super) fn timed_out() -> ServerError {
    wire_error(ErrorCode::RequestTimeout, "The request took too long.")
}

/// Too many requests are in progress; `limit` is the number allowed.
pub(super) fn overloaded(limit: usize) -> ServerError {
    let mut error = wire_error(ErrorCode::ServiceUnavailable, BUSY);
    let extensions = error.extensions.get_or_insert_default();
    extensions.set("retryAfter", RETRY_AFTER);
    extensions.set("limit", limit);
    error
}

pub(super) fn unauthenticated(reason: UnauthenticatedReason) -> ServerError {
    request_error(AppError::Unauthenticated(reason))
}

pub(super) fn starting() -> ServerError {
    let mut error =
        wire_error(ErrorCode::ServiceUnavailable, "The service is starting. Please try again in a moment.");
    error.extensions.get_or_insert_default().set("retryAfter", RETRY_AFTER);
    error
}

pub(super) fn internal(request_id: &RequestId) -> ServerError {
    let mut error = wire_error(ErrorCode::InternalServerError, INTERNAL);
    error.extensions.get_or_insert_default().set("requestId", &*request_id.0);
    error
}

/// Returns the code in an error's extensions.
pub(super) fn code(error: &ServerError) -> ErrorCode {
    let code = error.extensions.as_ref().and_then(|extensions| extensions.get("code"));
    match code {
        Some(Value::String(code)) => ErrorCode::parse(code),
        _ => ErrorCode::InternalServerError,
    }
}
