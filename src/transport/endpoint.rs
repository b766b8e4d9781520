use std::sync::Arc;

use async_graphql::Executor;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, Request, State};
use axum::http::header::UPGRADE;
use axum::http::{HeaderMap, Method};
use axum::response::Response;

use super::client::Ingress;
use super::{Transport, http, websocket};

/// Handles GET and HEAD at `/graphql`: a query, or with GET the upgrade to a socket.
pub(crate) async fn handle_get<E: Executor>(
    state: State<Arc<Transport<E>>>,
    ingress: Extension<Ingress>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Response {
    if request.method() == Method::GET && is_for_websocket(request.headers()) {
        return websocket::upgrade(state, ingress, upgrade, request.into_parts().0.headers).await;
    }
    http::handle(state, ingress, request).await
}

fn is_for_websocket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
