use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;
use uuid::Uuid;

use super::host;
use crate::graphql::RequestId;
use crate::{telemetry, transport};

/// Identifies a request in its response and in logs; clients may set their own.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Trace context of the client, and in the response that of the service (<https://www.w3.org/TR/trace-context/>).
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Longest identifier that is accepted from a client.
const MAX_BYTES: usize = 128;

/// Security headers of every response that does not set its own.
const SECURITY: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// Gives each request an identifier and a span, and each response the identifier and the security headers. Refuses a request
/// without a valid `Host`: here and not in a layer of its own, which would cost every request a boxed future.
pub(super) async fn add_headers(mut request: Request, next: Next) -> Response {
    let id =
        request.headers().get(REQUEST_ID).and_then(acceptable).unwrap_or_else(|| Uuid::now_v7().to_string());
    let span = telemetry::begin_request(&request, &id);
    request.extensions_mut().insert(RequestId(id.clone()));
    let has_host = host::is_valid(&mut request);
    let answer = async {
        let mut response = if has_host { next.run(request).await } else { transport::bad_host_response() };
        telemetry::end_request(&mut response);
        response
    };
    let mut response = answer.instrument(span).await;
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    for (name, value) in SECURITY {
        headers.entry(name).or_insert(value);
    }
    response
}

/// Returns a client's identifier if it is safe to log: short and plain.
fn acceptable(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    (plain && (1..=MAX_BYTES).contains(&text.len())).then(|| text.to_owned())
}
