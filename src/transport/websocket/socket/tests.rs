//! The socket's deadlines on paused time, with channels in place of a WebSocket.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_graphql::{EmptyMutation, EmptySubscription, Object, Schema};
use axum::extract::ws::CloseFrame;
use clap::{Args, FromArgMatches};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::auth::{SigningKey, SigningKeys};
use crate::config::Config;
use crate::db::{Connector, Connectors, DatabaseUrl};
use crate::graphql::Engine;
use crate::state::AppState;
use crate::transport::lifetime::ANONYMOUS_LIFETIME;
use crate::transport::sockets::Sockets;
use crate::transport::websocket::protocol::ACK;
use crate::{Clock, crypto};

struct Query;

#[Object]
impl Query {
    async fn one(&self) -> i32 {
        1
    }
}

type TestSchema = Schema<Query, EmptyMutation, EmptySubscription>;

/// The server's end of a socket.
struct Channels {
    received: mpsc::UnboundedReceiver<Message>,
    sent: mpsc::UnboundedSender<Message>,
    /// True if the client does not read.
    is_stalled: bool,
}

impl Stream for Channels {
    type Item = Result<Message, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.received.poll_recv(cx).map(|message| message.map(Ok))
    }
}

impl Sink<Message> for Channels {
    type Error = ();

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        if self.is_stalled { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), ()> {
        self.sent.send(message).map_err(|_| ())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }
}

/// The client's end, and the running socket.
struct Client {
    sent: Option<mpsc::UnboundedSender<Message>>,
    received: mpsc::UnboundedReceiver<Message>,
    shutdown: CancellationToken,
    began: Instant,
    socket: JoinHandle<()>,
}

impl Client {
    fn connect() -> Self {
        Self::connect_with(Protocol::Current, false)
    }

    fn connect_with(protocol: Protocol, is_stalled: bool) -> Self {
        let (sent, to_socket) = mpsc::unbounded_channel();
        let (from_socket, received) = mpsc::unbounded_channel();
        let channels = Channels { received: to_socket, sent: from_socket, is_stalled };
        let shutdown = CancellationToken::new();
        let transport = Arc::new(transport(shutdown.clone()));
        let permit = Sockets::new(1, 1).admit().unwrap();
        let request_id = RequestId("".into());
        let socket =
            Socket::new(channels, protocol, transport, Box::default(), Arc::default(), request_id, permit);
        let socket = tokio::spawn(Box::new(socket).serve(true));
        Self { sent: Some(sent), received, shutdown, began: Instant::now(), socket }
    }

    fn send(&self, text: &str) {
        self.sent.as_ref().unwrap().send(Message::Text(text.into())).unwrap();
    }

    async fn receive(&mut self) -> Option<String> {
        match self.received.recv().await {
            Some(Message::Text(text)) => Some(text.to_string()),
            Some(Message::Ping(_)) => Some("ping frame".to_owned()),
            Some(Message::Close(Some(CloseFrame { code, .. }))) => Some(code.to_string()),
            _ => None,
        }
    }

    async fn initialize(&mut self) {
        self.send(r#"{"type":"connection_init"}"#);
        assert_eq!(self.receive().await.as_deref(), Some(ACK));
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

fn transport(shutdown: CancellationToken) -> Transport<TestSchema> {
    crypto::install_provider();
    let command = Config::augment_args(clap::Command::new("test")).mut_args(|arg| arg.env(None::<&str>));
    let config = Config::from_arg_matches(&command.get_matches_from(["test"])).unwrap();
    let url = DatabaseUrl::parse("postgres://nobody@127.0.0.1:1/none").unwrap();
    let connector = Connector::new(&url, Duration::from_secs(1)).unwrap();
    let connectors = Connectors { primary: connector.clone(), direct: connector, replicas: Vec::new() };
    let first = SigningKey::from_secret(&vec![7; 32].into()).unwrap();
    let keys = SigningKeys { first, others: Vec::new() };
    let state = AppState::new(&config, connectors, keys, Clock::system()).unwrap();
    let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
    let engine = Engine::new(schema.clone(), &schema.sdl(), &config, None).unwrap();
    Transport::new(state, Arc::new(engine), &config, TaskTracker::new(), shutdown)
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_is_not_initialized_closes_after_the_time_limit() {
    let mut client = Client::connect();
    assert_eq!(client.receive().await.as_deref(), Some("4408"));
    assert_eq!(client.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_socket_without_a_token_closes_after_five_minutes() {
    let mut client = Client::connect();
    client.initialize().await;
    loop {
        match client.receive().await.as_deref() {
            Some(PING) => client.send(r#"{"type":"pong"}"#),
            close => break assert_eq!(close, Some("4403")),
        }
    }
    assert_eq!(client.elapsed(), ANONYMOUS_LIFETIME);
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_dropped_at_the_second_ping() {
    let mut client = Client::connect();
    client.initialize().await;
    assert_eq!(client.receive().await.as_deref(), Some(PING));
    let first_ping = client.elapsed();
    // Nothing is sent to a client that is gone; the channel just closes after the closing handshake's time limit.
    assert_eq!(client.receive().await, None);
    assert_eq!(client.elapsed(), first_ping * 2 + CLOSE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn the_older_protocol_keeps_alive_by_messages_and_notices_silence_by_ping_frames() {
    let mut client = Client::connect_with(Protocol::Legacy, false);
    client.initialize().await;
    assert_eq!(client.receive().await.as_deref(), Some(KEEP_ALIVE));
    // The first ping finds a client that has sent something, the second one does not.
    assert_eq!(client.receive().await.as_deref(), Some(KEEP_ALIVE));
    let first_ping = client.elapsed();
    assert!(first_ping < Duration::from_secs(20), "GraphQL Playground gives up");
    assert_eq!(client.receive().await.as_deref(), Some("ping frame"));
    assert_eq!(client.receive().await, None);
    assert_eq!(client.elapsed(), first_ping * 2 + CLOSE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_pong_frame_is_a_sign_of_life() {
    let mut client = Client::connect_with(Protocol::Legacy, false);
    client.initialize().await;
    for _ in 0..3 {
        while client.receive().await.as_deref() != Some("ping frame") {}
        client.sent.as_ref().unwrap().send(Message::Pong(Bytes::new())).unwrap();
    }
    assert_eq!(client.receive().await.as_deref(), Some(KEEP_ALIVE));
}

#[tokio::test(start_paused = true)]
async fn operations_before_the_initialization_do_not_extend_its_time_limit() {
    let mut client = Client::connect_with(Protocol::Legacy, false);
    client.send(r#"{"type":"start","id":"1","payload":{"query":"{ one }"}}"#);
    let reason = r#"{"payload":{"message":"Connection initialisation timeout"},"type":"connection_error"}"#;
    assert_eq!(client.receive().await.as_deref(), Some(reason));
    assert_eq!(client.receive().await.as_deref(), Some("4408"));
    assert_eq!(client.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_dropped_after_the_send_timeout() {
    let client = Client::connect_with(Protocol::Current, true);
    client.send(r#"{"type":"connection_init"}"#);
    let began = client.began;
    client.socket.await.unwrap();
    let send_timeout = Duration::from_secs(5);
    // The close frame can't be sent either.
    assert_eq!(began.elapsed(), send_timeout + CLOSE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_closes_the_socket_at_once() {
    let mut client = Client::connect();
    client.initialize().await;
    client.shutdown.cancel();
    assert_eq!(client.receive().await.as_deref(), Some("1001"));
    client.sent = None;
    client.socket.await.unwrap();
    assert_eq!(client.began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_reused_identifier_never_receives_results_of_the_completed_operation() {
    let mut client = Client::connect();
    client.initialize().await;
    client.send(r#"{"type":"subscribe","id":"1","payload":{"query":"{ first: one }"}}"#);
    client.send(r#"{"type":"complete","id":"1"}"#);
    client.send(r#"{"type":"subscribe","id":"1","payload":{"query":"{ second: one }"}}"#);
    let result = client.receive().await.unwrap();
    assert!(result.contains("second"), "{result}");
    assert_eq!(client.receive().await.as_deref(), Some(r#"{"id":"1","type":"complete"}"#));
}
