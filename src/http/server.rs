use std::sync::Arc;

use async_graphql::Executor;
use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{accept_until_shutdown, drain};
use super::metrics::metrics;
use super::router::router;
use crate::config::{Config, HttpSettings};
use crate::graphql::Engine;
use crate::state::AppState;

/// Serves the API until `shutdown`, then waits for `tasks` and open connections within the time limit of the settings.
pub async fn serve<E: Executor>(
    listener: TcpListener,
    state: AppState,
    engine: Engine<E>,
    config: &Config,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let router = router(state, Arc::new(engine), config, tasks.clone(), shutdown.clone());
    accept_until_shutdown(listener, &router, &config.http, &tasks, &shutdown).await;
    tracing::info!("shutting down: draining connections");
    drain(&tasks, &config.http).await;
}

/// Serves metrics on a listener of their own until `shutdown`.
pub async fn serve_metrics(
    listener: TcpListener,
    state: AppState,
    settings: &HttpSettings,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let router = Router::new().route("/metrics", get(metrics)).with_state(state);
    accept_until_shutdown(listener, &router, settings, &tasks, &shutdown).await;
    drain(&tasks, settings).await;
}
