use async_graphql::{Name, PathSegment, Response, ServerError, Value, parser};

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
            // Resolvers fail with codes only. What is left is the executor's own: about the document as a whole
            // before it runs, about the arguments of a field afterwards.
            None if error.path.is_empty() => {
                *error = coded(error.clone(), ErrorCode::GraphqlValidationFailed);
            }
            None => {
                let path = error.path.iter().map(|part| match part {
                    PathSegment::Field(name) => name.clone(),
                    PathSegment::Index(number) => number.to_string(),
                });
                *error = bad_value(error.clone(), path.collect(), error.message.clone());
            }
        }
    }
}

/// An error about a value, in the form that all of them have.
pub(super) fn bad_value(error: ServerError, path: Vec<String>, message: String) -> ServerError {
    let mut error = coded(error, ErrorCode::BadUserInput);
    let path = path.into_iter().map(Value::from).collect();
    let field = [("path", Value::List(path)), ("code", "INVALID".into()), ("message", message.into())];
    let field = field.into_iter().map(|(name, value)| (Name::new(name), value)).collect();
    error.extensions.get_or_insert_default().set("fields", vec![Value::Object(field)]);
    error
}

/// Whether a response is about the request as a whole, so that nothing was executed.
pub fn is_request_error(response: &Response) -> bool {
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// What the parser says, in one line.
pub(super) fn syntax_error(error: &parser::Error) -> ServerError {
    let mut wire = coded(ServerError::from(error.clone()), ErrorCode::GraphqlParseFailed);
    if let Some((_, reason)) = wire.message.rsplit_once("= ") {
        wire.message = format!("Syntax error: {reason}");
    }
    wire
}

/// Sets the code unless there is one.
pub(super) fn coded(mut error: ServerError, code: ErrorCode) -> ServerError {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("code").is_none() {
        extensions.set("code", code.as_str());
    }
    error
}
