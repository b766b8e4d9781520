use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use secrecy::SecretSlice;

use super::values::{days, duration, seconds, whole};
use crate::auth::AccessTokens;

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
        value_name = "ACCESS_TOKEN_TTL", default_value = "15m", value_parser = duration(seconds(1)..=days(1)))]
    pub access_token_lifetime: Duration,

    /// How long a refresh token lives
    #[arg(long = "refresh-token-ttl", env = "REFRESH_TOKEN_TTL", global = true, hide_env_values = true,
        value_name = "REFRESH_TOKEN_TTL", default_value = "30d", value_parser = duration(seconds(1)..=days(365)))]
    pub refresh_token_lifetime: Duration,

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

    /// `JWT_SECRET`, if it is set. It has no flag, as every user of the machine can see a process's flags.
    pub fn jwt_secret() -> anyhow::Result<Option<SecretSlice<u8>>> {
        let Some(secret) = std::env::var_os("JWT_SECRET").filter(|secret| !secret.is_empty()) else {
            return Ok(None);
        };
        let bytes = secret.into_encoded_bytes();
        ensure!(
            bytes.trim_ascii().len() >= AccessTokens::MIN_SECRET_BYTES,
            "JWT_SECRET has {} bytes; at least {} are needed, for example from: openssl rand -base64 48",
            bytes.len(),
            AccessTokens::MIN_SECRET_BYTES,
        );
        Ok(Some(bytes.into()))
    }
}
