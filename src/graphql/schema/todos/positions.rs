use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use uuid::Uuid;

/// Positions that subscribers of this process have reached, by user and number of the last event.
pub(super) struct Positions<T>(Arc<Mutex<Registry<T>>>);

type Registry<T> = HashMap<(Uuid, i64), Weak<Position<T>>>;

/// A position in a user's events, shared by all subscribers that have reached it.
///
/// Single-flight: the first subscriber to advance reads what follows, and the others share it. Kept until the last of them has
/// advanced, so that a change is read once for any number of subscribers.
pub(super) struct Position<T> {
    key: (Uuid, i64),
    next: OnceCell<T>,
    registry: Arc<Mutex<Registry<T>>>,
}

impl<T> Default for Positions<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Positions<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Positions<T> {
    /// Returns the position that the subscribers of a user share after they have read the event `number`.
    pub(super) fn join(&self, user_id: Uuid, number: i64) -> Arc<Position<T>> {
        let key = (user_id, number);
        let mut registry = self.0.lock();
        if let Some(position) = registry.get(&key).and_then(Weak::upgrade) {
            return position;
        }
        let position = Arc::new(Position { key, next: OnceCell::new(), registry: Arc::clone(&self.0) });
        registry.insert(key, Arc::downgrade(&position));
        position
    }
}

impl<T: Clone> Position<T> {
    /// Returns the number of the last event before it.
    pub(super) fn number(&self) -> i64 {
        self.key.1
    }

    /// Returns what follows; the first caller reads it. Cancel-safe: if that one is cancelled or fails, the next one reads.
    pub(super) async fn next<E, F>(&self, read: impl FnOnce() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.next.get_or_try_init(read).await.cloned()
    }
}

impl<T> Drop for Position<T> {
    fn drop(&mut self) {
        let mut registry = self.registry.lock();
        // Not if a subscriber that joined meanwhile has replaced the entry.
        if registry.get(&self.key).is_some_and(|position| position.strong_count() == 0) {
            registry.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::join;
    use tokio::task::yield_now;
    use tokio::time::{Duration, timeout};

    use super::*;

    type Read = Result<u32, &'static str>;

    async fn read(value: u32) -> Read {
        yield_now().await;
        Ok(value)
    }

    async fn unexpected_read() -> Read {
        unreachable!("another subscriber has read")
    }

    #[tokio::test]
    async fn subscribers_at_a_position_share_one_read() {
        let positions = Positions::default();
        let ada = Uuid::new_v4();
        let [one, other, late] = std::array::from_fn(|_| positions.join(ada, 7));
        let both = join!(one.next(|| read(1)), other.next(unexpected_read));
        assert_eq!(both, (Ok(1), Ok(1)));
        assert_eq!(late.next(unexpected_read).await, Ok(1));
    }

    #[tokio::test]
    async fn positions_of_other_users_and_numbers_are_read_separately() {
        let positions = Positions::default();
        let ada = Uuid::new_v4();
        let joined =
            [(ada, 7), (ada, 8), (Uuid::new_v4(), 7)].map(|(user, number)| positions.join(user, number));
        for (position, value) in joined.iter().zip(0..) {
            assert_eq!(position.next(|| read(value)).await, Ok(value));
        }
    }

    #[tokio::test]
    async fn a_position_that_all_subscribers_have_left_is_dropped() {
        let positions = Positions::default();
        let ada = Uuid::new_v4();
        assert_eq!(positions.join(ada, 7).next(|| read(1)).await, Ok(1));
        assert!(positions.0.lock().is_empty());
        assert_eq!(positions.join(ada, 7).next(|| read(2)).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_subscriber_reads_if_one_fails_or_is_cancelled() {
        let positions = Positions::default();
        let [one, other, third] = std::array::from_fn(|_| positions.join(Uuid::nil(), 7));
        let cancelled = timeout(Duration::from_secs(1), one.next(pending::<Read>));
        let failed = other.next(|| async { Err("asleep") });
        let read = third.next(|| read(1));
        let (cancelled, failed, read) = join!(cancelled, failed, read);
        assert!(cancelled.is_err());
        assert_eq!((failed, read), (Err("asleep"), Ok(1)));
    }
}
