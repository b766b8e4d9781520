//! Bounds on documents, checked before anything is executed, in time that grows with the document's length alone.
//!
//! First the text is scanned, without recursion, so that the parser meets nothing large or deep. Then the parsed
//! document is walked once, each fragment once, so that fragments of fragments cost nothing.

mod cost;
mod lists;
mod tokens;

use async_graphql::ServerError;

pub(super) use cost::{MAX_RECURSION, check as check_document};
pub(super) use lists::Lists;
pub(super) use tokens::check as check_source;

use super::errors::wire_error;
use crate::error::ErrorCode;

/// Refuses what is beyond a limit.
pub(crate) fn beyond(code: ErrorCode, limit: usize, what: &str) -> ServerError {
    let mut error =
        wire_error(code, format!("The request has more {what} than the {limit} that are allowed."));
    error.extensions.get_or_insert_default().set("limit", limit);
    error
}
