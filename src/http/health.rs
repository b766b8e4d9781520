use axum::extract::State;
use axum::http::StatusCode;
use diesel_async::RunQueryDsl;

use crate::state::AppState;

/// Whether the process answers; says nothing of the database, so that an outage there does not restart it.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// Whether requests can be served: the database answers within the limits of any other work.
pub(super) async fn ready(State(state): State<AppState>) -> (StatusCode, &'static str) {
    let asked = state.database.run(async |conn| diesel::sql_query("SELECT 1").execute(conn).await);
    match asked.await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database is unavailable\n")
        }
    }
}
