//! Middleware of all routes: identifier, context, `Host`, CORS, time limit, panics, compression, security headers.
//!
//! A single service around the router: each layer of tower moves the request and the response once more and is cloned by axum for
//! every request. Futures are pinned where they are made, as a future that is passed on is copied.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio::time::timeout;
use tower::{Layer, Service, service_fn};
use tower_http::compression::Compression;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::cors::CorsLayer;
use uuid::{Builder, NoContext, Timestamp, Uuid};

use super::host;
use crate::graphql::RequestId;
use crate::transport::{Ingress, Peer};
use crate::{telemetry, transport};

/// Identifies a request in its response and in logs; clients may set their own.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Trace context of the client, and in the response that of the service (<https://www.w3.org/TR/trace-context/>).
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Longest identifier that is accepted from a client.
const MAX_BYTES: usize = 128;

/// Headers of every response: what it may depend on, by CORS, negotiation and compression, and security.
const COMMON: [(HeaderName, HeaderValue); 5] = [
    (
        header::VARY,
        HeaderValue::from_static(
            "origin, access-control-request-method, access-control-request-headers, accept, accept-encoding",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// Content security policy of every response that does not set its own, as the page of the IDE does.
const CONTENT_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);

/// Size from which responses are compressed, in bytes. Smaller ones travel in one packet anyway.
const COMPRESSED: u64 = 1024;

/// Middleware of all routes.
pub(super) struct Middleware {
    cors: CorsLayer,
    timeout: Duration,
}

impl Middleware {
    pub(super) fn new(cors: CorsLayer, timeout: Duration) -> Self {
        Self { cors, timeout }
    }

    /// Gives a request its identifier and context, and the response the identifier and the common headers. Refuses a malformed
    /// request.
    pub(super) async fn respond(&self, router: Router, mut request: Request, peer: Peer) -> Response {
        let id = request.headers().get(REQUEST_ID).and_then(acceptable);
        let id = id.unwrap_or_else(new_id);
        let context = telemetry::begin_request(&request, Arc::clone(&id));
        let name = telemetry::trace_name(&request);
        if request.version() < Version::HTTP_11 {
            // HTTP/1.0 has no upgrades (RFC 9110, section 7.8).
            request.headers_mut().remove(header::UPGRADE);
        }
        request.extensions_mut().insert(Ingress { request_id: RequestId(Arc::clone(&id)), peer });
        let answer = pin!(async {
            let mut response = if let Some(refusal) = refuse_malformed(&mut request) {
                refusal
            } else if request.headers().contains_key(header::ORIGIN) || request.method() == Method::OPTIONS {
                Box::pin(self.run_with_cors(router, request)).await
            } else {
                self.run(router, request).await
            };
            telemetry::end_request(&mut response, name);
            response
        });
        let mut response = context.scope(answer).await;
        add_headers(response.headers_mut(), &id);
        response
    }

    /// Answers a preflight request, or runs one that a page sent and adds the headers that let it read the response.
    async fn run_with_cors(&self, router: Router, request: Request) -> Response {
        let service =
            service_fn(async |request| Ok::<_, Infallible>(self.run(router.clone(), request).await));
        let Ok(response) = self.cors.layer(service).call(request).await;
        response
    }

    /// Runs a request within the time limit, which is a safety net: `/graphql` has its own, with a GraphQL error.
    async fn run(&self, router: Router, request: Request) -> Response {
        let work = pin!(run_compressed(router, request));
        match AssertUnwindSafe(timeout(self.timeout, work)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => StatusCode::GATEWAY_TIMEOUT.into_response(),
            Err(panic) => transport::panic_response(panic),
        }
    }
}

/// Builds the response to a request that RFC 9112 forbids to serve; `None` for any other.
fn refuse_malformed(request: &mut Request) -> Option<Response> {
    let (status, message) = if !is_only_chunked(request.headers()) {
        (StatusCode::NOT_IMPLEMENTED, "The only supported Transfer-Encoding is chunked.")
    } else if !host::has_valid_target(request) {
        (StatusCode::BAD_REQUEST, "The request target must be a path or an absolute URL.")
    } else if !host::is_valid(request) {
        (StatusCode::BAD_REQUEST, "The request must have one valid Host header.")
    } else {
        return None;
    };
    Some(transport::malformed_response(status, message))
}

/// Returns true unless the body has another transfer coding than `chunked`, the only one that hyper decodes: it ignores those
/// before the last.
fn is_only_chunked(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = lines.next();
    first.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")) && lines.next().is_none()
}

fn add_headers(headers: &mut HeaderMap, id: &str) {
    for (name, value) in COMMON {
        headers.insert(name, value);
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(CONTENT_POLICY);
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
}

/// Creates an identifier: a UUID of version 7. Its random part is fast and not secret, as clients may choose identifiers too.
fn new_id() -> Arc<str> {
    let (seconds, nanoseconds) = Timestamp::now(NoContext).to_unix();
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    let milliseconds = seconds * 1000 + u64::from(nanoseconds / 1_000_000);
    let id = Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid();
    Arc::from(&*id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

/// Runs a request, and compresses the response if the client accepts that. A client that accepts no coding, not even `identity`,
/// gets `identity`, as RFC 9110, section 12.5.3, permits: its request has run.
async fn run_compressed(mut router: Router, request: Request) -> Response {
    let encoding = request.headers().get(header::ACCEPT_ENCODING);
    if encoding.is_none_or(|encoding| encoding == "identity") {
        let Ok(response) = router.call(request).await;
        return response;
    }
    let is_head = request.method() == Method::HEAD;
    let status = OnceLock::new();
    let service = service_fn(async |request| {
        let Ok(response) = router.clone().call(request).await;
        let _ = status.set(response.status());
        Ok::<_, Infallible>(response)
    });
    let mut compressed = Compression::new(service).compress_when(
        SizeAbove::new(COMPRESSED)
            // Compression would hold back what is streamed.
            .and(NotForContentType::SSE)
            .and(NotForContentType::const_new("multipart/mixed")),
    );
    let Ok(response) = compressed.call(request).await;
    let mut response = response.map(Body::new);
    if let Some(status) = status.get() {
        // tower-http replaces it by 406 if the client accepts no coding.
        *response.status_mut() = *status;
    }
    if is_head {
        // The length without compression, which a GET may not have.
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

/// Returns a client's identifier if it is safe to log: short and plain.
fn acceptable(value: &HeaderValue) -> Option<Arc<str>> {
    let text = value.to_str().ok()?;
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    (plain && (1..=MAX_BYTES).contains(&text.len())).then(|| Arc::from(text))
}
