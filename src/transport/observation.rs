use std::time::{Duration, Instant};

use async_graphql::parser::types::OperationType;
use async_graphql::{Name, Response, ServerError};
use uuid::Uuid;

use super::errors::code;
use crate::auth::Requester;
use crate::graphql::ErrorCode;
use crate::graphql::{GraphqlRequest, InvalidRequest, Operation, RequestId};
use crate::metrics::{EndedOperation, Metrics, OperationKind};
use crate::telemetry;

/// Longest logged operation name, in bytes; names are ASCII.
const MAX_LOGGED_NAME: usize = 64;

/// Code of a query whose client disconnected; only in metrics and the log.
const CANCELLED: &str = "CANCELLED";

/// Observation of one operation over any transport: counted and logged once, on drop.
pub(super) struct Observation {
    pub(super) request_id: RequestId,
    metrics: Metrics,
    slow: Duration,
    started: Instant,
    user_id: Option<Uuid>,
    name: Option<Name>,
    kind: OperationKind,
    /// True if the document is valid, so that its operation name is bounded by the client's real operations.
    valid: bool,
    code: Option<ErrorCode>,
    /// True while the operation is executed: a drop then means cancellation or a panic.
    is_unfinished: bool,
}

impl Observation {
    pub(super) fn new(request_id: RequestId, metrics: Metrics, slow: Duration, started: Instant) -> Self {
        Self {
            request_id,
            metrics,
            slow,
            started,
            user_id: None,
            name: None,
            kind: OperationKind::Unknown,
            valid: false,
            code: None,
            is_unfinished: false,
        }
    }

    /// Sets the requester.
    #[must_use]
    pub(super) fn with_requester(mut self, requester: Requester) -> Self {
        if let Requester::User { identity, .. } = requester {
            self.user_id = Some(identity.user_id);
        }
        self
    }

    /// Sets the operation name from an unverified request; ignores one that is not a plain identifier.
    #[must_use]
    pub(super) fn with_request(mut self, request: &GraphqlRequest) -> Self {
        let plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        self.name = request.operation_name.as_deref().filter(plain).map(Name::new);
        self
    }

    /// Sets name and kind from a valid document, and names the span.
    #[must_use]
    pub(super) fn with_operation(mut self, operation: &Operation) -> Self {
        self.name = operation.name().cloned();
        self.kind = operation.kind().into();
        self.valid = true;
        telemetry::name_operation(self.name.as_deref(), self.kind);
        self
    }

    /// Ends the observation with an error of the request as a whole.
    pub(super) fn refuse(mut self, error: &ServerError) {
        self.is_unfinished = false;
        self.code = Some(code(error));
    }

    /// Sets the kind of an operation that is not executed.
    #[must_use]
    pub(super) fn with_kind(mut self, kind: Option<OperationType>) -> Self {
        self.kind = kind.map_or(OperationKind::Unknown, OperationKind::from);
        self
    }

    /// Ends the observation of an invalid request with its first error.
    pub(super) fn refuse_invalid(self, request: &InvalidRequest) {
        self.with_kind(request.kind).code = request.errors.first().map(code);
    }

    /// Ends the observation with the response.
    pub(super) fn end_with(mut self, response: &Response) {
        self.is_unfinished = false;
        self.record(response);
    }

    /// Marks the execution as begun: if it is dropped without a response, it was cancelled or has panicked.
    pub(super) fn begin(&mut self) {
        self.is_unfinished = true;
    }

    /// Records a response; the first error of all counts.
    pub(super) fn record(&mut self, response: &Response) {
        self.code = self.code.or_else(|| response.errors.first().map(code));
    }

    /// Returns the code for metrics and the log; `None` for success.
    fn outcome(&self) -> Option<&'static str> {
        match self.code {
            None if self.is_unfinished && !std::thread::panicking() => Some(CANCELLED),
            None if self.is_unfinished => Some(ErrorCode::InternalServerError.as_str()),
            code => code.map(ErrorCode::as_str),
        }
    }

    fn log(&self, took: Duration) {
        let name = self.name.as_ref().map(|name| name.get(..MAX_LOGGED_NAME).unwrap_or(name));
        let kind = self.kind.as_str();
        let code = self.outcome().unwrap_or("OK");
        let request_id = &*self.request_id.0;
        let mut buffer = Uuid::encode_buffer();
        let user_id = self.user_id.map(|id| &*id.hyphenated().encode_lower(&mut buffer));
        let duration_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        // The client decides how long a subscription lasts.
        if took >= self.slow && self.kind != OperationKind::Subscription {
            tracing::warn!(
                target: TARGET,
                operation = name, kind, code, duration_ms, user_id, request_id, slow = true,
            );
        } else {
            tracing::info!(target: TARGET, operation = name, kind, code, duration_ms, user_id, request_id);
        }
    }
}

/// Log target of the one line per operation.
const TARGET: &str = "todo_api::operation";

impl Drop for Observation {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.metrics.operations.record(&EndedOperation {
            name: self.name.as_deref(),
            kind: self.kind,
            code: self.outcome(),
            valid: self.valid,
            took,
        });
        self.log(took);
    }
}
