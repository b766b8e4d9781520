//! How processes share what one of them has read.
//!
//! A key holds nothing, a lease or a value. Whoever finds nothing takes a lease, reads the database and puts the value in
//! the lease's place. A lease that is not there any more is not replaced: so a change that removes the key after its
//! commit can't be undone by somebody who has read before it and is slow. The value keeps the lifetime of its lease,
//! which began before the database was read: by Redis's clock alone nothing gets older than that, however late a
//! command arrives.

use std::time::Duration;

use redis::Cmd;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::redis::{Failure, Redis};
use crate::db;
use crate::metrics::CacheOutcome;

/// What values begin with; to be changed with their form.
const FORMAT: &[u8] = b"1:";
const LEASE: &[u8] = b"lease:";
/// The longest value; a longer one is not stored.
const MAX_BYTES: usize = 256 << 10;
/// How long is waited for who has the lease.
const PATIENCE: Duration = Duration::from_millis(100);
/// The first pause between two looks for its value; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// Puts a value in the place of a lease, if that is still there.
const FILL: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
end";

/// What was read, and where.
pub enum Found<T> {
    /// In Redis: as old as values get at most.
    Shared(T),
    /// In the database.
    Read(T),
}

impl<T> Found<T> {
    pub(super) fn into_inner(self) -> T {
        match self {
            Self::Shared(value) | Self::Read(value) => value,
        }
    }
}

enum Entry<T> {
    Nothing,
    Lease,
    Value(T),
    Rubbish,
}

enum Turn<T> {
    Value(T),
    /// It is ours to read, for the others, too.
    Lease(String),
}

impl Redis {
    /// What a key holds, or else what `read` finds, which then is there for others for a lifetime.
    pub(super) async fn share<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        lifetime: Duration,
        read: impl AsyncFnOnce() -> Result<T, db::Error>,
    ) -> Result<Found<T>, db::Error> {
        match self.turn(key, lifetime).await {
            Some(Turn::Value(value)) => {
                self.count(CacheOutcome::Hit);
                Ok(Found::Shared(value))
            }
            Some(Turn::Lease(lease)) => {
                self.count(CacheOutcome::Miss);
                let value = read().await?;
                self.fill(key, &lease, &value).await;
                Ok(Found::Read(value))
            }
            None => {
                self.count(CacheOutcome::Bypassed);
                read().await.map(Found::Read)
            }
        }
    }

    async fn turn<T: DeserializeOwned>(&self, key: &str, lifetime: Duration) -> Option<Turn<T>> {
        let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            match self.get(key).await? {
                Entry::Value(value) => return Some(Turn::Value(value)),
                Entry::Nothing => {
                    if let Some(lease) = self.lease(key, lifetime).await? {
                        return Some(Turn::Lease(lease));
                    }
                }
                Entry::Lease => {}
                Entry::Rubbish => {
                    self.count(CacheOutcome::Error);
                    self.remove(key).await;
                    return None;
                }
            }
            if began.elapsed() + pause > PATIENCE {
                return None;
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    async fn get<T: DeserializeOwned>(&self, key: &str) -> Option<Entry<T>> {
        // Not GET, as whatever is there may be large.
        let mut command = Cmd::new();
        command.arg("GETRANGE").arg(key).arg(0).arg(MAX_BYTES - 1);
        match self.ask::<Vec<u8>>(&command).await {
            Ok(bytes) => Some(parse(&bytes)),
            Err(Failure::WrongType) => Some(Entry::Rubbish),
            Err(Failure::OutOfUse | Failure::Failed) => None,
        }
    }

    /// Takes the lease, unless somebody else has it or a value is there; none of both says that Redis failed.
    async fn lease(&self, key: &str, lifetime: Duration) -> Option<Option<String>> {
        let lease = format!("lease:{}", Uuid::new_v4());
        let mut command = Cmd::new();
        command.arg("SET").arg(key).arg(&lease).arg("NX");
        command.arg("PX").arg(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX));
        let taken: Option<()> = self.ask(&command).await.ok()?;
        Some(taken.map(|()| lease))
    }

    async fn fill<T: Serialize>(&self, key: &str, lease: &str, value: &T) {
        let mut text = FORMAT.to_vec();
        if serde_json::to_writer(&mut text, value).is_ok() && text.len() <= MAX_BYTES {
            let mut command = Cmd::new();
            command.arg("EVAL").arg(FILL).arg(1).arg(key).arg(lease).arg(text);
            let _: Result<(), Failure> = self.ask(&command).await;
        }
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Entry<T> {
    if bytes.is_empty() {
        return Entry::Nothing;
    }
    if bytes.starts_with(LEASE) {
        return Entry::Lease;
    }
    let value = bytes.strip_prefix(FORMAT).and_then(|json| serde_json::from_slice(json).ok());
    value.map_or(Entry::Rubbish, Entry::Value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_of_this_format_is_rubbish() {
        assert!(matches!(parse::<u8>(b"1:7"), Entry::Value(7)));
        assert!(matches!(parse::<u8>(b"lease:7"), Entry::Lease));
        assert!(matches!(parse::<u8>(b""), Entry::Nothing));
        for text in [b"0:7".as_slice(), b"1:", b"1:7 7", b"1:{}", b"7", b"\xff\x00"] {
            assert!(matches!(parse::<u8>(text), Entry::Rubbish), "{text:?}");
        }
    }
}
