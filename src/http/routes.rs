use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use futures_util::future::{BoxFuture, Either};
use tokio::sync::SetOnce;
use tokio::time::{Instant, timeout_at};
use tower::Service;

use super::lingering::WatchedBody;

/// Time from the start in which requests wait for the service instead of being refused: an ordinary start fails no request,
/// nor does one that has to wake the database up, which takes Neon up to 15 seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// The routes of a server: those of its start until the others are known.
#[derive(Clone)]
pub(super) struct Routes(Arc<Inner>);

struct Inner {
    starting: Router,
    opened: SetOnce<Router>,
    patient_until: Instant,
}

impl Routes {
    pub(super) fn new(starting: Router) -> Self {
        let patient_until = Instant::now() + PATIENCE;
        Self(Arc::new(Inner { starting, opened: SetOnce::new(), patient_until }))
    }

    /// Serves all further requests, also those on open connections, by these routes.
    pub(super) fn open(&self, router: Router) {
        let _ = self.0.opened.set(router);
    }

    async fn call_at_start(self, request: Request<WatchedBody>) -> Result<Response, Infallible> {
        let Inner { starting, opened, patient_until } = &*self.0;
        if !request.uri().path().starts_with("/health/") {
            let _ = timeout_at(*patient_until, opened.wait()).await;
        }
        let mut router = opened.get().unwrap_or(starting).clone();
        router.call(request).await
    }
}

impl Service<Request<WatchedBody>> for Routes {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<RouteFuture<Infallible>, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<WatchedBody>) -> Self::Future {
        match self.0.opened.get() {
            Some(router) => Either::Left(router.clone().call(request)),
            None => Either::Right(Box::pin(self.clone().call_at_start(request))),
        }
    }
}
