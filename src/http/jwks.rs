use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::state::AppState;

/// The public keys of access tokens (RFC 7517), for other services to verify them with; none with a secret alone.
pub(super) async fn jwks(State(state): State<AppState>) -> impl IntoResponse {
    // A new key is published some minutes before it signs: docs/operations.md.
    let headers =
        [(header::CACHE_CONTROL, "public, max-age=300"), (header::CONTENT_TYPE, "application/jwk-set+json")];
    (headers, serde_json::to_string(&state.access_tokens.public_keys()).unwrap_or_default())
}
