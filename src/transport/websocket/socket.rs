use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use async_graphql::parser::types::OperationType;
use async_graphql::{Executor, Response, ServerError, Value};
use axum::extract::ws::{Message, WebSocket};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, pending};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::message::{ACK, ClientMessage, Close, InitPayload, PING, PONG, complete, errors, result};
use crate::auth::{Client, Requester};
use crate::error::ErrorCode;
use crate::graphql::{Caller, GraphqlRequest, InvalidRequest, Operation, RefreshCookie, RequestId, exceeded};
use crate::metrics::Held;
use crate::telemetry;
use crate::transport::Transport;
use crate::transport::bearer::bearer_token;
use crate::transport::errors::internal;
use crate::transport::observation::Observation;
use crate::transport::sockets::SocketPermit;

/// Results of all operations that wait to be sent; a full queue is back-pressure from a slow client.
const QUEUE: usize = 16;
/// Time limit of the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Lifetime of a socket without a token: long enough to log in.
const ANONYMOUS_LIFETIME: Duration = Duration::from_mins(5);

/// A socket with its operations.
pub(super) struct Socket<E> {
    websocket: WebSocket,
    transport: Arc<Transport<E>>,
    headers: HeaderMap,
    client: Arc<Client>,
    request_id: RequestId,
    permit: SocketPermit,
    _open: Held,
    /// Set once the connection has been acknowledged.
    requester: Option<Requester>,
    /// Expiry of the token, or before initialisation the time limit of that.
    deadline: Instant,
    /// Completes when the token's session ends.
    session_ended: BoxFuture<'static, ()>,
    operations: HashMap<String, Running>,
    started: u64,
    results: mpsc::Receiver<Outcome>,
    sender: mpsc::Sender<Outcome>,
}

/// An operation in progress. Its number tells it from an earlier one with the same identifier, which the client may reuse
/// as soon as it has completed that.
struct Running {
    number: u64,
    _in_progress: Held,
    _task: AbortOnDropHandle<()>,
}

/// A message of an operation to the client.
struct Outcome {
    id: String,
    number: u64,
    message: Option<String>,
    ended: bool,
}

/// Sends an operation's messages to its socket.
struct Reporter {
    id: String,
    number: u64,
    sender: mpsc::Sender<Outcome>,
}

impl Reporter {
    /// Sends a message; returns false if the socket is gone.
    async fn send(&self, message: Option<String>, ended: bool) -> bool {
        let outcome = Outcome { id: self.id.clone(), number: self.number, message, ended };
        self.sender.send(outcome).await.is_ok()
    }
}

impl<E: Executor> Socket<E> {
    pub(super) fn new(
        websocket: WebSocket,
        transport: Arc<Transport<E>>,
        headers: HeaderMap,
        client: Client,
        request_id: RequestId,
        permit: SocketPermit,
    ) -> Self {
        let (sender, results) = mpsc::channel(QUEUE);
        let deadline = Instant::now() + transport.socket_settings.init_timeout;
        let (operations, open) = (HashMap::new(), transport.app.metrics.socket());
        Self {
            websocket,
            transport,
            headers,
            client: Arc::new(client),
            request_id,
            permit,
            _open: open,
            requester: None,
            deadline,
            session_ended: Box::pin(pending()),
            operations,
            started: 0,
            results,
            sender,
        }
    }

    /// Serves the socket until it ends, and closes it.
    pub(super) async fn serve(mut self, has_protocol: bool) {
        let close = if has_protocol { self.run().await } else { Some(Close::SubprotocolNotAcceptable) };
        // Ends the operations that wait for results; writes run to completion on tasks of their own.
        self.operations.clear();
        self.session_ended = Box::pin(pending());
        let _ = timeout(CLOSE_TIMEOUT, async {
            if let Some(close) = close {
                let _ = self.websocket.send(Message::Close(Some(close.into()))).await;
            }
            // Reads on until the closing handshake is complete: closing a TCP connection with unread data resets it, and
            // the peer may lose what was sent last.
            while let Some(Ok(_)) = self.websocket.recv().await {}
        })
        .await;
    }

    /// Runs the socket; returns the reason to close it, or `None` if the client has.
    async fn run(&mut self) -> Option<Close> {
        let mut pings = interval(self.transport.socket_settings.ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        let mut is_alive = true;
        let shutdown = self.transport.shutdown.clone();
        loop {
            tokio::select! {
                received = self.websocket.recv() => {
                    is_alive = true;
                    match received? {
                        Ok(Message::Text(text)) => {
                            if let Err(close) = self.receive(text.as_str()).await {
                                return close;
                            }
                        }
                        Ok(Message::Binary(_)) => return Some(Close::BadRequest("Messages must be text")),
                        Ok(Message::Ping(_) | Message::Pong(_)) => {}
                        // tungstenite's error type is not exported by axum, so its text has to do.
                        Err(error) if error.to_string().contains("too long") => return Some(Close::TooBig),
                        Ok(Message::Close(_)) | Err(_) => return None,
                    }
                }
                Some(outcome) = self.results.recv() => {
                    if let Err(close) = self.forward(outcome).await {
                        return close;
                    }
                }
                _ = pings.tick() => {
                    // Nothing received since the last ping: the client is gone.
                    if !std::mem::take(&mut is_alive) {
                        return None;
                    }
                    if let Err(close) = self.send(PING).await {
                        return close;
                    }
                }
                () = sleep_until(self.deadline) => {
                    let is_initialized = self.requester.is_some();
                    return Some(if is_initialized { Close::Forbidden } else { Close::InitTimeout });
                }
                () = &mut self.session_ended => return Some(Close::Forbidden),
                () = shutdown.cancelled() => return Some(Close::GoingAway),
            }
        }
    }

    /// Handles a message; an error closes the socket.
    async fn receive(&mut self, text: &str) -> Result<(), Option<Close>> {
        match ClientMessage::parse(text).map_err(Close::BadRequest)? {
            ClientMessage::ConnectionInit(_) if self.requester.is_some() => Err(Some(Close::TooManyInits)),
            ClientMessage::ConnectionInit(payload) => {
                self.initialize(payload).await?;
                self.send(ACK).await
            }
            ClientMessage::Ping => self.send(PONG).await,
            ClientMessage::Pong => Ok(()),
            ClientMessage::Subscribe { id, payload } => {
                let requester = self.requester.ok_or(Close::Unauthorized)?;
                if self.operations.contains_key(&id) {
                    return Err(Some(Close::SubscriberExists(id)));
                }
                let observation =
                    self.transport.observe(Moment::now(), &self.request_id).with_requester(requester);
                let request = match GraphqlRequest::from_json(payload, self.transport.engine.limits()) {
                    Err(error) if is_bad_request(&error) => {
                        observation.refuse(&error);
                        return Err(Some(Close::BadRequest("The payload is not a GraphQL request")));
                    }
                    request => request,
                };
                match request.map_err(InvalidRequest::from).and_then(|request| self.prepare(request)) {
                    Ok(operation) => {
                        self.start(id, operation, requester, observation);
                        Ok(())
                    }
                    Err(invalid) => {
                        observation.refuse_invalid(&invalid);
                        self.send(&errors(&id, &invalid.errors)).await
                    }
                }
            }
            ClientMessage::Complete { id } => {
                self.operations.remove(&id);
                Ok(())
            }
        }
    }

    /// Authenticates by the payload's token, or else by the header of the upgrade.
    async fn initialize(&mut self, payload: Option<&RawValue>) -> Result<(), Close> {
        let payload: Option<InitPayload> = payload
            .map(|payload| serde_json::from_str(payload.get()))
            .transpose()
            .map_err(|_| Close::BadRequest("The payload's token must be text"))?;
        if let Some(authorization) = payload.and_then(InitPayload::authorization) {
            let value = HeaderValue::from_str(&authorization).map_err(|_| Close::Forbidden)?;
            self.headers.insert(AUTHORIZATION, value);
        }
        let app = self.transport.app.clone();
        let requester = app.auth.authenticate(bearer_token(&self.headers)).await;
        let left = match requester {
            Requester::Rejected(_) => return Err(Close::Forbidden),
            Requester::Unverifiable => return Err(Close::TryAgainLater("The service is busy")),
            Requester::User { identity, expires_at } => {
                if !self.permit.assign_to(identity.user_id) {
                    return Err(Close::TryAgainLater("Too many sockets"));
                }
                let left = expires_at - app.clock.now();
                self.session_ended = Box::pin(async move {
                    app.auth.wait_until_revoked(identity.session_id).await;
                });
                left.to_std().unwrap_or_default()
            }
            Requester::Anonymous => ANONYMOUS_LIFETIME,
        };
        self.deadline = Instant::now() + left;
        self.requester = Some(requester);
        Ok(())
    }

    fn prepare(&self, request: GraphqlRequest) -> Result<Operation, InvalidRequest> {
        let limit = self.transport.socket_settings.max_operations_per_socket;
        if self.operations.len() >= limit {
            return Err(exceeded(ErrorCode::TooManyOperations, limit, "operations on its socket").into());
        }
        self.transport.engine.prepare(request)
    }

    fn start(&mut self, id: String, operation: Operation, requester: Requester, observation: Observation) {
        let (transport, request_id) = (Arc::clone(&self.transport), self.request_id.clone());
        let client = Arc::clone(&self.client);
        let browser_mode = transport.app.auth.settings().refresh_token_cookie.is_on();
        let cookie = if browser_mode { RefreshCookie::Unavailable } else { RefreshCookie::Off };
        self.started += 1;
        let number = self.started;
        let reporter = Reporter { id: id.clone(), number, sender: self.sender.clone() };
        let span = telemetry::begin_operation(Some(&request_id.0));
        let in_progress = transport.app.metrics.socket_operation();
        let work = async move {
            let observation = observation.with_operation(&operation);
            let caller =
                Caller { requester: transport.app.auth.recheck_revocation(requester).await, client, cookie };
            let last = if operation.kind() == OperationType::Subscription {
                subscribe(&transport, operation, caller, observation, &reporter).await
            } else {
                let response = run(&transport, operation, caller, observation, &request_id).await;
                let (message, ended) = result(&reporter.id, &response);
                reporter.send(Some(message), ended).await;
                (!ended).then(|| complete(&reporter.id))
            };
            reporter.send(last, true).await;
        };
        let task = AbortOnDropHandle::new(tokio::spawn(work.instrument(span)));
        self.operations.insert(id, Running { number, _in_progress: in_progress, _task: task });
    }

    /// Forwards a message unless its operation has been completed; an error closes the socket.
    async fn forward(&mut self, outcome: Outcome) -> Result<(), Option<Close>> {
        if self.operations.get(&outcome.id).is_none_or(|running| running.number != outcome.number) {
            return Ok(());
        }
        if outcome.ended {
            self.operations.remove(&outcome.id);
        }
        match outcome.message {
            Some(message) => self.send(&message).await,
            None => Ok(()),
        }
    }

    /// Sends a message; an error closes the socket, without a reason if the client is gone.
    async fn send(&mut self, text: &str) -> Result<(), Option<Close>> {
        let limit = self.transport.socket_settings.send_timeout;
        match timeout(limit, self.websocket.send(Message::Text(text.into()))).await {
            Ok(sent) => sent.map_err(|_| None),
            Err(_) => Err(Some(Close::TooSlow)),
        }
    }
}

/// Runs a query or mutation under the limits that it has over HTTP.
async fn run<E: Executor>(
    transport: &Transport<E>,
    operation: Operation,
    caller: Caller,
    observation: Observation,
    request_id: &RequestId,
) -> Response {
    let result = match transport.admit() {
        Ok(permit) => transport.run(operation, caller, observation, request_id, Arc::new(permit)).await,
        Err(error) => {
            observation.refuse(&error);
            return Response::from_errors(vec![error]);
        }
    };
    result.unwrap_or_else(|error| Response::from_errors(vec![error.into_error()]))
}

/// Forwards the results of a subscription; returns the message that ends it.
async fn subscribe<E: Executor>(
    transport: &Arc<Transport<E>>,
    operation: Operation,
    caller: Caller,
    mut observation: Observation,
    reporter: &Reporter,
) -> Option<String> {
    let request_id = observation.request_id.clone();
    let stream = Arc::clone(&transport.engine).stream(operation, caller, request_id.clone());
    // A panic in the stream ends this operation, not the socket.
    let mut stream = std::pin::pin!(std::panic::AssertUnwindSafe(stream).catch_unwind());
    let _live = transport.app.metrics.subscription();
    while let Some(response) = stream.next().await {
        let Ok(response) = response else {
            let error = internal(&request_id);
            observation.refuse(&error);
            return Some(errors(&reporter.id, &[error]));
        };
        observation.record(&response);
        let (message, ended) = result(&reporter.id, &response);
        if !reporter.send(Some(message), ended).await || ended {
            return None;
        }
    }
    Some(complete(&reporter.id))
}

/// Returns true if an error is about the form of a request.
fn is_bad_request(error: &ServerError) -> bool {
    let code = error.extensions.as_ref().and_then(|extensions| extensions.get("code"));
    code == Some(&Value::from(ErrorCode::BadRequest.as_str()))
}
