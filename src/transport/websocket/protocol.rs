use std::time::Duration;

use async_graphql::{Response, ServerError};
use serde_json::json;

use crate::graphql::is_request_error;
use crate::transport::wire::to_text;

/// Longest pause between two `ka` messages: GraphQL Playground closes a socket after 20 seconds without one.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

pub(super) const ACK: &str = r#"{"type":"connection_ack"}"#;
pub(super) const PING: &str = r#"{"type":"ping"}"#;
pub(super) const PONG: &str = r#"{"type":"pong"}"#;
pub(super) const KEEP_ALIVE: &str = r#"{"type":"ka"}"#;

/// A subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// `graphql-transport-ws`, of the npm package graphql-ws.
    Current,
    /// `graphql-ws`, of the older package subscriptions-transport-ws.
    Legacy,
}

impl Protocol {
    /// Names in order of preference, if a client offers both.
    pub(super) const NAMES: [&str; 2] = ["graphql-transport-ws", "graphql-ws"];

    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"graphql-transport-ws" => Some(Self::Current),
            b"graphql-ws" => Some(Self::Legacy),
            _ => None,
        }
    }

    /// Returns the time between pings, or between `ka` messages.
    pub(super) fn ping_interval(self, setting: Duration) -> Duration {
        match self {
            Self::Current => setting,
            Self::Legacy => setting.min(KEEP_ALIVE_INTERVAL),
        }
    }

    /// Formats a response, and returns true if it ends the operation because the request could not be executed.
    pub(super) fn result(self, id: &str, response: &Response) -> (String, bool) {
        if is_request_error(response) {
            return (self.errors(id, &response.errors), true);
        }
        let kind = match self {
            Self::Current => "next",
            Self::Legacy => "data",
        };
        let id = json!(id);
        (format!(r#"{{"id":{id},"type":"{kind}","payload":{}}}"#, to_text(response)), false)
    }

    /// Formats the errors of a request that could not be executed; the older protocol has room for one.
    pub(super) fn errors(self, id: &str, errors: &[ServerError]) -> String {
        let payload = match self {
            Self::Current => json!(errors),
            Self::Legacy => json!(errors.first()),
        };
        json!({ "id": id, "type": "error", "payload": payload }).to_string()
    }
}

/// Formats the end of an operation.
pub(super) fn complete_message(id: &str) -> String {
    json!({ "id": id, "type": "complete" }).to_string()
}

/// Formats the message that says, in the older protocol, why a socket is closed: its clients do not show the close frame's
/// reason.
pub(super) fn connection_error(reason: &str) -> String {
    json!({ "type": "connection_error", "payload": { "message": reason } }).to_string()
}
