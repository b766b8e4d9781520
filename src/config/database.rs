use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::values::{duration, integer, list, seconds, secret};
use crate::db::{DatabaseUrl, PoolSettings};

/// Connections to the database.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct DatabaseSettings {
    /// PostgreSQL URL, in the syntax of libpq [default: an embedded PostgreSQL]
    #[arg(long, env, value_parser = secret)]
    database_url: Option<SecretString>,

    /// URL of PostgreSQL itself where DATABASE_URL is a pooler; for migrations and LISTEN [default: Neon's host without
    /// -pooler, otherwise DATABASE_URL]
    #[arg(long, env, value_parser = secret)]
    database_direct_url: Option<SecretString>,

    /// URLs of read replicas, separated by commas: a user's reads go to a replica that has all of the user's writes
    #[arg(long, env, default_value = "", hide_default_value = true, value_parser = list(secret))]
    database_replica_urls: std::vec::Vec<SecretString>,

    /// Run pending migrations before serving [default: true for the embedded PostgreSQL, otherwise false]
    #[arg(long, env)]
    pub migrate_on_start: Option<bool>,

    /// Directory of initdb and postgres, for the embedded PostgreSQL [default: searched for, otherwise downloaded]
    #[arg(long, env)]
    pub postgres_bin_dir: Option<PathBuf>,

    /// Connections that are kept open
    #[arg(long, env, default_value = "5", value_parser = integer(1..=1000_usize))]
    database_pool_size: usize,

    /// Additional connections under load
    #[arg(long, env, default_value = "10", value_parser = integer(0..=1000_usize))]
    database_pool_overflow: usize,

    /// Maximum wait for a connection while all are in use
    #[arg(long, env, default_value = "5s", value_parser = duration(Duration::from_millis(10)..=seconds(120)))]
    database_pool_timeout: Duration,

    /// Maximum wait for a connection while the database is down or waking up
    #[arg(long, env, default_value = "18s", value_parser = duration(Duration::from_millis(10)..=seconds(120)))]
    database_connect_timeout: Duration,

    /// Time limit for one unit of work, such as a transaction
    #[arg(long, env, default_value = "15s", value_parser = duration(Duration::from_millis(10)..=seconds(600)))]
    database_work_timeout: Duration,

    /// Age at which a connection is retired
    #[arg(long, env, default_value = "1h", value_parser = duration(seconds(1)..=seconds(86_400)))]
    database_connection_lifetime: Duration,

    /// Idle time after which a connection is closed; below the 5 minutes after which Neon suspends
    #[arg(long, env, default_value = "4m", value_parser = duration(seconds(1)..=seconds(86_400)))]
    database_idle_timeout: Duration,
}

impl DatabaseSettings {
    /// Parses `DATABASE_URL`; `None` stands for the embedded PostgreSQL.
    pub fn url(&self) -> anyhow::Result<Option<DatabaseUrl>> {
        parse("DATABASE_URL", self.database_url.as_ref())
    }

    /// Returns `DATABASE_URL` and `DATABASE_DIRECT_URL` unparsed.
    pub(crate) fn unparsed_urls(&self) -> (Option<&SecretString>, Option<&SecretString>) {
        (self.database_url.as_ref(), self.database_direct_url.as_ref())
    }

    /// Parses `DATABASE_DIRECT_URL`, by default `DATABASE_URL` without Neon's pooler.
    pub fn direct_url(&self) -> anyhow::Result<Option<DatabaseUrl>> {
        match parse("DATABASE_DIRECT_URL", self.database_direct_url.as_ref())? {
            Some(url) => Ok(Some(url)),
            None => Ok(self.url()?.map(DatabaseUrl::without_neon_pooler)),
        }
    }

    /// Parses `DATABASE_REPLICA_URLS`.
    pub fn replica_urls(&self) -> anyhow::Result<Vec<DatabaseUrl>> {
        let urls = self.database_replica_urls.iter();
        urls.filter_map(|url| parse("DATABASE_REPLICA_URLS", Some(url)).transpose()).collect()
    }

    /// Returns the time limit for opening a connection.
    pub fn connect_timeout(&self) -> Duration {
        self.database_connect_timeout
    }

    /// Returns the sizes and time limits of the pool.
    pub fn pool(&self) -> PoolSettings {
        PoolSettings {
            size: self.database_pool_size,
            overflow: self.database_pool_overflow,
            lifetime: self.database_connection_lifetime,
            idle: self.database_idle_timeout,
            wait: self.database_pool_timeout,
            work: self.database_work_timeout,
        }
    }
}

fn parse(name: &str, text: Option<&SecretString>) -> anyhow::Result<Option<DatabaseUrl>> {
    let url = text.map(|text| DatabaseUrl::parse(text.expose_secret().trim())).transpose();
    url.map_err(|reason| anyhow!("{name} {reason}"))
}
