mod receive;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Executor;
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::close::Close;
use super::init::InitPayload;
use super::operation::{OutgoingMessage, RunningOperation};
use super::protocol::{KEEP_ALIVE, PING, Protocol, connection_error};
use crate::auth::{Client, Requester};
use crate::graphql::RequestId;
use crate::metrics::GaugeGuard;
use crate::transport::Transport;
use crate::transport::bearer::bearer_token;
use crate::transport::lifetime::{End, Lifetime};
use crate::transport::sockets::SocketPermit;

/// Results of all operations that wait to be sent; a full queue is back-pressure from a slow client.
const QUEUE: usize = 16;
/// Time limit for `connection_init`, which clients send at once; graphql-ws allows 3 seconds.
const INIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for a client to accept a message before it is cut off as too slow.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit of the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A socket with its operations. `W` is the WebSocket; tests use channels.
pub(super) struct Socket<W, E> {
    websocket: W,
    protocol: Protocol,
    transport: Arc<Transport<E>>,
    /// Headers of the upgrade, until the connection is initialised: they hold hyper's read buffer.
    headers: Option<Box<HeaderMap>>,
    client: Arc<Client>,
    request_id: RequestId,
    permit: SocketPermit,
    _open: GaugeGuard,
    /// Set once the connection has been acknowledged.
    requester: Option<Requester>,
    /// Lifetime of the token; before initialisation, the time limit for `connection_init`.
    lifetime: Lifetime,
    /// Messages about operations that arrived before `connection_init`: clients of the older protocol may send them while they
    /// still wait for their token.
    early: Vec<String>,
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
        protocol: Protocol,
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
            protocol,
            transport,
            headers: Some(headers),
            client,
            request_id,
            permit,
            _open: open,
            requester: None,
            lifetime,
            early: Vec::new(),
            operations,
            started: 0,
            outgoing,
            sender,
        }
    }

    /// Serves the socket until it ends, and closes it.
    pub(super) async fn serve(mut self: Box<Self>, is_acceptable: bool) {
        let close = if is_acceptable { self.run().await } else { Some(Close::SubprotocolNotAcceptable) };
        // Ends the operations that wait for results; writes run to completion on tasks of their own.
        self.operations.clear();
        // Drops the future that waits for the end of the session.
        self.lifetime = Lifetime::anonymous(CLOSE_TIMEOUT, self.transport.shutdown.clone());
        let _ = timeout(CLOSE_TIMEOUT, async {
            if let Some(close) = close {
                let frame = CloseFrame::from(close);
                if self.protocol == Protocol::Legacy && !frame.reason.is_empty() {
                    let error = connection_error(frame.reason.as_str());
                    let _ = self.websocket.send(Message::Text(error.into())).await;
                }
                let _ = self.websocket.send(Message::Close(Some(frame))).await;
            }
            // Reads on until the closing handshake is complete: closing a TCP connection with unread data resets it, and
            // the peer may lose what was sent last.
            while let Some(Ok(_)) = self.websocket.next().await {}
        })
        .await;
    }

    /// Runs the socket; returns the reason to close it, or `None` if the client has.
    async fn run(&mut self) -> Option<Close> {
        let ping_interval = self.transport.socket_settings.socket_ping_interval;
        let mut pings = interval(self.protocol.ping_interval(ping_interval));
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        let mut is_alive = true;
        loop {
            tokio::select! {
                received = self.websocket.next() => {
                    is_alive = true;
                    match received? {
                        Ok(Message::Text(text)) => {
                            // Boxed: an idle socket needs no room for it.
                            if let Err(close) = Box::pin(self.receive(text.as_str())).await {
                                return close;
                            }
                        }
                        Ok(Message::Binary(_)) => return Some(Close::BadRequest("Messages must be text")),
                        Ok(Message::Ping(_) | Message::Pong(_)) => {}
                        Ok(Message::Close(_)) => return None,
                        Err(error) => return Close::for_failure(&error),
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
                    if let Err(close) = self.ping().await {
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

    /// Authenticates by the payload's token, or else by the header of the upgrade.
    async fn initialize(&mut self, payload: Option<&RawValue>) -> Result<(), Close> {
        let payload: Option<InitPayload> = payload
            .map(|payload| serde_json::from_str(payload.get()))
            .transpose()
            .map_err(|_| Close::BadRequest("The payload's token must be text, its headers an object"))?;
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
        self.lifetime = Lifetime::for_requester(requester, app, self.transport.shutdown.clone());
        self.requester = Some(requester);
        Ok(())
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

    /// Asks the client for a sign of life.
    async fn ping(&mut self) -> Result<(), Option<Close>> {
        match self.protocol {
            Protocol::Current => self.send(PING).await,
            Protocol::Legacy => {
                // Clients do not answer `ka`, but their WebSocket library answers a ping frame.
                self.send(KEEP_ALIVE).await?;
                self.send_message(Message::Ping(Bytes::new())).await
            }
        }
    }

    async fn send(&mut self, text: &str) -> Result<(), Option<Close>> {
        self.send_message(Message::Text(text.into())).await
    }

    /// Sends a message; an error closes the socket, without a reason if the client is gone.
    async fn send_message(&mut self, message: Message) -> Result<(), Option<Close>> {
        match timeout(SEND_TIMEOUT, self.websocket.send(message)).await {
            Ok(sent) => sent.map_err(|_| None),
            Err(_) => Err(Some(Close::TooSlow)),
        }
    }
}

#[cfg(test)]
mod tests;
