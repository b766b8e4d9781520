use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::ServerError;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use futures_util::FutureExt;
use http_body_util::LengthLimitError;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::accept::{is_utf8, unquoted};
use super::response::Refusal;
use crate::config::Limits;
use crate::graphql::ErrorCode;
use crate::graphql::{GraphqlRequest, exceeded, wire_error};

/// Requests of a body or URL.
pub(super) enum Requests {
    Single(GraphqlRequest),
    Batch(Vec<Result<GraphqlRequest, ServerError>>),
}

/// Reads the body of a POST.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limits: &Limits,
    time_limit: Duration,
) -> Result<Requests, Refusal> {
    if !is_json(headers) {
        let message = "Send the operation as plain JSON in UTF-8, with Content-Type: application/json.";
        let error = wire_error(ErrorCode::UnsupportedMediaType, message);
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    }
    // Refused at once: the client need not send the rest, and one that sent `Expect: 100-continue` sends nothing.
    if body.size_hint().lower() > limits.max_body as u64 {
        return Err(too_large(limits));
    }
    let mut reading = pin!(to_bytes(body, limits.max_body));
    // A small body has arrived with its head: no timer then.
    let read = match (&mut reading).now_or_never() {
        Some(read) => Ok(read),
        None => timeout(time_limit, reading).await,
    };
    let Ok(body) = read else {
        let error = wire_error(ErrorCode::RequestTimeout, "The body took too long to arrive.");
        return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, error));
    };
    let body = body.map_err(|error| {
        if error.source().is_some_and(<dyn Error>::is::<LengthLimitError>) {
            too_large(limits)
        } else {
            wire_error(ErrorCode::BadRequest, "The body is incomplete.").into()
        }
    })?;
    let text = std::str::from_utf8(&body);
    let text = text.map_err(|_| wire_error(ErrorCode::BadRequest, "The body is not UTF-8."))?;
    if !text.trim_ascii_start().starts_with('[') {
        return Ok(Requests::Single(GraphqlRequest::from_json(text, limits)?));
    }
    let batch: Result<Vec<&RawValue>, _> = serde_json::from_str(text);
    let batch = batch.map_err(|_| wire_error(ErrorCode::BadRequest, "The body is not JSON."))?;
    if batch.is_empty() {
        return Err(wire_error(ErrorCode::BadRequest, "The batch is empty.").into());
    }
    if batch.len() > limits.max_batch {
        return Err(exceeded(ErrorCode::BatchTooLarge, limits.max_batch, "operations in its batch").into());
    }
    Ok(Requests::Batch(batch.iter().map(|json| GraphqlRequest::from_json(json.get(), limits)).collect()))
}

fn too_large(limits: &Limits) -> Refusal {
    let error = exceeded(ErrorCode::PayloadTooLarge, limits.max_body, "bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error)
}

/// Returns true for media types that no HTML form can send: others would let any web page call the service with its
/// visitor's cookies (CSRF). Browsers send these to another origin only after a preflight.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if value == "application/json" && !headers.contains_key(header::CONTENT_ENCODING) {
        return true;
    }
    let mut parts = value.split(unquoted(';')).map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let utf8 = parts
        .filter_map(|part| part.split_once('='))
        .all(|(name, value)| !name.trim().eq_ignore_ascii_case("charset") || is_utf8(value));
    let json = ["application/json", "application/graphql+json", "application/graphql-response+json"];
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let plain = encodings
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .all(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"identity"));
    plain && utf8 && json.contains(&kind.as_str())
}

/// Parameters of a GET; `variables` and `extensions` are JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<String>,
    extensions: Option<String>,
    document_id: Option<String>,
}

/// Reads the parameters of a GET.
pub(super) fn read_url(uri: &Uri, limits: &Limits) -> Result<Requests, ServerError> {
    let Ok(Query(parameters)) = Query::<Parameters>::try_from_uri(uri) else {
        return Err(wire_error(
            ErrorCode::BadRequest,
            "The query string is malformed or repeats a parameter.",
        ));
    };
    let variables = parameters.variables.as_deref();
    let extensions = parameters.extensions.as_deref();
    let variables = variables.filter(|json| !json.is_empty());
    let extensions = extensions.filter(|json| !json.is_empty());
    GraphqlRequest::new(
        parameters.query.map(Arc::from),
        parameters.operation_name,
        variables,
        extensions,
        parameters.document_id,
        limits,
    )
    .map(Requests::Single)
}
