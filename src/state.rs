//! What a request may reach.

use std::sync::Arc;

use secrecy::SecretSlice;

use crate::Clock;
use crate::auth::{AccessTokens, PasswordHasher};
use crate::config::{AuthSettings, Config};
use crate::db::{Connector, Database};

/// The parts that requests share; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// See [`AppState`].
pub struct Parts {
    /// The database.
    pub database: Database,
    /// Hashes and verifies passwords.
    pub passwords: PasswordHasher,
    /// Signs and verifies access tokens.
    pub access_tokens: AccessTokens,
    /// How long sessions live.
    pub auth: AuthSettings,
    /// The time.
    pub clock: Clock,
}

impl AppState {
    /// Builds the parts from the settings; must be called on a tokio runtime.
    pub fn new(
        config: &Config,
        connector: Connector,
        jwt_secret: &SecretSlice<u8>,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let auth = config.auth.clone();
        Ok(Self(Arc::new(Parts {
            database: Database::new(connector, config.database.pool())?,
            passwords: PasswordHasher::new(auth.password_hash_concurrency(), auth.password_hash_timeout)?,
            access_tokens: AccessTokens::new(
                jwt_secret,
                &auth.jwt_issuer,
                &auth.jwt_audience,
                auth.access_token_lifetime,
            )?,
            auth,
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
