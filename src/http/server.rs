use std::sync::Arc;

use async_graphql::Executor;
use axum::Router;
use axum::middleware;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::connections::{accept_until_shutdown, drain};
use super::host::require_host;
use super::metrics::metrics;
use super::router::{router, starting};
use super::routes::Routes;
use crate::config::{Config, HttpSettings};
use crate::graphql::Engine;
use crate::state::AppState;

/// A listening server. Until its routes are opened it answers liveness checks, and refuses everything else.
pub struct Server {
    routes: Routes,
    tasks: TaskTracker,
    settings: HttpSettings,
    accepting: AbortOnDropHandle<()>,
}

/// Serves metrics on a listener of their own until `shutdown`.
pub async fn serve_metrics(
    listener: TcpListener,
    state: AppState,
    settings: &HttpSettings,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let router = Router::new()
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn(require_host))
        .with_state(state);
    accept_until_shutdown(listener, &router, settings, &tasks, &shutdown).await;
    drain(&tasks, settings).await;
}
