use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use diesel::sql_types::Bool;
use diesel::{ConnectionError, ConnectionResult, QueryableByName};
use diesel_async::AsyncPgConnection;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::config::Host;
use tokio_postgres::{CancelToken, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::limits::SessionLimits;
use super::statements::instrumented;
use super::url::{DatabaseUrl, SslMode};
use super::{Error, knock, tls, url};

/// First and longest delay between attempts of a command.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// Time limit for cancelling a statement, in the background.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);
/// Time limit of the first query on a connection.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// PgBouncer's message about settings at the start of a session
/// (<https://www.pgbouncer.org/config.html#ignore_startup_parameters>).
const REFUSES_OPTIONS: &str = "unsupported startup parameter";

/// Time limit for the TCP connection alone. A lost SYN is retransmitted after 1, 3 and 7 seconds, and `tcp_user_timeout`
/// does not cover it; a new attempt notices sooner that a network is back.
const TCP_CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Opens connections to one database.
#[derive(Clone)]
pub struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    /// True for `sslmode=prefer`: falls back to a connection without TLS.
    plain_too: bool,
    limit: Duration,
    /// `None` for commands, and if the URL brings its own.
    session_limits: Option<SessionLimits>,
    /// True once a pooler is known that does not pass the session's limits on; then each transaction sets them.
    pooled: Arc<AtomicBool>,
}

/// The connectors of the service.
pub struct Connectors {
    /// The way of requests, perhaps through a pooler.
    pub primary: Connector,
    /// The way of migrations and of listening, past any pooler.
    pub direct: Connector,
    /// The ways to read replicas.
    pub replicas: Vec<Connector>,
}

impl Connector {
    /// Creates a connector whose attempts take at most `limit`, from the first packet to the session's set-up.
    ///
    /// Fails if the certificates that the URL names can't be read.
    pub fn new(url: &DatabaseUrl, limit: Duration) -> anyhow::Result<Self> {
        let tls = match url.ssl_mode {
            SslMode::Disable => None,
            _ => Some(MakeRustlsConnect::new(tls::client_config(url).context("DATABASE_URL")?)),
        };
        let mut config = url.config.clone();
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(limit.min(TCP_CONNECT_LIMIT));
        }
        let plain_too = url.ssl_mode == SslMode::Prefer;
        let mut connector =
            Self { config, tls, plain_too, limit, session_limits: None, pooled: Arc::default() };
        connector.pooled = Arc::new(AtomicBool::new(connector.is_neon_pooler()));
        Ok(connector)
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Adds the server's time limits for units of work of this length, unless the URL brings its own.
    pub(super) fn limited(mut self, work: Duration) -> Self {
        if !self.config.get_options().is_some_and(|options| options.contains("statement_timeout")) {
            self.session_limits = Some(SessionLimits::within(work));
        }
        self
    }

    /// Returns a hash that tells databases apart without naming them; the same for both of Neon's hosts.
    pub fn fingerprint(&self) -> String {
        let hosts = self.config.get_hosts();
        let ports = self.config.get_ports();
        let address = format!("{hosts:?} {ports:?} {:?}", self.config.get_dbname()).replace("-pooler.", ".");
        let hash = crate::crypto::sha256(address.as_bytes());
        let first = hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        format!("{first:016x}")
    }

    fn is_neon_pooler(&self) -> bool {
        let is_pooler = |host: &Host| matches!(host, Host::Tcp(name) if url::is_neon_pooler(name));
        self.config.get_hosts().iter().any(is_pooler)
    }

    /// True if the connections are known to go through a pooler in transaction mode.
    pub(super) fn is_pooled(&self) -> bool {
        self.pooled.load(Ordering::Relaxed)
    }

    /// Marks connections that are kept for one purpose, to tell them from those of requests in `pg_stat_activity`.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        if self.config.get_application_name() == Some("todo-api") {
            self.config.application_name("todo-api lasting");
        }
        self
    }

    /// Returns the statements that a transaction has to begin with where the session could not be given limits.
    pub(super) fn transaction_limits(&self) -> Option<String> {
        self.session_limits.filter(|_| self.is_pooled()).map(SessionLimits::set_local)
    }

    fn session_config(&self) -> Config {
        let mut config = self.config.clone();
        if let Some(limits) = self.session_limits.filter(|_| !self.is_pooled()) {
            let own = self.config.get_options().unwrap_or_default();
            config.options(format!("{own} {}", limits.options()).trim());
        }
        config
    }

    /// Notes a pooler that drops the session's limits without a word, as PgBouncer does with
    /// `ignore_startup_parameters = options`.
    pub(super) async fn check_limits(&self, conn: &mut AsyncPgConnection) -> Result<(), Error> {
        // Here only: its methods shadow those of an atomic.
        use diesel_async::RunQueryDsl;

        #[derive(QueryableByName)]
        struct Kept {
            #[diesel(sql_type = Bool)]
            kept: bool,
        }
        if self.session_limits.is_some() && !self.is_pooled() {
            let query = "SELECT EXISTS (SELECT FROM pg_settings
                WHERE name = 'statement_timeout' AND source = 'client') AS kept";
            let found = timeout(CHECK_LIMIT, diesel::sql_query(query).get_result::<Kept>(conn)).await;
            let found = found.map_err(|_| Error::timeout("beginning a session"))??;
            self.pooled.store(!found.kept, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Opens a connection for a command or at a start, and retries for as long as the limit allows: a database that has
    /// to wake up may refuse the first attempts.
    pub async fn connect_patiently(&self) -> Result<AsyncPgConnection, Error> {
        let began = Instant::now();
        let mut delay = FIRST_DELAY;
        loop {
            let error = match self.connect().await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            if began.elapsed() + delay >= self.limit {
                return Err(error);
            }
            tracing::warn!(reason = error.reason(), "can't connect to the database; trying again");
            sleep(delay.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            delay = LONGEST_DELAY.min(delay * 2);
        }
    }

    /// Returns true if the server, or a proxy for it, answers; without a login or a query.
    pub async fn knock(&self) -> bool {
        knock::knock(&self.config).await
    }

    /// Opens a connection.
    pub async fn connect(&self) -> Result<AsyncPgConnection, Error> {
        // Boxed: opening is rare, and TLS makes this a future of 8 kB, which clippy found too large in a caller.
        match timeout(self.limit, Box::pin(self.attempt())).await {
            Ok(opened) => opened.map(instrumented).map_err(|error| Error::connecting(&error)),
            Err(_) => Err(Error::timeout("connecting")),
        }
    }

    /// Asks the server to cancel the statement that a connection is busy with.
    pub(super) async fn cancel(&self, token: CancelToken) {
        let cancelled = match self.tls.clone() {
            Some(tls) => timeout(CANCEL_LIMIT, token.cancel_query(tls)).await,
            None => timeout(CANCEL_LIMIT, token.cancel_query(NoTls)).await,
        };
        if !matches!(cancelled, Ok(Ok(()))) {
            tracing::debug!("a statement could not be cancelled");
        }
    }

    /// Tries again without the session's limits if a pooler refuses them.
    async fn attempt(&self) -> ConnectionResult<AsyncPgConnection> {
        let opened = self.open(&self.session_config()).await;
        match opened {
            Err(ConnectionError::BadConnection(reason))
                if reason.contains(REFUSES_OPTIONS) && self.session_limits.is_some() =>
            {
                self.pooled.store(true, Ordering::Relaxed);
                self.open(&self.session_config()).await
            }
            result => result,
        }
    }

    async fn open(&self, config: &Config) -> ConnectionResult<AsyncPgConnection> {
        if let Some(tls) = &self.tls {
            match config.connect(tls.clone()).await {
                Ok((client, connection)) => {
                    return AsyncPgConnection::try_from_client_and_connection(client, connection).await;
                }
                // sslmode=prefer: a local server whose certificate can't be verified is used without TLS.
                Err(error) if self.plain_too && error.as_db_error().is_none() => {}
                Err(error) => return Err(with_cause(&error)),
            }
        }
        let (client, connection) = config.connect(NoTls).await.map_err(|error| with_cause(&error))?;
        // Not `try_from`: without the task's channels a dead connection is noticed late.
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    }
}

/// The driver's own text leaves the cause out.
fn with_cause(error: &tokio_postgres::Error) -> ConnectionError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    ConnectionError::BadConnection(format!("{error}{cause}"))
}
