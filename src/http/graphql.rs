use std::any::Any;
use std::time::Duration;

use async_graphql::{Request, Response as GraphqlResponse};
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::auth::Requester;
use crate::config::HttpSettings;
use crate::error::ErrorCode;
use crate::graphql::{self, RequestId, Schema, schema, wire_error};
use crate::state::AppState;

/// What the transport needs.
#[derive(Clone)]
pub(super) struct GraphqlState {
    app: AppState,
    schema: Schema,
    operations: TaskTracker,
    body_limit: usize,
    time_limit: Duration,
}

impl GraphqlState {
    pub(super) fn new(app: AppState, settings: &HttpSettings, operations: TaskTracker) -> Self {
        let schema = schema(app.clone());
        Self {
            app,
            schema,
            operations,
            body_limit: settings.body_limit,
            time_limit: settings.request_timeout,
        }
    }
}

/// Answers one operation sent as JSON.
pub(super) async fn post(
    State(state): State<GraphqlState>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = timeout(state.time_limit, async {
        let request = read(&state, &headers, body).await?;
        execute(&state, request, &headers, request_id).await
    });
    match answer.await {
        Ok(Ok(response)) => json(StatusCode::OK, &response),
        Ok(Err(refused)) => refused,
        Err(_) => {
            refuse(StatusCode::GATEWAY_TIMEOUT, ErrorCode::RequestTimeout, "The request took too long.")
        }
    }
}

async fn read(state: &GraphqlState, headers: &HeaderMap, body: Body) -> Result<Request, Response> {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Types that a form can send are refused: they would let any web page call the service.
    if content_type.split(';').next().is_none_or(|kind| !kind.trim().eq_ignore_ascii_case("application/json"))
    {
        let message = "Send the operation as JSON with Content-Type: application/json.";
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::BadRequest, message));
    }
    let body = to_bytes(body, state.body_limit).await.map_err(|_| {
        let message = format!("The body is larger than {} bytes.", state.body_limit);
        refuse(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::PayloadTooLarge, message)
    })?;
    // serde would take an array of the fields, too.
    let object =
        body.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(&body).ok()).flatten();
    object.ok_or_else(|| {
        let message =
            "The body is no GraphQL request: {\"query\": ..., \"variables\": ..., \"operationName\": ...}.";
        refuse(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, message)
    })
}

/// Executes on a task of its own: a client that goes away does not cut a write in half, and a panic ends
/// nothing but its own request.
async fn execute(
    state: &GraphqlState,
    request: Request,
    headers: &HeaderMap,
    request_id: RequestId,
) -> Result<GraphqlResponse, Response> {
    let requester = Requester::from_headers(headers, &state.app.access_tokens, state.app.clock.now());
    let (schema, request) = (state.schema.clone(), request.data(requester));
    let (id, span) = (request_id.clone(), tracing::Span::current());
    let task = state.operations.spawn(tracing::Instrument::instrument(
        async move { graphql::execute(&schema, request, id).await },
        span,
    ));
    task.await.map_err(|_| internal(&request_id))
}

/// The answer to a request whose handler panicked. The panic itself has been logged by the hook.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    refuse(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::InternalServerError, "Something went wrong.")
}

fn internal(request_id: &RequestId) -> Response {
    let mut error = wire_error(ErrorCode::InternalServerError, "Something went wrong.");
    error.extensions.get_or_insert_default().set("requestId", request_id.0.as_str());
    json(StatusCode::INTERNAL_SERVER_ERROR, &GraphqlResponse::from_errors(vec![error]))
}

fn refuse(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Response {
    json(status, &GraphqlResponse::from_errors(vec![wire_error(code, message)]))
}

fn json(status: StatusCode, response: &GraphqlResponse) -> Response {
    let body = serde_json::to_vec(response).unwrap_or_default();
    let headers =
        [(header::CONTENT_TYPE, "application/json; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}
