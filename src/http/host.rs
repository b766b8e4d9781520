use axum::extract::Request;
use axum::http::{HeaderValue, Method, Version, header};

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

/// Returns true unless the target has a form of other methods (RFC 9112, section 3.2): an authority alone is for `CONNECT`, `*`
/// for `OPTIONS`.
pub(super) fn has_valid_target(request: &Request) -> bool {
    let target = request.uri();
    let is_authority = target.scheme().is_none() && target.authority().is_some();
    (!is_authority || request.method() == Method::CONNECT)
        && (target.path() != "*" || request.method() == Method::OPTIONS)
}

/// Returns true for a host with an optional port (RFC 3986, section 3.2), without a user or percent-encoding.
fn is_host(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    let find = |wanted| value.iter().position(|byte| *byte == wanted);
    let end = if value.starts_with(b"[") { find(b']').map(|at| at + 1) } else { find(b':') };
    let (host, port) = value.split_at(end.unwrap_or(value.len()));
    let is_host = match host {
        // The zone of a link-local address follows a percent sign (RFC 6874).
        [b'[', address @ .., b']'] => address.iter().all(|byte| is_name_byte(*byte) || b":%".contains(byte)),
        name => !name.is_empty() && name.iter().copied().all(is_name_byte),
    };
    is_host && port.strip_prefix(b":").map_or(port.is_empty(), is_port)
}

/// Returns true for the characters of a name or IPv4 address: "unreserved" and "sub-delims" of RFC 3986, section 2.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'=')
}

/// Returns true for a port, which may be empty.
fn is_port(digits: &[u8]) -> bool {
    let append = |port: u16, digit: &u8| {
        port.checked_mul(10)?.checked_add(u16::try_from(char::from(*digit).to_digit(10)?).ok()?)
    };
    digits.iter().try_fold(0, append).is_some()
}

#[cfg(test)]
mod tests {
    use axum::http::uri::Authority;

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
            "[fe80::1%25eth0]:80",
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
            "::1]",
            "[::1]x",
            "[::1]:80:80",
            "x[::1]",
            "ada@[::1]",
            "a:+80",
            "a:65536",
            "a%41",
            "a?b",
            "a#b",
            "a\\b",
        ] {
            assert!(!is_host(&HeaderValue::from_static(host)), "{host}");
        }
        assert!(!is_host(&HeaderValue::from_bytes("b\u{fc}cher.example".as_bytes()).unwrap()));
    }

    #[test]
    fn a_name_has_the_characters_of_a_uri_authority() {
        // These two have a meaning of their own.
        for byte in (0..=u8::MAX).filter(|byte| !b":@".contains(byte)) {
            let name = [b'a', byte, b'b'];
            if let Ok(value) = HeaderValue::from_bytes(&name) {
                assert_eq!(is_host(&value), Authority::try_from(name.as_slice()).is_ok(), "{byte}");
            }
        }
    }
}
