use async_graphql::{Response, ServerError, Value};

use super::RequestId;
use crate::error::{AppError, ErrorCode};

/// An error that does not come from a resolver, such as one of the transport.
pub fn wire_error(code: ErrorCode, message: impl Into<String>) -> ServerError {
    coded(ServerError::new(message, None), code)
}

/// Gives every error its code, logs what the client is not told, and names the request in internal errors.
///
/// One function for the answers of queries and mutations and for what subscriptions yield.
pub(super) fn finish(response: &mut Response, request_id: &RequestId) {
    for error in &mut response.errors {
        match error.source::<AppError>() {
            Some(AppError::Internal(source)) => {
                tracing::error!(error = format!("{source:#}"), path = ?error.path, "internal error");
                error.extensions.get_or_insert_default().set("requestId", request_id.0.as_str());
            }
            Some(AppError::Unavailable(reason)) => tracing::warn!(reason, "unavailable"),
            Some(_) => {}
            // Resolvers fail with codes only, and what the executor objects to has been refused before.
            None => {
                tracing::error!(error = error.message, path = ?error.path, "the executor refused a valid operation");
                let internal = AppError::internal(anyhow::anyhow!("{}", error.message));
                let mut internal = request_error(internal);
                internal.extensions.get_or_insert_default().set("requestId", request_id.0.as_str());
                internal.path = std::mem::take(&mut error.path);
                internal.locations = std::mem::take(&mut error.locations);
                *error = internal;
            }
        }
    }
}

/// Returns a failure that is about the request as a whole.
pub(super) fn request_error(error: AppError) -> ServerError {
    let error = async_graphql::Error::from(error);
    ServerError { extensions: error.extensions, ..ServerError::new(error.message, None) }
}

/// Whether a response is about the request as a whole, so that nothing was executed.
pub fn is_request_error(response: &Response) -> bool {
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// Sets the code unless there is one.
pub(super) fn coded(mut error: ServerError, code: ErrorCode) -> ServerError {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("code").is_none() {
        extensions.set("code", code.as_str());
    }
    error
}
