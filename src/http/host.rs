use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Version, header};

/// Returns true if a request has one valid `Host`, as RFC 9112, section 3.2, requires; HTTP/1.0 may omit it.
///
/// The host of a target in absolute form replaces the header's.
pub(super) fn is_valid(request: &mut Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let valid = match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host),
        (None, _) => request.version() < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    };
    let target = request.uri().authority().map(|target| HeaderValue::from_str(target.as_str()));
    match target {
        Some(Ok(target)) if valid => {
            let is_target = is_host(&target);
            request.headers_mut().insert(header::HOST, target);
            is_target
        }
        Some(_) => false,
        None => valid,
    }
}

/// Returns true for a host with an optional port.
fn is_host(value: &HeaderValue) -> bool {
    let Ok(authority) = Authority::try_from(value.as_bytes()) else { return false };
    let host = authority.host();
    // A user in front of the host leaves nothing to strip.
    let port = authority.as_str().strip_prefix(host);
    let is_port = |port: &str| {
        port.strip_prefix(':').map_or(port.is_empty(), |port| port.is_empty() || port.parse::<u16>().is_ok())
    };
    !host.is_empty() && port.is_some_and(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_address_with_an_optional_port() {
        for host in [
            "x",
            "example.com",
            "Example.COM:8000",
            "example.com:",
            "127.0.0.1:8000",
            "[::1]",
            "[::1]:8000",
            "my_service:80",
            "xn--bcher-kva.example",
        ] {
            assert!(is_host(&HeaderValue::from_static(host)), "{host}");
        }
        for host in [
            "",
            ":80",
            "a b",
            "a, b",
            "http://example.com",
            "example.com/",
            "ada@example.com",
            "a:b",
            "a:99999",
            "a:80:80",
            "::1",
            "[::1",
            "a?b",
            "a#b",
            "a\\b",
        ] {
            assert!(!is_host(&HeaderValue::from_static(host)), "{host}");
        }
        assert!(!is_host(&HeaderValue::from_bytes("b\u{fc}cher.example".as_bytes()).unwrap()));
    }
}
