//! The IDE at `/graphiql`: GraphiQL, embedded by `build.rs`, under a policy that lets it talk to this service alone.

use std::io::{self, Read};

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use flate2::read::GzDecoder;

/// HTML of the IDE; its placeholders take the tags that load React and GraphiQL.
const PAGE: &str = include_str!("index.html");
/// Our own scripts and stylesheet.
const OWN: [(&str, &str); 5] = [
    ("main.js", include_str!("main.js")),
    ("session.js", include_str!("session.js")),
    ("strip.js", include_str!("strip.js")),
    ("tabs.js", include_str!("tabs.js")),
    ("style.css", include_str!("style.css")),
];

#[cfg(graphiql_embedded)]
mod source {
    //! Everything comes from the binary.

    pub(super) const STYLES: &str = r#"<link rel="stylesheet" href="/graphiql/graphiql.css">"#;
    pub(super) const SCRIPTS: &str = r#"<script src="/graphiql/react.js"></script>
    <script src="/graphiql/react-dom.js"></script>
    <script src="/graphiql/graphql-ws.js"></script>
    <script src="/graphiql/graphiql.js"></script>"#;
    pub(super) const HOST: &str = "";
    pub(super) const MISSING: Option<&str> = None;
    /// Names and contents, compressed with gzip.
    pub(super) const FILES: &[(&str, &[u8])] = &[
        ("react.js", include_bytes!(concat!(env!("OUT_DIR"), "/react.js.gz"))),
        ("react-dom.js", include_bytes!(concat!(env!("OUT_DIR"), "/react-dom.js.gz"))),
        ("graphql-ws.js", include_bytes!(concat!(env!("OUT_DIR"), "/graphql-ws.js.gz"))),
        ("graphiql.js", include_bytes!(concat!(env!("OUT_DIR"), "/graphiql.js.gz"))),
        ("graphiql.css", include_bytes!(concat!(env!("OUT_DIR"), "/graphiql.css.gz"))),
    ];
}

#[cfg(not(graphiql_embedded))]
mod source {
    //! npm failed when this was built: the same files from a CDN, pinned by their hashes.

    pub(super) const STYLES: &str = r#"<link rel="stylesheet" crossorigin="anonymous" href="https://unpkg.com/graphiql@4.1.2/graphiql.min.css" integrity="sha384-1el1QShFBnnXTx9x/Cprg82hZWKt0ry29OAYIXt05swbi0KcZDFoj0CWguMpopJr">"#;
    pub(super) const SCRIPTS: &str = r#"<p class="notice">GraphiQL is not part of this build, so it is loaded from unpkg.com; the service's log has the reason.</p>
    <script crossorigin="anonymous" src="https://unpkg.com/react@18.3.1/umd/react.production.min.js" integrity="sha384-DGyLxAyjq0f9SPpVevD6IgztCFlnMF6oW/XQGmfe+IsZ8TqEiDrcHkMLKI6fiB/Z"></script>
    <script crossorigin="anonymous" src="https://unpkg.com/react-dom@18.3.1/umd/react-dom.production.min.js" integrity="sha384-gTGxhz21lVGYNMcdJOyq01Edg0jhn/c22nsx0kyqP0TxaV5WVdsSH1fSDUf5YJj1"></script>
    <script crossorigin="anonymous" src="https://unpkg.com/graphql-ws@5.16.2/umd/graphql-ws.min.js" integrity="sha384-EVxFEOpy8LWPRQcpntm0FKN2O+BzrMNSL0G3HIgVWFmeb6xqZqjuLivrQUTXZKin"></script>
    <script crossorigin="anonymous" src="https://unpkg.com/graphiql@4.1.2/graphiql.min.js" integrity="sha384-9XdHu7ajgGJziD4J1zNBKQ842Q/+zZfDv+ib1eMhZWBH6hPAs806x+Jbcf0yNO6B"></script>"#;
    pub(super) const HOST: &str = " https://unpkg.com";
    pub(super) const MISSING: Option<&str> = Some(env!("GRAPHIQL_MISSING"));
    pub(super) const FILES: &[(&str, &[u8])] = &[];
}

/// Returns npm's error if this build does not contain the IDE.
pub fn missing() -> Option<&'static str> {
    source::MISSING
}

/// Serves the page with its Content-Security-Policy.
pub(super) async fn page() -> Response {
    let host = source::HOST;
    // The editor sizes its lines with style attributes, hence 'unsafe-inline' for those; scripts are files only.
    let policy = format!(
        "default-src 'none'; script-src 'self'{host}; style-src 'self' 'unsafe-inline'{host}; connect-src 'self'; \
         img-src 'self' data:; font-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut headers = HeaderMap::new();
    headers.extend(HeaderValue::from_str(&policy).map(|policy| (header::CONTENT_SECURITY_POLICY, policy)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let page = PAGE.replace("<!-- styles -->", source::STYLES).replace("<!-- scripts -->", source::SCRIPTS);
    (headers, Html(page)).into_response()
}

/// Serves one of the page's scripts or stylesheets.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    let content = match find(&name) {
        Ok(Some(content)) => content,
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    let javascript = std::path::Path::new(&name).extension().is_some_and(|extension| extension == "js");
    let kind = if javascript { "text/javascript; charset=utf-8" } else { "text/css; charset=utf-8" };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=300")], content).into_response()
}

fn find(name: &str) -> io::Result<Option<String>> {
    if let Some((_, content)) = OWN.iter().find(|(known, _)| *known == name) {
        return Ok(Some((*content).to_owned()));
    }
    let Some((_, compressed)) = source::FILES.iter().find(|(known, _)| *known == name) else {
        return Ok(None);
    };
    let mut content = String::new();
    GzDecoder::new(*compressed).read_to_string(&mut content)?;
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_found_and_no_other() {
        for (name, compressed) in source::FILES {
            // Decompression verifies length and checksum.
            assert!(find(name).unwrap().unwrap().len() > compressed.len(), "{name}");
        }
        for (name, content) in OWN {
            assert_eq!(find(name).unwrap().as_deref(), Some(content));
        }
        assert!(find("graphiql.js.gz").unwrap().is_none());
    }
}
