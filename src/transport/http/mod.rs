//! GraphQL over HTTP, by its specification: <https://graphql.github.io/graphql-over-http/draft/>.

mod accept;
mod answer;
mod body;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_graphql::parser::types::OperationType;
use async_graphql::{Executor, Response as GraphqlResponse, ServerError};
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use futures_util::future::join_all;
use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use self::accept::MediaType;
use self::answer::Refusal;
pub(super) use self::answer::to_json;
use self::body::Requests;
use super::client::{Peer, client};
use super::observation::Observation;
use super::origin;
use super::websocket::Sockets;
use crate::auth::{Client, Requester};
use crate::config::{Config, SocketSettings};
use crate::error::{ErrorCode, RETRY_AFTER};
use crate::graphql::{
    Caller, Engine, GraphqlRequest, Operation, RefreshCookie, RequestId, refresh_token_in_cookie, wire_error,
};
use crate::http::Shutdown;
use crate::state::AppState;
use crate::telemetry;

/// What the transports need, over HTTP and WebSocket.
pub(crate) struct GraphqlState<E> {
    pub(super) app: AppState,
    pub(super) engine: Arc<Engine<E>>,
    /// What has begun, so that it can be finished when the service stops.
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: Shutdown,
    pub(super) sockets: Arc<Sockets>,
    pub(super) sockets_settings: SocketSettings,
    pub(super) allowed_origins: Vec<HeaderValue>,
    trusted_proxies: Vec<IpNet>,
    /// One for each request that may be under way.
    places: Arc<Semaphore>,
    read_limit: Duration,
    time_limit: Duration,
    slow: Duration,
}

impl<E: Executor> GraphqlState<E> {
    pub(crate) fn new(
        app: AppState,
        engine: Arc<Engine<E>>,
        config: &Config,
        tasks: TaskTracker,
        shutdown: Shutdown,
    ) -> Self {
        let sockets_settings = config.sockets;
        Self {
            app,
            tasks,
            shutdown,
            sockets: Sockets::new(sockets_settings.max_sockets, sockets_settings.max_sockets_per_user),
            sockets_settings,
            allowed_origins: config.http.cors_allowed_origins.clone(),
            trusted_proxies: config.http.trusted_proxies.clone(),
            places: Arc::new(Semaphore::new(engine.limits().concurrent_requests)),
            engine,
            read_limit: config.http.read_timeout,
            time_limit: config.http.request_timeout,
            slow: config.log.slow_operation,
        }
    }

    /// Watches over an operation that came at some time with some request.
    pub(super) fn observe(&self, started: Instant, request_id: &RequestId) -> Observation {
        Observation::new(request_id.clone(), self.app.metrics.clone(), self.slow, started)
    }

    /// Where a request comes from.
    pub(super) fn client(&self, headers: &HeaderMap, peer: Peer, request_id: &RequestId) -> Client {
        client(headers, peer, &self.trusted_proxies, request_id)
    }

    /// What a request may do with the cookie of browser mode. Pages of other sites can send requests with the cookie, but
    /// not with such a header, unless their origin is allowed to.
    fn cookie(&self, headers: &HeaderMap) -> RefreshCookie {
        if !self.app.auth.refresh_token_cookie.is_on() {
            return RefreshCookie::Off;
        }
        let header = ["apollo-require-preflight", "x-apollo-operation-name"];
        let preflighted = header.iter().any(|name| headers.get(*name).is_some_and(|value| !value.is_empty()));
        let named: Vec<_> = self.allowed_origins.iter().filter(|origin| *origin != "*").cloned().collect();
        if !preflighted || !origin::is_allowed(headers, &named) {
            return RefreshCookie::Untrusted;
        }
        RefreshCookie::Usable(refresh_token_in_cookie(headers))
    }

    /// Executes on a task of its own: a client that goes away does not cut a write in half, and a panic ends
    /// nothing but its own request.
    async fn run(
        &self,
        operation: Operation,
        caller: Caller,
        mut observation: Observation,
        request_id: &RequestId,
        place: Arc<OwnedSemaphorePermit>,
    ) -> Result<GraphqlResponse, Refusal> {
        let (engine, limit) = (Arc::clone(&self.engine), self.time_limit);
        let work = async move {
            let _place = place;
            observation.begin();
            // Here as well as around the request: what is left of it does not go on without anybody. A transaction
            // that is under way is rolled back.
            let done = timeout(limit, engine.execute(operation, caller, &observation.request_id)).await;
            if let Ok(response) = done {
                observation.answered(&response);
                Ok(response)
            } else {
                let error = too_slow();
                observation.refused(&error);
                Err(error)
            }
        };
        let task = self.tasks.spawn(work.in_current_span());
        match task.await {
            Ok(done) => done.map_err(|error| Refusal::new(StatusCode::GATEWAY_TIMEOUT, error)),
            Err(_) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, internal(request_id))),
        }
    }

    /// Executes a query or mutation that did not come by HTTP, within the limits that it would have there.
    pub(super) async fn execute(
        &self,
        operation: Operation,
        caller: Caller,
        observation: Observation,
        request_id: &RequestId,
    ) -> GraphqlResponse {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let error = overloaded(self.engine.limits().concurrent_requests);
            observation.refused(&error);
            return GraphqlResponse::from_errors(vec![error]);
        };
        let done = self.run(operation, caller, observation, request_id, Arc::new(place)).await;
        done.unwrap_or_else(|refusal| GraphqlResponse::from_errors(vec![refusal.error]))
    }
}

/// Answers GET and POST.
pub(crate) async fn handle<E: Executor>(
    State(state): State<Arc<GraphqlState<E>>>,
    Extension(request_id): Extension<RequestId>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    let started = Instant::now();
    let Some(media_type) = MediaType::negotiate(request.headers()) else {
        let message = "Accept application/graphql-response+json or application/json.";
        let error = wire_error(ErrorCode::NotAcceptable, message);
        state.observe(started, &request_id).refused(&error);
        return answer::refused(Refusal::new(StatusCode::NOT_ACCEPTABLE, error), MediaType::Json);
    };
    // Before the body is read: what is turned away costs no memory.
    let Ok(place) = Arc::clone(&state.places).try_acquire_owned() else {
        let error = overloaded(state.engine.limits().concurrent_requests);
        state.observe(started, &request_id).refused(&error);
        return answer::refused(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error), media_type);
    };
    let call = Call {
        state: Arc::clone(&state),
        media_type,
        request_id,
        peer,
        place: Arc::new(place),
        started,
        has_begun: AtomicBool::new(false),
    };
    match timeout(state.time_limit, call.answer(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(refusal)) => answer::refused(refusal, media_type),
        Err(_) => {
            let error = too_slow();
            if !call.has_begun.load(Ordering::Relaxed) {
                call.observe().refused(&error);
            }
            answer::refused(Refusal::new(StatusCode::GATEWAY_TIMEOUT, error), media_type)
        }
    }
}

/// A request on its way through the transport.
struct Call<E> {
    state: Arc<GraphqlState<E>>,
    media_type: MediaType,
    request_id: RequestId,
    peer: Peer,
    place: Arc<OwnedSemaphorePermit>,
    started: Instant,
    /// Whether there is an operation, which is observed by itself.
    has_begun: AtomicBool,
}

impl<E: Executor> Call<E> {
    fn observe(&self) -> Observation {
        self.state.observe(self.started, &self.request_id)
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response, Refusal> {
        let (state, (parts, body)) = (&self.state, request.into_parts());
        let get = parts.method != Method::POST;
        let requests = if get {
            body::read_url(&parts.uri, state.engine.limits()).map_err(Refusal::from)
        } else {
            body::read(&parts.headers, body, state.engine.limits(), state.read_limit).await
        };
        let requests = requests.inspect_err(|refusal| self.observe().refused(&refusal.error))?;
        let caller = Caller {
            requester: Requester::from_headers(&parts.headers, &state.app).await,
            client: Arc::new(state.client(&parts.headers, self.peer, &self.request_id)),
            cookie: state.cookie(&parts.headers),
        };
        match requests {
            Requests::Single(request) => {
                let response = self.execute(request, caller, get).await?;
                Ok(answer::single(response, self.media_type))
            }
            Requests::Batch(requests) => {
                let responses = requests.into_iter().map(async |request| match request {
                    Ok(request) => {
                        let work = self.execute(request, caller.clone(), get);
                        work.instrument(telemetry::begin_operation(None))
                            .await
                            .map_err(|refusal| refusal.error)
                    }
                    Err(error) => {
                        self.observe().by(caller.requester).refused(&error);
                        Err(error)
                    }
                });
                let respond =
                    |result: Result<_, _>| result.unwrap_or_else(|e| GraphqlResponse::from_errors(vec![e]));
                let responses: Vec<_> = join_all(responses).await.into_iter().map(respond).collect();
                Ok(answer::batch(responses, self.media_type))
            }
        }
    }

    async fn execute(
        &self,
        request: GraphqlRequest,
        caller: Caller,
        get: bool,
    ) -> Result<GraphqlResponse, Refusal> {
        self.has_begun.store(true, Ordering::Relaxed);
        let observation = self.observe().by(caller.requester).of(&request);
        let prepared = self.state.engine.prepare(request);
        let kind = match &prepared {
            Ok(operation) => Some(operation.kind()),
            Err(invalid) => invalid.kind,
        };
        if kind == Some(OperationType::Subscription) {
            let message = "Subscriptions are served over the WebSocket at /graphql/ws.";
            let error = wire_error(ErrorCode::SubscriptionOverHttp, message);
            observation.of_kind(kind).refused(&error);
            return Ok(GraphqlResponse::from_errors(vec![error]));
        }
        if get && kind == Some(OperationType::Mutation) {
            let error = wire_error(ErrorCode::MethodNotAllowed, "Mutations are sent by POST.");
            observation.of_kind(kind).refused(&error);
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error));
        }
        match prepared {
            Ok(operation) => {
                let observation = observation.is(&operation);
                let place = Arc::clone(&self.place);
                self.state.run(operation, caller, observation, &self.request_id, place).await
            }
            Err(invalid) => {
                observation.invalid(&invalid);
                Ok(GraphqlResponse::from_errors(invalid.errors))
            }
        }
    }
}

fn too_slow() -> ServerError {
    wire_error(ErrorCode::RequestTimeout, "The request took too long.")
}

fn overloaded(limit: usize) -> ServerError {
    let mut error =
        wire_error(ErrorCode::ServiceUnavailable, "The service is busy. Please try again in a moment.");
    let extensions = error.extensions.get_or_insert_default();
    extensions.set("retryAfter", RETRY_AFTER);
    extensions.set("limit", limit);
    error
}

pub(super) fn internal(request_id: &RequestId) -> ServerError {
    let mut error = wire_error(ErrorCode::InternalServerError, "Something went wrong.");
    error.extensions.get_or_insert_default().set("requestId", request_id.0.as_str());
    error
}

/// The answer to a request whose handler panicked. The panic itself has been logged by the hook.
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response {
    let error = wire_error(ErrorCode::InternalServerError, "Something went wrong.");
    answer::refused(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error), MediaType::Json)
}
