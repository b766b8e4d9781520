use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use diesel_async::RunQueryDsl;
use tokio::time::timeout;

use crate::state::AppState;

/// Whether the process answers; says nothing of the database, so that an outage there does not restart it.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// How long the database may take to show that it is there.
const READY_LIMIT: Duration = Duration::from_secs(2);

/// Whether requests can be served: the database answers in time.
pub(super) async fn ready(State(state): State<AppState>) -> (StatusCode, &'static str) {
    let asked = state.database.run(async |conn| diesel::sql_query("SELECT 1").execute(conn).await);
    let reason = match timeout(READY_LIMIT, asked).await {
        Ok(Ok(_)) => return (StatusCode::OK, "ready\n"),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {READY_LIMIT:?}"),
    };
    tracing::warn!(reason, "not ready");
    (StatusCode::SERVICE_UNAVAILABLE, "the database is unavailable\n")
}
