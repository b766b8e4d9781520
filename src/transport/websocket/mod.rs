//! GraphQL over WebSocket, protocol `graphql-transport-ws`, by its specification:
//! <https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>.

mod message;
mod places;
mod socket;

use std::sync::Arc;

use async_graphql::Executor;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

pub(super) use self::places::Sockets;
use self::socket::Socket;
use super::client::Peer;
use super::http::GraphqlState;
use super::origin;
use crate::graphql::RequestId;

/// Name of the protocol.
const PROTOCOL: &str = "graphql-transport-ws";

/// Opens a socket.
pub(crate) async fn upgrade<E: Executor>(
    State(state): State<Arc<GraphqlState<E>>>,
    Extension(request_id): Extension<RequestId>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    // Pages of other origins could open sockets in their visitor's name: the rules of CORS do not cover sockets.
    if !origin::is_allowed(&headers, &state.allowed_origins) {
        return (StatusCode::FORBIDDEN, "pages of this origin may not open sockets here\n").into_response();
    }
    let Some(place) = state.sockets.enter() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], "too many sockets\n")
            .into_response();
    };
    let limit = state.engine.limits().body;
    let upgrade = upgrade.protocols([PROTOCOL]).max_message_size(limit).max_frame_size(limit);
    let known = upgrade.selected_protocol().is_some();
    // Stopping waits for the socket, from before it is open.
    let task = state.tasks.token();
    let client = state.client(&headers, peer, &request_id);
    upgrade.on_upgrade(async move |websocket| {
        Socket::new(websocket, state, headers, client, request_id, place).serve(known).await;
        drop(task);
    })
}
