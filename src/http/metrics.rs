use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use crate::metrics::CONTENT_TYPE;
use crate::state::AppState;

/// Serves metrics in Prometheus's text format. Never queries the database, which would keep a suspended one awake.
pub(super) async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    state.metrics.text(&state.database.status(), &state.database.replica_lags()).map_or_else(
        |error| {
            tracing::error!(%error, "can't encode metrics");
            Err(StatusCode::INTERNAL_SERVER_ERROR)
        },
        |text| Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text)),
    )
}
