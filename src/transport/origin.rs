use axum::http::{HeaderMap, HeaderValue, Uri, header};

/// Returns true if a request has no `Origin`, that of this host, or an allowed one.
pub(super) fn is_allowed(headers: &HeaderMap, allowed: &[HeaderValue]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let same = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let same = same.and_then(|origin| origin.authority().map(|authority| Some(authority.as_str()) == host));
    same == Some(true) || allowed.iter().any(|known| known == "*" || known == origin)
}
