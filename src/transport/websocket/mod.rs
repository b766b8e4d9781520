//! GraphQL over WebSocket, by two subprotocols:
//!
//! - `graphql-transport-ws` (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>);
//! - the older `graphql-ws` (<https://github.com/apollographql/subscriptions-transport-ws/blob/master/PROTOCOL.md>), which
//!   GraphQL Playground, Altair, Hoppscotch and Apollo Kotlin speak.

mod close;
mod init;
mod message;
mod operation;
mod protocol;
mod socket;

use std::sync::Arc;

use async_graphql::Executor;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use self::protocol::Protocol;
use self::socket::Socket;
use super::client::Ingress;
use super::{Transport, Trust};

/// Initial read buffer of a socket, in bytes; it grows with the longest message. tungstenite's default is 128 KiB, which idle
/// sockets would hold, too.
const READ_BUFFER: usize = 512;

/// Upgrades a connection to a socket.
pub(crate) async fn upgrade<E: Executor>(
    State(transport): State<Arc<Transport<E>>>,
    Extension(Ingress { request_id, peer }): Extension<Ingress>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    headers: HeaderMap,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return refuse_handshake(rejection),
    };
    // CORS does not cover WebSockets: without this check any page could open one with its visitor's cookies.
    if transport.allowed_origins.trust(&headers) == Trust::Refused {
        return (StatusCode::FORBIDDEN, "pages of this origin may not open sockets here\n").into_response();
    }
    let Some(permit) = transport.sockets.admit() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], "too many sockets\n")
            .into_response();
    };
    let limit = transport.engine.limits().max_body;
    let upgrade = upgrade.protocols(Protocol::NAMES).read_buffer_size(READ_BUFFER);
    let upgrade = upgrade.max_message_size(limit).max_frame_size(limit);
    let protocol = upgrade.selected_protocol().and_then(|name| Protocol::from_name(name.as_bytes()));
    // Held from before the upgrade, so that a shutdown waits for the socket.
    let task = transport.tasks.token();
    let client = Arc::new(transport.client(&headers, peer, &request_id));
    let headers = Box::new(headers);
    upgrade.on_upgrade(move |websocket| {
        let is_acceptable = protocol.is_some();
        let protocol = protocol.unwrap_or(Protocol::Current);
        let socket = Socket::new(websocket, protocol, transport, headers, client, request_id, permit);
        // Boxed, like the headers: the future would reserve room for each move.
        let socket = Box::new(socket);
        async move {
            socket.serve(is_acceptable).await;
            drop(task);
        }
    })
}

/// Builds the response to an invalid handshake, with the header that its status or RFC 6455, section 4.2.2, requires.
fn refuse_handshake(rejection: WebSocketUpgradeRejection) -> Response {
    let required = match &rejection {
        WebSocketUpgradeRejection::MethodNotGet(_) => Some((header::ALLOW, "GET")),
        WebSocketUpgradeRejection::InvalidWebSocketVersionHeader(_) => {
            Some((header::SEC_WEBSOCKET_VERSION, "13"))
        }
        _ => None,
    };
    let mut response = rejection.into_response();
    response.headers_mut().extend(required.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}
