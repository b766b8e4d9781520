use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use tokio::sync::SetOnce;
use tokio::time::{Instant, timeout_at};

use super::middleware::Middleware;
use crate::transport::Peer;

/// Time from the start in which requests wait for the service instead of being refused: an ordinary start fails no request,
/// nor does one that has to wake the database up, which takes Neon up to 15 seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// The routes of a server: those of its start until the others are known.
#[derive(Clone)]
pub(super) struct Routes(Arc<Inner>);

struct Inner {
    middleware: Middleware,
    starting: Router,
    opened: SetOnce<Router>,
    patient_until: Instant,
}

impl Routes {
    pub(super) fn new(starting: Router, middleware: Middleware) -> Self {
        let patient_until = Instant::now() + PATIENCE;
        Self(Arc::new(Inner { middleware, starting, opened: SetOnce::new(), patient_until }))
    }

    /// Serves all further requests, also those on open connections, by these routes.
    pub(super) fn open(&self, router: Router) {
        let _ = self.0.opened.set(router);
    }

    /// Answers a request. While the service starts, waits for its routes.
    pub(super) async fn respond(&self, request: Request, peer: Peer) -> Response {
        let Self(inner) = self;
        let router = match inner.opened.get() {
            Some(router) => router,
            None => Box::pin(inner.wait_for_start(request.uri().path())).await,
        };
        // Around the router and not a layer of each route, which would cost each request two boxed futures.
        inner.middleware.respond(router.clone(), request, peer).await
    }
}

impl Inner {
    async fn wait_for_start(&self, path: &str) -> &Router {
        if !path.starts_with("/health/") {
            let _ = timeout_at(self.patient_until, self.opened.wait()).await;
        }
        self.opened.get().unwrap_or(&self.starting)
    }
}
