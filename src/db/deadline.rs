use std::time::Duration;

use tokio::time::Instant;

/// Least time for each step, which may find a connection or a server that answers at once.
const LEAST: Duration = Duration::from_secs(1);

/// The time by which a call has to have got its connections, and by which what follows its first work has to end: a retry,
/// the position for replicas.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn within(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// Returns the time by which a connection has to be there.
    pub(super) fn at(self) -> Instant {
        self.0.max(Instant::now() + LEAST)
    }

    /// Returns a limit for a further step.
    pub(super) fn cap(self, limit: Duration) -> Duration {
        limit.min(self.0.saturating_duration_since(Instant::now()).max(LEAST))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn further_steps_share_what_is_left() {
        const SECOND: Duration = Duration::from_secs(1);
        let deadline = Deadline::within(SECOND * 18);
        advance(SECOND * 8).await;
        assert_eq!(deadline.cap(SECOND * 15), SECOND * 10);
        assert_eq!(deadline.cap(SECOND * 5), SECOND * 5);
        advance(SECOND * 20).await;
        assert_eq!(deadline.cap(SECOND * 15), LEAST);
    }
}
