//! The request that a task works for, as log lines and traces show it.

use std::sync::Arc;

use tokio::task::futures::TaskLocalFuture;
use tracing::instrument::Instrumented;
use tracing::{Instrument, Span};

/// Field of log lines.
pub(super) const REQUEST_ID_FIELD: &str = "request_id";

tokio::task_local! {
    // Not a field of a span: a span for each request costs more than its log line.
    static REQUEST_ID: Option<Arc<str>>;
}

/// Identifier and span of a request. Tasks do not inherit them: work that is handed to one takes them along by
/// [`current`](Self::current) and [`scope`](Self::scope).
#[derive(Clone)]
pub(crate) struct RequestContext {
    /// `None` outside of a request.
    id: Option<Arc<str>>,
    /// Disabled without traces.
    span: Span,
}

impl RequestContext {
    pub(super) fn new(id: Option<Arc<str>>, span: Span) -> Self {
        Self { id, span }
    }

    /// Returns the context of the running task.
    pub(crate) fn current() -> Self {
        Self { id: request_id(), span: Span::current() }
    }

    /// Runs a future in this context.
    pub(crate) fn scope<F: Future>(self, work: F) -> TaskLocalFuture<Option<Arc<str>>, Instrumented<F>> {
        REQUEST_ID.scope(self.id, work.instrument(self.span))
    }

    /// Runs a function in this context.
    pub(crate) fn scope_sync<R>(self, work: impl FnOnce() -> R) -> R {
        REQUEST_ID.sync_scope(self.id, || self.span.in_scope(work))
    }
}

/// Returns the identifier of the request that the running task works for.
pub(super) fn request_id() -> Option<Arc<str>> {
    REQUEST_ID.try_with(Clone::clone).ok().flatten()
}

#[cfg(test)]
mod tests {
    use tokio::task::{spawn, spawn_blocking};

    use super::*;

    #[tokio::test]
    async fn work_on_other_tasks_and_threads_keeps_the_request_if_it_takes_it_along() {
        let context = RequestContext::new(Some("a.1".into()), Span::none());
        let seen = context.scope(async {
            let current = RequestContext::current;
            let context = current();
            [
                spawn(current().scope(async { request_id() })).await.unwrap(),
                spawn_blocking(|| context.scope_sync(request_id)).await.unwrap(),
                spawn(async { request_id() }).await.unwrap(),
            ]
        });
        assert_eq!(seen.await, [Some("a.1".into()), Some("a.1".into()), None]);
        assert_eq!(request_id(), None);
    }
}
