use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::state::AppState;

/// Serves the public keys of access tokens (RFC 7517) for verification by other services; empty with a shared secret.
pub(super) async fn jwks(State(state): State<AppState>) -> impl IntoResponse {
    // Cacheable for minutes, as a new key is published before it signs: docs/operations.md.
    let headers =
        [(header::CACHE_CONTROL, "public, max-age=300"), (header::CONTENT_TYPE, "application/jwk-set+json")];
    (headers, serde_json::to_string(&state.auth.public_keys()).unwrap_or_default())
}
