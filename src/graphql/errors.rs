use std::sync::Arc;

use async_graphql::{Error, ErrorExtensionValues, Name, Response, ServerError, Value};

use super::RequestId;
use super::error_code::{ErrorCode, Reason};
use crate::domain::Problem;
use crate::error::{AccountField, AppError, RETRY_AFTER};

impl From<AppError> for Error {
    fn from(error: AppError) -> Self {
        let mut wire = Self::new(error.to_string());
        wire.extensions = Some(extensions(&error));
        wire.source = Some(Arc::new(error));
        wire
    }
}

fn extensions(error: &AppError) -> ErrorExtensionValues {
    let mut values = ErrorExtensionValues::default();
    values.set("code", ErrorCode::from(error).as_str());
    match error {
        AppError::BadUserInput(fields) => {
            let fields = fields.iter().map(|field| {
                problem_value(
                    field.path.iter().map(|part| Value::from(part.as_ref())).collect(),
                    &field.problem,
                )
            });
            values.set("fields", fields.collect::<Vec<_>>());
        }
        AppError::InvalidAccount(fields) => {
            let fields = fields.iter().map(|(field, problem)| {
                problem_value(vec!["input".into(), account_input_field(*field).into()], problem)
            });
            values.set("fields", fields.collect::<Vec<_>>());
        }
        AppError::Unauthenticated(reason) => {
            values.set("reason", async_graphql::resolver_utils::enum_value(Reason::from(*reason)));
        }
        AppError::Conflict { version } => values.set("currentVersion", *version),
        AppError::Unavailable(_) => values.set("retryAfter", RETRY_AFTER),
        // Rounded up, so that a retry after that many seconds is let through.
        AppError::RateLimited { wait } => {
            values.set("retryAfter", wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        }
        _ => {}
    }
    values
}

/// Returns the name of an account's field in the `input` of every mutation.
fn account_input_field(field: AccountField) -> &'static str {
    match field {
        AccountField::Email => "email",
        AccountField::Name => "name",
        AccountField::Password => "password",
        AccountField::CurrentPassword => "currentPassword",
        AccountField::NewPassword => "newPassword",
    }
}

fn problem_value(path: Vec<Value>, problem: &Problem) -> Value {
    Value::Object(
        [
            (Name::new("path"), Value::List(path)),
            (Name::new("code"), Value::from(problem.code)),
            (Name::new("message"), Value::from(problem.message.clone())),
        ]
        .into(),
    )
}

/// Builds an error that does not come from a resolver, such as one of the transport.
pub fn wire_error(code: ErrorCode, message: impl Into<String>) -> ServerError {
    coded(ServerError::new(message, None), code)
}

/// Logs the causes that the client must not see, and adds the request's id to internal errors.
///
/// Serves the responses of queries and mutations as well as each item of a subscription.
pub(super) fn finish(response: &mut Response, request_id: &RequestId) {
    for error in &mut response.errors {
        match error.source::<AppError>() {
            Some(AppError::Internal(source)) => {
                tracing::error!(error = format!("{source:#}"), path = ?error.path, "internal error");
                error.extensions.get_or_insert_default().set("requestId", &*request_id.0);
            }
            Some(AppError::Unavailable(reason)) => tracing::warn!(reason, "answered SERVICE_UNAVAILABLE"),
            Some(_) => {}
            // Resolvers fail with an `AppError` only, and the engine refuses invalid requests before they run.
            None => {
                tracing::error!(error = error.message, path = ?error.path, "the executor refused a valid operation");
                let internal = AppError::internal(anyhow::anyhow!("{}", error.message));
                let mut internal = request_error(internal);
                internal.extensions.get_or_insert_default().set("requestId", &*request_id.0);
                internal.path = std::mem::take(&mut error.path);
                internal.locations = std::mem::take(&mut error.locations);
                *error = internal;
            }
        }
    }
}

/// Converts a failure into an error of the request as a whole, without a path.
pub(crate) fn request_error(error: AppError) -> ServerError {
    let error = Error::from(error);
    ServerError { extensions: error.extensions, ..ServerError::new(error.message, None) }
}

/// Returns true if the request was refused as a whole, so that nothing was executed.
pub fn is_request_error(response: &Response) -> bool {
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// Sets the code unless the error has one.
pub(super) fn coded(mut error: ServerError, code: ErrorCode) -> ServerError {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("code").is_none() {
        extensions.set("code", code.as_str());
    }
    error
}
