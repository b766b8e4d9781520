use std::sync::LazyLock;

use async_graphql::indexmap::IndexMap;
use async_graphql::{Response as GraphqlResponse, ServerError, Value};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::accept::MediaType;
use crate::error::RETRY_AFTER;
use crate::graphql::is_request_error;

static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(IndexMap::default()));

/// A response as it goes over the wire: a request that was not executed has no data, not even null.
#[derive(Serialize)]
struct Wire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
}

impl<'a> From<&'a GraphqlResponse> for Wire<'a> {
    fn from(response: &'a GraphqlResponse) -> Self {
        // The executor says null where every field was left out by @skip or @include. Without errors that is no data.
        let nothing = response.data == Value::Null && response.errors.is_empty();
        let data = if nothing { &EMPTY } else { &response.data };
        Self { data: (!is_request_error(response)).then_some(data), errors: &response.errors }
    }
}

/// A response as JSON.
pub(in crate::transport) fn to_json(response: &GraphqlResponse) -> String {
    serde_json::to_string(&Wire::from(response)).unwrap_or_default()
}

/// The answer to a single request.
pub(super) fn single(mut response: GraphqlResponse, media_type: MediaType) -> Response {
    let headers = std::mem::take(&mut response.http_headers);
    let response = &response;
    let refused = media_type == MediaType::GraphqlResponse && is_request_error(response);
    let status = if refused { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    with_headers(json(status, media_type, to_json(response)), headers)
}

/// The answer to a batch.
pub(super) fn batch(mut responses: Vec<GraphqlResponse>, media_type: MediaType) -> Response {
    let mut headers = HeaderMap::new();
    for response in &mut responses {
        headers.extend(std::mem::take(&mut response.http_headers));
    }
    let responses: Vec<Wire<'_>> = responses.iter().map(Wire::from).collect();
    let response = json(StatusCode::OK, media_type, serde_json::to_string(&responses).unwrap_or_default());
    with_headers(response, headers)
}

/// Adds what resolvers want to have said beside the answer: cookies.
fn with_headers(mut response: Response, headers: HeaderMap) -> Response {
    response.headers_mut().extend(headers);
    response
}

/// Why a request is refused before it is known to be a GraphQL request; the status says it, too.
pub(super) struct Refusal {
    status: StatusCode,
    pub(super) error: ServerError,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: ServerError) -> Self {
        Self { status, error }
    }
}

/// What is wrong with the request itself.
impl From<ServerError> for Refusal {
    fn from(error: ServerError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }
}

/// The answer to what is refused.
pub(super) fn refused(refusal: Refusal, media_type: MediaType) -> Response {
    let status = refusal.status;
    let body = to_json(&GraphqlResponse::from_errors(vec![refusal.error]));
    let mut response = json(status, media_type, body);
    let header = match status {
        StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, HeaderValue::from_static("POST"))),
        StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, RETRY_AFTER.into())),
        // What is left of the body is not waited for.
        StatusCode::REQUEST_TIMEOUT => Some((header::CONNECTION, HeaderValue::from_static("close"))),
        _ => None,
    };
    response.headers_mut().extend(header);
    response
}

fn json(status: StatusCode, media_type: MediaType, body: String) -> Response {
    // Answers are somebody's own, or depend on who asks.
    let headers = [(header::CONTENT_TYPE, media_type.as_str()), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}
