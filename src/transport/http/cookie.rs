use axum::http::HeaderMap;

use crate::graphql::{RefreshCookie, refresh_token_in_cookie};
use crate::transport::{Transport, origin};

/// Headers that no form and no cross-site request without a preflight can carry.
const PREFLIGHT_HEADERS: [&str; 2] = ["apollo-require-preflight", "x-apollo-operation-name"];

/// Decides what a request may do with the cookie of browser mode.
///
/// Pages of other sites can send requests with the cookie, but not with one of [`PREFLIGHT_HEADERS`] unless CORS allows their
/// origin; so such a header is required against CSRF.
pub(super) fn refresh_cookie<E>(transport: &Transport<E>, headers: &HeaderMap) -> RefreshCookie {
    if !transport.app.auth.settings().refresh_token_cookie.is_on() {
        return RefreshCookie::Off;
    }
    let is_preflighted =
        PREFLIGHT_HEADERS.iter().any(|name| headers.get(*name).is_some_and(|value| !value.is_empty()));
    // `*` allows any origin, but not with cookies.
    let named: Vec<_> = transport.allowed_origins.iter().filter(|origin| *origin != "*").cloned().collect();
    if !is_preflighted || !origin::is_allowed(headers, &named) {
        return RefreshCookie::Untrusted;
    }
    RefreshCookie::Usable(refresh_token_in_cookie(headers))
}
