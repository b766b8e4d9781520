use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use secrecy::SecretSlice;

use super::values::{days, duration, integer, list, seconds};
use super::{SameSite, Switch};

/// Maximum lifetime of an access token, and so the time for which ended sessions have to be remembered.
pub const MAX_ACCESS_TOKEN_TTL: Duration = Duration::from_hours(24);

/// Accounts, sessions and tokens.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Accounts and sessions (JWT_SECRET is read from the environment or .env only)")]
pub struct AuthSettings {
    /// Issuer of access tokens: their claim iss
    #[arg(long, env, default_value = "todo-api", value_parser = NonEmptyStringValueParser::new())]
    pub jwt_issuer: String,

    /// Audience of access tokens: their claim aud
    #[arg(long, env, default_value = "todo-api", value_parser = NonEmptyStringValueParser::new())]
    pub jwt_audience: String,

    /// Lifetime of an access token
    #[arg(long, env, default_value = "15m", value_parser = duration(seconds(1)..=MAX_ACCESS_TOKEN_TTL))]
    pub access_token_ttl: Duration,

    /// Lifetime of a refresh token
    #[arg(long, env, default_value = "30d", value_parser = duration(seconds(1)..=days(365)))]
    pub refresh_token_ttl: Duration,

    /// Maximum lifetime of a session, regardless of how often it is refreshed
    #[arg(long, env, default_value = "180d", value_parser = duration(seconds(1)..=days(3650)))]
    pub session_ttl: Duration,

    /// Time during which a used refresh token returns the same successor again, for example to two browser tabs; later
    /// reuse counts as theft and ends the session
    #[arg(long, env, default_value = "10s", value_parser = duration(seconds(0)..=seconds(600)))]
    pub refresh_reuse_window: Duration,

    /// Browser mode: send refresh tokens in a cookie that scripts cannot read, not in responses
    #[arg(long, env, default_value = "off")]
    pub refresh_token_cookie: Switch,

    /// Attribute SameSite of that cookie: none if a page of CORS_ALLOWED_ORIGINS is on another site than the service
    /// [default: lax]
    #[arg(long, env, ignore_case = true)]
    pub refresh_token_cookie_same_site: Option<SameSite>,

    /// Limit attempts to log in, register and refresh
    #[arg(long, env, default_value = "on")]
    pub rate_limits: Switch,

    /// Time for which security events of accounts are kept
    #[arg(long, env, default_value = "90d", value_parser = duration(days(1)..=days(3650)))]
    pub security_event_retention: Duration,

    /// Files with keys for access tokens, separated by commas: the first signs, all verify, and so does JWT_SECRET. Each
    /// holds a private key for Ed25519 or P-256 as PEM, or a secret for HS256
    #[arg(long, env, default_value = "", hide_default_value = true, value_parser = list(PathBuf::from_str))]
    pub jwt_key_files: std::vec::Vec<PathBuf>,

    /// Passwords hashed at the same time; each takes 19 MiB and one core [default: the number of cores]
    #[arg(long, env, value_parser = integer(1..=256_usize))]
    pub password_hash_concurrency: Option<usize>,

    /// Maximum wait for a free hashing slot
    #[arg(long, env, default_value = "5s", value_parser = duration(Duration::from_millis(10)..=seconds(120)))]
    pub password_hash_timeout: Duration,
}

impl AuthSettings {
    /// Returns the number of passwords that may be hashed at the same time.
    pub fn password_hash_concurrency(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.password_hash_concurrency.unwrap_or_else(cores)
    }

    /// Returns the attribute `SameSite` of the cookie of browser mode.
    pub fn refresh_token_cookie_same_site(&self) -> SameSite {
        self.refresh_token_cookie_same_site.unwrap_or(SameSite::Lax)
    }

    /// Reads `JWT_SECRET`. It has no flag, as every user of the machine can see a process's flags.
    pub fn jwt_secret() -> Option<SecretSlice<u8>> {
        let secret = std::env::var_os("JWT_SECRET").filter(|secret| !secret.is_empty())?;
        Some(secret.into_encoded_bytes().into())
    }
}
