use serde::Deserialize;
use serde_json::value::RawValue;

use super::protocol::Protocol;
use crate::graphql::parse_json_object;

/// Longest identifier of an operation, in bytes; clients use UUIDs or counters.
const MAX_ID: usize = 128;

/// A message from the client.
pub(super) enum ClientMessage<'a> {
    ConnectionInit(Option<&'a RawValue>),
    Ping,
    Pong,
    Subscribe {
        id: String,
        payload: &'a str,
    },
    Complete {
        id: String,
    },
    /// Ends the connection, in the older protocol.
    Terminate,
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
    pub(super) fn parse(protocol: Protocol, text: &'a str) -> Result<Self, &'static str> {
        let envelope = parse_json_object::<Envelope<'a>>(text);
        let envelope = envelope.ok_or("The message is not a JSON object with a type")?;
        let payload = envelope.payload.filter(|payload| payload.get() != "null");
        let id = || match &envelope.id {
            Some(id) if !id.is_empty() && id.len() <= MAX_ID => Ok(id.clone()),
            _ => Err("The message must have an id of 1 to 128 bytes"),
        };
        let payload = || match payload {
            Some(payload) if !payload.get().starts_with('{') => Err("The payload must be an object"),
            payload => Ok(payload),
        };
        Ok(match (protocol, envelope.kind.as_str()) {
            (_, "connection_init") => Self::ConnectionInit(payload()?),
            (Protocol::Current, "ping") => payload().map(|_| Self::Ping)?,
            (Protocol::Current, "pong") => payload().map(|_| Self::Pong)?,
            (Protocol::Current, "subscribe") | (Protocol::Legacy, "start") => {
                let payload = payload()?.ok_or("The message must have a payload")?;
                Self::Subscribe { id: id()?, payload: payload.get() }
            }
            (Protocol::Current, "complete") | (Protocol::Legacy, "stop") => Self::Complete { id: id()? },
            (Protocol::Legacy, "connection_terminate") => Self::Terminate,
            _ => return Err("The message has an unknown type"),
        })
    }
}
