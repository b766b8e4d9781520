use std::time::Duration;

/// Time after which the server ends a session that is idle inside a transaction. Between statements the service only
/// computes, so such a session has lost its client, and its locks hold up the retries of others.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(5);

/// Time limits of the server for a session. They are the last line of defence: the service has its own limits and cancels
/// statements that exceed them.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionLimits {
    work: Duration,
}

impl SessionLimits {
    /// Creates limits below `work`, so that the server ends a slow statement first and the caller gets its error.
    pub(super) fn within(work: Duration) -> Self {
        Self { work }
    }

    fn statement(self) -> Duration {
        self.work.mul_f64(0.8)
    }

    fn settings(self) -> [(&'static str, u128); 3] {
        [
            ("statement_timeout", self.statement().as_millis()),
            ("lock_timeout", (self.statement() / 2).as_millis()),
            ("idle_in_transaction_session_timeout", self.work.min(IDLE_IN_TRANSACTION).as_millis()),
        ]
    }

    /// Returns the session's startup options.
    pub(super) fn options(self) -> String {
        self.settings().map(|(name, millis)| format!("-c {name}={millis}")).join(" ")
    }

    /// Returns `SET LOCAL` statements for a transaction, where a pooler drops the startup options.
    pub(super) fn set_local(self) -> String {
        self.settings().map(|(name, millis)| format!("SET LOCAL {name} = {millis}")).join("; ")
    }
}
