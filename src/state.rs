//! What a request may reach.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::Clock;
use crate::auth::{AccessTokens, LastSeen, PasswordHasher, Revocations, SigningKeys};
use crate::cache::Cache;
use crate::config::{AuthSettings, Config, TodoSettings};
use crate::db::{Connectors, Database};
use crate::feed::Feed;
use crate::metrics::Metrics;

/// The parts that requests share; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// See [`AppState`].
pub struct Parts {
    /// The database.
    pub database: Database,
    /// What is often read.
    pub cache: Cache,
    /// Hashes and verifies passwords.
    pub passwords: PasswordHasher,
    /// Signs and verifies access tokens.
    pub access_tokens: AccessTokens,
    /// The sessions that were ended of late.
    pub revocations: Revocations,
    /// When sessions were last used.
    pub last_seen: LastSeen,
    /// What is counted and measured.
    pub metrics: Metrics,
    /// Told of what the database has just been used for: the time for housekeeping.
    pub traffic: Notify,
    /// Tells of changes.
    pub feed: Feed,
    /// How people are recognised.
    pub auth: AuthSettings,
    /// How long todos are kept.
    pub todos: TodoSettings,
    /// The time.
    pub clock: Clock,
}

impl AppState {
    /// Builds the parts from the settings; must be called on a tokio runtime.
    pub fn new(
        config: &Config,
        connectors: Connectors,
        keys: SigningKeys,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let auth = config.auth.clone();
        let Connectors { primary, direct, replicas } = connectors;
        let metrics = Metrics::new()?;
        let cache = Cache::new(config.cache.client()?, &primary, metrics.clone());
        let database = Database::new(primary, replicas, config.database.pool(), metrics.clone())?;
        Ok(Self(Arc::new(Parts {
            feed: Feed::new(database.clone(), direct),
            database,
            passwords: PasswordHasher::new(
                auth.password_hash_concurrency(),
                auth.password_hash_timeout,
                metrics.clone(),
            )?,
            access_tokens: AccessTokens::new(
                keys,
                &auth.jwt_issuer,
                &auth.jwt_audience,
                auth.access_token_lifetime,
            )?,
            revocations: Revocations::new(cache.clone()),
            cache,
            last_seen: LastSeen::default(),
            metrics,
            traffic: Notify::new(),
            auth,
            todos: config.todos,
            clock,
        })))
    }
}

impl std::ops::Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
