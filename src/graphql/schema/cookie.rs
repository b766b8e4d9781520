//! Cookie that holds the refresh token in browser mode: invisible to scripts.

use std::time::Duration;

use async_graphql::Context;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use secrecy::SecretString;

use crate::auth::RefreshToken;
use crate::error::AppError;
use crate::graphql::context::ContextExt;

/// Name with a prefix that makes browsers accept the cookie only from this host itself, over HTTPS and for all paths
/// (<https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#name-the-__host-prefix>).
const NAME: &str = "__Host-todo-refresh-token";

/// Sets the cookie until the session expires.
pub(super) fn set(ctx: &Context<'_>, token: &RefreshToken, lifetime: Duration) -> Result<(), AppError> {
    append(ctx, token.expose(), lifetime.as_secs())
}

/// Deletes the cookie.
pub(super) fn clear(ctx: &Context<'_>) -> Result<(), AppError> {
    append(ctx, "", 0)
}

fn append(ctx: &Context<'_>, token: &str, seconds: u64) -> Result<(), AppError> {
    let same_site = ctx.state()?.auth.settings().refresh_token_cookie_same_site();
    let cookie = format!(
        "{NAME}={token}; Max-Age={seconds}; Path=/; HttpOnly; Secure; SameSite={}",
        same_site.attribute()
    );
    if let Ok(mut value) = HeaderValue::from_str(&cookie) {
        value.set_sensitive(true);
        ctx.insert_http_header(SET_COOKIE, value);
    }
    Ok(())
}

/// Reads the token from a request's cookies. They are split before they are decoded, as other cookies of the host may hold
/// any bytes.
pub(crate) fn read(headers: &HeaderMap) -> Option<SecretString> {
    let cookies = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let mut pairs = cookies.flat_map(|line| line.split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(NAME.as_bytes())?.strip_prefix(b"=")?;
        let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        Some(String::from_utf8_lossy(quoted.unwrap_or(value)).into_owned().into())
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn other_cookies_of_the_host_do_not_hide_ours() {
        let ours = "__Host-todo-refresh-token=todo_rt_a";
        for (lines, expected) in [
            (vec![ours.to_owned()], Some("todo_rt_a")),
            (vec![format!("name=J\u{f6}rg; {ours}; x=\u{1f389}")], Some("todo_rt_a")),
            (vec!["name=J\u{f6}rg".to_owned(), format!("a=b;{ours} ")], Some("todo_rt_a")),
            (vec![format!("flag; =; ;{ours}")], Some("todo_rt_a")),
            (vec!["__Host-todo-refresh-token=\"todo_rt_a\"".to_owned()], Some("todo_rt_a")),
            (vec!["x__Host-todo-refresh-token=todo_rt_a".to_owned()], None),
            (vec!["__Host-todo-refresh-token2=todo_rt_a".to_owned()], None),
            (vec!["__host-todo-refresh-token=todo_rt_a".to_owned()], None),
            (vec!["name=J\u{f6}rg".to_owned()], None),
        ] {
            let value = |line: &String| (COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            let mut headers = HeaderMap::new();
            headers.extend(lines.iter().map(value));
            let token = read(&headers);
            assert_eq!(token.as_ref().map(ExposeSecret::expose_secret), expected, "{lines:?}");
        }
    }
}
