use std::sync::Arc;

use async_graphql::Executor;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, Request, State};
use axum::http::header::UPGRADE;
use axum::response::{IntoResponse, Response};

use super::client::Ingress;
use super::{Transport, http, websocket};

/// Handles GET at `/graphql`: a query, or the upgrade to a socket.
pub(crate) async fn handle_get<E: Executor>(
    state: State<Arc<Transport<E>>>,
    ingress: Extension<Ingress>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Response {
    let headers = request.headers();
    if !headers.get(UPGRADE).is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        return http::handle(state, ingress, request).await;
    }
    match upgrade {
        Ok(upgrade) => websocket::upgrade(state, ingress, request.into_parts().0.headers, upgrade).await,
        Err(rejection) => rejection.into_response(),
    }
}
