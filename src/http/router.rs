use std::sync::Arc;
use std::time::Duration;

use async_graphql::Executor;
use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware;
use axum::response::Redirect;
use axum::routing::{any, get};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::timeout::TimeoutLayer;

use super::{graphiql, headers, health, jwks, metrics};
use crate::config::Config;
use crate::graphql::Engine;
use crate::state::AppState;
use crate::transport::{self, Transport};

/// Delay of the outer timeout behind the inner one.
const GRACE: Duration = Duration::from_secs(1);

/// Builds all routes with their middleware.
pub(super) fn router<E: Executor>(
    state: AppState,
    engine: Arc<Engine<E>>,
    config: &Config,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) -> Router {
    let graphql = Arc::new(Transport::new(state.clone(), engine, config, tasks, shutdown));
    let mut router = Router::new()
        .route("/graphql", get(transport::handle::<E>).post(transport::handle::<E>))
        .route("/graphql/ws", any(transport::upgrade::<E>))
        .with_state(graphql)
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/.well-known/jwks.json", get(jwks::jwks))
        .with_state(state.clone());
    if config.metrics.beside_api() {
        router = router.merge(Router::new().route("/metrics", get(metrics::metrics)).with_state(state));
    }
    if config.graphiql() {
        router = router
            .route("/", get(|| async { Redirect::temporary("/graphiql") }))
            .route("/graphiql", get(graphiql::page))
            .route("/graphiql/{file}", get(graphiql::file));
    }
    with_middleware(router, config)
}

/// Builds the routes of a start: alive, not ready, and nothing else yet.
pub(super) fn starting(config: &Config) -> Router {
    let router = Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::starting))
        .fallback(transport::refuse_at_start);
    with_middleware(router, config)
}

fn with_middleware(router: Router, config: &Config) -> Router {
    // Outermost first. One layer for all: each separate layer costs every request a boxed future.
    let middleware = ServiceBuilder::new()
        .layer(middleware::from_fn(headers::add_headers))
        .layer(cors(config))
        // Safety net: /graphql enforces the same limit itself, with a GraphQL error.
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            config.http.request_timeout + GRACE,
        ))
        .layer(CatchPanicLayer::custom(transport::panic_response))
        .layer(CompressionLayer::new());
    router.layer(middleware)
}

/// Allows pages of the configured origins to call the service; none by default.
fn cors(config: &Config) -> CorsLayer {
    let origins: &[HeaderValue] = &config.http.cors_allowed_origins;
    let any = origins.iter().any(|origin| origin == "*");
    // Browsers send cookies only to a response that names the origin.
    let credentials = config.auth.refresh_token_cookie.is_on() && !any;
    let origins = if any { AllowOrigin::any() } else { AllowOrigin::list(origins.iter().cloned()) };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_credentials(credentials)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("apollo-require-preflight"),
            HeaderName::from_static("apollographql-client-name"),
            HeaderName::from_static("apollographql-client-version"),
            HeaderName::from_static("x-apollo-operation-name"),
            headers::REQUEST_ID,
            headers::TRACEPARENT,
            HeaderName::from_static("tracestate"),
        ])
        .expose_headers([headers::REQUEST_ID, headers::TRACEPARENT, header::RETRY_AFTER])
        .max_age(Duration::from_hours(1))
}
