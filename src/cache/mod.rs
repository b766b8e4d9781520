//! Users shared by all processes through Redis, where `REDIS_URL` is set.
//!
//! Redis never fails a request: where it is gone, slow, full or holds garbage, the database answers. Nothing read through
//! the cache is older than a second:
//!
//! - An entry expires `TTL` after the moment, by Redis's own clock, before its reader queried the database. The expiry is
//!   absolute, so a `SET` that is stuck in a buffer stores an entry that has already expired.
//! - Callers share a read only within `WINDOW`, and `TTL + WINDOW` is below a second.
//!
//! A change is seen at once, here and in other processes. After its commit the writer replaces the entry by a tombstone.
//! Readers store with `NX`, and the tombstone outlives any value read before the commit, so a slow reader can't restore the
//! old value. If the tombstone is lost, because Redis failed or evicted it, the expiry still holds, and a writer that
//! knows of the loss reads nothing from Redis until then.

mod redis;
mod single_flight;

use std::sync::Arc;

use ::redis::{Client, RedisResult};
use uuid::Uuid;

use self::redis::Redis;
use self::single_flight::{SingleFlight, WINDOW};
use crate::db::{self, Connector};
use crate::metrics::{CacheOutcome, Metrics};
use crate::models::User;

/// Lifetime of an entry and of a tombstone, in milliseconds.
const TTL: u64 = 800;
const _: () = assert!(TTL as u128 + WINDOW.as_millis() < 1000, "the bound on age is a second");
/// Prefix of values; changes with their format.
const FORMAT: &[u8] = b"1:";
/// Value of an entry that a change has invalidated.
const TOMBSTONE: &[u8] = b"invalidated";

/// Cache of users; cheap to clone, and empty without a Redis.
#[derive(Clone, Default)]
pub struct Cache(Option<Arc<Parts>>);

struct Parts {
    redis: Redis,
    /// Keeps databases that share a Redis apart.
    prefix: String,
    reads: SingleFlight<Uuid, Option<User>>,
    metrics: Metrics,
}

enum Entry {
    Missing,
    Invalidated,
    Value(Option<User>),
    Garbage,
}

impl Cache {
    /// Creates the cache of one database, disabled without a client; must be called on a tokio runtime.
    pub fn new(client: Option<Client>, database: &Connector, metrics: Metrics) -> RedisResult<Self> {
        let Some(client) = client else { return Ok(Self(None)) };
        let redis = Redis::new(client, metrics.clone())?;
        let prefix = format!("todo-api:{}", database.fingerprint());
        Ok(Self(Some(Arc::new(Parts { redis, prefix, reads: SingleFlight::new(), metrics }))))
    }

    /// Returns true if a Redis is configured.
    pub fn is_used(&self) -> bool {
        self.0.is_some()
    }

    /// Returns a user from the cache, or else as `read` finds it in the primary; caches the absence of one, too.
    pub async fn user(
        &self,
        id: Uuid,
        read: impl AsyncFnOnce() -> Result<Option<User>, db::Error>,
    ) -> Result<Option<User>, db::Error> {
        let Some(parts) = &self.0 else { return read().await };
        let mut is_shared = true;
        let read = async || {
            is_shared = false;
            parts.read_through(id, read).await
        };
        let result = parts.reads.run(id, read).await;
        if is_shared {
            parts.metrics.cache_requests.get(CacheOutcome::Joined).inc();
        }
        result
    }

    /// Invalidates a user's entry; must follow the commit of every change.
    pub async fn invalidate_user(&self, id: Uuid) {
        let Some(parts) = &self.0 else { return };
        parts.redis.replace(&parts.user_key(id), TOMBSTONE, TTL).await;
        // After Redis: a read that began earlier may hold the old value, so later callers must not join it.
        parts.reads.detach(id);
    }
}

impl Parts {
    async fn read_through(
        &self,
        id: Uuid,
        read: impl AsyncFnOnce() -> Result<Option<User>, db::Error>,
    ) -> Result<Option<User>, db::Error> {
        let key = self.user_key(id);
        let Some(found) = self.redis.get(&key).await else {
            self.metrics.cache_requests.get(CacheOutcome::Bypassed).inc();
            return read().await;
        };
        let entry = parse(found.value.as_deref());
        if let Entry::Value(user) = entry {
            self.metrics.cache_requests.get(CacheOutcome::Hit).inc();
            return Ok(user);
        }
        self.metrics.cache_requests.get(CacheOutcome::Miss).inc();
        if let Entry::Garbage = entry {
            self.metrics.cache_requests.get(CacheOutcome::Error).inc();
            self.redis.replace(&key, TOMBSTONE, TTL).await;
        }
        let user = read().await?;
        if let Entry::Missing = entry {
            self.store(&key, user.as_ref(), found.time + TTL).await;
        }
        Ok(user)
    }

    async fn store(&self, key: &str, user: Option<&User>, expires_at: u64) {
        let mut value = FORMAT.to_vec();
        if serde_json::to_writer(&mut value, &user).is_ok() {
            self.redis.set_if_missing(key, &value, expires_at).await;
        }
    }

    /// The number changes with the protocol: processes of both versions may share a Redis during a deployment.
    fn user_key(&self, id: Uuid) -> String {
        format!("{}:user2:{id}", self.prefix)
    }
}

fn parse(value: Option<&[u8]>) -> Entry {
    match value {
        Some([]) => Entry::Missing,
        Some(TOMBSTONE) => Entry::Invalidated,
        value => {
            let json = value.and_then(|value| value.strip_prefix(FORMAT));
            json.and_then(|json| serde_json::from_slice(json).ok()).map_or(Entry::Garbage, Entry::Value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_another_format_or_type_are_garbage() {
        assert!(matches!(parse(Some(b"1:null")), Entry::Value(None)));
        assert!(matches!(parse(Some(b"invalidated")), Entry::Invalidated));
        assert!(matches!(parse(Some(b"")), Entry::Missing));
        assert!(matches!(parse(None), Entry::Garbage));
        for text in [b"0:null".as_slice(), b"1:", b"1:null null", b"1:{}", b"null", b"\xff\x00"] {
            assert!(matches!(parse(Some(text)), Entry::Garbage), "{text:?}");
        }
    }
}
