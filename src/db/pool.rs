use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::{Object, Pool, Timeouts};
use deadpool::{Runtime, Status};
use diesel_async::AsyncPgConnection;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::dialer::Dialer;
use super::manager::{Connections, Pooled, tidy};
use super::stale::Renewal;
use super::{Connector, Error, silence};
use crate::metrics::{DatabaseFailure, Metrics};

/// How long to wait for a free connection where no more can be opened.
const CROWDED_PAUSE: Duration = Duration::from_millis(50);

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
    /// One asks after its answer at a time.
    asking: Arc<AsyncMutex<()>>,
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
        Self::with_patience(connector, patience, "the database", settings, metrics)
    }

    /// A pool whose users do not wait for a server that is not there.
    pub(super) fn impatient(
        connector: Connector,
        settings: PoolSettings,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        Self::with_patience(connector, Duration::ZERO, "a read replica", settings, metrics)
    }

    fn with_patience(
        connector: Connector,
        patience: Duration,
        name: &'static str,
        settings: PoolSettings,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let connector = connector.limited(settings.work);
        let dialer = Dialer::new(connector.clone(), patience, name);
        let connections = Connections::new(dialer.clone(), connector.clone(), settings);
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
            asking: Arc::default(),
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
            got = timeout(self.connector.limit() + self.settings.check_limit, self.open_or_reuse()) => {
                got.map_err(|_| "no connection in time".into()).and_then(|got| got.map_err(|error| error.reason()))
                    .map_err(|reason| (DatabaseFailure::Connect, reason))
            }
            // Only who has to wait pays for it.
            () = async { Box::pin(self.dialer.up_for(self.settings.wait)).await } => {
                Err((DatabaseFailure::Wait, "all connections are in use".to_owned()))
            }
        };
        self.metrics.database_wait.observe(began.elapsed().as_secs_f64());
        match got {
            Ok(connection) => Ok(Lease { connection: Some(connection), connector: self.connector.clone() }),
            // Nothing has been asked yet, so nothing is lost.
            Err((failure, reason)) => {
                self.failed(failure);
                Err(Error::Unavailable(reason))
            }
        }
    }

    /// Where the server takes no more connections, one of those that there are will be free.
    async fn open_or_reuse(&self) -> Result<Object<Connections>, Error> {
        loop {
            match self.pool.get().await.map_err(Error::from) {
                Err(error) if error.is_crowded() && self.pool.status().size > 0 => sleep(CROWDED_PAUSE).await,
                result => return result,
            }
        }
    }

    /// Returns once the server is known to do nothing for a connection, though that is waited for.
    pub(super) async fn forgotten(&self, process: i32) {
        silence::until_forgotten(&self.dialer, &self.asking, process).await;
    }

    /// Counts a unit of work that failed.
    pub(super) fn failed(&self, failure: DatabaseFailure) {
        self.metrics.database_failures.get(failure).inc();
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

    /// Closes it without cancelling anything: it is lost, and with it what it was busy with.
    pub(super) fn bury(mut self) {
        drop(self.connection.take().map(Object::take));
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
