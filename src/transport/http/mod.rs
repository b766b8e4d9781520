//! GraphQL over HTTP, by its specification: <https://graphql.github.io/graphql-over-http/draft/>.

mod accept;
mod body;
mod cookie;
mod response;

use std::any::Any;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use async_graphql::parser::types::OperationType;
use async_graphql::{Executor, Response as GraphqlResponse, ServerError};
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::future::join_all;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout_at;
use tracing::Instrument;

use self::accept::MediaType;
use self::body::Requests;
use self::response::Refusal;
use super::Transport;
use super::bearer::bearer_token;
use super::client::Peer;
use super::errors::{starting, timed_out};
use super::observation::Observation;
use crate::error::INTERNAL;
use crate::graphql::ErrorCode;
use crate::graphql::{Caller, GraphqlRequest, RequestId, wire_error};
use crate::telemetry;

/// Handles GET and POST.
pub(crate) async fn handle<E: Executor>(
    State(transport): State<Arc<Transport<E>>>,
    Extension(request_id): Extension<RequestId>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let started = Instant::now();
    let Some(media_type) = MediaType::negotiate(request.headers()) else {
        let message = "Accept application/graphql-response+json or application/json.";
        let error = wire_error(ErrorCode::NotAcceptable, message);
        transport.observe(started, &request_id).refuse(&error);
        return response::refused(Refusal::new(StatusCode::NOT_ACCEPTABLE, error), MediaType::Json);
    };
    // Before the body is read, so that a rejected request costs no memory.
    let permit = match transport.admit() {
        Ok(permit) => permit,
        Err(error) => {
            transport.observe(started, &request_id).refuse(&error);
            return response::refused(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error), media_type);
        }
    };
    let exchange = HttpExchange {
        deadline: started + transport.request_timeout,
        transport,
        media_type,
        request_id,
        peer,
        permit: Arc::new(permit),
        started,
        reports_cost: request.headers().get(COST).is_some_and(|value| value == "1"),
    };
    exchange.respond(request).await.unwrap_or_else(|refusal| response::refused(refusal, media_type))
}

/// An HTTP request with one operation or a batch.
struct HttpExchange<E> {
    transport: Arc<Transport<E>>,
    media_type: MediaType,
    request_id: RequestId,
    peer: Peer,
    permit: Arc<OwnedSemaphorePermit>,
    started: Instant,
    /// Time by which each of its operations has to end.
    deadline: Instant,
    /// True if the client asks for the cost of its operations.
    reports_cost: bool,
}

/// Asks for `extensions.cost` in the response, with the value `1`.
const COST: HeaderName = HeaderName::from_static("x-graphql-cost");

impl<E: Executor> HttpExchange<E> {
    fn observe(&self) -> Observation {
        self.transport.observe(self.started, &self.request_id)
    }

    async fn respond(&self, request: Request) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        let is_get = parts.method != Method::POST;
        let receiving = pin!(self.receive(&parts, body));
        let received = match timeout_at(self.deadline.into(), receiving).await {
            Ok(received) => received,
            Err(_) => Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, timed_out())),
        };
        let (requests, caller) = received.inspect_err(|refusal| self.observe().refuse(&refusal.error))?;
        match requests {
            Requests::Single(request) => {
                let response = self.run(request, caller, is_get).await?;
                Ok(response::single(response, self.media_type))
            }
            Requests::Batch(requests) => {
                let responses = requests.into_iter().map(|request| self.run_item(request, &caller, is_get));
                Ok(response::batch(join_all(responses).await, self.media_type))
            }
        }
    }

    /// Reads the operations, and authenticates their sender.
    async fn receive(&self, parts: &Parts, body: Body) -> Result<(Requests, Caller), Refusal> {
        let transport = &self.transport;
        let limits = transport.engine.limits();
        let requests = if parts.method == Method::POST {
            body::read(&parts.headers, body, limits, transport.body_timeout).await?
        } else {
            body::read_url(&parts.uri, limits)?
        };
        let caller = Caller {
            requester: transport.app.auth.authenticate(bearer_token(&parts.headers)).await,
            client: Arc::new(transport.client(&parts.headers, self.peer, &self.request_id)),
            cookie: cookie::refresh_cookie(transport, &parts.headers),
        };
        Ok((requests, caller))
    }

    /// Runs one operation of a batch; its failures stay within its own response.
    async fn run_item(
        &self,
        request: Result<GraphqlRequest, ServerError>,
        caller: &Caller,
        is_get: bool,
    ) -> GraphqlResponse {
        let result = match request {
            Ok(request) => {
                let work = self.run(request, caller.clone(), is_get);
                let result = work.instrument(telemetry::begin_operation(None)).await;
                result.map_err(|refusal| refusal.error)
            }
            Err(error) => {
                self.observe().with_requester(caller.requester).refuse(&error);
                Err(error)
            }
        };
        result.unwrap_or_else(|error| GraphqlResponse::from_errors(vec![error]))
    }

    async fn run(
        &self,
        request: GraphqlRequest,
        caller: Caller,
        is_get: bool,
    ) -> Result<GraphqlResponse, Refusal> {
        let observation = self.observe().with_requester(caller.requester).with_request(&request);
        let prepared = self.transport.engine.prepare(request);
        let kind = match &prepared {
            Ok(operation) => Some(operation.kind()),
            Err(invalid) => invalid.kind,
        };
        if kind == Some(OperationType::Subscription) {
            let message = "Subscriptions are served over the WebSocket at /graphql/ws.";
            let error = wire_error(ErrorCode::SubscriptionOverHttp, message);
            observation.with_kind(kind).refuse(&error);
            return Ok(GraphqlResponse::from_errors(vec![error]));
        }
        if is_get && kind == Some(OperationType::Mutation) {
            let error = wire_error(ErrorCode::MethodNotAllowed, "Mutations are sent by POST.");
            observation.with_kind(kind).refuse(&error);
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error));
        }
        let (mut response, cost) = match prepared {
            Ok(operation) => {
                let cost = operation.cost();
                let observation = observation.with_operation(&operation);
                let permit = Arc::clone(&self.permit);
                let run = self.transport.run(operation, caller, observation, self.deadline, permit);
                (run.await?, Some(cost))
            }
            Err(invalid) => {
                observation.refuse_invalid(&invalid);
                (GraphqlResponse::from_errors(invalid.errors), invalid.cost)
            }
        };
        if let Some(cost) = cost.filter(|_| self.reports_cost) {
            response.extensions.insert("cost".to_owned(), cost.to_value());
        }
        Ok(response)
    }
}

/// Refuses a request during the start.
pub(crate) async fn refuse_at_start(headers: HeaderMap) -> Response {
    let media_type = MediaType::negotiate(&headers).unwrap_or(MediaType::Json);
    response::refused(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, starting()), media_type)
}

/// Builds the response to a request without a valid `Host`.
pub(crate) fn bad_host_response() -> Response {
    let error = wire_error(ErrorCode::BadRequest, "The request must have one valid Host header.");
    let mut response = response::refused(error.into(), MediaType::Json);
    // What follows on the connection may not be what its sender means.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Builds the response to a request whose handler panicked. The panic hook has logged it.
pub(crate) fn panic_response(_: Box<dyn Any + Send>) -> Response {
    let error = wire_error(ErrorCode::InternalServerError, INTERNAL);
    response::refused(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error), MediaType::Json)
}
