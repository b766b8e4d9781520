use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::config::Host;
use tokio_postgres::{CancelToken, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::statements::watched;
use super::url::{DatabaseUrl, SslMode};
use super::{Error, tls, url};

/// How long to wait before another attempt, at first and later; somewhat less, by chance.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long it may take to tell the server that an answer is not wanted any more.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);

/// What PgBouncer says of settings at the start of a session
/// (<https://www.pgbouncer.org/config.html#ignore_startup_parameters>).
const POOLER: &str = "unsupported startup parameter";

/// Opens connections to one database.
#[derive(Clone)]
pub struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    plain_too: bool,
    limit: Duration,
    sessions: Option<Sessions>,
}

/// The ways to the database.
pub struct Connectors {
    /// For requests, perhaps through a pooler.
    pub primary: Connector,
    /// For migrations and for listening, past any pooler.
    pub direct: Connector,
    /// To copies of it, for reads.
    pub replicas: Vec<Connector>,
}

/// Time limits of the server's own for each session, as the last line of defence: the service has its own, and cancels what
/// goes beyond them.
#[derive(Clone)]
struct Sessions {
    work: Duration,
    /// Whether a pooler refuses them at the start of a session; then they are set in each transaction.
    pooled: Arc<AtomicBool>,
}

impl Sessions {
    /// Below the limit for a unit of work: a statement that takes too long is the server's to end.
    fn settings(&self) -> [(&'static str, u128); 3] {
        let statement = Connector::statement_limit(self.work);
        [
            ("statement_timeout", statement.as_millis()),
            ("lock_timeout", (statement / 2).as_millis()),
            ("idle_in_transaction_session_timeout", self.work.as_millis()),
        ]
    }
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
        Ok(Self { config, tls, plain_too: url.ssl_mode == SslMode::Prefer, limit, sessions: None })
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// How long the server gives a statement within a unit of work of some length.
    pub(super) fn statement_limit(work: Duration) -> Duration {
        work.mul_f64(0.8)
    }

    /// The same with time limits of the server's for units of work of this length, unless the URL brings its own.
    pub(super) fn limited(mut self, work: Duration) -> Self {
        if !self.config.get_options().is_some_and(|options| options.contains("statement_timeout")) {
            let pooled = Arc::new(AtomicBool::new(self.is_neon_pooler()));
            self.sessions = Some(Sessions { work, pooled });
        }
        self
    }

    /// Tells databases apart without saying where they are; the same by way of Neon's pooler and past it.
    pub fn fingerprint(&self) -> String {
        let (hosts, ports) = (self.config.get_hosts(), self.config.get_ports());
        let place = format!("{hosts:?} {ports:?} {:?}", self.config.get_dbname()).replace("-pooler.", ".");
        let hash = crate::crypto::sha256(place.as_bytes());
        let first = hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        format!("{first:016x}")
    }

    fn is_neon_pooler(&self) -> bool {
        let pooler = |host: &Host| matches!(host, Host::Tcp(name) if url::is_neon_pooler(name));
        self.config.get_hosts().iter().any(pooler)
    }

    /// Notes that a pooler does not pass limits on to sessions, though it did not say so.
    pub(super) fn is_pooled(&self) {
        if let Some(sessions) = &self.sessions {
            sessions.pooled.store(true, Ordering::Relaxed);
        }
    }

    /// The same for sessions that are to last, told apart from those of requests by their name.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        if self.config.get_application_name() == Some("todo-api") {
            self.config.application_name("todo-api lasting");
        }
        self
    }

    /// What a transaction has to begin with where limits can't be given to the session.
    pub(super) fn transaction_limits(&self) -> Option<String> {
        let sessions = self.sessions.as_ref().filter(|sessions| sessions.pooled.load(Ordering::Relaxed))?;
        let set = |(name, millis)| format!("SET LOCAL {name} = {millis}");
        Some(sessions.settings().map(set).join("; "))
    }

    /// How a session begins.
    fn session(&self) -> Config {
        let mut config = self.config.clone();
        if let Some(sessions) =
            self.sessions.as_ref().filter(|sessions| !sessions.pooled.load(Ordering::Relaxed))
        {
            let set = |(name, millis)| format!("-c {name}={millis}");
            let own = self.config.get_options().unwrap_or_default();
            config.options(format!("{own} {}", sessions.settings().map(set).join(" ")).trim());
        }
        config
    }

    /// Opens a connection for a command or a start, which nobody else tries again: for as long as the limit allows, as a
    /// database that has to wake up may refuse the first attempts.
    pub async fn connect_patiently(&self) -> Result<AsyncPgConnection, Error> {
        let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let error = match self.connect().await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            if began.elapsed() + pause >= self.limit {
                return Err(error);
            }
            tracing::warn!(reason = error.reason(), "can't connect to the database; trying again");
            sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Whether something answers in the database's place, without asking it anything: Neon's proxy, PgBouncer and
    /// PostgreSQL tell whoever comes whether they speak TLS, and a database that sleeps is not woken for it.
    pub async fn knock(&self) -> bool {
        let ports = self.config.get_ports();
        let port = |n: usize| ports.get(n).or(ports.first()).copied().unwrap_or(5432);
        for (n, host) in self.config.get_hosts().iter().enumerate() {
            let answered = match (host, self.config.get_hostaddrs().get(n)) {
                (Host::Unix(dir), _) => knock_on(UnixStream::connect(socket_in(dir, port(n)))).await,
                (_, Some(address)) => knock_on(TcpStream::connect((*address, port(n)))).await,
                (Host::Tcp(name), None) => knock_on(TcpStream::connect((name.as_str(), port(n)))).await,
            };
            if answered.is_ok() {
                return true;
            }
        }
        false
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
            Some(tls) => timeout(CANCEL_LIMIT, token.cancel_query(tls)).await,
            None => timeout(CANCEL_LIMIT, token.cancel_query(NoTls)).await,
        };
        if !matches!(cancelled, Ok(Ok(()))) {
            tracing::debug!("a statement could not be cancelled");
        }
    }

    async fn attempt(&self) -> ConnectionResult<AsyncPgConnection> {
        let refused = match (self.begin(&self.session()).await, &self.sessions) {
            (Err(ConnectionError::BadConnection(reason)), Some(sessions)) if reason.contains(POOLER) => {
                sessions
            }
            (result, _) => return result,
        };
        refused.pooled.store(true, Ordering::Relaxed);
        self.begin(&self.session()).await
    }

    async fn begin(&self, config: &Config) -> ConnectionResult<AsyncPgConnection> {
        if let Some(tls) = &self.tls {
            match config.connect(tls.clone()).await {
                Ok((client, connection)) => {
                    return AsyncPgConnection::try_from_client_and_connection(client, connection).await;
                }
                // sslmode=prefer: a local server whose certificate nobody vouches for is used without.
                Err(error) if self.plain_too && error.as_db_error().is_none() => {}
                Err(error) => return Err(describe(&error)),
            }
        }
        let (client, connection) = config.connect(NoTls).await.map_err(|error| describe(&error))?;
        // The variant that keeps the task's channels: with the other a dead connection is noticed late.
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    }
}

fn socket_in(dir: &Path, port: u16) -> PathBuf {
    dir.join(format!(".s.PGSQL.{port}"))
}

/// The message SSLRequest: its length and its code
/// (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

async fn knock_on<S: AsyncRead + AsyncWrite + Unpin>(
    connect: impl Future<Output = io::Result<S>>,
) -> io::Result<u8> {
    let mut stream = connect.await?;
    stream.write_all(&SSL_REQUEST).await?;
    stream.read_u8().await
}

/// The driver's error with its cause, which its own text leaves out.
fn describe(error: &tokio_postgres::Error) -> ConnectionError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    ConnectionError::BadConnection(format!("{error}{cause}"))
}
