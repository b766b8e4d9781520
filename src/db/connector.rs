use std::time::Duration;

use anyhow::Context;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::url::{DatabaseUrl, SslMode};
use super::{Error, tls};
use crate::telemetry::watched;

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
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(limit);
        }
        Ok(Self { config, tls, plain_too: url.ssl_mode == SslMode::Prefer, limit })
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Opens a connection.
    pub async fn connect(&self) -> Result<AsyncPgConnection, Error> {
        match timeout(self.limit, self.attempt()).await {
            Ok(connection) => connection.map(watched).map_err(|error| Error::Unavailable(error.to_string())),
            Err(_) => Err(Error::timeout("connecting")),
        }
    }

    /// Asks the server to give up what a connection is busy with.
    pub(super) async fn cancel(&self, token: CancelToken) {
        let cancelled = match self.tls.clone() {
            Some(tls) => timeout(self.limit, token.cancel_query(tls)).await,
            None => timeout(self.limit, token.cancel_query(NoTls)).await,
        };
        if !matches!(cancelled, Ok(Ok(()))) {
            tracing::debug!("a statement could not be cancelled");
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
