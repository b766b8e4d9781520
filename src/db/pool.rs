use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Object, Pool, Timeouts};
use deadpool::{Runtime, Status};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::CancelToken;
use tokio_util::task::AbortOnDropHandle;

use super::manager::{Connections, PING_LIMIT, tidy};
use super::reconnect::Reconnect;
use super::transaction::in_transaction;
use super::{Connector, Error, PoolSettings};
use crate::metrics::{DatabaseFailure, Metrics};

/// Delay before another attempt to get a connection where the server takes no more.
const CROWDED_DELAY: Duration = Duration::from_millis(50);

/// Connections outside the pool for retries after a stale plan, at once.
const STALE_RETRIES: usize = 4;

/// A pool of connections to one server; cheap to clone.
#[derive(Clone)]
pub(super) struct ConnectionPool {
    pool: Pool<Connections>,
    reconnect: Reconnect<AsyncPgConnection>,
    connector: Connector,
    settings: PoolSettings,
    metrics: Metrics,
    last_used: Arc<Mutex<Option<Instant>>>,
    stale_retries: Arc<Semaphore>,
    _tidy: Arc<AbortOnDropHandle<()>>,
}

impl ConnectionPool {
    /// Creates a pool that opens connections on demand; must be called on a tokio runtime.
    pub(super) fn new(
        connector: Connector,
        settings: PoolSettings,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let patience = connector.limit();
        Self::with_patience(connector, patience, "the database", settings, metrics)
    }

    /// Creates a pool whose callers do not wait for a server that is away.
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
        let connect = connector.clone();
        let reconnect = Reconnect::new(name, patience, move || {
            let connector = connect.clone();
            async move { connector.connect().await }.boxed()
        });
        let connections = Connections::new(reconnect.clone(), connector.clone(), settings);
        let pool = Pool::builder(connections)
            .max_size(settings.size + settings.overflow)
            .runtime(Runtime::Tokio1)
            // Its own limits would not bound a get as a whole, which may try several dead connections in turn.
            .timeouts(Timeouts::default())
            .build()?;
        let tidy = Arc::new(AbortOnDropHandle::new(tokio::spawn(tidy(pool.clone(), settings))));
        Ok(Self {
            pool,
            reconnect,
            connector,
            settings,
            metrics,
            last_used: Arc::default(),
            stale_retries: Arc::new(Semaphore::new(STALE_RETRIES)),
            _tidy: tidy,
        })
    }

    /// Does a unit of work on a connection, within the limits for getting one and for the work.
    ///
    /// A connection on which the work was cut short, by its limit or because the caller went away, is closed: the server
    /// may still be busy with it.
    pub(super) async fn run<R>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
    ) -> Result<R, Error> {
        let mut lease = self.get().await?;
        let done = timeout(limit, work(lease.connection()?)).await;
        let result = if let Ok(done) = done {
            done.map_err(Error::from)
        } else {
            // Slow or silent: those that idle meanwhile have to show that they still answer.
            self.pool.manager().ping_idle();
            Err(Error::Unavailable(format!("the work was not done within {limit:?}")))
        };
        match &result {
            Ok(_) => lease.give_back(),
            Err(error) => {
                self.note_failure(error);
                match error {
                    Error::Lost(_) => lease.discard(),
                    Error::Unavailable(_) | Error::Refused(_) => drop(lease),
                    _ => lease.give_back(),
                }
            }
        }
        result
    }

    /// Repeats a unit of work that failed with `error`.
    pub(super) async fn run_again<R>(
        &self,
        error: &Error,
        limit: Duration,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
    ) -> Result<R, Error> {
        if !(error.is_stale_plan() && self.connector.is_pooled()) {
            return self.run(limit, work).await;
        }
        // A pooler in transaction mode shares prepared statements by their text, so even a new client meets the stale
        // plan on the pooler's connection to the server, for as long as that is kept: an hour by default. Deallocating
        // in the same transaction has the statements prepared anew on whichever connection that is. The pooler then
        // forgets this client's statements, too, which the driver does not know: hence a connection of its own.
        let open = async {
            let permit = self.stale_retries.acquire().await;
            self.reconnect.connect().await.map(|conn| (conn, permit))
        };
        let opened = timeout(self.connector.limit(), open).await;
        let (mut conn, _permit) = opened.unwrap_or_else(|_| Err(Error::timeout("connecting")))?;
        let cancel = CancelOnDrop::new(&conn, &self.connector);
        let mut first = "DEALLOCATE ALL".to_owned();
        if let Some(limits) = self.transaction_limits() {
            first = format!("{first}; {limits}");
        }
        let result = match timeout(limit, in_transaction(&mut conn, Some(&first), work, || {})).await {
            Ok(done) => done.map_err(Error::from),
            Err(_) => Err(Error::Unavailable(format!("the work was not done within {limit:?}"))),
        };
        match &result {
            Err(error @ Error::Unavailable(_)) => self.note_failure(error),
            result => {
                cancel.disarm();
                result.as_ref().err().inspect(|error| self.note_failure(error));
            }
        }
        result
    }

    fn note_failure(&self, error: &Error) {
        let failure = match error {
            Error::Query(_) => DatabaseFailure::Statement,
            Error::Unavailable(_) => DatabaseFailure::Work,
            Error::Lost(_) | Error::Refused(_) => DatabaseFailure::Lost,
            _ => return,
        };
        self.metrics.database_failures.get(failure).inc();
        if let Error::Lost(_) = error {
            self.pool.manager().close_idle();
        } else if error.is_stale_plan() {
            self.pool.manager().close_stale();
        }
    }

    /// Gets a connection within one limit for all that it takes. While the server is there a shorter limit holds: then
    /// other requests have to end first.
    async fn get(&self) -> Result<Lease<'_>, Error> {
        let began = Instant::now();
        *self.last_used.lock() = Some(began);
        let got = tokio::select! {
            biased;
            got = timeout(self.connector.limit() + PING_LIMIT, self.open_or_reuse()) => {
                got.map_err(|_| "no connection in time".into()).and_then(|got| got.map_err(|error| error.reason()))
                    .map_err(|reason| (DatabaseFailure::Connect, reason))
            }
            // Boxed inside an async block: only a request that has to wait pays for it.
            () = async { Box::pin(self.reconnect.closed_for(self.settings.wait)).await } => {
                Err((DatabaseFailure::Wait, "all connections are in use".to_owned()))
            }
        };
        self.metrics.database_wait.observe(began.elapsed().as_secs_f64());
        match got {
            Ok(connection) => Ok(Lease { connection: Some(connection), connector: &self.connector }),
            Err((failure, reason)) => {
                self.metrics.database_failures.get(failure).inc();
                Err(Error::Unreachable(reason))
            }
        }
    }

    /// Waits for one of the open connections where the server takes no more.
    async fn open_or_reuse(&self) -> Result<Object<Connections>, Error> {
        loop {
            match self.pool.get().await.map_err(Error::from) {
                Err(error) if error.is_crowded() && self.pool.status().size > 0 => sleep(CROWDED_DELAY).await,
                result => return result,
            }
        }
    }

    /// True if the server is known to be away; then it is probed, so that this ends by itself.
    pub(super) fn is_down(&self) -> bool {
        self.reconnect.is_open()
    }

    /// True if a connection is likely to be had without waiting; if not, the server is probed for the next time.
    pub(super) fn is_warm(&self) -> bool {
        self.pool.status().available > 0 || self.reconnect.is_closed()
    }

    pub(super) fn was_used_within(&self, time: Duration) -> bool {
        self.last_used.lock().is_some_and(|at| at.elapsed() < time)
    }

    /// Returns true if the server, or a proxy for it, answers; without a login or a query.
    pub(super) async fn knock(&self) -> bool {
        !self.pool.is_closed() && self.connector.knock().await
    }

    /// Returns the statements that a transaction has to begin with.
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

/// A connection on loan. Dropped without being given back, it is closed and its statement cancelled.
struct Lease<'pool> {
    connection: Option<Object<Connections>>,
    connector: &'pool Connector,
}

impl Lease<'_> {
    fn connection(&mut self) -> Result<&mut AsyncPgConnection, Error> {
        let connection = self.connection.as_deref_mut();
        connection.ok_or_else(|| Error::Unavailable("the connection was given back".into()))
    }

    fn give_back(mut self) {
        self.connection.take();
    }

    /// Closes a lost connection, on which there is nothing to cancel.
    fn discard(mut self) {
        drop(self.connection.take().map(Object::take));
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().map(Object::take) {
            drop(CancelOnDrop::new(&connection, self.connector));
        }
    }
}

/// Cancels a connection's statement on drop. Closing the connection alone would leave it running, and with it its locks.
struct CancelOnDrop<'pool> {
    token: Option<CancelToken>,
    connector: &'pool Connector,
}

impl<'pool> CancelOnDrop<'pool> {
    fn new(connection: &AsyncPgConnection, connector: &'pool Connector) -> Self {
        Self { token: Some(connection.cancel_token()), connector }
    }

    fn disarm(mut self) {
        self.token = None;
    }
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(token) = self.token.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let connector = self.connector.clone();
            runtime.spawn(async move { connector.cancel(token).await });
        }
    }
}
