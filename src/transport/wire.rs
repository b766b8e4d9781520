//! Responses as JSON.

use std::sync::LazyLock;

use async_graphql::indexmap::IndexMap;
use async_graphql::{Response, ServerError, Value};
use serde::Serialize;

use crate::graphql::is_request_error;

static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(IndexMap::default()));

/// A response in its serialized form: without `data`, not even null, if the request was not executed.
#[derive(Serialize)]
pub(super) struct WireResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
}

impl<'a> From<&'a Response> for WireResponse<'a> {
    fn from(response: &'a Response) -> Self {
        // async-graphql returns null where @skip or @include leave out every field; by the specification it is {}.
        let is_empty = response.data == Value::Null && response.errors.is_empty();
        let data = if is_empty { &EMPTY } else { &response.data };
        Self { data: (!is_request_error(response)).then_some(data), errors: &response.errors }
    }
}

/// Serializes a response.
pub(super) fn to_json(response: &Response) -> String {
    serde_json::to_string(&WireResponse::from(response)).unwrap_or_default()
}
