use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::{self, Manager, Object, Pool, RecycleError, RecycleResult, Timeouts};
use deadpool::{Runtime, Status};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::{PoolableConnection, RecyclingMethod};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::dialer::Dialer;
use super::stale::Renewal;
use super::{Connector, Error, silence};
use crate::metrics::{DatabaseFailure, Metrics};

/// How often spare connections are looked for. It costs no query, so it does not keep a database awake.
const TIDY_EVERY: Duration = Duration::from_secs(15);

/// The pool's numbers.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// Connections kept for later use.
    pub size: usize,
    /// Connections beyond those while many are needed at once.
    pub overflow: usize,
    /// Age at which a connection is retired.
    pub lifetime: Duration,
    /// Idle time after which a connection is closed.
    pub idle: Duration,
    /// Idle time after which a connection is asked whether it still answers before it is used.
    pub check_after: Duration,
    /// How long that question may take.
    pub check_limit: Duration,
    /// How long a request waits for a connection while all are in use.
    pub wait: Duration,
    /// How long a unit of work may take once it has a connection.
    pub work: Duration,
}

/// A pool of connections to one server; cheap to clone.
#[derive(Clone)]
pub(super) struct ConnectionPool {
    pool: Pool<Connections>,
    dialer: Dialer,
    connector: Connector,
    settings: PoolSettings,
    metrics: Metrics,
    renewal: Arc<Renewal>,
    /// When a connection was last asked for.
    used: Arc<Mutex<Option<Instant>>>,
    _tidy: Arc<AbortOnDropHandle<()>>,
}

impl ConnectionPool {
    /// A pool that opens connections as they are needed; must be called on a tokio runtime.
    pub(super) fn new(
        connector: Connector,
        settings: PoolSettings,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let patience = connector.limit();
        Self::with_patience(connector, patience, settings, metrics)
    }

    /// A pool whose users do not wait for a server that is not there.
    pub(super) fn impatient(
        connector: Connector,
        settings: PoolSettings,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        Self::with_patience(connector, Duration::ZERO, settings, metrics)
    }

    fn with_patience(
        connector: Connector,
        patience: Duration,
        settings: PoolSettings,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let connector = connector.limited(settings.work);
        let dialer = Dialer::new(connector.clone(), patience);
        let connections = Connections { dialer: dialer.clone(), settings, doubted: Mutex::default() };
        let pool = Pool::builder(connections)
            .max_size(settings.size + settings.overflow)
            .runtime(Runtime::Tokio1)
            // Its limits do not bound a get together, which may have to try several dead connections in turn.
            .timeouts(Timeouts::default())
            .build()?;
        let tidy = Arc::new(AbortOnDropHandle::new(tokio::spawn(tidy(pool.clone(), settings))));
        Ok(Self {
            pool,
            dialer,
            connector,
            settings,
            metrics,
            renewal: Arc::default(),
            used: Arc::default(),
            _tidy: tidy,
        })
    }

    /// A connection, within one limit for whatever that takes. While the database is there the limit is a shorter one: then
    /// it is other requests that have to end first.
    pub(super) async fn get(&self) -> Result<Lease, Error> {
        let began = Instant::now();
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
        let got = tokio::select! {
            biased;
            got = timeout(self.connector.limit() + self.settings.check_limit, self.pool.get()) => {
                let got = got.map_err(|_| Error::timeout("waiting for a connection"));
                got.and_then(|got| got.map_err(Error::from)).map_err(|error| (DatabaseFailure::Connect, error))
            }
            () = self.dialer.up_for(self.settings.wait) => {
                Err((DatabaseFailure::Wait, Error::timeout("waiting while all connections are in use")))
            }
        };
        self.metrics.database_waited(began.elapsed());
        match got {
            Ok(connection) => Ok(Lease { connection: Some(connection), connector: self.connector.clone() }),
            Err((failure, error)) => {
                self.failed(failure);
                Err(error)
            }
        }
    }

    /// Returns once the server is known to do nothing for a connection, though that is waited for.
    pub(super) async fn forgotten(&self, process: i32) {
        silence::until_forgotten(&self.dialer, process).await;
    }

    /// Counts a unit of work that failed.
    pub(super) fn failed(&self, failure: DatabaseFailure) {
        self.metrics.database_failed(failure);
    }

    /// Whether the server is known to be away. If so it is tried, so that this becomes untrue by itself.
    pub(super) fn is_down(&self) -> bool {
        self.dialer.is_down()
    }

    /// Whether a connection is likely to be had without waiting. If not, the server is tried for next time.
    pub(super) fn is_warm(&self) -> bool {
        self.pool.status().available > 0 || self.dialer.is_up()
    }

    pub(super) fn was_used_within(&self, time: Duration) -> bool {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < time)
    }

    /// Whether something answers in the server's place.
    pub(super) async fn knock(&self) -> bool {
        !self.pool.is_closed() && self.connector.knock().await
    }

    /// Has whoever shares our sessions get rid of statements that have become stale since a request began.
    pub(super) async fn renew(&self, began: Instant) {
        if self.connector.transaction_limits().is_some() {
            self.renewal.since(began, &self.dialer).await;
        }
    }

    /// Has the connections closed that idle now, as another one was found dead.
    pub(super) fn doubt(&self) {
        self.pool.manager().doubt();
    }

    /// What a transaction has to begin with.
    pub(super) fn transaction_limits(&self) -> Option<String> {
        self.connector.transaction_limits()
    }

    pub(super) fn status(&self) -> Status {
        self.pool.status()
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// A connection of the pool.
pub(super) struct Pooled {
    connection: AsyncPgConnection,
    /// The server's process that serves this connection and no other one; not known behind a pooler.
    process: Option<i32>,
}

/// A connection on loan, closed when dropped unless it is given back; what it was busy with is cancelled.
pub(super) struct Lease {
    connection: Option<Object<Connections>>,
    connector: Connector,
}

impl Lease {
    pub(super) fn connection(&mut self) -> Result<&mut AsyncPgConnection, Error> {
        let pooled = self.connection.as_deref_mut();
        let pooled = pooled.ok_or_else(|| Error::Unavailable("the connection was given back".into()))?;
        Ok(&mut pooled.connection)
    }

    /// The server's process behind it, if that is known.
    pub(super) fn process(&self) -> Option<i32> {
        self.connection.as_ref().and_then(|pooled| pooled.process)
    }

    pub(super) fn give_back(mut self) {
        self.connection.take();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(Pooled { connection, .. }) = self.connection.take().map(Object::take) else { return };
        // Closing the connection alone would leave the statement running, and with it its locks.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (connector, token) = (self.connector.clone(), connection.cancel_token());
            runtime.spawn(async move { connector.cancel(token).await });
        }
    }
}

/// What deadpool asks for connections.
struct Connections {
    dialer: Dialer,
    settings: PoolSettings,
    /// When it was noticed that a connection was dead though nobody had said so.
    doubted: Mutex<Option<Instant>>,
}

impl Connections {
    fn doubt(&self) {
        *self.doubted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection has not been used since others were found dead.
    fn is_doubtful(&self, idle: Duration) -> bool {
        let doubted = *self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        doubted.is_some_and(|at| at.elapsed() <= idle)
    }
}

impl Manager for Connections {
    type Type = Pooled;
    type Error = Error;

    async fn create(&self) -> Result<Pooled, Error> {
        // Opening is rare, and its state with TLS's would make every future that may need it large.
        Box::pin(async {
            let mut connection = self.dialer.connect().await?;
            let process = silence::process_of(&mut connection, self.settings.work).await?;
            Ok(Pooled { connection, process })
        })
        .await
    }

    async fn recycle(&self, pooled: &mut Pooled, metrics: &managed::Metrics) -> RecycleResult<Error> {
        let connection = &mut pooled.connection;
        let idle = metrics.last_used();
        if connection.is_broken() {
            return Err(RecycleError::message("closed or inside a transaction"));
        }
        if metrics.age() > self.settings.lifetime {
            return Err(RecycleError::message("too old"));
        }
        if self.is_doubtful(idle) {
            return Err(RecycleError::message("others that were there with it were dead"));
        }
        if idle > self.settings.check_after {
            let ping = timeout(self.settings.check_limit, connection.ping(&RecyclingMethod::Verified)).await;
            if !matches!(ping, Ok(Ok(()))) {
                self.doubt();
                return Err(RecycleError::message("no answer"));
            }
        }
        Ok(())
    }
}

/// Closes connections that are too old, have idled too long, or are spare and not needed any more.
async fn tidy(pool: Pool<Connections>, settings: PoolSettings) {
    let mut ticks = tokio::time::interval(TIDY_EVERY);
    loop {
        ticks.tick().await;
        let mut kept = 0;
        pool.retain(|_, metrics| {
            let idle = metrics.last_used();
            let keep = metrics.age() < settings.lifetime
                && idle < settings.idle
                && (kept < settings.size || idle < TIDY_EVERY);
            kept += usize::from(keep);
            keep
        });
    }
}
