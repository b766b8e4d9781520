use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::Shutdown;
use super::server::{finish, listen};
use crate::config::HttpSettings;
use crate::state::AppState;

/// Metrics for Prometheus. The database is not asked: that would keep one awake that sleeps while nobody needs it.
pub(super) async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    state.metrics.text(&state.database.status(), &state.database.replica_lags()).map_or_else(
        |error| {
            tracing::error!(%error, "metrics can't be written");
            Err(StatusCode::INTERNAL_SERVER_ERROR)
        },
        |text| Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text)),
    )
}

/// Serves metrics alone, until `shutdown`.
pub async fn serve_metrics(
    listener: TcpListener,
    state: AppState,
    settings: &HttpSettings,
    shutdown: Shutdown,
) {
    let tasks = TaskTracker::new();
    let router = Router::new().route("/metrics", get(metrics)).with_state(state);
    listen(listener, &router, settings, &tasks, &shutdown).await;
    finish(&tasks, settings).await;
}
