use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use secrecy::SecretSlice;

use super::Switch;
use super::values::{days, duration, seconds, whole};
use crate::auth::{AccessTokens, SigningKey};

/// How people are recognised.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Accounts and sessions (JWT_SECRET is read from the environment or .env only)")]
pub struct AuthSettings {
    /// Who issues access tokens, their claim iss
    #[arg(long, env = "JWT_ISSUER", global = true, hide_env_values = true, default_value = "todo-api",
        value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub jwt_issuer: String,

    /// For whom access tokens are issued, their claim aud
    #[arg(long, env = "JWT_AUDIENCE", global = true, hide_env_values = true, default_value = "todo-api",
        value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub jwt_audience: String,

    /// How long an access token lives
    #[arg(long = "access-token-ttl", env = "ACCESS_TOKEN_TTL", global = true, hide_env_values = true,
        value_name = "ACCESS_TOKEN_TTL", default_value = "15m", value_parser = duration(seconds(1)..=AccessTokens::MAX_LIFETIME))]
    pub access_token_lifetime: Duration,

    /// How long a refresh token lives
    #[arg(long = "refresh-token-ttl", env = "REFRESH_TOKEN_TTL", global = true, hide_env_values = true,
        value_name = "REFRESH_TOKEN_TTL", default_value = "30d", value_parser = duration(seconds(1)..=days(365)))]
    pub refresh_token_lifetime: Duration,

    /// How long a session lives at most, however often it is refreshed
    #[arg(long = "session-ttl", env = "SESSION_TTL", global = true, hide_env_values = true,
        value_name = "SESSION_TTL", default_value = "180d", value_parser = duration(seconds(1)..=days(3650)))]
    pub session_lifetime: Duration,

    /// How long a refresh token that was used gives the same successor again, as when two tabs use it at once; later it
    /// counts as stolen
    #[arg(long, env = "REFRESH_REUSE_WINDOW", global = true, hide_env_values = true, default_value = "10s",
        value_parser = duration(seconds(0)..=seconds(600)))]
    pub refresh_reuse_window: Duration,

    /// Browser mode: whether refresh tokens travel in a cookie that scripts can't read, instead of in answers
    #[arg(long, env = "REFRESH_TOKEN_COOKIE", global = true, hide_env_values = true, default_value = "off")]
    pub refresh_token_cookie: Switch,

    /// Whether attempts to log in, register and refresh are limited
    #[arg(long, env = "RATE_LIMITS", global = true, hide_env_values = true, default_value = "on")]
    pub rate_limits: Switch,

    /// How long it is kept what happened to accounts
    #[arg(long, env = "SECURITY_EVENT_RETENTION", global = true, hide_env_values = true, default_value = "90d",
        value_parser = duration(days(1)..=days(3650)))]
    pub security_event_retention: Duration,

    /// Files with keys for access tokens, separated by commas: the first signs, all verify, and so does JWT_SECRET. Each
    /// holds a private key for Ed25519 or P-256 as PEM, or a secret for HS256
    #[arg(long, env = "JWT_KEY_FILES", global = true, hide_env_values = true, value_delimiter = ',')]
    pub jwt_key_files: Vec<PathBuf>,

    /// How many passwords are hashed at once, 19 MiB and one core each [default: the number of cores]
    #[arg(long, env = "PASSWORD_HASH_CONCURRENCY", global = true, hide_env_values = true,
        value_parser = whole(1..=256_usize))]
    pub password_hash_concurrency: Option<usize>,

    /// How long a password waits for its turn
    #[arg(long, env = "PASSWORD_HASH_TIMEOUT", global = true, hide_env_values = true, default_value = "5s",
        value_parser = duration(Duration::from_millis(10)..=seconds(120)))]
    pub password_hash_timeout: Duration,
}

impl AuthSettings {
    /// How many passwords are hashed at once.
    pub fn password_hash_concurrency(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.password_hash_concurrency.unwrap_or_else(cores)
    }

    /// The keys that are set, in the order in which they are preferred.
    pub fn keys(&self) -> anyhow::Result<Vec<SigningKey>> {
        let files =
            self.jwt_key_files.iter().map(|path| SigningKey::from_file(path).context("JWT_KEY_FILES"));
        let secret = jwt_secret().map(|secret| SigningKey::from_text(&secret).context("JWT_SECRET"));
        files.chain(secret).collect()
    }
}

/// `JWT_SECRET`, if it is set. It has no flag, as every user of the machine can see a process's flags.
fn jwt_secret() -> Option<SecretSlice<u8>> {
    let secret = std::env::var_os("JWT_SECRET").filter(|secret| !secret.is_empty())?;
    Some(secret.into_encoded_bytes().into())
}
