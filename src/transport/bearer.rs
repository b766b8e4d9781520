use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use crate::auth::BearerToken;

/// Scheme in lower case, with the space before the token.
const SCHEME: &[u8] = b"bearer ";

/// Extracts the token of `Authorization: Bearer <token>`. The scheme is case-insensitive (RFC 9110, section 11.1).
///
/// A blank header counts as absent: Apollo's recipe sends one before a login.
pub(super) fn bearer_token(headers: &HeaderMap) -> BearerToken<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter().filter(|value| !is_blank(value.as_bytes()));
    match (values.next(), values.next()) {
        (None, _) => BearerToken::Absent,
        (Some(value), None) => parse(value.as_bytes()).map_or(BearerToken::Malformed, BearerToken::Present),
        (Some(_), Some(_)) => BearerToken::Malformed,
    }
}

fn is_blank(text: &[u8]) -> bool {
    text.trim_ascii().is_empty()
}

fn parse(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}
