use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use crate::db;

/// How old a read may be for others to join it; with an older one they would learn what was true too long ago.
const JOIN: Duration = Duration::from_millis(500);

/// Reads under way in this process: whoever wants the same waits for what the first one finds.
pub(super) struct Flights<K, T>(Mutex<HashMap<K, Arc<Flight<T>>>>);

struct Flight<T> {
    began: Instant,
    /// Held by who reads. If that one goes away, the next one finds nothing in it and reads.
    outcome: AsyncMutex<Option<Result<T, String>>>,
}

/// What a read came to, and whether it was somebody else's.
pub(super) struct Landed<T> {
    pub(super) result: Result<T, db::Error>,
    pub(super) joined: bool,
}

impl<K: Copy + Eq + Hash, T: Clone> Flights<K, T> {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Reads, or waits for who does.
    ///
    /// An error is shared, too: if each one tried for itself, the last one would wait as many times the limit as there
    /// are before it.
    pub(super) async fn join(&self, key: K, read: impl AsyncFnOnce() -> Result<T, db::Error>) -> Landed<T> {
        let seat = self.board(key);
        let mut outcome = seat.flight.outcome.lock().await;
        if let Some(outcome) = outcome.as_ref() {
            return Landed { result: outcome.clone().map_err(db::Error::Unavailable), joined: true };
        }
        let result = read().await;
        *outcome = Some(result.as_ref().map(T::clone).map_err(ToString::to_string));
        Landed { result, joined: false }
    }

    /// Lets nobody join any more what has begun by now.
    pub(super) fn detach(&self, key: K) {
        self.flights().remove(&key);
    }

    fn board(&self, key: K) -> Seat<'_, K, T> {
        let mut flights = self.flights();
        let open = flights.get(&key).filter(|flight| flight.began.elapsed() < JOIN).map(Arc::clone);
        let flight = open.unwrap_or_else(|| {
            let flight = Arc::new(Flight { began: Instant::now(), outcome: AsyncMutex::new(None) });
            flights.insert(key, Arc::clone(&flight));
            flight
        });
        Seat { flights: self, key, flight }
    }
}

impl<K, T> Flights<K, T> {
    fn flights(&self) -> MutexGuard<'_, HashMap<K, Arc<Flight<T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place on a flight. The first one to leave takes it off the list: it has landed then, or nobody reads any more and
/// others on it do so for themselves.
struct Seat<'a, K: Copy + Eq + Hash, T> {
    flights: &'a Flights<K, T>,
    key: K,
    flight: Arc<Flight<T>>,
}

impl<K: Copy + Eq + Hash, T> Drop for Seat<'_, K, T> {
    fn drop(&mut self) {
        let mut flights = self.flights.flights();
        if flights.get(&self.key).is_some_and(|current| Arc::ptr_eq(current, &self.flight)) {
            flights.remove(&self.key);
        }
    }
}
