use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use tokio::time::timeout;

use crate::state::AppState;

/// Serves liveness. Independent of the database, so that its outage does not restart the process.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// Serves readiness during the start.
pub(super) async fn starting() -> (StatusCode, [(HeaderName, &'static str); 1], &'static str) {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], "starting\n")
}

/// Time limit of the check that the database is reachable.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves readiness. Uses the outcome of recent requests, or else checks that the database's port answers. Never queries the
/// database, which would keep a suspended one awake.
pub(super) async fn ready(State(state): State<AppState>) -> (StatusCode, &'static str) {
    if timeout(READY_TIMEOUT, state.database.is_reachable()).await.unwrap_or(false) {
        return (StatusCode::OK, "ready\n");
    }
    tracing::debug!("not ready: the database is unreachable");
    (StatusCode::SERVICE_UNAVAILABLE, "the database is unavailable\n")
}
