use async_graphql::{Response as GraphqlResponse, ServerError, Value};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::accept::MediaType;
use crate::error::ErrorCode;
use crate::graphql::is_request_error;

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
        let data = (!is_request_error(response)).then_some(&response.data);
        Self { data, errors: &response.errors }
    }
}

/// A response as JSON.
pub(in crate::http) fn to_json(response: &GraphqlResponse) -> String {
    serde_json::to_string(&Wire::from(response)).unwrap_or_default()
}

/// The answer to a single request.
pub(super) fn single(response: &GraphqlResponse, media_type: MediaType) -> Response {
    let refused = media_type == MediaType::GraphqlResponse && is_request_error(response);
    let status = if refused { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    json(status, media_type, to_json(response))
}

/// The answer to a batch.
pub(super) fn batch(responses: &[GraphqlResponse], media_type: MediaType) -> Response {
    let responses: Vec<Wire<'_>> = responses.iter().map(Wire::from).collect();
    json(StatusCode::OK, media_type, serde_json::to_string(&responses).unwrap_or_default())
}

/// The answer to what is refused before it is known to be a GraphQL request: the status says why.
pub(super) fn refused(error: ServerError, media_type: MediaType) -> Response {
    let code = error.extensions.as_ref().and_then(|extensions| match extensions.get("code") {
        Some(Value::String(code)) => Some(code.as_str()),
        _ => None,
    });
    let is = |known: ErrorCode| code == Some(known.as_str());
    let status = if is(ErrorCode::MethodNotAllowed) {
        StatusCode::METHOD_NOT_ALLOWED
    } else if is(ErrorCode::NotAcceptable) {
        StatusCode::NOT_ACCEPTABLE
    } else if is(ErrorCode::PayloadTooLarge) {
        StatusCode::PAYLOAD_TOO_LARGE
    } else if is(ErrorCode::UnsupportedMediaType) {
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    } else if is(ErrorCode::RequestTimeout) {
        StatusCode::GATEWAY_TIMEOUT
    } else if is(ErrorCode::ServiceUnavailable) {
        StatusCode::SERVICE_UNAVAILABLE
    } else if is(ErrorCode::InternalServerError) {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::BAD_REQUEST
    };
    let body = to_json(&GraphqlResponse::from_errors(vec![error]));
    let mut response = json(status, media_type, body);
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

fn json(status: StatusCode, media_type: MediaType, body: String) -> Response {
    // Answers are somebody's own, or depend on who asks.
    let headers = [(header::CONTENT_TYPE, media_type.as_str()), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}
