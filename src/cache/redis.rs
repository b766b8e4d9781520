use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, FromRedisValue, Pipeline, RedisError, RedisResult, cmd, pipe};
use tokio::time::{Instant, timeout};

use super::TTL;
use crate::metrics::{CacheOutcome, Metrics};

/// Bound on how long Redis may delay a read, for each command; a miss has two.
const READ_TIMEOUT: Duration = Duration::from_millis(50);
/// Bound on how long Redis may delay a change. Includes connecting, for commands of an operator that have just started.
const WRITE_TIMEOUT: Duration = Duration::from_millis(200);
/// Limit on opening a connection, and the least time between two attempts. No request waits for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Cool-down of the circuit breaker. At least the TTL, so that a failed invalidation is never followed by a stale read.
const COOL_DOWN: Duration = Duration::from_secs(1);
const _: () = assert!(COOL_DOWN.as_millis() >= TTL as u128);
/// Bytes read of a value; a longer one is none of ours.
const MAX_BYTES: usize = 256 << 10;

/// A connection to Redis behind a circuit breaker.
pub(super) struct Redis {
    client: Client,
    metrics: Metrics,
    state: Mutex<State>,
}

struct State {
    connection: ConnectionManager,
    connected_at: Instant,
    circuit: Circuit,
}

/// A key's value at a moment of Redis's clock.
pub(super) struct Found {
    /// Empty if the key is missing; `None` if it holds another type.
    pub(super) value: Option<Vec<u8>>,
    /// Milliseconds since the Unix epoch.
    pub(super) time: u64,
}

impl Redis {
    pub(super) fn new(client: Client, metrics: Metrics) -> RedisResult<Self> {
        let connection = connect(client.clone())?;
        let state = State { connection, connected_at: Instant::now(), circuit: Circuit::Closed };
        Ok(Self { client, metrics, state: Mutex::new(state) })
    }

    /// Reads a key; returns `None` if Redis is out of use or fails.
    pub(super) async fn get(&self, key: &str) -> Option<Found> {
        if !self.state.lock().circuit.allows_reads() {
            return None;
        }
        let mut commands = pipe();
        // `GETRANGE` in place of `GET` bounds the answer. `TIME` costs no round trip of its own.
        commands.cmd("GETRANGE").arg(key).arg(0).arg(MAX_BYTES - 1).cmd("TIME").ignore_errors();
        let (value, (seconds, micros)): (RedisResult<_>, (u64, u64)) =
            self.send(&commands, READ_TIMEOUT).await?;
        let value = match value {
            Ok(value) => Some(value),
            // Garbage: the key holds another type.
            Err(error) if error.code() == Some("WRONGTYPE") => None,
            Err(error) => {
                self.fail(&error);
                return None;
            }
        };
        Some(Found { value, time: seconds * 1000 + micros / 1000 })
    }

    /// Stores a value that expires at a time of Redis's clock, unless the key holds something.
    pub(super) async fn set_if_missing(&self, key: &str, value: &[u8], expires_at: u64) {
        let mut command = pipe();
        command.cmd("SET").arg(key).arg(value).arg("NX").arg("PXAT").arg(expires_at).ignore();
        self.send::<()>(&command, READ_TIMEOUT).await;
    }

    /// Replaces a key's value. Tries even while reads are suspended, and suspends them if it fails.
    pub(super) async fn replace(&self, key: &str, value: &[u8], ttl: u64) {
        let mut command = pipe();
        command.cmd("SET").arg(key).arg(value).arg("PX").arg(ttl).ignore();
        self.send::<()>(&command, WRITE_TIMEOUT).await;
    }

    async fn send<T: FromRedisValue>(&self, commands: &Pipeline, limit: Duration) -> Option<T> {
        let mut connection = self.state.lock().connection.clone();
        let sent = timeout(limit, commands.query_async(&mut connection)).await;
        match sent.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into())) {
            Ok(answer) => {
                if self.state.lock().circuit.close() {
                    tracing::info!("Redis is in use again");
                }
                Some(answer)
            }
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    fn fail(&self, error: &RedisError) {
        self.metrics.cache_requests.get(CacheOutcome::Error).inc();
        let mut state = self.state.lock();
        if state.circuit.open() {
            tracing::warn!(reason = %error, "Redis is out of use; the database answers instead");
        }
        // A `ConnectionManager` keeps a connection that fell silent, and the failure of one that was refused by a password
        // or a full server. A new one connects during the cool-down.
        if state.connected_at.elapsed() >= CONNECT_TIMEOUT
            && let Ok(connection) = connect(self.client.clone())
        {
            state.connection = connection;
            state.connected_at = Instant::now();
        }
    }
}

/// Creates a connection and opens it in the background.
fn connect(client: Client) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(WRITE_TIMEOUT))
        // The breaker decides when to try again.
        .set_number_of_retries(0);
    let connection = ConnectionManager::new_lazy_with_config(client, config)?;
    let mut opening = connection.clone();
    tokio::spawn(async move { cmd("PING").exec_async(&mut opening).await });
    Ok(connection)
}

/// The state of the circuit breaker.
#[derive(Clone, Copy)]
enum Circuit {
    Closed,
    /// Reads are suspended. After `until` it is half-open: commands are sent again, and the next outcome decides.
    Open {
        until: Instant,
    },
}

impl Circuit {
    fn allows_reads(self) -> bool {
        match self {
            Self::Closed => true,
            Self::Open { until } => Instant::now() >= until,
        }
    }

    /// Opens after a failure; returns true if it was closed.
    fn open(&mut self) -> bool {
        let before = std::mem::replace(self, Self::Open { until: Instant::now() + COOL_DOWN });
        matches!(before, Self::Closed)
    }

    /// Closes after a success; returns true if it was half-open. A success cannot shorten the cool-down.
    fn close(&mut self) -> bool {
        let is_half_open = matches!(self, Self::Open { .. }) && self.allows_reads();
        if is_half_open {
            *self = Self::Closed;
        }
        is_half_open
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reads_are_suspended_for_a_cool_down_after_the_last_failure() {
        let mut circuit = Circuit::Closed;
        assert!(circuit.allows_reads() && !circuit.close());
        assert!(circuit.open(), "it was closed");
        advance(COOL_DOWN / 2).await;
        assert!(!circuit.open(), "it is open");
        advance(COOL_DOWN / 2).await;
        assert!(!circuit.allows_reads() && !circuit.close());
        advance(COOL_DOWN / 2).await;
        assert!(circuit.allows_reads(), "it is half-open");
        assert!(!circuit.open(), "it was half-open");
        assert!(!circuit.allows_reads());
        advance(COOL_DOWN).await;
        assert!(circuit.close());
        assert!(circuit.allows_reads() && circuit.open());
    }
}
