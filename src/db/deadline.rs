use std::time::Duration;

use tokio::time::Instant;

use super::manager::PING_LIMIT;

/// Least time for each step, which may find a connection or a server that answers at once. Short, as an operation of many
/// fields takes it many times in an outage.
const LEAST: Duration = Duration::from_millis(500);

tokio::task_local! {
    static OPERATION: Deadline;
}

/// The time by which a call has to have got its connections, and by which what follows its first work has to end: a retry,
/// the position for replicas.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline of a call that begins now: `limit` from now, or earlier within an operation.
    pub(super) fn of_call(limit: Duration) -> Self {
        let own = Instant::now() + limit;
        Self(OPERATION.try_with(|operation| own.min(operation.0)).unwrap_or(own))
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

/// Runs an operation whose calls have to get their connections within one `DATABASE_CONNECT_TIMEOUT`, so that an outage is
/// waited for once. Tasks that it spawns have deadlines of their own.
pub async fn share_deadline<R>(connect_timeout: Duration, operation: impl Future<Output = R>) -> R {
    OPERATION.scope(Deadline(Instant::now() + connect_timeout + PING_LIMIT), operation).await
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn further_steps_share_what_is_left() {
        const SECOND: Duration = Duration::from_secs(1);
        let deadline = Deadline::of_call(SECOND * 18);
        advance(SECOND * 8).await;
        assert_eq!(deadline.cap(SECOND * 15), SECOND * 10);
        assert_eq!(deadline.cap(SECOND * 5), SECOND * 5);
        advance(SECOND * 20).await;
        assert_eq!(deadline.cap(SECOND * 15), LEAST);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_of_an_operation_share_its_deadline() {
        const SECOND: Duration = Duration::from_secs(1);
        let began = Instant::now();
        let operation = async {
            advance(SECOND * 5).await;
            assert_eq!(Deadline::of_call(SECOND * 18).at(), began + SECOND * 18);
            assert_eq!(Deadline::of_call(SECOND * 2).at(), began + SECOND * 7);
            advance(SECOND * 20).await;
            assert_eq!(Deadline::of_call(SECOND * 18).at(), began + SECOND * 25 + LEAST);
        };
        share_deadline(SECOND * 17, operation).await;
        assert_eq!(Deadline::of_call(SECOND * 18).at(), began + SECOND * 43);
    }
}
