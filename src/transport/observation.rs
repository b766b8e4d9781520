use std::time::{Duration, Instant};

use async_graphql::parser::types::OperationType;
use async_graphql::{Name, Response, ServerError, Value};
use tracing::field::display;
use uuid::Uuid;

use crate::auth::Requester;
use crate::error::ErrorCode;
use crate::graphql::{GraphqlRequest, InvalidRequest, Operation, RequestId};
use crate::metrics::{EndedOperation, Metrics, OperationKind};
use crate::telemetry;

/// How much of a name is logged, in bytes; it is ASCII.
const LOGGED_NAME: usize = 64;

/// A GraphQL operation as it is counted and logged, by whatever way it came: once, when this is dropped.
pub(super) struct Observation {
    pub(super) request_id: RequestId,
    metrics: Metrics,
    slow: Duration,
    started: Instant,
    user_id: Option<Uuid>,
    name: Option<Name>,
    kind: OperationKind,
    /// True if the document is valid, so that its names can be trusted.
    valid: bool,
    code: Option<ErrorCode>,
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
        }
    }

    /// Says who asks.
    #[must_use]
    pub(super) fn by(mut self, requester: Requester) -> Self {
        if let Requester::User { identity, .. } = requester {
            self.user_id = Some(identity.user_id);
        }
        self
    }

    /// Says what is asked for, by the name in the request, which may be anything.
    #[must_use]
    pub(super) fn of(mut self, request: &GraphqlRequest) -> Self {
        let plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        self.name = request.operation_name.as_deref().filter(plain).map(Name::new);
        self
    }

    /// Says what is asked for, by the document; the span learns it, too.
    #[must_use]
    pub(super) fn is(mut self, operation: &Operation) -> Self {
        self.name = operation.name().cloned();
        self.kind = operation.kind().into();
        self.valid = true;
        telemetry::name_operation(self.name.as_deref(), self.kind);
        self
    }

    /// Ends it with a refusal.
    pub(super) fn refused(mut self, error: &ServerError) {
        self.code = Some(code(error));
    }

    /// Sets the kind of an operation that is not executed.
    #[must_use]
    pub(super) fn of_kind(mut self, kind: Option<OperationType>) -> Self {
        self.kind = kind.map_or(OperationKind::Unknown, OperationKind::from);
        self
    }

    /// Ends it for a request that cannot be executed; its first error counts.
    pub(super) fn invalid(self, request: &InvalidRequest) {
        self.of_kind(request.kind).code = request.errors.first().map(code);
    }

    /// Ends it with its answer.
    pub(super) fn answered(mut self, response: &Response) {
        self.code = None;
        self.saw(response);
    }

    /// Says that an answer is being made: if there is none in the end, something has panicked.
    pub(super) fn begin(&mut self) {
        self.code = Some(ErrorCode::InternalServerError);
    }

    /// Takes note of a result; the first error counts.
    pub(super) fn saw(&mut self, response: &Response) {
        self.code = self.code.or_else(|| response.errors.first().map(code));
    }

    fn log(&self, took: Duration) {
        let name = self.name.as_ref().map(|name| name.get(..LOGGED_NAME).unwrap_or(name));
        let (kind, code) = (self.kind.as_str(), self.code.map_or("OK", ErrorCode::as_str));
        let (request_id, user_id) = (self.request_id.0.as_str(), self.user_id.map(display));
        let duration_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        // How long a subscription lasts is for its client to say.
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

/// Of the lines that are logged, one for each operation.
const TARGET: &str = "todo_api::operation";

impl Drop for Observation {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.metrics.request(&EndedOperation {
            name: self.name.as_deref(),
            kind: self.kind,
            code: self.code,
            valid: self.valid,
            took,
        });
        self.log(took);
    }
}

/// The code that every error of ours carries.
fn code(error: &ServerError) -> ErrorCode {
    let code = error.extensions.as_ref().and_then(|extensions| extensions.get("code"));
    match code {
        Some(Value::String(code)) => ErrorCode::parse(code),
        _ => ErrorCode::InternalServerError,
    }
}
