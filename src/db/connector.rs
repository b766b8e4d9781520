use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use diesel::QueryableByName;
use diesel::sql_types::Bool;
use diesel_async::AsyncPgConnection;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::config::{Host, SslMode as DriverSslMode, SslNegotiation, TargetSessionAttrs};
use tokio_postgres::{Config, NoTls};

use super::backoff::jittered;
use super::limits::SessionLimits;
use super::session::{Cancellation, ListeningConnection, Session, socket_in};
use super::tls::Tls;
use super::url::{DatabaseUrl, SslMode};
use super::wire::{ObservedStream, Observing, Wire};
use super::{Error, knock, url};

/// First and longest delay between attempts of a command.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

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
    tls: Option<Tls>,
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
            _ => Some(Tls::new(url).context("DATABASE_URL")?),
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
    pub(super) async fn check_limits(&self, session: &mut Session) -> Result<(), Error> {
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
            let find = diesel::sql_query(query).get_result::<Kept>(&mut session.connection);
            let found =
                timeout(CHECK_LIMIT, find).await.map_err(|_| Error::timeout("beginning a session"))?;
            let found = found.map_err(|error| Error::in_session(error, &session.wire))?;
            self.pooled.store(!found.kept, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Opens a connection for a command or at a start, and retries for as long as the limit allows: a database that has
    /// to wake up may refuse the first attempts.
    pub async fn connect_patiently(&self) -> Result<AsyncPgConnection, Error> {
        self.open_patiently().await.map(Session::into_connection)
    }

    /// Opens a session as [`connect_patiently`](Self::connect_patiently).
    pub(super) async fn open_patiently(&self) -> Result<Session, Error> {
        let began = Instant::now();
        let mut delay = FIRST_DELAY;
        loop {
            let error = match self.open().await {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            if began.elapsed() + delay >= self.limit {
                return Err(error);
            }
            tracing::warn!(reason = error.reason(), "can't connect to the database; trying again");
            sleep(jittered(delay)).await;
            delay = LONGEST_DELAY.min(delay * 2);
        }
    }

    /// Returns true if the server, or a proxy for it, answers; without a login or a query.
    pub async fn knock(&self) -> bool {
        knock::knock(&self.config).await
    }

    /// Opens a connection.
    pub async fn connect(&self) -> Result<AsyncPgConnection, Error> {
        self.open().await.map(Session::into_connection)
    }

    /// Opens a connection for `LISTEN`.
    pub async fn connect_to_listen(&self) -> Result<ListeningConnection, Error> {
        self.open().await.map(Session::into_listening)
    }

    /// Opens a connection with what its driver observes.
    pub(super) async fn open(&self) -> Result<Session, Error> {
        // Boxed: opening is rare, and TLS makes this a future of 8 kB, which clippy found too large in a caller.
        let opened = timeout(self.limit, Box::pin(self.attempt())).await;
        opened.unwrap_or_else(|_| Err(Error::timeout("connecting")))
    }

    /// Tries again without the session's limits if a pooler refuses them.
    async fn attempt(&self) -> Result<Session, Error> {
        let opened = self.begin(&self.session_config()).await;
        match opened {
            Err(Error::Unavailable(reason))
                if reason.contains(REFUSES_OPTIONS) && self.session_limits.is_some() =>
            {
                self.pooled.store(true, Ordering::Relaxed);
                self.begin(&self.session_config()).await
            }
            result => result,
        }
    }

    async fn begin(&self, config: &Config) -> Result<Session, Error> {
        if let [Host::Unix(dir)] = config.get_hosts()
            && config.get_hostaddrs().is_empty()
            && config.get_target_session_attrs() == TargetSessionAttrs::Any
        {
            return begin_on_socket(config, dir).await;
        }
        if let Some(tls) = &self.tls {
            let mut config = config.clone();
            config.ssl_mode(DriverSslMode::Require);
            let tls = tls.current().await;
            let wire = Wire::default();
            let observing = Observing { tls: tls.clone(), wire: wire.clone() };
            match config.connect(observing).await {
                Ok((client, connection)) => {
                    let cancellation = Cancellation::Tls(client.cancel_token(), tls.clone());
                    return Session::begin(client, connection, cancellation, wire).await;
                }
                // sslmode=prefer: a local server whose certificate can't be verified is used without TLS.
                Err(error) if self.plain_too && error.as_db_error().is_none() => {}
                Err(error) => return Err(Error::connecting(&error)),
            }
        }
        if config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_))) {
            return begin_unobserved(config.clone()).await;
        }
        begin_plain(config.clone()).await
    }
}

/// Begins a session without TLS and without observing it, where the driver has to choose among hosts with a Unix socket:
/// its way of [`begin_plain`] asks each for a name. Errors are judged by what the driver tells.
async fn begin_unobserved(mut config: Config) -> Result<Session, Error> {
    config.ssl_mode(DriverSslMode::Disable).ssl_negotiation(SslNegotiation::Postgres);
    let (client, connection) = config.connect(NoTls).await.map_err(|error| Error::connecting(&error))?;
    let cancellation = Cancellation::Plain(client.cancel_token());
    Session::begin(client, connection, cancellation, Wire::default()).await
}

/// Begins a session without TLS, as [`Observing`] has it.
async fn begin_plain(mut config: Config) -> Result<Session, Error> {
    config.ssl_mode(DriverSslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    // The driver demands a name for TLS, which an address alone does not give.
    if config.get_hosts().is_empty() {
        for address in config.get_hostaddrs().to_vec() {
            config.host(address.to_string());
        }
    }
    let wire = Wire::default();
    let observing = Observing { tls: NoTls, wire: wire.clone() };
    let (client, connection) = config.connect(observing).await.map_err(|error| Error::connecting(&error))?;
    let cancellation = Cancellation::Plain(client.cancel_token());
    Session::begin(client, connection, cancellation, wire).await
}

/// Begins a session over a Unix socket, which has no host name for the way of [`begin_plain`].
async fn begin_on_socket(config: &Config, dir: &Path) -> Result<Session, Error> {
    let mut config = config.clone();
    config.ssl_mode(DriverSslMode::Disable);
    let path = socket_in(dir, config.get_ports().first().copied().unwrap_or(5432));
    let stream = UnixStream::connect(&path).await;
    let stream =
        stream.map_err(|error| Error::Unavailable(format!("error connecting to server: {error}")))?;
    let wire = Wire::default();
    let connected = config.connect_raw(ObservedStream::plain(stream, wire.clone()), NoTls).await;
    let (client, connection) = connected.map_err(|error| Error::connecting(&error))?;
    let cancellation = Cancellation::Unix(client.cancel_token(), path);
    Session::begin(client, connection, cancellation, wire).await
}
