//! Cross-origin resource sharing (<https://fetch.spec.whatwg.org/#http-cors-protocol>), and the log of refused origins.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, header};
use parking_lot::Mutex;
use tower_http::cors::{AllowCredentials, AllowHeaders, AllowOrigin, AllowPrivateNetwork, CorsLayer};

use super::middleware::{REQUEST_ID, TRACEPARENT};
use crate::config::{Config, origin};
use crate::transport::{AllowedOrigins, Trust};

/// Lets pages of the allowed origins call the service; in browser mode with cookies, if the setting names the origin.
pub(super) fn cors(config: &Config) -> CorsLayer {
    let origins = Arc::new(AllowedOrigins::new(config));
    let has_cookies = config.auth.refresh_token_cookie.is_on();
    let refused = RefusedOrigins::default();
    let allows_origin = {
        let origins = Arc::clone(&origins);
        move |origin: &HeaderValue, request: &Parts| {
            let is_allowed = origins.allows(origin);
            // Pages of this host need no permission.
            if !is_allowed && origins.trust(&request.headers) == Trust::Refused {
                refused.log(origin, origins.configured());
            }
            is_allowed
        }
    };
    let allows_credentials = {
        let origins = Arc::clone(&origins);
        move |_: &HeaderValue, request: &Parts| has_cookies && origins.trust(&request.headers) == Trust::Named
    };
    let allows_private_network = move |origin: &HeaderValue, _: &Parts| origins.allows(origin);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allows_origin))
        .allow_credentials(AllowCredentials::predicate(allows_credentials))
        // Chrome asks before a page of a public site calls a local address.
        .allow_private_network(AllowPrivateNetwork::predicate(allows_private_network))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([REQUEST_ID, TRACEPARENT, header::RETRY_AFTER, HeaderName::from_static("ratelimit")])
        .max_age(Duration::from_hours(1))
}

/// Origins whose refusal has been logged.
#[derive(Default)]
struct RefusedOrigins(Mutex<HashSet<HeaderValue>>);

impl RefusedOrigins {
    /// Limits on number and length of the origins that are kept: any client can send new ones.
    const MAX: usize = 32;
    const MAX_BYTES: usize = 300;

    /// Logs the first refusal of an origin, with the setting that would allow it.
    fn log(&self, refused: &HeaderValue, configured: &[HeaderValue]) {
        // Anything else was not sent by a browser, and may not be fit for a log. `*` is valid in the setting alone.
        let is_origin = |text: &str| {
            text.len() <= Self::MAX_BYTES && text != "*" && origin(text).is_ok_and(|own| own == text)
        };
        let Some(text) = refused.to_str().ok().filter(|text| is_origin(text)) else {
            return;
        };
        let is_new = {
            let mut logged = self.0.lock();
            logged.len() < Self::MAX && logged.insert(refused.clone())
        };
        if is_new {
            let known = configured.iter().filter_map(|origin| origin.to_str().ok());
            let setting = known.chain([text]).collect::<Vec<_>>().join(",");
            tracing::warn!(
                origin = text,
                "origin refused; to allow its pages, set CORS_ALLOWED_ORIGINS={setting}"
            );
        }
    }
}
