//! State shared by all requests.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::Clock;
use crate::auth::{Auth, AuthDependencies, SigningKeys};
use crate::cache::Cache;
use crate::config::{Config, TodoSettings};
use crate::db::{Connectors, Database};
use crate::feed::Feed;
use crate::metrics::Metrics;

/// Shared state; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<StateInner>);

/// Fields of [`AppState`].
pub struct StateInner {
    /// Connections to the database.
    pub database: Database,
    /// Accounts and sessions.
    pub auth: Auth,
    /// Cache of users.
    pub cache: Cache,
    /// Counters and histograms.
    pub metrics: Metrics,
    /// Notified by each login, refresh and authenticated request; housekeeping waits for it.
    pub activity: Arc<Notify>,
    /// Notifications of changed todos and ended sessions.
    pub feed: Feed,
    /// Retention of todos.
    pub todos: TodoSettings,
    /// Source of the time.
    pub clock: Clock,
}

impl AppState {
    /// Builds the state from the settings; must be called on a tokio runtime.
    pub fn new(
        config: &Config,
        connectors: Connectors,
        keys: SigningKeys,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let Connectors { primary, direct, replicas } = connectors;
        let metrics = Metrics::default();
        let cache = Cache::new(config.cache.client()?, &primary, metrics.clone())?;
        let database = Database::new(primary, replicas, config.database.pool(), metrics.clone())?;
        let feed = Feed::new(database.clone(), direct);
        let activity = Arc::new(Notify::new());
        let parts = AuthDependencies {
            database: database.clone(),
            cache: cache.clone(),
            feed: feed.clone(),
            activity: Arc::clone(&activity),
            metrics: metrics.clone(),
            clock: clock.clone(),
        };
        let auth = Auth::new(parts, config.auth.clone(), keys)?;
        Ok(Self(Arc::new(StateInner {
            database,
            auth,
            cache,
            metrics,
            activity,
            feed,
            todos: config.todos,
            clock,
        })))
    }
}

impl std::ops::Deref for AppState {
    type Target = StateInner;

    fn deref(&self) -> &StateInner {
        &self.0
    }
}
