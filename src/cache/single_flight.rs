use std::hash::Hash;
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::db;

/// Span within which callers share one read. A later caller would learn a value that may be too old by then.
pub(super) const WINDOW: Duration = Duration::from_millis(150);
/// Expected reads in progress; `quick_cache` sizes its tables by it.
const EXPECTED: usize = 256;

/// Reads in progress in this process: the first caller for a key reads, the others wait for its outcome.
///
/// Errors are shared, too: callers that retried one after the other would add up their timeouts.
pub(super) struct SingleFlight<K, T> {
    /// Keyed by window, too. An outcome is removed as soon as the waiting callers have it.
    reads: Cache<(K, u128), Result<T, String>>,
    origin: Instant,
}

impl<K: Copy + Eq + Hash, T: Clone> SingleFlight<K, T> {
    pub(super) fn new() -> Self {
        Self { reads: Cache::new(EXPECTED), origin: Instant::now() }
    }

    /// Reads, or waits for the caller that does. If that one is cancelled, a waiting caller takes over.
    pub(super) async fn run(
        &self,
        key: K,
        read: impl AsyncFnOnce() -> Result<T, db::Error>,
    ) -> Result<T, db::Error> {
        let key = (key, self.window());
        let guard = match self.reads.get_value_or_guard_async(&key).await {
            Ok(result) => return result.map_err(db::Error::Unavailable),
            Err(guard) => guard,
        };
        let result = read().await;
        // Fails if the read was detached; the waiting callers have their outcome nevertheless.
        let _ = guard.insert(result.as_ref().map(T::clone).map_err(ToString::to_string));
        self.reads.remove(&key);
        result
    }

    /// Keeps later callers from joining a read that has already begun.
    pub(super) fn detach(&self, key: K) {
        self.reads.remove(&(key, self.window()));
    }

    fn window(&self) -> u128 {
        self.origin.elapsed().as_millis() / WINDOW.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::join;
    use tokio::time::{sleep, timeout};

    use super::*;

    /// Reads a number that grows with each read, which takes a while.
    struct Reader {
        flights: SingleFlight<u8, u32>,
        reads: Cell<u32>,
    }

    impl Reader {
        fn new() -> Self {
            Self { flights: SingleFlight::new(), reads: Cell::new(0) }
        }

        async fn read(&self, duration: Duration) -> u32 {
            let read = async || {
                self.reads.set(self.reads.get() + 1);
                let number = self.reads.get();
                sleep(duration).await;
                Ok(number)
            };
            self.flights.run(1, read).await.unwrap()
        }
    }

    const SHORT: Duration = Duration::from_millis(10);
    const LONG: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn callers_within_a_window_share_one_read() {
        let reader = Reader::new();
        let late = async {
            sleep(WINDOW.saturating_sub(SHORT)).await;
            reader.read(LONG).await
        };
        assert_eq!(join!(reader.read(LONG), reader.read(LONG), late), (1, 1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_in_a_later_window_reads_for_itself() {
        let reader = Reader::new();
        let late = async {
            sleep(WINDOW).await;
            reader.read(SHORT).await
        };
        assert_eq!(join!(reader.read(LONG), late), (1, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outcome_is_not_kept_for_callers_that_come_after_the_read() {
        let reader = Reader::new();
        assert_eq!(reader.read(SHORT).await, 1);
        assert_eq!(reader.read(SHORT).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_detached_read_is_not_joined_and_still_answers_its_waiting_callers() {
        let reader = Reader::new();
        let late = async {
            sleep(SHORT).await;
            reader.flights.detach(1);
            reader.read(LONG).await
        };
        assert_eq!(join!(reader.read(LONG), reader.read(LONG), late), (1, 1, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_caller_takes_over_from_one_that_is_cancelled() {
        let reader = Reader::new();
        let cancelled = timeout(SHORT, reader.read(LONG));
        assert_eq!(join!(cancelled, reader.read(SHORT), reader.read(SHORT)).1, 2);
        assert_eq!(reader.reads.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_shared() {
        let flights: SingleFlight<u8, u32> = SingleFlight::new();
        let fail = async || {
            sleep(SHORT).await;
            Err(db::Error::Unavailable("asleep".into()))
        };
        let outcomes = join!(flights.run(1, fail), flights.run(1, async || Ok(1)));
        assert!(outcomes.0.is_err_and(|error| error.is_outage()));
        assert!(outcomes.1.is_err_and(|error| error.is_outage()));
    }
}
