use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::TestApp;

/// A client of `graphql-transport-ws`, or of the older `graphql-ws` where its methods say so.
pub(crate) struct Client(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    pub(crate) async fn try_open(
        app: &TestApp,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, tungstenite::Error> {
        Self::try_open_at(app, "/graphql/ws", headers).await
    }

    pub(crate) async fn try_open_at(
        app: &TestApp,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, tungstenite::Error> {
        let mut request = format!("ws://{}{path}", app.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Ok(Self(connect_async(request).await?.0))
    }

    pub(crate) async fn open(app: &TestApp) -> Self {
        Self::try_open(app, &[("sec-websocket-protocol", "graphql-transport-ws")]).await.unwrap()
    }

    /// Opens a socket of the older protocol, where its clients expect it.
    pub(crate) async fn open_legacy(app: &TestApp) -> Self {
        Self::try_open_at(app, "/graphql", &[("sec-websocket-protocol", "graphql-ws")]).await.unwrap()
    }

    /// Opens a socket of the older protocol and initialises it.
    pub(crate) async fn ready_legacy(app: &TestApp, payload: Value) -> Self {
        let mut client = Self::open_legacy(app).await;
        client.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(client.receive().await, json!({ "type": "connection_ack" }));
        assert_eq!(client.receive().await, json!({ "type": "ka" }));
        client
    }

    /// Opens a socket and initialises it.
    pub(crate) async fn ready(app: &TestApp, payload: Value) -> Self {
        let mut client = Self::open(app).await;
        client.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(client.receive().await, json!({ "type": "connection_ack" }));
        client
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.0.send(Message::Text(text.into())).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, id: &str, query: &str) {
        self.send(json!({ "id": id, "type": "subscribe", "payload": { "query": query } })).await;
    }

    /// Starts an operation by the older protocol.
    pub(crate) async fn start(&mut self, id: &str, query: &str) {
        self.send(json!({ "id": id, "type": "start", "payload": { "query": query } })).await;
    }

    /// Waits for the next result of an operation.
    pub(crate) async fn next(&mut self) -> Value {
        let message = self.receive().await;
        assert_eq!(message["type"], "next", "{message:#}");
        assert!(message["payload"].get("errors").is_none(), "{message:#}");
        message["payload"]["data"].clone()
    }

    /// Waits for the next message other than a ping.
    pub(crate) async fn receive(&mut self) -> Value {
        loop {
            let message: Value = match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => continue,
                other => panic!("{other:?}"),
            };
            if message["type"] != "ping" {
                return message;
            }
        }
    }

    /// Waits until the server closes the socket; returns code and reason.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
