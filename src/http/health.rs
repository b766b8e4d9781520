use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use tokio::time::timeout;

use crate::state::AppState;

/// Whether the process answers; says nothing of the database, so that an outage there does not restart it.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// How long the database may take to show that it is there.
const READY_LIMIT: Duration = Duration::from_secs(2);

/// Whether requests can be served. It asks the database nothing, which would keep it awake though nobody uses the service:
/// what requests have found out counts, and else whether something answers there.
pub(super) async fn ready(State(state): State<AppState>) -> (StatusCode, &'static str) {
    if timeout(READY_LIMIT, state.database.is_reachable()).await.unwrap_or(false) {
        return (StatusCode::OK, "ready\n");
    }
    tracing::debug!("not ready: the database is out of reach");
    (StatusCode::SERVICE_UNAVAILABLE, "the database is unavailable\n")
}
