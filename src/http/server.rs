use std::sync::Arc;

use async_graphql::Executor;
use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::connections::{accept_until_shutdown, drain};
use super::metrics::metrics;
use super::router::{middleware, router, starting};
use super::routes::Routes;
use crate::config::{Config, HttpSettings};
use crate::graphql::Engine;
use crate::state::AppState;

/// A listening server. Until its routes are opened it answers liveness checks, and refuses everything else.
pub struct Server {
    routes: Routes,
    tasks: TaskTracker,
    settings: HttpSettings,
    accepting: AbortOnDropHandle<()>,
}

impl Server {
    /// Accepts connections until `shutdown`.
    pub fn start(listener: TcpListener, config: &Config, shutdown: CancellationToken) -> Self {
        let routes = Routes::new(starting(), middleware(config));
        let tasks = TaskTracker::new();
        let settings = config.http.clone();
        let accepting =
            accept_until_shutdown(listener, routes.clone(), settings.clone(), tasks.clone(), shutdown);
        Self { routes, tasks, settings, accepting: AbortOnDropHandle::new(tokio::spawn(accepting)) }
    }

    /// Returns the tasks that [`finish`](Self::finish) waits for.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Opens the routes of the API.
    pub fn open_api<E: Executor>(
        &self,
        state: AppState,
        engine: Engine<E>,
        config: &Config,
        shutdown: CancellationToken,
    ) {
        self.routes.open(router(state, Arc::new(engine), config, self.tasks.clone(), shutdown));
    }

    /// Opens the route of metrics alone.
    pub fn open_metrics(&self, state: AppState) {
        self.routes.open(Router::new().route("/metrics", get(metrics)).with_state(state));
    }

    /// Waits for the shutdown, then for tasks and open connections within the time limit of the settings.
    pub async fn finish(self) {
        let _ = self.accepting.await;
        drain(&self.tasks, &self.settings).await;
    }
}
