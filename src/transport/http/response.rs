use async_graphql::{Response as GraphqlResponse, ServerError};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::accept::MediaType;
use crate::error::RETRY_AFTER;
use crate::graphql::is_request_error;
use crate::transport::shared::RunError;
use crate::transport::wire::{to_json, write_items, write_response};

/// Builds the response to a single request.
pub(super) fn single(mut response: GraphqlResponse, media_type: MediaType) -> Response {
    let headers = std::mem::take(&mut response.http_headers);
    let response = &response;
    let refused = media_type == MediaType::GraphqlResponse && is_request_error(response);
    let status = if refused { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    with_headers(json(status, media_type, to_json(response)), headers)
}

/// Builds the response to a batch.
pub(super) fn batch(mut responses: Vec<GraphqlResponse>, media_type: MediaType) -> Response {
    let mut headers = HeaderMap::new();
    for response in &mut responses {
        headers.extend(std::mem::take(&mut response.http_headers));
    }
    let mut body = Vec::new();
    write_items(&mut body, *b"[]", &responses, write_response);
    with_headers(json(StatusCode::OK, media_type, body), headers)
}

/// Adds the headers that resolvers have set: cookies.
fn with_headers(mut response: Response, headers: HeaderMap) -> Response {
    response.headers_mut().extend(headers);
    response
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
    let body = to_json(&GraphqlResponse::from_errors(vec![refusal.error]));
    let mut response = json(status, media_type, body);
    let header = match status {
        StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, HeaderValue::from_static("POST"))),
        StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, RETRY_AFTER.into())),
        // The rest of the body is not read, so the connection can't be reused.
        StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {
            Some((header::CONNECTION, HeaderValue::from_static("close")))
        }
        _ => None,
    };
    response.headers_mut().extend(header);
    response
}

/// Typical number of headers of a response, including those of the middleware.
const HEADERS: usize = 12;

fn json(status: StatusCode, media_type: MediaType, body: Vec<u8>) -> Response {
    // Not `into_response`, which would insert a default content type first.
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type.as_str()));
    // Responses depend on the requester.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
