use std::time::Duration;

use anyhow::Context;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::url::{DatabaseUrl, SslMode};
use super::{Error, tls};

/// How long data may wait for the server's acknowledgement before the connection counts as dead.
///
/// Without it a request into a black hole waits for TCP's own limit, about 15 minutes.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);
/// When an idle connection is first probed; the system's default is two hours.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// Opens connections to one database.
#[derive(Clone)]
pub struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    plain_too: bool,
    limit: Duration,
}

impl Connector {
    /// A connector that gives each attempt, from the first packet to the session's set-up, `limit`.
    ///
    /// Fails where the certificates that the URL names can't be read.
    pub fn new(url: &DatabaseUrl, limit: Duration) -> anyhow::Result<Self> {
        let tls = match url.ssl_mode {
            SslMode::Disable => None,
            _ => Some(MakeRustlsConnect::new(tls::client_config(url).context("DATABASE_URL")?)),
        };
        let mut config = url.config.clone();
        if config.get_application_name().is_none() {
            config.application_name("todo-api");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(limit);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        config
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES);
        Ok(Self { config, tls, plain_too: url.ssl_mode == SslMode::Prefer, limit })
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Opens a connection.
    pub async fn connect(&self) -> Result<AsyncPgConnection, Error> {
        match tokio::time::timeout(self.limit, self.attempt()).await {
            Ok(connection) => connection.map_err(|error| Error::Unavailable(error.to_string())),
            Err(_) => Err(Error::timeout("connecting")),
        }
    }

    async fn attempt(&self) -> ConnectionResult<AsyncPgConnection> {
        if let Some(tls) = &self.tls {
            match self.config.connect(tls.clone()).await {
                Ok((client, connection)) => {
                    return AsyncPgConnection::try_from_client_and_connection(client, connection).await;
                }
                // sslmode=prefer: a local server whose certificate nobody vouches for is used without.
                Err(error) if self.plain_too && error.as_db_error().is_none() => {}
                Err(error) => return Err(describe(&error)),
            }
        }
        let (client, connection) = self.config.connect(NoTls).await.map_err(|error| describe(&error))?;
        // The variant that keeps the task's channels: with the other a dead connection is noticed late.
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    }
}

/// The driver's error with its cause, which its own text leaves out.
fn describe(error: &tokio_postgres::Error) -> ConnectionError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    ConnectionError::BadConnection(format!("{error}{cause}"))
}
