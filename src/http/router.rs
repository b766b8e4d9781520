use std::sync::Arc;
use std::time::Duration;

use async_graphql::Executor;
use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware;
use axum::response::Redirect;
use axum::routing::{any, get};
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use super::graphql::GraphqlState;
use super::{Shutdown, graphiql, graphql, health, request_id, websocket};
use crate::config::Config;
use crate::graphql::Engine;
use crate::state::AppState;

/// How much later the outer time limit strikes than the inner one.
const GRACE: Duration = Duration::from_secs(1);

/// Headers of every answer that does not bring its own: nothing is to be guessed, framed or told to others.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 5] = [
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

/// All routes with their middleware.
pub(super) fn router<E: Executor>(
    state: AppState,
    engine: Arc<Engine<E>>,
    config: &Config,
    tasks: TaskTracker,
    shutdown: Shutdown,
) -> Router {
    let transport = Arc::new(GraphqlState::new(state.clone(), engine, config, tasks, shutdown));
    let mut router = Router::new()
        .route("/graphql", get(graphql::handle::<E>).post(graphql::handle::<E>))
        .route("/graphql/ws", any(websocket::upgrade::<E>))
        .with_state(transport)
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .with_state(state);
    if config.graphiql() {
        router = router
            .route("/", get(|| async { Redirect::temporary("/graphiql") }))
            .route("/graphiql", get(graphiql::page))
            .route("/graphiql/{file}", get(graphiql::file));
    }
    for (name, value) in SECURITY_HEADERS {
        router = router.layer(SetResponseHeaderLayer::if_not_present(name, value));
    }
    router
        // From the inside out: what comes later sees the request earlier.
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::custom(graphql::panicked))
        // The last resort; /graphql has the same limit and answers it in GraphQL's form.
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            config.http.request_timeout + GRACE,
        ))
        .layer(cors(&config.http.cors_allowed_origins))
        .layer(middleware::from_fn(request_id::identify))
}

/// Pages of these origins may call the service; the default is none.
fn cors(origins: &[HeaderValue]) -> CorsLayer {
    let any = origins.iter().any(|origin| origin == "*");
    let origins = if any { AllowOrigin::any() } else { AllowOrigin::list(origins.iter().cloned()) };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("apollo-require-preflight"),
            HeaderName::from_static("x-apollo-operation-name"),
            request_id::HEADER,
        ])
        .expose_headers([request_id::HEADER, header::RETRY_AFTER])
        .max_age(Duration::from_hours(1))
}
