use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::values::{duration, seconds, secret, whole};
use crate::db::{DatabaseUrl, PoolSettings};

/// How the database is reached.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct DatabaseSettings {
    /// PostgreSQL URL as libpq spells it [default: a PostgreSQL of the service's own]
    #[arg(long, env = "DATABASE_URL", global = true, hide_env_values = true, value_parser = secret)]
    database_url: Option<SecretString>,

    /// URL that leads to PostgreSQL itself where DATABASE_URL leads to a pooler; for migrations and for listening [default: for Neon's
    /// pooled host the one without -pooler, or else DATABASE_URL]
    #[arg(long, env = "DATABASE_DIRECT_URL", global = true, hide_env_values = true, value_parser = secret)]
    database_direct_url: Option<SecretString>,

    /// URLs of read replicas, separated by commas: reads go to one that has all that its user has written
    #[arg(long, env = "DATABASE_REPLICA_URLS", global = true, hide_env_values = true, value_delimiter = ',',
        value_parser = secret)]
    database_replica_urls: Vec<SecretString>,

    /// Whether to run pending migrations before serving [default: true for the service's own PostgreSQL, or else
    /// false]
    #[arg(long, env = "MIGRATE_ON_START", global = true, hide_env_values = true)]
    pub migrate_on_start: Option<bool>,

    /// Where initdb and postgres are, for the service's own PostgreSQL [default: found, or else downloaded]
    #[arg(long, env = "POSTGRES_BIN_DIR", global = true, hide_env_values = true)]
    pub postgres_bin_dir: Option<PathBuf>,

    /// Connections that are kept
    #[arg(long, env = "DATABASE_POOL_SIZE", global = true, hide_env_values = true, default_value = "5",
        value_parser = whole(1..=1000_usize))]
    database_pool_size: usize,

    /// Connections beyond those that are kept, while they are needed
    #[arg(long, env = "DATABASE_POOL_OVERFLOW", global = true, hide_env_values = true, default_value = "10",
        value_parser = whole(0..=1000_usize))]
    database_pool_overflow: usize,

    /// How long a request waits for a connection while all are in use
    #[arg(long, env = "DATABASE_POOL_TIMEOUT", global = true, hide_env_values = true, default_value = "5s",
        value_parser = duration(Duration::from_millis(10)..=seconds(120)))]
    database_pool_timeout: Duration,

    /// How long a request waits for a connection while the database is away or has to wake up
    #[arg(long, env = "DATABASE_CONNECT_TIMEOUT", global = true, hide_env_values = true, default_value = "18s",
        value_parser = duration(Duration::from_millis(10)..=seconds(120)))]
    database_connect_timeout: Duration,

    /// How long one unit of work, a transaction for example, may take
    #[arg(long, env = "DATABASE_WORK_TIMEOUT", global = true, hide_env_values = true, default_value = "15s",
        value_parser = duration(Duration::from_millis(10)..=seconds(600)))]
    database_work_timeout: Duration,

    /// Age at which a connection is retired
    #[arg(long, env = "DATABASE_CONNECTION_LIFETIME", global = true, hide_env_values = true, default_value = "1h",
        value_parser = duration(seconds(1)..=seconds(86_400)))]
    database_connection_lifetime: Duration,

    /// Idle time after which a connection is closed; less than the 5 minutes after which Neon suspends
    #[arg(long, env = "DATABASE_IDLE_TIMEOUT", global = true, hide_env_values = true, default_value = "4m",
        value_parser = duration(seconds(1)..=seconds(86_400)))]
    database_idle_timeout: Duration,

    /// Idle time after which a connection is tested before it is used
    #[arg(long, env = "DATABASE_CHECK_AFTER", global = true, hide_env_values = true, default_value = "30s",
        value_parser = duration(seconds(0)..=seconds(86_400)))]
    database_check_after: Duration,

    /// How long that test may take
    #[arg(long, env = "DATABASE_CHECK_TIMEOUT", global = true, hide_env_values = true, default_value = "1s",
        value_parser = duration(Duration::from_millis(10)..=seconds(120)))]
    database_check_timeout: Duration,
}

impl DatabaseSettings {
    /// The database to use, unless it is the service's own.
    pub fn url(&self) -> anyhow::Result<Option<DatabaseUrl>> {
        parse("DATABASE_URL", self.database_url.as_ref())
    }

    /// `DATABASE_URL` and `DATABASE_DIRECT_URL` as they are written.
    pub(crate) fn written(&self) -> (Option<&SecretString>, Option<&SecretString>) {
        (self.database_url.as_ref(), self.database_direct_url.as_ref())
    }

    /// The database without a pooler in between, as far as that is known, unless it is the service's own.
    pub fn direct_url(&self) -> anyhow::Result<Option<DatabaseUrl>> {
        match parse("DATABASE_DIRECT_URL", self.database_direct_url.as_ref())? {
            Some(url) => Ok(Some(url)),
            None => Ok(self.url()?.map(DatabaseUrl::without_neon_pooler)),
        }
    }

    /// The read replicas.
    pub fn replica_urls(&self) -> anyhow::Result<Vec<DatabaseUrl>> {
        let urls = self.database_replica_urls.iter();
        urls.filter_map(|url| parse("DATABASE_REPLICA_URLS", Some(url)).transpose()).collect()
    }

    /// How long getting a connection may take.
    pub fn connect_timeout(&self) -> Duration {
        self.database_connect_timeout
    }

    /// The pool's numbers.
    pub fn pool(&self) -> PoolSettings {
        PoolSettings {
            size: self.database_pool_size,
            overflow: self.database_pool_overflow,
            lifetime: self.database_connection_lifetime,
            idle: self.database_idle_timeout,
            check_after: self.database_check_after,
            check_limit: self.database_check_timeout,
            wait: self.database_pool_timeout,
            work: self.database_work_timeout,
        }
    }
}

fn parse(name: &str, text: Option<&SecretString>) -> anyhow::Result<Option<DatabaseUrl>> {
    let url = text.map(|text| DatabaseUrl::parse(text.expose_secret().trim())).transpose();
    url.map_err(|reason| anyhow!("{name} {reason}"))
}
