use async_graphql::ServerError;

use crate::graphql::error_code::ErrorCode;
use crate::graphql::errors::wire_error;

/// Largest number of nested selection sets. apollo-compiler and async-graphql recurse as deep.
pub(in crate::graphql) const MAX_RECURSION: usize = 60;

/// Returns the error for a request that exceeds a limit, which `extensions.limit` names.
pub(crate) fn exceeded(code: ErrorCode, limit: usize, what: &str) -> ServerError {
    let message = format!("The request has more than {limit} {what}.");
    let mut error = wire_error(code, message);
    error.extensions.get_or_insert_default().set("limit", limit);
    error
}
