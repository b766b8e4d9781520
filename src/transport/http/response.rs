use async_graphql::{Response as GraphqlResponse, ServerError, Value};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::accept::{Accepted, MediaType};
use super::format::StreamFormat;
use crate::graphql::{Cost, ErrorCode, is_request_error};
use crate::transport::shared::RunError;
use crate::transport::wire::{to_json, write_items, write_response};

/// Builds the response to a single request.
pub(super) fn single(mut response: GraphqlResponse, accepted: Accepted) -> Response {
    let headers = std::mem::take(&mut response.http_headers);
    let built = if accepted.is_event_stream_only() {
        let format = StreamFormat::EventStream;
        with_body(StatusCode::OK, format.media_type(), format.single(&response))
    } else {
        let media_type = accepted.json();
        let refused = media_type == MediaType::GraphqlResponse && is_request_error(&response);
        let status = if refused { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        json(status, media_type, to_json(&response))
    };
    with_headers(built, headers, &[response])
}

/// Builds the response to a batch.
pub(super) fn batch(mut responses: Vec<GraphqlResponse>, media_type: MediaType) -> Response {
    let mut headers = HeaderMap::new();
    for response in &mut responses {
        headers.extend(std::mem::take(&mut response.http_headers));
    }
    let mut body = Vec::new();
    write_items(&mut body, *b"[]", &responses, write_response);
    with_headers(json(StatusCode::OK, media_type, body), headers, &responses)
}

/// Adds the headers that resolvers have set, which are cookies, and those that say when a retry may succeed.
fn with_headers(mut response: Response, headers: HeaderMap, responses: &[GraphqlResponse]) -> Response {
    if !headers.is_empty() {
        response.headers_mut().extend(headers);
    }
    add_retry_headers(response.headers_mut(), responses.iter().flat_map(|response| &response.errors));
    response
}

/// Copies the longest `retryAfter` of the errors into headers, for clients that look at nothing else.
///
/// `RateLimit` follows draft 10 of <https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>: no attempt
/// remains (`r`) until the wait is over (`t`).
fn add_retry_headers<'a>(headers: &mut HeaderMap, errors: impl Iterator<Item = &'a ServerError>) {
    let mut longest = None;
    let mut longest_limited = None;
    for extensions in errors.filter_map(|error| error.extensions.as_ref()) {
        let Some(Value::Number(wait)) = extensions.get("retryAfter") else { continue };
        let wait = wait.as_u64();
        longest = longest.max(wait);
        if extensions.get("code") == Some(&Value::from(ErrorCode::RateLimited.as_str())) {
            longest_limited = longest_limited.max(wait);
        }
    }
    if let Some(wait) = longest {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    if let Some(wait) = longest_limited
        && let Ok(value) = HeaderValue::try_from(format!("\"attempts\";r=0;t={wait}"))
    {
        headers.insert(RATE_LIMIT, value);
    }
}

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Adds the cost of its operation to a response.
pub(super) fn insert_cost(response: &mut GraphqlResponse, cost: Cost) {
    response.extensions.insert("cost".to_owned(), cost.to_value());
}

/// A request that ends without a GraphQL response; its status tells so as well.
pub(super) struct Refusal {
    status: StatusCode,
    pub(super) error: ServerError,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: ServerError) -> Self {
        Self { status, error }
    }
}

impl From<ServerError> for Refusal {
    fn from(error: ServerError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }
}

impl From<RunError> for Refusal {
    fn from(error: RunError) -> Self {
        match error {
            RunError::TimedOut(error) => Self::new(StatusCode::GATEWAY_TIMEOUT, error),
            RunError::Panicked(error) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, error),
        }
    }
}

/// Builds the response to a refused request.
pub(super) fn refused(refusal: Refusal, media_type: MediaType) -> Response {
    let status = refusal.status;
    let body = GraphqlResponse::from_errors(vec![refusal.error]);
    let mut response = json(status, media_type, to_json(&body));
    add_retry_headers(response.headers_mut(), body.errors.iter());
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// Typical number of headers of a response, including those of the middleware.
const HEADERS: usize = 12;

fn json(status: StatusCode, media_type: MediaType, body: Vec<u8>) -> Response {
    with_body(status, media_type.as_str(), body)
}

fn with_body(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Response {
    // Not `into_response`, which would insert a default content type first.
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    // Responses depend on the requester.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
