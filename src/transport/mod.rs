//! GraphQL over HTTP and WebSocket: from bytes to an operation, and from its response back to bytes.

mod client;
pub(crate) mod http;
mod observation;
mod origin;
pub(crate) mod websocket;

pub(crate) use client::Peer;
