use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware;
use axum::response::Redirect;
use axum::routing::{get, post};
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::timeout::TimeoutLayer;

use super::graphql::GraphqlState;
use super::{graphiql, graphql, health, request_id};
use crate::config::HttpSettings;
use crate::state::AppState;

/// How much later the outer time limit strikes than the inner one.
const GRACE: Duration = Duration::from_secs(1);

/// All routes with their middleware.
pub(super) fn router(state: AppState, settings: &HttpSettings, operations: TaskTracker) -> Router {
    let graphql = GraphqlState::new(state.clone(), settings, operations);
    Router::new()
        .route("/graphql", post(graphql::post))
        .with_state(graphql)
        .route("/", get(|| async { Redirect::temporary("/graphiql") }))
        .route("/graphiql", get(graphiql::page))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .with_state(state)
        // From the inside out: what comes later sees the request earlier.
        .layer(CatchPanicLayer::custom(graphql::panicked))
        // The last resort; /graphql has the same limit and answers it in GraphQL's form.
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, settings.request_timeout + GRACE))
        .layer(cors(&settings.cors_allowed_origins))
        .layer(middleware::from_fn(request_id::identify))
}

/// Pages of these origins may call the service; the default is none.
fn cors(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("apollo-require-preflight"),
            request_id::HEADER,
        ])
        .expose_headers([request_id::HEADER, header::RETRY_AFTER])
        .max_age(Duration::from_hours(1))
}
