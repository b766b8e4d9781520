//! Rules of accounts and sessions, independent of any transport.
//!
//! [`Auth`] owns what the rules need; its methods are grouped by topic: `accounts` (register, login), `profile` (changes of an
//! account), `sessions` (refresh, logout, revocation) and `requester` (authentication of a request).

mod access_token;
mod accounts;
mod client;
mod effects;
mod events;
mod key_file;
mod keys;
mod last_seen;
mod password;
mod profile;
mod refresh_token;
mod requester;
mod revocations;
mod sessions;
mod throttle;

use std::sync::Arc;

use jsonwebtoken::jwk::JwkSet;
use tokio::sync::Notify;
use uuid::Uuid;

pub use access_token::{AccessTokens, Claims};
pub use accounts::{Credentials, Registration};
pub use client::Client;
pub use keys::{SigningKey, SigningKeys};
use last_seen::LastSeen;
pub use password::PasswordHasher;
pub use refresh_token::RefreshToken;
pub use requester::{BearerToken, Identity, Requester};
use revocations::Revocations;
pub use sessions::OpenedSession;

use crate::Clock;
use crate::cache::Cache;
use crate::config::AuthSettings;
use crate::db::{self, Database};
use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::models::Session;

/// Accounts and sessions: registration, login, tokens, revocation.
pub struct Auth {
    database: Database,
    cache: Cache,
    feed: Feed,
    passwords: PasswordHasher,
    access_tokens: AccessTokens,
    revocations: Revocations,
    last_seen: LastSeen,
    activity: Arc<Notify>,
    settings: AuthSettings,
    metrics: Metrics,
    clock: Clock,
}

/// Dependencies that [`Auth`] is built from.
pub struct AuthDependencies {
    /// The database.
    pub database: Database,
    /// The cache of users.
    pub cache: Cache,
    /// Notifications of ended sessions.
    pub feed: Feed,
    /// Notified by each login, refresh and authenticated request; housekeeping waits for it.
    pub activity: Arc<Notify>,
    /// Counters.
    pub metrics: Metrics,
    /// Source of the time for access tokens; what is stored goes by the database's clock.
    pub clock: Clock,
}

impl Auth {
    /// Creates the rules. Checks the keys by signing with each; must be called on a tokio runtime.
    pub fn new(parts: AuthDependencies, settings: AuthSettings, keys: SigningKeys) -> anyhow::Result<Self> {
        let AuthDependencies { database, cache, feed, activity, metrics, clock } = parts;
        let passwords = PasswordHasher::new(
            settings.password_hash_concurrency(),
            settings.password_hash_timeout,
            metrics.clone(),
        )?;
        let lifetime = settings.access_token_ttl;
        let access_tokens = AccessTokens::new(keys, &settings.jwt_issuer, &settings.jwt_audience, lifetime)?;
        Ok(Self {
            revocations: Revocations::new(),
            database,
            cache,
            feed,
            passwords,
            access_tokens,
            last_seen: LastSeen::default(),
            activity,
            settings,
            metrics,
            clock,
        })
    }

    /// Returns the settings of accounts and sessions.
    pub fn settings(&self) -> &AuthSettings {
        &self.settings
    }

    /// Returns the signer and verifier of access tokens.
    pub fn access_tokens(&self) -> &AccessTokens {
        &self.access_tokens
    }

    /// Returns the public keys of access tokens as a JSON Web Key Set (RFC 7517).
    pub fn public_keys(&self) -> JwkSet {
        self.access_tokens.public_keys()
    }

    /// Writes the gathered times of last use to the sessions.
    pub async fn store_last_seen(&self) -> Result<(), db::Error> {
        let seen = self.last_seen.take(self.clock.now());
        if seen.is_empty() {
            return Ok(());
        }
        self.database.write_idempotent(async |conn| Session::store_last_seen(conn, &seen).await).await
    }

    /// Returns once the session has ended, in whichever process.
    pub async fn wait_until_revoked(&self, session_id: Uuid) {
        self.revocations.wait_until_revoked(&self.database, &self.feed, session_id).await;
    }
}
