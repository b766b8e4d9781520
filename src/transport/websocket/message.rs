use async_graphql::{Response, ServerError};
use axum::extract::ws::CloseFrame;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::graphql::is_request_error;
use crate::transport::wire::to_text;

/// Longest identifier of an operation, in bytes; clients use UUIDs or counters.
const MAX_ID: usize = 128;

/// A message from the client.
pub(super) enum ClientMessage<'a> {
    ConnectionInit(Option<&'a RawValue>),
    Ping,
    Pong,
    Subscribe { id: String, payload: &'a str },
    Complete { id: String },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

impl<'a> ClientMessage<'a> {
    /// Parses a message; the error is the reason to close the socket with.
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        let envelope: Envelope<'a> =
            serde_json::from_str(text).map_err(|_| "The message is not a JSON object with a type")?;
        let payload = envelope.payload.filter(|payload| payload.get() != "null");
        let id = || match &envelope.id {
            Some(id) if !id.is_empty() && id.len() <= MAX_ID => Ok(id.clone()),
            _ => Err("The message must have an id of 1 to 128 bytes"),
        };
        let object = payload.is_none_or(|payload| payload.get().starts_with('{'));
        if !object && matches!(envelope.kind.as_str(), "connection_init" | "ping" | "pong" | "subscribe") {
            return Err("The payload must be an object");
        }
        Ok(match envelope.kind.as_str() {
            "connection_init" => Self::ConnectionInit(payload),
            "ping" => Self::Ping,
            "pong" => Self::Pong,
            "subscribe" => Self::Subscribe {
                id: id()?,
                payload: payload.ok_or("The message must have a payload")?.get(),
            },
            "complete" => Self::Complete { id: id()? },
            _ => return Err("The message has an unknown type"),
        })
    }
}

/// Payload of `connection_init`; clients send the token under one of these names.
#[derive(Default, Deserialize)]
pub(super) struct InitPayload {
    #[serde(rename = "Authorization", default)]
    capital: Option<String>,
    #[serde(default)]
    authorization: Option<String>,
    #[serde(default)]
    token: Option<String>,
}

impl InitPayload {
    /// Returns the value of an equivalent `Authorization` header; blank if the client sends no token.
    pub(super) fn authorization(self) -> Option<String> {
        let is_given = |text: &String| !text.trim().is_empty();
        // Some clients send `token` without the scheme.
        let with_scheme = |token: String| {
            if token.contains(' ') || !is_given(&token) { token } else { format!("Bearer {token}") }
        };
        let all = [self.capital, self.authorization, self.token.map(with_scheme)];
        let is_any_sent = all.iter().any(Option::is_some);
        all.into_iter().flatten().find(is_given).or_else(|| is_any_sent.then(String::new))
    }
}

pub(super) const ACK: &str = r#"{"type":"connection_ack"}"#;
pub(super) const PING: &str = r#"{"type":"ping"}"#;
pub(super) const PONG: &str = r#"{"type":"pong"}"#;

/// Formats a response, and returns true if it ends the operation because the request could not be executed.
pub(super) fn result(id: &str, response: &Response) -> (String, bool) {
    if is_request_error(response) {
        return (errors(id, &response.errors), true);
    }
    let id = json!(id);
    (format!(r#"{{"id":{id},"type":"next","payload":{}}}"#, to_text(response)), false)
}

/// Formats the errors of a request that could not be executed.
pub(super) fn errors(id: &str, errors: &[ServerError]) -> String {
    json!({ "id": id, "type": "error", "payload": errors }).to_string()
}

/// Formats the end of an operation.
pub(super) fn complete_message(id: &str) -> String {
    json!({ "id": id, "type": "complete" }).to_string()
}

/// Reason to close a socket; converts into the protocol's close code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// The service shuts down; clients reconnect.
    GoingAway,
    /// A message beyond the limit.
    TooBig,
    /// The client reads too slowly; it reconnects and resumes after the last event it has seen.
    TooSlow,
    /// The user has too many sockets, or the service is busy.
    TryAgainLater(&'static str),
    /// A message that violates the protocol.
    BadRequest(&'static str),
    /// An operation before the connection was acknowledged.
    Unauthorized,
    /// The token is bad or has expired, or its session has ended; clients reconnect with a new one.
    Forbidden,
    /// An unsupported subprotocol.
    SubprotocolNotAcceptable,
    /// No `connection_init` within the time limit.
    InitTimeout,
    /// An identifier of an operation in progress.
    SubscriberExists(String),
    /// A second `connection_init`.
    TooManyInits,
}

impl From<Close> for CloseFrame {
    fn from(close: Close) -> Self {
        let (code, reason) = match close {
            Close::GoingAway => (1001, "Going away".into()),
            Close::TooBig => (1009, "Message too big".into()),
            Close::TooSlow => (1013, "Too slow: resume after the last event received".into()),
            Close::TryAgainLater(reason) => (1013, reason.into()),
            Close::BadRequest(reason) => (4400, reason.into()),
            Close::Unauthorized => (4401, "Unauthorized".into()),
            Close::Forbidden => (4403, "Forbidden".into()),
            Close::SubprotocolNotAcceptable => (4406, "Subprotocol not acceptable".into()),
            Close::InitTimeout => (4408, "Connection initialisation timeout".into()),
            // A reason has at most 123 bytes.
            Close::SubscriberExists(id) if id.len() < 80 => {
                (4409, format!("Subscriber for {id} already exists"))
            }
            Close::SubscriberExists(_) => (4409, "Subscriber already exists".into()),
            Close::TooManyInits => (4429, "Too many initialisation requests".into()),
        };
        Self { code, reason: reason.into() }
    }
}
