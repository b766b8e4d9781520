//! Cookie that holds the refresh token in browser mode: invisible to scripts and unusable from other sites.

use std::time::Duration;

use async_graphql::Context;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use secrecy::SecretString;

use crate::auth::RefreshToken;

/// Name with a prefix that makes browsers accept the cookie only from this host itself, over HTTPS and for all paths
/// (<https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#name-the-__host-prefix>).
const NAME: &str = "__Host-todo-refresh-token";
const ATTRIBUTES: &str = "Path=/; HttpOnly; Secure; SameSite=Lax";

/// Sets the cookie until the session expires.
pub(super) fn set(ctx: &Context<'_>, token: &RefreshToken, lifetime: Duration) {
    let seconds = lifetime.as_secs();
    append(ctx, &format!("{NAME}={}; Max-Age={seconds}; {ATTRIBUTES}", token.expose()));
}

/// Deletes the cookie.
pub(super) fn clear(ctx: &Context<'_>) {
    append(ctx, &format!("{NAME}=; Max-Age=0; {ATTRIBUTES}"));
}

fn append(ctx: &Context<'_>, cookie: &str) {
    if let Ok(mut value) = HeaderValue::from_str(cookie) {
        value.set_sensitive(true);
        ctx.insert_http_header(SET_COOKIE, value);
    }
}

/// Reads the token from a request's cookies.
pub(crate) fn read(headers: &HeaderMap) -> Option<SecretString> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == NAME).map(|(_, token)| token.into())
}
