use std::sync::Arc;
use std::time::Duration;

use async_graphql::Executor;
use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware;
use axum::response::Redirect;
use axum::routing::{any, get};
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::timeout::TimeoutLayer;

use super::{Shutdown, graphiql, headers, health, jwks, metrics};
use crate::config::Config;
use crate::graphql::Engine;
use crate::state::AppState;
use crate::transport::{http, websocket};

/// How much later the outer time limit strikes than the inner one.
const GRACE: Duration = Duration::from_secs(1);

/// All routes with their middleware.
pub(super) fn router<E: Executor>(
    state: AppState,
    engine: Arc<Engine<E>>,
    config: &Config,
    tasks: TaskTracker,
    shutdown: Shutdown,
) -> Router {
    let transport = Arc::new(http::GraphqlState::new(state.clone(), engine, config, tasks, shutdown));
    let mut router = Router::new()
        .route("/graphql", get(http::handle::<E>).post(http::handle::<E>))
        .route("/graphql/ws", any(websocket::upgrade::<E>))
        .with_state(transport)
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
    // From the outside in. As one layer: each one of its own costs every request an allocation and more.
    let middleware = ServiceBuilder::new()
        .layer(middleware::from_fn(headers::complete))
        .layer(cors(config))
        // The last resort; /graphql has the same limit and answers it in GraphQL's form.
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            config.http.request_timeout + GRACE,
        ))
        .layer(CatchPanicLayer::custom(http::panicked))
        .layer(CompressionLayer::new());
    router.layer(middleware)
}

/// Pages of these origins may call the service; the default is none.
fn cors(config: &Config) -> CorsLayer {
    let origins: &[HeaderValue] = &config.http.cors_allowed_origins;
    let any = origins.iter().any(|origin| origin == "*");
    // Browsers send cookies along only where a page's origin is named.
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
