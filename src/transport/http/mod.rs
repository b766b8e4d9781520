//! GraphQL over HTTP, by its specification: <https://graphql.github.io/graphql-over-http/draft/>.

mod accept;
mod body;
mod cookie;
mod format;
mod response;
mod stream;

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

pub(crate) use self::accept::prefers_html;
use self::accept::{Accepted, MediaType};
use self::body::Requests;
use self::format::StreamFormat;
use self::response::Refusal;
use self::stream::SubscriptionStream;
use super::Transport;
use super::bearer::bearer_token;
use super::client::{Ingress, Peer};
use super::errors::{overloaded, starting, timed_out};
use super::lifetime::Lifetime;
use super::observation::Observation;
use super::sockets::SocketPermit;
use super::subscription::Subscription;
use crate::auth::Requester;
use crate::error::{AppError, INTERNAL};
use crate::graphql::ErrorCode;
use crate::graphql::{Caller, Cost, GraphqlRequest, Operation, RequestId, request_error, wire_error};
use crate::metrics::GaugeGuard;
use crate::telemetry;

/// Handles GET and POST.
pub(crate) async fn handle<E: Executor>(
    State(transport): State<Arc<Transport<E>>>,
    Extension(Ingress { request_id, peer }): Extension<Ingress>,
    request: Request,
) -> Response {
    let started = Instant::now();
    let Some(accepted) = Accepted::negotiate(request.headers()) else {
        let message = "Accept application/graphql-response+json or application/json; for subscriptions also \
            text/event-stream or multipart/mixed;subscriptionSpec=1.0.";
        let error = wire_error(ErrorCode::NotAcceptable, message);
        transport.observe(started, &request_id).refuse(&error);
        return response::refused(Refusal::new(StatusCode::NOT_ACCEPTABLE, error), MediaType::Json);
    };
    // Before the body is read, so that a rejected request costs no memory.
    let permit = match transport.admit() {
        Ok(permit) => permit,
        Err(error) => {
            transport.observe(started, &request_id).refuse(&error);
            return response::refused(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error), accepted.json());
        }
    };
    let exchange = HttpExchange {
        deadline: started + transport.request_timeout,
        transport,
        accepted,
        request_id,
        peer,
        permit: Arc::new(permit),
        started,
        reports_cost: request.headers().get(COST).is_some_and(|value| value == "1"),
    };
    exchange.respond(request).await.unwrap_or_else(|refusal| response::refused(refusal, accepted.json()))
}

/// An HTTP request with one operation or a batch.
struct HttpExchange<E> {
    transport: Arc<Transport<E>>,
    accepted: Accepted,
    request_id: RequestId,
    peer: Peer,
    permit: Arc<OwnedSemaphorePermit>,
    started: Instant,
    /// Time by which each of its operations has to end.
    deadline: Instant,
    /// True if the client asks for the cost of its operations.
    reports_cost: bool,
}

/// Header that asks for `extensions.cost` in the response, with the value `1`.
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
                let format = self.accepted.stream;
                match (self.prepare(request, &caller, is_get, format), format) {
                    (Prepared::Valid(operation, observation), Some(format))
                        if operation.kind() == OperationType::Subscription =>
                    {
                        Ok(self.stream(operation, observation, caller, format))
                    }
                    (prepared, _) => Ok(response::single(self.run(prepared, caller).await?, self.accepted)),
                }
            }
            Requests::Batch(requests) => {
                let responses = requests.into_iter().map(|request| self.run_item(request, &caller, is_get));
                Ok(response::batch(join_all(responses).await, self.accepted.json()))
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
                let work = async {
                    let prepared = self.prepare(request, caller, is_get, None);
                    self.run(prepared, caller.clone()).await
                };
                let result = telemetry::begin_operation(None).scope(work).await;
                result.map_err(|refusal| refusal.error)
            }
            Err(error) => {
                self.observe().with_requester(caller.requester).refuse(&error);
                Err(error)
            }
        };
        result.unwrap_or_else(|error| GraphqlResponse::from_errors(vec![error]))
    }

    /// Prepares an operation. A subscription is valid only with a format to stream it in.
    fn prepare(
        &self,
        request: GraphqlRequest,
        caller: &Caller,
        is_get: bool,
        format: Option<StreamFormat>,
    ) -> Prepared {
        let observation = self.observe().with_requester(caller.requester).with_request(&request);
        let prepared = self.transport.engine.prepare(request);
        let kind = match &prepared {
            Ok(operation) => Some(operation.kind()),
            Err(invalid) => invalid.kind,
        };
        if kind == Some(OperationType::Subscription) && format.is_none() {
            let message = "Subscribe over the WebSocket at /graphql, or without a batch and with Accept: multipart/mixed;\
                subscriptionSpec=1.0 or text/event-stream.";
            let error = wire_error(ErrorCode::SubscriptionOverHttp, message);
            observation.with_kind(kind).refuse(&error);
            return Prepared::Invalid(GraphqlResponse::from_errors(vec![error]));
        }
        if is_get && kind == Some(OperationType::Mutation) {
            let error = wire_error(ErrorCode::MethodNotAllowed, "Mutations are sent by POST.");
            observation.with_kind(kind).refuse(&error);
            return Prepared::Refused(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error));
        }
        match prepared {
            Ok(operation) => {
                let observation = observation.with_operation(&operation);
                Prepared::Valid(operation, observation)
            }
            Err(invalid) => {
                observation.refuse_invalid(&invalid);
                let response = GraphqlResponse::from_errors(invalid.errors);
                Prepared::Invalid(self.with_cost(response, invalid.cost))
            }
        }
    }

    async fn run(&self, prepared: Prepared, caller: Caller) -> Result<GraphqlResponse, Refusal> {
        match prepared {
            Prepared::Valid(operation, observation) => {
                let cost = operation.cost();
                let permit = Arc::clone(&self.permit);
                let run = self.transport.run(operation, caller, observation, self.deadline, permit);
                Ok(self.with_cost(run.await?, Some(cost)))
            }
            Prepared::Invalid(response) => Ok(response),
            Prepared::Refused(refusal) => Err(refusal),
        }
    }

    /// Adds the cost of its operation to a response, if it is known and asked for.
    fn with_cost(&self, mut response: GraphqlResponse, cost: Option<Cost>) -> GraphqlResponse {
        if let Some(cost) = cost.filter(|_| self.reports_cost) {
            response::insert_cost(&mut response, cost);
        }
        response
    }

    /// Starts the stream of a subscription, which counts as a socket and no longer as a request.
    fn stream(
        &self,
        operation: Operation,
        observation: Observation,
        caller: Caller,
        format: StreamFormat,
    ) -> Response {
        let Transport { app, shutdown, .. } = &*self.transport;
        let permit = match self.admit_stream(caller.requester) {
            Ok(permit) => permit,
            Err(error) => {
                observation.refuse(&error);
                let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error);
                return response::refused(refusal, self.accepted.json());
            }
        };
        let open = GaugeGuard::new(&app.metrics.sockets);
        let lifetime = Lifetime::for_requester(caller.requester, app, shutdown.clone());
        let cost = self.reports_cost.then(|| operation.cost());
        let subscription = Subscription::start(&self.transport, operation, caller, observation);
        SubscriptionStream::new(subscription, lifetime, format, cost, permit, open).into_response()
    }

    /// Takes a permit for a stream. Fails if too many are open, or if the requester's session can't be checked: clients retry
    /// after a status, but not after an error in a stream that ends properly.
    fn admit_stream(&self, requester: Requester) -> Result<SocketPermit, ServerError> {
        let user = match requester.identity() {
            Err(error @ AppError::Unavailable(_)) => return Err(request_error(error)),
            // The subscription itself decides if it needs a user.
            identity => identity.ok().flatten().map(|identity| identity.user_id),
        };
        self.transport.sockets.admit_stream(user).map_err(overloaded)
    }
}

/// A request after its preparation.
enum Prepared {
    Valid(Operation, Observation),
    /// Nothing is executed; the response has the errors.
    Invalid(GraphqlResponse),
    Refused(Refusal),
}

/// Refuses a request during the start.
pub(crate) async fn refuse_at_start(headers: HeaderMap) -> Response {
    let accepted = Accepted::negotiate(&headers).unwrap_or(Accepted::JSON);
    response::refused(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, starting()), accepted.json())
}

/// Builds the response to a request whose head is malformed.
pub(crate) fn malformed_response(status: StatusCode, message: &'static str) -> Response {
    let error = wire_error(ErrorCode::BadRequest, message);
    let mut response = response::refused(Refusal::new(status, error), MediaType::Json);
    // What follows on the connection may not be what its sender means.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Builds the response to a request whose handler panicked. The panic hook has logged it.
pub(crate) fn panic_response(_: Box<dyn Any + Send>) -> Response {
    let error = wire_error(ErrorCode::InternalServerError, INTERNAL);
    response::refused(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error), MediaType::Json)
}
