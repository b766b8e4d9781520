//! The page at `/`, and the redirect to the IDE for people who open `/graphql` in a browser.

use axum::extract::Request;
use axum::http::header::UPGRADE;
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use url::form_urlencoded;

use crate::transport::prefers_html;

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
