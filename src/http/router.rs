use std::sync::Arc;
use std::time::Duration;

use async_graphql::Executor;
use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{any, get};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cors::cors;
use super::middleware::Middleware;
use super::{graphiql, health, index, jwks, metrics};
use crate::config::Config;
use crate::graphql::Engine;
use crate::state::AppState;
use crate::transport::{self, Transport};

/// Delay of the outer timeout behind the inner one.
const GRACE: Duration = Duration::from_secs(1);

/// Builds all routes.
pub(super) fn router<E: Executor>(
    state: AppState,
    engine: Arc<Engine<E>>,
    config: &Config,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) -> Router {
    let graphql = Arc::new(Transport::new(state.clone(), engine, config, tasks, shutdown));
    let has_ide = config.graphiql();
    let mut graphql_get = get(transport::handle_get::<E>);
    if has_ide {
        graphql_get = graphql_get.layer(from_fn(index::redirect_to_ide));
    }
    let mut router = Router::new()
        .route("/graphql", graphql_get.post(transport::handle::<E>))
        .route("/graphql/ws", any(transport::upgrade::<E>))
        .with_state(graphql)
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/.well-known/jwks.json", get(jwks::jwks))
        .with_state(state.clone());
    if config.metrics.beside_api() {
        router = router.merge(Router::new().route("/metrics", get(metrics::metrics)).with_state(state));
    }
    if has_ide {
        router = router
            .route("/", get(index::index_with_ide))
            .route("/graphiql", get(graphiql::page))
            .route("/graphiql/{file}", get(graphiql::file));
    } else {
        router = router.route("/", get(index::index));
    }
    router
}

/// Builds the routes of a start: alive, not ready, and nothing else yet.
pub(super) fn starting() -> Router {
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::starting))
        .fallback(transport::refuse_at_start)
}

/// Builds the middleware of all routes.
pub(super) fn middleware(config: &Config) -> Middleware {
    Middleware::new(cors(config), config.http.request_timeout + GRACE)
}
