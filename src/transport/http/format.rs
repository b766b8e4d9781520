use async_graphql::{Response, ServerError};

use crate::transport::wire::write_response;

/// Formats of a stream of responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamFormat {
    /// Apollo's protocol for subscriptions:
    /// <https://www.apollographql.com/docs/graphos/routing/operations/subscriptions/multipart-protocol>.
    Multipart,
    /// GraphQL over Server-Sent Events, in distinct connections mode:
    /// <https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>.
    EventStream,
}

/// Precedes each part and follows the last: clients deliver a part only when they have read the boundary after it.
///
/// Its line break is optional before the first part, but Apollo iOS 2 does not find a boundary without one.
const BOUNDARY: &str = "\r\n--graphql";
/// Head of a part, between boundary and JSON. Apollo iOS knows the header in lower case only.
const PART_HEAD: &str = "\r\ncontent-type: application/json\r\n\r\n";

impl StreamFormat {
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Multipart => r#"multipart/mixed;boundary="graphql";subscriptionSpec=1.0"#,
            Self::EventStream => "text/event-stream; charset=utf-8",
        }
    }

    /// Returns the bytes before the first response.
    pub(super) fn opening(self) -> Vec<u8> {
        match self {
            Self::Multipart => BOUNDARY.into(),
            // Firefox and Safari open a stream only with its first byte.
            Self::EventStream => self.heartbeat(),
        }
    }

    /// Returns a message that clients ignore.
    pub(super) fn heartbeat(self) -> Vec<u8> {
        match self {
            Self::Multipart => part(|json| json.extend_from_slice(b"{}")),
            Self::EventStream => ":\n\n".into(),
        }
    }

    /// Formats a response of the operation.
    pub(super) fn response(self, response: &Response) -> Vec<u8> {
        match self {
            Self::Multipart => part(|json| {
                json.extend_from_slice(br#"{"payload":"#);
                write_response(json, response);
                json.push(b'}');
            }),
            Self::EventStream => {
                let mut event = b"event: next\ndata: ".to_vec();
                write_response(&mut event, response);
                event.extend_from_slice(b"\n\n");
                event
            }
        }
    }

    /// Formats an error of the transport, which ends the stream before the operation.
    pub(super) fn error(self, error: ServerError) -> Vec<u8> {
        let response = Response::from_errors(vec![error]);
        match self {
            Self::Multipart => part(|json| {
                json.extend_from_slice(br#"{"payload":null,"errors":"#);
                // Writing to memory does not fail.
                let _ = serde_json::to_writer(&mut *json, &response.errors);
                json.push(b'}');
            }),
            Self::EventStream => self.response(&response),
        }
    }

    /// Returns the regular end of a stream, after which clients do not reconnect.
    pub(super) fn completion(self) -> &'static [u8] {
        match self {
            Self::Multipart => b"--\r\n",
            // EventSource ignores an event without data.
            Self::EventStream => b"event: complete\ndata:\n\n",
        }
    }

    /// Formats the only response of a query or mutation.
    pub(super) fn single(self, response: &Response) -> Vec<u8> {
        [&self.response(response), self.completion()].concat()
    }
}

/// Builds a part with the boundary after it.
fn part(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut part = PART_HEAD.as_bytes().to_vec();
    write(&mut part);
    part.extend_from_slice(BOUNDARY.as_bytes());
    part
}
