//! Conformance to the GraphQL specification of September 2025.

mod cost;
mod directives;
mod grammar;
mod inputs;
mod instants;
mod merging;
mod nulls;
mod problems;
mod robustness;
mod upstream;
mod variables;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::support::{Client, Owner, TestApp};

/// A user who sends each request over HTTP and over a WebSocket, which opens on first use.
struct Asker<'a> {
    owner: Owner<'a>,
    socket: Mutex<Option<Client>>,
}

impl<'a> Asker<'a> {
    async fn new(app: &'a TestApp) -> Self {
        Self { owner: Owner::new(app, "ada@example.com").await, socket: Mutex::default() }
    }

    async fn open(&self) -> Client {
        let payload = json!({ "Authorization": format!("Bearer {}", self.owner.token) });
        let socket = Client::ready(self.owner.app, payload).await;
        // Wait for the feed's LISTEN connection: PostgreSQL cannot drop the test's database while it logs in.
        let mut subscriber = self.owner.app.state.feed.subscribe_to_revocations();
        while !subscriber.status().is_listening {
            subscriber.changed().await;
        }
        socket
    }

    /// Sends an invalid request, and checks that it is refused with a code and without data.
    async fn refused(&self, query: &str, variables: &Value, code: &str) -> Value {
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, format!("Bearer {}", self.owner.token).parse().unwrap()),
            (ACCEPT, "application/graphql-response+json".parse().unwrap()),
        ]);
        let answer = self.owner.app.ask_with(headers, query, variables.clone()).await;
        assert_eq!(answer.status, 400, "{query}: {:#}", answer.body);
        assert!(answer.body.get("data").is_none(), "{query}: {:#}", answer.body);
        let errors = answer.body["errors"].clone();
        for error in errors.as_array().unwrap() {
            assert_eq!(error["extensions"]["code"], code, "{query}: {errors:#}");
            assert!(error.get("path").is_none(), "{query}: {errors:#}");
        }
        let message = self.by_socket(query, variables).await;
        assert_eq!((&message["type"], &message["payload"]), (&json!("error"), &errors), "{query}");
        errors
    }

    /// Sends a query, and checks that both transports return the same data.
    async fn answered(&self, query: &str, variables: &Value) -> Value {
        let answer = self.owner.ask(query, variables.clone()).await;
        assert!(answer.body.get("errors").is_none(), "{query}: {:#}", answer.body);
        let message = self.by_socket(query, variables).await;
        assert_eq!((&message["type"], &message["payload"]), (&json!("next"), &answer.body), "{query}");
        answer.body["data"].clone()
    }

    /// Returns the first message in response to an operation.
    async fn by_socket(&self, query: &str, variables: &Value) -> Value {
        let mut socket = self.socket.lock().await;
        let socket = match &mut *socket {
            Some(socket) => socket,
            closed => closed.insert(self.open().await),
        };
        let payload = json!({ "query": query, "variables": variables });
        socket.send(json!({ "id": "1", "type": "subscribe", "payload": payload })).await;
        let message = socket.receive().await;
        if message["type"] == "next" {
            assert_eq!(socket.receive().await["type"], "complete");
        }
        message
    }
}

impl<'a> std::ops::Deref for Asker<'a> {
    type Target = Owner<'a>;

    fn deref(&self) -> &Owner<'a> {
        &self.owner
    }
}

/// Sends a request and returns the text of the data, in the order of its fields.
async fn data_text(ada: &Asker<'_>, query: &str) -> String {
    let request = ada.app.http.post(ada.app.url("/graphql")).bearer_auth(&ada.token);
    let answer = request.json(&json!({ "query": query })).send().await.unwrap().text().await.unwrap();
    let data = answer.strip_prefix("{\"data\":").and_then(|text| text.strip_suffix('}'));
    data.unwrap_or_else(|| panic!("{query}: {answer}")).to_owned()
}
