use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri, header};

/// Returns true if a request has no `Origin`, that of this host, or an allowed one.
pub(super) fn is_allowed(headers: &HeaderMap, allowed: &[HeaderValue]) -> bool {
    headers.get(header::ORIGIN).is_none_or(|origin| {
        allowed.iter().any(|known| known == "*" || known == origin)
            || is_own(origin, headers.get(header::HOST)) == Some(true)
    })
}

/// Returns true for the origin of this host. Browsers omit the default port, while some proxies add it to `Host`.
fn is_own(origin: &HeaderValue, host: Option<&HeaderValue>) -> Option<bool> {
    let origin: Uri = origin.to_str().ok()?.parse().ok()?;
    let host: Authority = host?.to_str().ok()?.parse().ok()?;
    let default = if origin.scheme_str()? == "https" { 443 } else { 80 };
    let port = |port: Option<u16>| port.unwrap_or(default);
    Some(origin.host()?.eq_ignore_ascii_case(host.host()) && port(origin.port_u16()) == port(host.port_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_and_capitals_make_no_other_host() {
        for (origin, host, expected) in [
            ("https://app.example.com", "app.example.com", true),
            ("https://app.example.com", "App.Example.com:443", true),
            ("http://app.example.com", "app.example.com:80", true),
            ("http://[::1]:8000", "[::1]:8000", true),
            ("https://app.example.com", "app.example.com:80", false),
            ("https://app.example.com:8443", "app.example.com", false),
            ("https://app.example.com.evil.example", "app.example.com", false),
            ("https://evil.example", "app.example.com", false),
            ("null", "null", false),
            ("app.example.com", "app.example.com", false),
            ("", "", false),
        ] {
            let headers = HeaderMap::from_iter([
                (header::ORIGIN, HeaderValue::from_static(origin)),
                (header::HOST, HeaderValue::from_static(host)),
            ]);
            assert_eq!(is_allowed(&headers, &[]), expected, "{origin} {host}");
        }
    }
}
