use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use async_graphql::{Executor, ServerError, Value};
use axum::extract::ws::Message;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::message::{ACK, ClientMessage, Close, InitPayload, PING, PONG, errors};
use super::operation::{OperationContext, OutgoingMessage, ResultSender, RunningOperation};
use crate::auth::{Client, Requester};
use crate::graphql::ErrorCode;
use crate::graphql::{GraphqlRequest, InvalidRequest, Operation, RequestId, exceeded};
use crate::metrics::GaugeGuard;
use crate::transport::Transport;
use crate::transport::bearer::bearer_token;
use crate::transport::lifetime::{End, Lifetime};
use crate::transport::observation::Observation;
use crate::transport::sockets::SocketPermit;

/// Results of all operations that wait to be sent; a full queue is back-pressure from a slow client.
const QUEUE: usize = 16;
/// Operations in progress on one socket. A client needs one per open view; more are a leak of the client.
const MAX_OPERATIONS: usize = 50;
/// Time limit for `connection_init`, which clients send at once; graphql-ws allows 3 seconds.
const INIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for a client to accept a message before it is cut off as too slow.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit of the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A socket with its operations. `W` is the WebSocket; tests use channels.
pub(super) struct Socket<W, E> {
    websocket: W,
    transport: Arc<Transport<E>>,
    /// Headers of the upgrade, until the connection is initialised: they hold hyper's read buffer.
    headers: Option<Box<HeaderMap>>,
    client: Arc<Client>,
    request_id: RequestId,
    permit: SocketPermit,
    _open: GaugeGuard,
    /// Set once the connection has been acknowledged.
    requester: Option<Requester>,
    /// That of the token, or before initialisation the time limit of that.
    lifetime: Lifetime,
    operations: HashMap<String, RunningOperation>,
    started: u64,
    /// Boxed: tokio's channel allocates slots for 32 messages at the start.
    outgoing: mpsc::Receiver<Box<OutgoingMessage>>,
    sender: mpsc::Sender<Box<OutgoingMessage>>,
}

impl<W, E> Socket<W, E>
where
    W: Stream<Item = Result<Message, axum::Error>> + Sink<Message> + Unpin,
    E: Executor,
{
    pub(super) fn new(
        websocket: W,
        transport: Arc<Transport<E>>,
        headers: Box<HeaderMap>,
        client: Arc<Client>,
        request_id: RequestId,
        permit: SocketPermit,
    ) -> Self {
        let (sender, outgoing) = mpsc::channel(QUEUE);
        let lifetime = Lifetime::anonymous(INIT_TIMEOUT, transport.shutdown.clone());
        let operations = HashMap::new();
        let open = GaugeGuard::new(&transport.app.metrics.sockets);
        Self {
            websocket,
            transport,
            headers: Some(headers),
            client,
            request_id,
            permit,
            _open: open,
            requester: None,
            lifetime,
            operations,
            started: 0,
            outgoing,
            sender,
        }
    }

    /// Serves the socket until it ends, and closes it.
    pub(super) async fn serve(mut self: Box<Self>, has_protocol: bool) {
        let close = if has_protocol { self.run().await } else { Some(Close::SubprotocolNotAcceptable) };
        // Ends the operations that wait for results; writes run to completion on tasks of their own.
        self.operations.clear();
        // Nor is the end of the session waited for any more.
        self.lifetime = Lifetime::anonymous(CLOSE_TIMEOUT, self.transport.shutdown.clone());
        let _ = timeout(CLOSE_TIMEOUT, async {
            if let Some(close) = close {
                let _ = self.websocket.send(Message::Close(Some(close.into()))).await;
            }
            // Reads on until the closing handshake is complete: closing a TCP connection with unread data resets it, and
            // the peer may lose what was sent last.
            while let Some(Ok(_)) = self.websocket.next().await {}
        })
        .await;
    }

    /// Runs the socket; returns the reason to close it, or `None` if the client has.
    async fn run(&mut self) -> Option<Close> {
        let mut pings = interval(self.transport.socket_settings.socket_ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        let mut is_alive = true;
        loop {
            tokio::select! {
                received = self.websocket.next() => {
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
                Some(outgoing) = self.outgoing.recv() => {
                    if let Err(close) = self.forward(outgoing).await {
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
                end = self.lifetime.ended() => return Some(match end {
                    End::Shutdown => Close::GoingAway,
                    End::Unauthenticated(_) if self.requester.is_none() => Close::InitTimeout,
                    End::Unauthenticated(_) => Close::Forbidden,
                }),
            }
        }
    }

    /// Handles a message; an error closes the socket.
    async fn receive(&mut self, text: &str) -> Result<(), Option<Close>> {
        match ClientMessage::parse(text).map_err(Close::BadRequest)? {
            ClientMessage::ConnectionInit(_) if self.requester.is_some() => Err(Some(Close::TooManyInits)),
            ClientMessage::ConnectionInit(payload) => {
                // Boxed: an idle socket needs no room for it.
                Box::pin(self.initialize(payload)).await?;
                self.send(ACK).await
            }
            ClientMessage::Ping => self.send(PONG).await,
            ClientMessage::Pong => Ok(()),
            ClientMessage::Subscribe { id, payload } => match self.subscribe(id, payload)? {
                Some(refusal) => self.send(&refusal).await,
                None => Ok(()),
            },
            ClientMessage::Complete { id } => {
                self.operations.remove(&id);
                Ok(())
            }
        }
    }

    /// Starts an operation; returns the answer to an invalid one. An error closes the socket.
    fn subscribe(&mut self, id: String, payload: &str) -> Result<Option<String>, Close> {
        let requester = self.requester.ok_or(Close::Unauthorized)?;
        if self.operations.contains_key(&id) {
            return Err(Close::SubscriberExists(id));
        }
        let observation = self.transport.observe(Moment::now(), &self.request_id).with_requester(requester);
        let request = match GraphqlRequest::from_json(payload, self.transport.engine.limits()) {
            Err(error) if is_bad_request(&error) => {
                observation.refuse(&error);
                return Err(Close::BadRequest("The payload is not a GraphQL request"));
            }
            request => request,
        };
        match request.map_err(InvalidRequest::from).and_then(|request| self.prepare(request)) {
            Ok(operation) => {
                self.start(id, operation, requester, observation);
                Ok(None)
            }
            Err(invalid) => {
                observation.refuse_invalid(&invalid);
                Ok(Some(errors(&id, &invalid.errors)))
            }
        }
    }

    /// Authenticates by the payload's token, or else by the header of the upgrade.
    async fn initialize(&mut self, payload: Option<&RawValue>) -> Result<(), Close> {
        let payload: Option<InitPayload> = payload
            .map(|payload| serde_json::from_str(payload.get()))
            .transpose()
            .map_err(|_| Close::BadRequest("The payload's token must be text"))?;
        let mut headers = self.headers.take().unwrap_or_default();
        if let Some(authorization) = payload.and_then(InitPayload::authorization) {
            let value = HeaderValue::from_str(&authorization).map_err(|_| Close::Forbidden)?;
            headers.insert(AUTHORIZATION, value);
        }
        let app = &self.transport.app;
        let requester = app.auth.authenticate(bearer_token(&headers)).await;
        match requester {
            Requester::Rejected(_) => return Err(Close::Forbidden),
            Requester::Unverifiable => return Err(Close::TryAgainLater("The service is busy")),
            Requester::User { identity, .. } if !self.permit.assign_to(identity.user_id) => {
                return Err(Close::TryAgainLater("Too many sockets"));
            }
            Requester::User { .. } | Requester::Anonymous => {}
        }
        self.lifetime = Lifetime::of(requester, app, self.transport.shutdown.clone());
        self.requester = Some(requester);
        Ok(())
    }

    fn prepare(&self, request: GraphqlRequest) -> Result<Operation, InvalidRequest> {
        if self.operations.len() >= MAX_OPERATIONS {
            let what = "operations on its socket";
            return Err(exceeded(ErrorCode::TooManyOperations, MAX_OPERATIONS, what).into());
        }
        self.transport.engine.prepare(request)
    }

    fn start(&mut self, id: String, operation: Operation, requester: Requester, observation: Observation) {
        self.started += 1;
        let number = self.started;
        let context = OperationContext {
            transport: Arc::clone(&self.transport),
            client: Arc::clone(&self.client),
            request_id: self.request_id.clone(),
            requester,
            results: ResultSender { id: id.clone(), number, sender: self.sender.clone() },
        };
        self.operations.insert(id, RunningOperation::start(context, operation, observation));
    }

    /// Forwards a message unless its operation has been completed; an error closes the socket.
    async fn forward(&mut self, outgoing: Box<OutgoingMessage>) -> Result<(), Option<Close>> {
        if self.operations.get(&outgoing.id).is_none_or(|running| !running.has_number(outgoing.number)) {
            return Ok(());
        }
        if outgoing.is_last {
            self.operations.remove(&outgoing.id);
        }
        self.send(&outgoing.message).await
    }

    /// Sends a message; an error closes the socket, without a reason if the client is gone.
    async fn send(&mut self, text: &str) -> Result<(), Option<Close>> {
        match timeout(SEND_TIMEOUT, self.websocket.send(Message::Text(text.into()))).await {
            Ok(sent) => sent.map_err(|_| None),
            Err(_) => Err(Some(Close::TooSlow)),
        }
    }
}

/// Returns true if an error is about the form of a request.
fn is_bad_request(error: &ServerError) -> bool {
    let code = error.extensions.as_ref().and_then(|extensions| extensions.get("code"));
    code == Some(&Value::from(ErrorCode::BadRequest.as_str()))
}

#[cfg(test)]
mod tests;
