use std::time::Duration;

/// Time limits of the server for a session. They are the last line of defence: the service has its own limits and cancels
/// statements that exceed them.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionLimits {
    work: Duration,
}

impl SessionLimits {
    /// Limits below that of a unit of work: a statement that takes too long is the server's to end, and its error is
    /// better than none.
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
            ("idle_in_transaction_session_timeout", self.work.as_millis()),
        ]
    }

    /// Returns the session's startup options.
    pub(super) fn options(self) -> String {
        self.settings().map(|(name, millis)| format!("-c {name}={millis}")).join(" ")
    }

    /// Returns the beginning of a transaction where the session can't have limits.
    pub(super) fn set_local(self) -> String {
        self.settings().map(|(name, millis)| format!("SET LOCAL {name} = {millis}")).join("; ")
    }
}
