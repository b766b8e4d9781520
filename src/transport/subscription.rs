use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_graphql::{Executor, Response, ServerError};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, CatchUnwind};

use super::Transport;
use super::errors::internal;
use super::observation::Observation;
use crate::graphql::{Caller, Operation};
use crate::metrics::{GaugeGuard, Metrics};

/// A subscription in progress over any transport; dropping it ends it.
pub(super) struct Subscription {
    responses: CatchUnwind<AssertUnwindSafe<BoxStream<'static, Response>>>,
    observation: Observation,
    _live: GaugeGuard,
}

impl Subscription {
    pub(super) fn start<E: Executor>(
        transport: &Transport<E>,
        operation: Operation,
        caller: Caller,
        observation: Observation,
    ) -> Self {
        let request_id = observation.request_id.clone();
        let responses = Arc::clone(&transport.engine).stream(operation, caller, request_id);
        Self::new(responses, observation, &transport.app.metrics)
    }

    pub(super) fn new(
        responses: BoxStream<'static, Response>,
        observation: Observation,
        metrics: &Metrics,
    ) -> Self {
        let responses = AssertUnwindSafe(responses).catch_unwind();
        Self { responses, observation, _live: GaugeGuard::new(&metrics.subscriptions) }
    }

    /// Returns the next response. A panic ends only this subscription, with an internal error.
    pub(super) async fn next(&mut self) -> Option<Response> {
        let panicked = |_| Response::from_errors(vec![internal(&self.observation.request_id)]);
        let response = self.responses.next().await?.unwrap_or_else(panicked);
        self.observation.record(&response);
        Some(response)
    }

    /// Ends the subscription with an error of the transport.
    pub(super) fn refuse(self, error: &ServerError) {
        self.observation.refuse(error);
    }
}
