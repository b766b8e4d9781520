use std::sync::Arc;
use std::time::Instant;

use async_graphql::parser::types::OperationType;
use async_graphql::{Executor, Response};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::protocol::{Protocol, complete_message};
use crate::auth::{Client, Requester};
use crate::graphql::{Caller, Operation, RefreshCookie, RequestId};
use crate::metrics::GaugeGuard;
use crate::telemetry;
use crate::transport::Transport;
use crate::transport::observation::Observation;
use crate::transport::subscription::Subscription;

/// An operation in progress; dropping it ends a subscription, while a write runs to completion.
///
/// Its number tells it from an earlier one with the same identifier, which the client may reuse as soon as it has completed
/// that.
pub(super) struct RunningOperation {
    number: u64,
    _in_progress: GaugeGuard,
    _task: AbortOnDropHandle<()>,
}

/// A message of an operation on its way to the client.
pub(super) struct OutgoingMessage {
    pub(super) id: String,
    pub(super) number: u64,
    pub(super) message: String,
    pub(super) is_last: bool,
}

/// Sends an operation's messages to its socket.
pub(super) struct ResultSender {
    pub(super) protocol: Protocol,
    pub(super) id: String,
    pub(super) number: u64,
    pub(super) sender: mpsc::Sender<Box<OutgoingMessage>>,
}

impl ResultSender {
    /// Sends a message; returns false if the socket is gone.
    async fn send(&self, message: String, is_last: bool) -> bool {
        let message = OutgoingMessage { id: self.id.clone(), number: self.number, message, is_last };
        self.sender.send(Box::new(message)).await.is_ok()
    }
}

/// Inputs of an operation besides its request.
pub(super) struct OperationContext<E> {
    pub(super) transport: Arc<Transport<E>>,
    pub(super) client: Arc<Client>,
    pub(super) request_id: RequestId,
    pub(super) requester: Requester,
    pub(super) results: ResultSender,
}

impl RunningOperation {
    /// Starts an operation on a task of its own.
    pub(super) fn start<E: Executor>(
        context: OperationContext<E>,
        operation: Operation,
        observation: Observation,
    ) -> Self {
        let OperationContext { transport, client, request_id, requester, results } = context;
        let browser_mode = transport.app.auth.settings().refresh_token_cookie.is_on();
        let cookie = if browser_mode { RefreshCookie::Unavailable } else { RefreshCookie::Off };
        let context = telemetry::begin_operation(Some(Arc::clone(&request_id.0)));
        let number = results.number;
        let in_progress = GaugeGuard::new(&transport.app.metrics.socket_operations);
        let observation = context.clone().scope_sync(|| observation.with_operation(&operation));
        let work = async move {
            // The session may have ended since the socket was opened.
            let requester = transport.app.auth.recheck_revocation(requester).await;
            let caller = Caller { requester, client, cookie };
            if operation.kind() == OperationType::Subscription {
                let subscription = Subscription::start(&transport, operation, caller, observation);
                forward(subscription, &results).await;
            } else {
                // Boxed: idle subscriptions, of which there are many, need no room for it.
                let run = Box::pin(run(&transport, operation, caller, observation));
                let (message, is_last) = results.protocol.result(&results.id, &run.await);
                results.send(message, is_last).await;
            }
            // Ignored by the socket after an error, which has ended the operation.
            results.send(complete_message(&results.id), true).await;
        };
        let task = AbortOnDropHandle::new(tokio::spawn(context.scope(work)));
        Self { number, _in_progress: in_progress, _task: task }
    }

    /// Returns true if a message with this number belongs to this operation.
    pub(super) fn has_number(&self, number: u64) -> bool {
        self.number == number
    }
}

/// Runs a query or mutation under the limits that it has over HTTP.
async fn run<E: Executor>(
    transport: &Transport<E>,
    operation: Operation,
    caller: Caller,
    observation: Observation,
) -> Response {
    let result = match transport.admit() {
        Ok(permit) => {
            let deadline = Instant::now() + transport.request_timeout;
            transport.run(operation, caller, observation, deadline, Arc::new(permit)).await
        }
        Err(error) => {
            observation.refuse(&error);
            return Response::from_errors(vec![error]);
        }
    };
    result.unwrap_or_else(|error| Response::from_errors(vec![error.into_error()]))
}

/// Forwards the results of a subscription.
async fn forward(mut subscription: Subscription, results: &ResultSender) {
    while let Some(response) = subscription.next().await {
        let (message, is_last) = results.protocol.result(&results.id, &response);
        if !results.send(message, is_last).await || is_last {
            return;
        }
    }
}
