//! What is often read, kept in Redis for all processes where `REDIS_URL` is set, and else nowhere.
//!
//! Nothing in it is older than a second, whatever happens: see lease.rs. A change removes what it makes wrong after its
//! commit. Redis never fails a request: where it is slow, gone, full or holds rubbish the database answers.

mod flights;
mod lease;
mod redis;

use std::sync::Arc;
use std::time::Duration;

use ::redis::Client;
use uuid::Uuid;

use self::flights::Flights;
pub use self::lease::Found;
use self::redis::Redis;
use crate::db::{self, Connector};
use crate::metrics::{CacheOutcome, Metrics};
use crate::models::{RevokedSession, User};

/// For how long a user is kept. With the time of one answer of Redis this stays below a second.
const USER_LIFETIME: Duration = Duration::from_millis(900);

/// The cache; cheap to clone.
#[derive(Clone, Default)]
pub struct Cache(Option<Arc<Parts>>);

struct Parts {
    redis: Redis,
    /// Begins the keys: databases that share a Redis are kept apart, or one would take the other's sessions for its own.
    prefix: String,
    users: Flights<Uuid, Option<User>>,
}

impl Cache {
    /// For how long ended sessions are kept.
    pub const REVOCATIONS_LIFETIME: Duration = Duration::from_millis(350);

    /// A cache of one database in a Redis, or none.
    pub fn new(client: Option<Client>, database: &Connector, metrics: Metrics) -> Self {
        let prefix = format!("todo-api:{}", database.fingerprint());
        let parts = |client| Parts { redis: Redis::new(client, metrics), prefix, users: Flights::new() };
        Self(client.map(parts).map(Arc::new))
    }

    /// Under which key a user is kept.
    pub fn user_key(&self, id: Uuid) -> Option<String> {
        self.0.as_ref().map(|parts| parts.user_key(id))
    }

    /// Whether there is one.
    pub fn is_used(&self) -> bool {
        self.0.is_some()
    }

    /// A user, if need be as `read` finds it; none is remembered, too.
    pub async fn user(
        &self,
        id: Uuid,
        read: impl AsyncFnOnce() -> Result<Option<User>, db::Error>,
    ) -> Result<Option<User>, db::Error> {
        let Some(parts) = &self.0 else { return read().await };
        let landed = parts.users.join(id, async || {
            let found = parts.redis.share(&parts.user_key(id), USER_LIFETIME, read).await;
            found.map(Found::into_inner)
        });
        let landed = landed.await;
        if landed.joined {
            parts.redis.count(CacheOutcome::Joined);
        }
        landed.result
    }

    /// Forgets a user, to be called when a change has been committed.
    pub async fn forget_user(&self, id: Uuid) {
        let Some(parts) = &self.0 else { return };
        parts.redis.remove(&parts.user_key(id)).await;
        // At last: who has begun before may have read what was there.
        parts.users.detach(id);
    }

    /// The sessions that were ended of late, if need be as `read` finds them.
    pub async fn revocations(
        &self,
        read: impl AsyncFnOnce() -> Result<Vec<RevokedSession>, db::Error>,
    ) -> Result<Found<Vec<RevokedSession>>, db::Error> {
        match &self.0 {
            Some(parts) => {
                parts.redis.share(&parts.revocations_key(), Self::REVOCATIONS_LIFETIME, read).await
            }
            None => read().await.map(Found::Read),
        }
    }

    /// Forgets which sessions were ended, to be called when one more has been.
    pub async fn forget_revocations(&self) {
        if let Some(parts) = &self.0 {
            parts.redis.remove(&parts.revocations_key()).await;
        }
    }
}

impl Parts {
    fn user_key(&self, id: Uuid) -> String {
        format!("{}:user:{id}", self.prefix)
    }

    fn revocations_key(&self) -> String {
        format!("{}:revocations", self.prefix)
    }
}
