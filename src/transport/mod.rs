//! GraphQL over HTTP and WebSocket: from bytes to an operation, and from its response back to bytes.
//!
//! [`Transport`] holds what both have in common: admission, execution within the time limit, observation.

mod bearer;
mod client;
mod endpoint;
mod errors;
mod http;
mod lifetime;
mod observation;
mod origin;
mod shared;
mod sockets;
mod subscription;
mod websocket;
mod wire;

pub(crate) use client::{Ingress, Peer};
pub(crate) use endpoint::handle_get;
pub(crate) use http::{handle, malformed_response, panic_response, prefers_html, refuse_at_start};
pub(crate) use origin::{AllowedOrigins, Trust};
pub(crate) use shared::Transport;
pub(crate) use websocket::upgrade;
