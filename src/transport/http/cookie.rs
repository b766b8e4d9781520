use axum::http::HeaderMap;

use super::body::is_json;
use crate::graphql::{RefreshCookie, refresh_token_in_cookie};
use crate::transport::{Transport, Trust};

/// Headers that no form and no cross-origin request without a preflight can carry.
const PREFLIGHT_HEADERS: [&str; 2] = ["apollo-require-preflight", "x-apollo-operation-name"];

/// Decides what a request may do with the cookie of browser mode.
///
/// Two defences against CSRF, of which each would do: the request has a content type or header that browsers send to another
/// origin only after a preflight, which CORS answers for allowed origins alone (Apollo Server's rule); and its `Origin`, which
/// browsers send with each POST, is this host's or one that the operator has named.
pub(super) fn refresh_cookie<E>(transport: &Transport<E>, headers: &HeaderMap) -> RefreshCookie {
    if !transport.app.auth.settings().refresh_token_cookie.is_on() {
        return RefreshCookie::Off;
    }
    let has_header =
        PREFLIGHT_HEADERS.iter().any(|name| headers.get(*name).is_some_and(|value| !value.is_empty()));
    let is_preflighted = has_header || is_json(headers);
    let trust = transport.allowed_origins.trust(headers);
    if !is_preflighted || !matches!(trust, Trust::Own | Trust::Named) {
        return RefreshCookie::Untrusted;
    }
    RefreshCookie::Usable(refresh_token_in_cookie(headers))
}
