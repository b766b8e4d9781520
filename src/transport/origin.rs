use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri, header};

use crate::config::{AppEnv, Config};

/// Origins of developers' tools: Apollo Sandbox and the Altair app.
const TOOLS: [&str; 2] = ["https://studio.apollographql.com", "electron://altair"];

/// Hosts of pages on the developer's own machine.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Origins whose pages may call the service: `CORS_ALLOWED_ORIGINS`, or its default in development.
pub(crate) struct AllowedOrigins {
    configured: Vec<HeaderValue>,
    has_development_default: bool,
}

/// Trust in the page that sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// A page of this host, over HTTP or HTTPS, or no page at all: the request has no `Origin`.
    Own,
    /// A page of an origin that the operator has named, of this host or another.
    Named,
    /// A page that may call the service, but not with cookies: allowed by `*`, by `null`, which any page can become in a
    /// sandboxed frame, or by the default in development, which covers a public site and every local server.
    WithoutCookies,
    /// A page of any other origin.
    Refused,
}

impl AllowedOrigins {
    pub(crate) fn new(config: &Config) -> Self {
        let configured = config.http.cors_allowed_origins.clone();
        let has_development_default = configured.is_empty() && config.app_env == AppEnv::Development;
        Self { configured, has_development_default }
    }

    /// Returns the origins of the setting.
    pub(crate) fn configured(&self) -> &[HeaderValue] {
        &self.configured
    }

    /// Determines the trust in the page that sent a request, over HTTP or to open a socket.
    pub(crate) fn trust(&self, headers: &HeaderMap) -> Trust {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Trust::Own;
        };
        // Before the comparison with the host, which ignores the scheme: TLS may end in a proxy.
        if self.names(origin) {
            Trust::Named
        } else if is_own(origin, headers.get(header::HOST)) == Some(true) {
            Trust::Own
        } else if self.allows(origin) {
            Trust::WithoutCookies
        } else {
            Trust::Refused
        }
    }

    /// Returns true if pages of an origin may call the service from any host.
    pub(crate) fn allows(&self, origin: &HeaderValue) -> bool {
        let is_configured = self.configured.iter().any(|known| known == origin || known == "*");
        is_configured || self.is_allowed_by_default(origin)
    }

    /// Returns true if the operator has named an origin that only its own pages have.
    fn names(&self, origin: &HeaderValue) -> bool {
        origin != "null" && origin != "*" && self.configured.contains(origin)
    }

    fn is_allowed_by_default(&self, origin: &HeaderValue) -> bool {
        let is_developers = |origin: &str| TOOLS.contains(&origin) || is_loopback(origin);
        self.has_development_default && origin.to_str().is_ok_and(is_developers)
    }
}

/// Returns true for the origin of this host. Browsers omit the default port, while some proxies add it to `Host`.
fn is_own(origin: &HeaderValue, host: Option<&HeaderValue>) -> Option<bool> {
    let origin: Uri = origin.to_str().ok()?.parse().ok()?;
    let host: Authority = host?.to_str().ok()?.parse().ok()?;
    let default = match origin.scheme_str()? {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let port = |port: Option<u16>| port.unwrap_or(default);
    Some(origin.host()?.eq_ignore_ascii_case(host.host()) && port(origin.port_u16()) == port(host.port_u16()))
}

/// Returns true for a page on the machine of its browser, on any port. Names are compared, never resolved: a name that an
/// attacker points to 127.0.0.1 (DNS rebinding) is not one of these.
fn is_loopback(origin: &str) -> bool {
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let is_port = |text: &str| text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    host.is_some_and(|host| {
        let mut ports = LOOPBACK.iter().filter_map(|name| host.strip_prefix(name));
        ports.any(|port| port.is_empty() || is_port(port))
    })
}

#[cfg(test)]
mod tests {
    use super::Trust::{Named, Own, Refused, WithoutCookies};
    use super::*;

    fn trust(
        configured: &[&'static str],
        is_development: bool,
        origin: &'static str,
        host: &'static str,
    ) -> Trust {
        let configured: Vec<_> = configured.iter().map(|text| HeaderValue::from_static(text)).collect();
        let has_development_default = configured.is_empty() && is_development;
        let headers = HeaderMap::from_iter([
            (header::ORIGIN, HeaderValue::from_static(origin)),
            (header::HOST, HeaderValue::from_static(host)),
        ]);
        AllowedOrigins { configured, has_development_default }.trust(&headers)
    }

    #[test]
    fn the_default_port_and_capitals_make_no_other_host() {
        for (origin, host, expected) in [
            ("https://app.example.com", "app.example.com", Own),
            ("https://app.example.com", "App.Example.com:443", Own),
            ("http://app.example.com", "app.example.com:80", Own),
            ("http://[::1]:8000", "[::1]:8000", Own),
            ("https://app.example.com", "app.example.com:80", Refused),
            ("https://app.example.com:8443", "app.example.com", Refused),
            ("https://app.example.com.evil.example", "app.example.com", Refused),
            ("https://evil.example", "app.example.com", Refused),
            ("capacitor://app.example.com", "app.example.com", Refused),
            ("null", "null", Refused),
            ("app.example.com", "app.example.com", Refused),
            ("", "", Refused),
        ] {
            assert_eq!(trust(&[], false, origin, host), expected, "{origin} {host}");
        }
    }

    #[test]
    fn only_origins_named_by_the_operator_are_trusted_with_cookies() {
        for (configured, origin, expected) in [
            (&["https://app.example.com"][..], "https://app.example.com", Named),
            (&["capacitor://localhost"], "capacitor://localhost", Named),
            (&["https://app.example.com"], "http://app.example.com", Refused),
            (&["https://app.example.com"], "http://localhost:3000", Refused),
            (&["https://app.example.com"], "https://studio.apollographql.com", Refused),
            (&["https://app.example.com"], "null", Refused),
            (&["null"], "null", WithoutCookies),
            (&["null"], "https://evil.example", Refused),
            (&["*"], "https://evil.example", WithoutCookies),
            (&["*"], "null", WithoutCookies),
            (&["*"], "*", WithoutCookies),
            (&["*", "https://app.example.com"], "https://app.example.com", Named),
        ] {
            assert_eq!(
                trust(configured, true, origin, "api.example.com"),
                expected,
                "{configured:?} {origin}"
            );
        }
    }

    #[test]
    fn a_named_origin_of_the_own_host_is_named() {
        for (configured, origin, expected) in [
            (&["http://api.example.com"][..], "http://api.example.com", Named),
            (&["https://api.example.com"], "https://api.example.com", Named),
            (&["https://api.example.com"], "http://api.example.com", Own),
            (&["*"], "https://api.example.com", Own),
        ] {
            assert_eq!(
                trust(configured, false, origin, "api.example.com"),
                expected,
                "{configured:?} {origin}"
            );
        }
    }

    #[test]
    fn the_default_in_development_is_the_own_machine_and_two_tools_without_cookies() {
        for origin in [
            "http://localhost",
            "https://localhost:5173",
            "http://127.0.0.1:1",
            "https://[::1]:65535",
            "https://studio.apollographql.com",
            "electron://altair",
        ] {
            assert_eq!(trust(&[], true, origin, "localhost:8000"), WithoutCookies, "{origin}");
            assert_eq!(trust(&[], false, origin, "localhost:8000"), Refused, "{origin}");
        }
        for origin in [
            "http://localhost.evil.example",
            "http://localhost:80.evil.example",
            "http://localhost:3000@evil.example",
            "http://127.0.0.1.evil.example:8000",
            "http://127.0.0.2",
            "http://evil.localhost",
            "http://localhost:",
            "http://localhost:99999",
            "http://localhost/",
            "ftp://localhost",
            "http://studio.apollographql.com",
            "https://studio.apollographql.com:8443",
            "https://evil.studio.apollographql.com",
            "electron://other",
            "null",
            "*",
        ] {
            assert_eq!(trust(&[], true, origin, "localhost:8000"), Refused, "{origin}");
        }
    }
}
