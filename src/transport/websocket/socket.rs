use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use async_graphql::parser::types::OperationType;
use async_graphql::{Executor, ServerError, Value};
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
use super::places::Place;
use crate::auth::{Client, Requester};
use crate::error::ErrorCode;
use crate::graphql::{Caller, GraphqlRequest, InvalidRequest, Operation, RefreshCookie, RequestId, exceeded};
use crate::metrics::Held;
use crate::telemetry;
use crate::transport::http::{GraphqlState, internal};
use crate::transport::observation::Observation;

/// Results that wait to be sent, of all operations together; a client that reads slowly holds them up.
const QUEUE: usize = 16;
/// How long a client may take to say goodbye.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How long the socket of somebody without a token lives: long enough to log in.
const ANONYMOUS_LIFETIME: Duration = Duration::from_mins(5);

/// A socket and what runs on it.
pub(super) struct Socket<E> {
    websocket: WebSocket,
    state: Arc<GraphqlState<E>>,
    headers: HeaderMap,
    client: Arc<Client>,
    request_id: RequestId,
    place: Place,
    _open: Held,
    /// Who asks, once the connection has been acknowledged.
    requester: Option<Requester>,
    /// When the socket has to end: the token expires, or the connection has not been initialised.
    deadline: Instant,
    /// Done when the session of the token has ended.
    session_ended: BoxFuture<'static, ()>,
    operations: HashMap<String, Running>,
    started: u64,
    results: mpsc::Receiver<Outcome>,
    sender: mpsc::Sender<Outcome>,
}

/// An operation under way. Its number tells it from an earlier one with the same identifier, which may be used
/// again as soon as the client has completed it.
struct Running {
    number: u64,
    _under_way: Held,
    _task: AbortOnDropHandle<()>,
}

/// What an operation has to say.
struct Outcome {
    id: String,
    number: u64,
    message: Option<String>,
    ended: bool,
}

/// Where an operation's outcomes go.
struct Reporter {
    id: String,
    number: u64,
    sender: mpsc::Sender<Outcome>,
}

impl Reporter {
    /// Hands an outcome over; whether anybody is left to take it.
    async fn report(&self, message: Option<String>, ended: bool) -> bool {
        let outcome = Outcome { id: self.id.clone(), number: self.number, message, ended };
        self.sender.send(outcome).await.is_ok()
    }
}

impl<E: Executor> Socket<E> {
    pub(super) fn new(
        websocket: WebSocket,
        state: Arc<GraphqlState<E>>,
        headers: HeaderMap,
        client: Client,
        request_id: RequestId,
        place: Place,
    ) -> Self {
        let (sender, results) = mpsc::channel(QUEUE);
        let deadline = Instant::now() + state.sockets_settings.init_timeout;
        let (operations, open) = (HashMap::new(), state.app.metrics.socket());
        Self {
            websocket,
            state,
            headers,
            client: Arc::new(client),
            request_id,
            place,
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

    /// Serves the socket until it ends, and says goodbye.
    pub(super) async fn serve(mut self, protocol_is_known: bool) {
        let close = if protocol_is_known { self.run().await } else { Some(Close::SubprotocolNotAcceptable) };
        // Those that wait for results; writes that have begun go on.
        self.operations.clear();
        self.session_ended = Box::pin(pending());
        let _ = timeout(CLOSE_LIMIT, async {
            if let Some(close) = close {
                let _ = self.websocket.send(Message::Close(Some(close.into()))).await;
            }
            // Reading on completes the closing handshake. Ending the connection with something unread would
            // take back what was sent last.
            while let Some(Ok(_)) = self.websocket.recv().await {}
        })
        .await;
    }

    /// The reason to close the socket; none if it is closed already.
    async fn run(&mut self) -> Option<Close> {
        let mut pings = interval(self.state.sockets_settings.ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        let mut heard = true;
        let shutdown = self.state.shutdown.clone();
        loop {
            tokio::select! {
                received = self.websocket.recv() => {
                    heard = true;
                    match received? {
                        Ok(Message::Text(text)) => {
                            if let Err(close) = self.receive(text.as_str()).await {
                                return close;
                            }
                        }
                        Ok(Message::Binary(_)) => return Some(Close::BadRequest("Messages must be text")),
                        Ok(Message::Ping(_) | Message::Pong(_)) => {}
                        // The library has no type for it that its users can name.
                        Err(error) if error.to_string().contains("too long") => return Some(Close::TooBig),
                        Ok(Message::Close(_)) | Err(_) => return None,
                    }
                }
                Some(outcome) = self.results.recv() => {
                    if let Err(close) = self.report(outcome).await {
                        return close;
                    }
                }
                _ = pings.tick() => {
                    // Neither an answer to the last ping nor anything else: nobody is there.
                    if !std::mem::take(&mut heard) {
                        return None;
                    }
                    if let Err(close) = self.send(PING).await {
                        return close;
                    }
                }
                () = sleep_until(self.deadline) => {
                    let initialised = self.requester.is_some();
                    return Some(if initialised { Close::Forbidden } else { Close::InitTimeout });
                }
                () = &mut self.session_ended => return Some(Close::Forbidden),
                () = shutdown.requested() => return Some(Close::GoingAway),
            }
        }
    }

    /// Acts on a message; an error ends the socket.
    async fn receive(&mut self, text: &str) -> Result<(), Option<Close>> {
        match ClientMessage::parse(text).map_err(Close::BadRequest)? {
            ClientMessage::ConnectionInit(_) if self.requester.is_some() => Err(Some(Close::TooManyInits)),
            ClientMessage::ConnectionInit(payload) => {
                self.initialise(payload).await?;
                self.send(ACK).await
            }
            ClientMessage::Ping => self.send(PONG).await,
            ClientMessage::Pong => Ok(()),
            ClientMessage::Subscribe { id, payload } => {
                let requester = self.requester.ok_or(Close::Unauthorized)?;
                if self.operations.contains_key(&id) {
                    return Err(Some(Close::SubscriberExists(id)));
                }
                let observation = self.state.observe(Moment::now(), &self.request_id).by(requester);
                let request = match GraphqlRequest::from_json(payload, self.state.engine.limits()) {
                    Err(error) if is_bad_request(&error) => {
                        observation.refused(&error);
                        return Err(Some(Close::BadRequest("The payload is no GraphQL request")));
                    }
                    request => request,
                };
                match request.map_err(InvalidRequest::from).and_then(|request| self.prepare(request)) {
                    Ok(operation) => {
                        self.start(id, operation, requester, observation);
                        Ok(())
                    }
                    Err(invalid) => {
                        observation.invalid(&invalid);
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

    /// Finds out who is there, by the payload or else by the header of the upgrade.
    async fn initialise(&mut self, payload: Option<&RawValue>) -> Result<(), Close> {
        let payload: Option<InitPayload> = payload
            .map(|payload| serde_json::from_str(payload.get()))
            .transpose()
            .map_err(|_| Close::BadRequest("The payload's token must be text"))?;
        if let Some(authorization) = payload.and_then(InitPayload::authorization) {
            let value = HeaderValue::from_str(&authorization).map_err(|_| Close::Forbidden)?;
            self.headers.insert(AUTHORIZATION, value);
        }
        let app = self.state.app.clone();
        let requester = Requester::from_headers(&self.headers, &app).await;
        let left = match requester {
            Requester::Rejected(_) => return Err(Close::Forbidden),
            Requester::Unknown => return Err(Close::TryAgainLater("The service is busy")),
            Requester::User { identity, expires_at } => {
                if !self.place.belongs_to(identity.user_id) {
                    return Err(Close::TryAgainLater("Too many sockets"));
                }
                let left = expires_at - app.clock.now();
                self.session_ended = Box::pin(async move {
                    app.revocations.wait_for(&app.database, &app.feed, identity.session_id).await;
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
        let limit = self.state.sockets_settings.max_operations_per_socket;
        if self.operations.len() >= limit {
            return Err(exceeded(ErrorCode::TooManyOperations, limit, "operations on its socket").into());
        }
        self.state.engine.prepare(request)
    }

    fn start(&mut self, id: String, operation: Operation, requester: Requester, observation: Observation) {
        let (state, request_id) = (Arc::clone(&self.state), self.request_id.clone());
        let client = Arc::clone(&self.client);
        let browser_mode = state.app.auth.refresh_token_cookie.is_on();
        let cookie = if browser_mode { RefreshCookie::OutOfReach } else { RefreshCookie::Off };
        self.started += 1;
        let number = self.started;
        let reporter = Reporter { id: id.clone(), number, sender: self.sender.clone() };
        let span = telemetry::begin_operation(Some(&request_id.0));
        let under_way = state.app.metrics.socket_operation();
        let work = async move {
            let observation = observation.is(&operation);
            let caller = Caller { requester: requester.again(&state.app).await, client, cookie };
            let last = if operation.kind() == OperationType::Subscription {
                subscribe(&state, operation, caller, observation, &reporter).await
            } else {
                let response = state.execute(operation, caller, observation, &request_id).await;
                let (message, ended) = result(&reporter.id, &response);
                reporter.report(Some(message), ended).await;
                (!ended).then(|| complete(&reporter.id))
            };
            reporter.report(last, true).await;
        };
        let task = AbortOnDropHandle::new(tokio::spawn(work.instrument(span)));
        self.operations.insert(id, Running { number, _under_way: under_way, _task: task });
    }

    /// Passes on what an operation has to say, unless the client has lost interest in it; an error ends the socket.
    async fn report(&mut self, outcome: Outcome) -> Result<(), Option<Close>> {
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

    /// Sends a message; an error ends the socket, without a reason if the client is gone.
    async fn send(&mut self, text: &str) -> Result<(), Option<Close>> {
        let limit = self.state.sockets_settings.send_timeout;
        match timeout(limit, self.websocket.send(Message::Text(text.into()))).await {
            Ok(sent) => sent.map_err(|_| None),
            Err(_) => Err(Some(Close::TooSlow)),
        }
    }
}

/// Passes on the results of a subscription; returns the message that ends it.
async fn subscribe<E: Executor>(
    state: &Arc<GraphqlState<E>>,
    operation: Operation,
    caller: Caller,
    mut observation: Observation,
    reporter: &Reporter,
) -> Option<String> {
    let request_id = observation.request_id.clone();
    let stream = Arc::clone(&state.engine).stream(operation, caller, request_id.clone());
    // A panic in the stream ends this operation, not the socket.
    let mut stream = std::pin::pin!(std::panic::AssertUnwindSafe(stream).catch_unwind());
    let _live = state.app.metrics.subscription();
    while let Some(response) = stream.next().await {
        let Ok(response) = response else {
            let error = internal(&request_id);
            observation.refused(&error);
            return Some(errors(&reporter.id, &[error]));
        };
        observation.saw(&response);
        let (message, ended) = result(&reporter.id, &response);
        if !reporter.report(Some(message), ended).await || ended {
            return None;
        }
    }
    Some(complete(&reporter.id))
}

/// Whether an error is about the form of a request.
fn is_bad_request(error: &ServerError) -> bool {
    let code = error.extensions.as_ref().and_then(|extensions| extensions.get("code"));
    code == Some(&Value::from(ErrorCode::BadRequest.as_str()))
}
