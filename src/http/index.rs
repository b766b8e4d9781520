//! The page at `/`, and the redirect to the IDE for people who open `/graphql` in a browser.

use axum::extract::Request;
use axum::http::header::{ACCEPT, UPGRADE};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use url::form_urlencoded;

const TEXT: &str = "\
todo-api, a GraphQL API

/graphql                 GraphQL over POST, GET and WebSocket
/health/live             is the process alive?
/health/ready            can it serve?
/.well-known/jwks.json   keys that verify access tokens
";

const IDE: &str = "/graphiql                an IDE in the browser\n";

/// Parameters of a GET with an operation.
const OPERATION: [&str; 3] = ["query", "extensions", "documentId"];

/// Lists the endpoints as text.
pub(super) async fn index() -> &'static str {
    TEXT
}

/// Like [`index`], but redirects browsers to the IDE.
pub(super) async fn index_with_ide(headers: HeaderMap) -> Response {
    if prefers_html(&headers) {
        return Redirect::temporary("/graphiql").into_response();
    }
    [TEXT, IDE].concat().into_response()
}

/// Redirects people who open `/graphql` in a browser to the IDE.
pub(super) async fn redirect_to_ide(request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !has_operation(request.uri()) && !headers.contains_key(UPGRADE) && prefers_html(headers) {
        return Redirect::to("/graphiql").into_response();
    }
    next.run(request).await
}

fn has_operation(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| OPERATION.contains(&&*name))
}

/// Returns true if a client prefers `text/html` to JSON, as a browser does that opens an address.
fn prefers_html(headers: &HeaderMap) -> bool {
    let json = ["application/json", "application/graphql-response+json"];
    let json = json.map(|kind| quality(headers, kind)).into_iter().fold(0.0, f32::max);
    quality(headers, "text/html") > json
}

/// Returns the quality of a media type in `Accept`, by the most specific range (RFC 9110, section 12.5.1).
fn quality(headers: &HeaderMap, kind: &str) -> f32 {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let ranges = lines.flat_map(|line| line.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
        let name = parts.next()?;
        let specificity = match name.strip_suffix('*') {
            None if name == kind => 2,
            Some(prefix) if name != "*/*" && prefix.ends_with('/') && kind.starts_with(prefix) => 1,
            Some("*/") => 0,
            _ => return None,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=").map(|q| q.parse().unwrap_or(0.0)));
        Some((specificity, quality.unwrap_or(1.0_f32)))
    });
    ranges.max_by_key(|(specificity, _)| *specificity).map_or(0.0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_prefer_html_and_programs_do_not() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("text/html", true),
            ("TEXT/HTML;Q=0.9, application/json;q=0.5", true),
            ("text/*", true),
            ("*/*", false),
            ("", false),
            ("application/json", false),
            ("application/json, text/html", false),
            ("text/html;q=0.5, application/graphql-response+json", false),
            ("application/json, text/plain, */*", false),
            ("text/html;q=0, */*", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(prefers_html(&headers), expected, "{accept}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
    }
}
