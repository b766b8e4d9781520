use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_graphql::parser::types::OperationType;
use async_graphql::{Executor, Response, ServerError};
use axum::http::HeaderMap;
use futures_util::FutureExt;
use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{Peer, client};
use super::errors::{internal, overloaded, timed_out};
use super::observation::Observation;
use super::origin::AllowedOrigins;
use super::sockets::Sockets;
use crate::auth::Client;
use crate::config::{Config, SocketSettings};
use crate::graphql::{Caller, Engine, Operation, RequestId};
use crate::state::AppState;
use crate::telemetry::RequestContext;

/// State shared by GraphQL over HTTP and WebSocket.
pub(crate) struct Transport<E> {
    pub(super) app: AppState,
    pub(super) engine: Arc<Engine<E>>,
    /// Operations and sockets in progress, which a shutdown waits for.
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
    pub(super) sockets: Arc<Sockets>,
    pub(super) socket_settings: SocketSettings,
    pub(super) allowed_origins: AllowedOrigins,
    trusted_proxies: Vec<IpNet>,
    /// Bounds the requests in progress.
    permits: Arc<Semaphore>,
    pub(super) body_timeout: Duration,
    pub(super) request_timeout: Duration,
    /// Duration from which an operation is logged as slow.
    slow: Duration,
}

/// Failure of an operation outside of GraphQL's execution.
pub(super) enum RunError {
    /// The time limit passed.
    TimedOut(ServerError),
    /// The operation panicked.
    Panicked(ServerError),
}

impl RunError {
    pub(super) fn into_error(self) -> ServerError {
        match self {
            Self::TimedOut(error) | Self::Panicked(error) => error,
        }
    }
}

impl<E: Executor> Transport<E> {
    pub(crate) fn new(
        app: AppState,
        engine: Arc<Engine<E>>,
        config: &Config,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let socket_settings = config.sockets;
        Self {
            app,
            tasks,
            shutdown,
            sockets: Sockets::new(socket_settings.max_sockets, socket_settings.max_sockets_per_user),
            socket_settings,
            allowed_origins: AllowedOrigins::new(config),
            trusted_proxies: config.http.trusted_proxies.clone(),
            permits: Arc::new(Semaphore::new(engine.limits().max_concurrent_requests)),
            engine,
            body_timeout: config.http.read_timeout,
            request_timeout: config.http.request_timeout,
            slow: config.log.slow_operation,
        }
    }

    /// Begins the observation of a request.
    pub(super) fn observe(&self, started: Instant, request_id: &RequestId) -> Observation {
        Observation::new(request_id.clone(), self.app.metrics.clone(), self.slow, started)
    }

    /// Determines the client of a request, behind trusted proxies.
    pub(super) fn client(&self, headers: &HeaderMap, peer: Peer, request_id: &RequestId) -> Client {
        client(headers, peer, &self.trusted_proxies, request_id)
    }

    /// Takes a permit for a request, or fails at once if too many are in progress.
    pub(super) fn admit(&self) -> Result<OwnedSemaphorePermit, ServerError> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        permit.map_err(|_| overloaded(self.engine.limits().max_concurrent_requests))
    }

    /// Runs an operation until the deadline.
    ///
    /// A query runs on the task of its request, and is cancelled if the client disconnects. A mutation runs on a task of its
    /// own, so that a disconnect does not cut a write in half. A panic ends only its own request.
    pub(super) async fn run(
        &self,
        operation: Operation,
        caller: Caller,
        mut observation: Observation,
        deadline: Instant,
        permit: Arc<OwnedSemaphorePermit>,
    ) -> Result<Response, RunError> {
        let engine = Arc::clone(&self.engine);
        let request_id = observation.request_id.clone();
        let is_read = operation.kind() == OperationType::Query;
        let work = async move {
            let _permit = permit;
            observation.begin();
            // A timeout drops the execution, which rolls an open transaction back.
            let executed = {
                let execution = pin!(engine.execute(operation, caller, &observation.request_id));
                timeout_at(deadline.into(), execution).await
            };
            if let Ok(response) = executed {
                observation.end_with(&response);
                Ok(response)
            } else {
                let error = timed_out();
                observation.refuse(&error);
                Err(RunError::TimedOut(error))
            }
        };
        let done = if is_read {
            AssertUnwindSafe(pin!(work)).catch_unwind().await.ok()
        } else {
            self.tasks.spawn(RequestContext::current().scope(work)).await.ok()
        };
        done.unwrap_or_else(|| Err(RunError::Panicked(internal(&request_id))))
    }
}
