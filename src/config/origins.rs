use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::http::{HeaderValue, Uri};
use url::Url;

/// Parses an origin into the form in which browsers send it: lower case, international names in ASCII, without a default port.
///
/// `null` is the origin of sandboxed frames and of files, and `*` stands for all.
pub(crate) fn origin(text: &str) -> Result<HeaderValue, String> {
    let text = text.trim();
    if ["*", "null"].contains(&text) {
        return HeaderValue::from_str(text).map_err(|error| error.to_string());
    }
    normalize(text).ok_or_else(|| {
        "expected an origin such as https://app.example.com, http://localhost:3000 or capacitor://localhost, without a \
         path, a user or a pattern such as *.example.com; or null; or * alone for all origins"
            .into()
    })
}

fn normalize(text: &str) -> Option<HeaderValue> {
    let (_, host) = text.split_once("://")?;
    // `Url` mends what was not meant to be an origin, such as backslashes and line breaks.
    let is_odd = |c: char| "/\\?#@*%".contains(c) || c.is_whitespace() || c.is_control();
    if host.strip_suffix('/').unwrap_or(host).contains(is_odd) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let origin = match url.scheme() {
        "http" | "https" => url.origin().ascii_serialization(),
        // Pages never have an origin with one of these schemes.
        "ws" | "wss" | "ftp" | "file" => return None,
        _ => origin_of_app(&url)?,
    };
    // `Url` lets quotes, commas and dollars pass, which must not get from a log line into a shell.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+:/[]".contains(c);
    if !origin.chars().all(is_plain) {
        return None;
    }
    HeaderValue::from_str(&origin).ok()
}

/// Serializes the origin of an app or extension, whose scheme `Url` does not know.
fn origin_of_app(url: &Url) -> Option<String> {
    let host = url.host_str().filter(|host| !host.is_empty())?.to_ascii_lowercase();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{host}{port}", url.scheme()))
}

/// Returns the sites of some origins, as far as they differ for certain.
///
/// A site is a registrable domain, which takes a list of public suffixes to tell. It has two labels or more, so origins whose
/// last two labels differ are on different sites.
pub(super) fn distinct_sites<'a>(origins: impl Iterator<Item = &'a HeaderValue>) -> BTreeSet<String> {
    origins.filter_map(|origin| origin.to_str().ok()?.parse::<Uri>().ok()?.host().map(site)).collect()
}

fn site(host: &str) -> String {
    if host.starts_with('[') || host.parse::<IpAddr>().is_ok() {
        return host.to_owned();
    }
    let mut labels: Vec<_> = host.rsplit('.').take(2).collect();
    labels.reverse();
    labels.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_normalized_to_what_browsers_send() {
        for (text, expected) in [
            ("https://app.example.com", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            (" http://127.0.0.1:5173 ", "http://127.0.0.1:5173"),
            ("https://app.example.com/", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("https://app.example.com:443/", "https://app.example.com"),
            ("http://app.example.com:80", "http://app.example.com"),
            ("http://app.example.com:443", "http://app.example.com:443"),
            ("https://app.example.com:80", "https://app.example.com:80"),
            ("https://app.example.com:08443", "https://app.example.com:8443"),
            ("HTTPS://App.Example.COM", "https://app.example.com"),
            ("https://B\u{fc}cher.example", "https://xn--bcher-kva.example"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[0:0::1]", "http://[::1]"),
            ("electron://altair", "electron://altair"),
            ("Capacitor://Localhost/", "capacitor://localhost"),
            ("tauri://localhost:1420", "tauri://localhost:1420"),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
            ("null", "null"),
            ("*", "*"),
        ] {
            assert_eq!(origin(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn origins_that_can_never_match_are_refused() {
        for text in [
            "",
            "app.example.com",
            "//app.example.com",
            "https:app.example.com",
            "https://",
            "https:///",
            "https://*.example.com",
            "https://*",
            "*.example.com",
            "**",
            "https://a.example/path",
            "https://a.example//",
            "https://a.example/?x",
            "https://a.example?",
            "https://a.example#",
            "https://ada@a.example",
            "https://a.example:99999",
            "https://a.example:port",
            "https://a.example\\b",
            "https://a.exa mple",
            "https://a.example\nb",
            "https://[::1",
            "ftp://a",
            "file:///",
            "wss://a.example",
            "electron://",
            "electron://altair/path",
            "electron://ada@altair",
            "electron://altair:port",
            "electron://alt\u{e4}ir",
            "electron://a,null",
            "electron://$(a)",
            "https://a'b.example",
            "https://$(a).example",
            "Null",
            "*, null",
        ] {
            assert!(origin(text).unwrap_err().contains("https://app.example.com"), "{text}");
        }
    }

    #[test]
    fn sites_differ_where_the_last_two_labels_do() {
        let sites = |origins: &[&str]| {
            let origins: Vec<_> = origins.iter().map(|text| origin(text).unwrap()).collect();
            distinct_sites(origins.iter()).len()
        };
        assert_eq!(
            sites(&["https://app.example.com", "https://www.example.com:8443", "https://example.com"]),
            1
        );
        assert_eq!(sites(&["http://localhost:3000", "http://localhost:5173"]), 1);
        assert_eq!(sites(&["https://app.example.com", "https://app.example.org"]), 2);
        assert_eq!(sites(&["https://app.example.com", "http://localhost:3000"]), 2);
        assert_eq!(sites(&["http://127.0.0.1", "http://127.1.0.1", "http://[::1]"]), 3);
    }
}
