use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Object, Pool, Timeouts};
use deadpool::{Runtime, Status};
use diesel::QueryResult;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::deadline::Deadline;
use super::lease::{Lease, Loan};
use super::manager::{Connections, PING_LIMIT, tidy};
use super::reconnect::Reconnect;
use super::session::Session;
use super::transaction::{begin, end, in_limits};
use super::{Connector, Error, PoolSettings};
use crate::metrics::{DatabaseFailure, Metrics};

/// Delay before another look at the pool where the server takes no more connections.
const CROWDED_DELAY: Duration = Duration::from_millis(50);
/// Time without an answer after which work is given up if another connection has been lost in silence.
const SILENCE: Duration = Duration::from_secs(1);

/// Connections outside the pool for retries after a stale plan, at once.
const STALE_RETRIES: usize = 4;

/// A pool of connections to one server; cheap to clone.
#[derive(Clone)]
pub(super) struct ConnectionPool {
    pool: Pool<Connections>,
    reconnect: Reconnect<Session>,
    connector: Connector,
    settings: PoolSettings,
    metrics: Metrics,
    last_used: Arc<Mutex<Option<Instant>>>,
    stale_retries: Arc<Semaphore>,
    /// Time at which the network was last found to have swallowed a connection.
    silent: watch::Sender<Option<Instant>>,
    /// Tasks that cancel what was given up.
    closing: TaskTracker,
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
            async move { connector.open().await }.boxed()
        });
        Self::on(reconnect, connector, settings, metrics)
    }

    /// Creates a pool of one connection to the same server.
    pub(super) fn companion(&self) -> anyhow::Result<Self> {
        let settings = PoolSettings { size: 1, overflow: 0, ..self.settings };
        Self::on(self.reconnect.clone(), self.connector.clone(), settings, self.metrics.clone())
    }

    fn on(
        reconnect: Reconnect<Session>,
        connector: Connector,
        settings: PoolSettings,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
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
            silent: watch::channel(None).0,
            closing: TaskTracker::new(),
            _tidy: tidy,
        })
    }

    /// Returns the deadline of a call that begins now.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::of_call(self.connector.limit() + PING_LIMIT)
    }

    /// Does a unit of work on a connection, which it gets by the deadline, within the limit for the work.
    ///
    /// A connection on which the work was cut short, by its limit or because the caller went away, is closed: the server
    /// may still be busy with it.
    pub(super) async fn run<R>(
        &self,
        deadline: Deadline,
        limit: Duration,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
    ) -> Result<R, Error> {
        let lease = self.get(deadline).await?;
        self.run_on(lease, limit, work).await
    }

    /// Does a read as [`run`](Self::run), under limits of the server's.
    pub(super) async fn run_read<R>(
        &self,
        deadline: Deadline,
        limit: Duration,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
    ) -> Result<R, Error> {
        let lease = self.get(deadline).await?;
        // Known only now: the first connection may have found a pooler.
        let limits = self.transaction_limits();
        let lease = lease.for_read(limits.is_some());
        self.run_on(lease, limit, async |conn| in_limits(conn, limits.as_deref(), work).await).await
    }

    async fn run_on<R>(
        &self,
        mut lease: Lease<'_>,
        limit: Duration,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
    ) -> Result<R, Error> {
        let Some(session) = lease.session() else {
            return Err(Error::Unavailable("the connection was given back".into()));
        };
        let wire = session.wire.clone();
        let done = tokio::select! {
            biased;
            done = timeout(limit, work(&mut session.connection)) => done.map_err(|_| {
                // Slow or silent: those that idle meanwhile have to show that they still answer.
                self.pool.manager().ping_idle();
                Error::Unavailable(format!("the work was not done within {limit:?}"))
            }),
            () = self.silence_since(Instant::now()) => {
                Err(Error::Lost("no answer, and others were lost in silence".into()))
            }
        };
        let result = match done {
            Ok(done) => done.map_err(|error| Error::in_session(error, &wire)),
            Err(error) => {
                self.note_failure(&error);
                lease.cancel();
                return Err(error);
            }
        };
        let Err(error) = &result else {
            lease.give_back();
            return result;
        };
        self.note_failure(error);
        let is_silent = wire.failure().is_some_and(|failure| failure.timed_out);
        if is_silent {
            // The server knows nothing of the loss, and may still be busy with the statement.
            self.silent.send_replace(Some(Instant::now()));
            lease.cancel();
        } else if error.is_unknown() {
            lease.discard();
        } else {
            lease.give_back();
        }
        result
    }

    /// Returns once work that began at a time has to be given up: it has not been answered for a while, and another
    /// connection has been found meanwhile to have fallen silent. They are given up at once, not one after the other.
    async fn silence_since(&self, began: Instant) {
        let mut silent = self.silent.subscribe();
        // Fails only without a sender.
        let _ = silent.wait_for(|at| at.is_some_and(|at| at >= began)).await;
        sleep_until(began + SILENCE).await;
    }

    /// Repeats a unit of work that failed with `error`.
    pub(super) async fn run_again<R>(
        &self,
        error: &Error,
        deadline: Deadline,
        limit: Duration,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
    ) -> Result<R, Error> {
        let limit = deadline.cap(limit);
        let is_stale = matches!(error, Error::StalePlan(_)) && self.connector.is_pooled();
        let lease = if is_stale { self.open_outside(deadline).await } else { self.get(deadline).await }?;
        let limits = self.transaction_limits();
        let in_transaction = is_stale || limits.is_some();
        // The work is called in one place: each call is compiled for every query, to 25 KB.
        let work = async |conn: &mut AsyncPgConnection| {
            if in_transaction {
                begin(conn, limits.as_deref()).await?;
            }
            let result = async {
                if is_stale {
                    // Waited for: PgBouncer forgets the statements when it sees the answer.
                    conn.batch_execute("DEALLOCATE ALL").await?;
                }
                work(conn).await
            };
            let result = result.await;
            if in_transaction { end(conn, result).await } else { result }
        };
        self.run_on(lease, limit, work).await
    }

    /// Opens a connection outside the pool, for a retry after a stale plan through a pooler.
    ///
    /// A pooler in transaction mode shares prepared statements by their text, so even a new client meets the stale plan on the
    /// pooler's connection to the server, for as long as that is kept: an hour by default. Deallocating in the same transaction
    /// has the statements prepared anew on whichever connection that is. The pooler then forgets this client's statements, too,
    /// which the driver does not know: hence a connection of its own.
    async fn open_outside(&self, deadline: Deadline) -> Result<Lease<'_>, Error> {
        let open = async {
            let permit = Arc::clone(&self.stale_retries).acquire_owned().await;
            let permit = permit.map_err(|_| Error::timeout("connecting"))?;
            let session = self.reconnect.connect().await?;
            Ok(Lease::new(Loan::Own(Box::new(session), permit), &self.closing))
        };
        let opened = timeout_at(deadline.at(), open).await;
        opened.unwrap_or_else(|_| Err(Error::timeout("connecting")))
    }

    fn note_failure(&self, error: &Error) {
        let failure = match error {
            Error::Query(_) => DatabaseFailure::Statement,
            Error::Unavailable(_) => DatabaseFailure::Work,
            Error::Lost(_) | Error::Refused(_) | Error::StalePlan(_) => DatabaseFailure::Lost,
            _ => return,
        };
        self.metrics.database_failures.get(failure).inc();
        match error {
            Error::Lost(_) => {
                let connections = self.pool.manager();
                connections.close_idle();
                self.pool.retain(|_, metrics| !connections.is_suspected_lost(metrics));
            }
            Error::StalePlan(_) => self.pool.manager().close_stale(),
            _ => {}
        }
    }

    /// Gets a connection by a deadline for all that it takes. While the server is there a shorter limit holds: then other
    /// requests have to end first.
    async fn get(&self, deadline: Deadline) -> Result<Lease<'_>, Error> {
        let began = Instant::now();
        *self.last_used.lock() = Some(began);
        let got = tokio::select! {
            biased;
            got = timeout_at(deadline.at(), self.open_or_reuse()) => {
                got.map_err(|_| self.reconnect.reason()).and_then(|got| got.map_err(|error| error.reason()))
                    .map_err(|reason| (DatabaseFailure::Connect, reason))
            }
            // Boxed inside an async block: only a request that has to wait pays for it.
            () = async { Box::pin(self.reconnect.closed_for(self.settings.wait)).await } => {
                let crowded = self.reconnect.crowding();
                Err((DatabaseFailure::Wait, crowded.unwrap_or_else(|| "all connections are in use".to_owned())))
            }
        };
        self.metrics.database_wait.observe(began.elapsed().as_secs_f64());
        match got {
            Ok(connection) => Ok(Lease::new(Loan::Pooled(connection), &self.closing)),
            Err((failure, reason)) => {
                self.metrics.database_failures.get(failure).inc();
                Err(Error::Unreachable(reason))
            }
        }
    }

    /// Waits for one of the open connections, or for room, where the server takes no more.
    async fn open_or_reuse(&self) -> Result<Object<Connections>, Error> {
        loop {
            match self.pool.get().await.map_err(Error::from) {
                Err(Error::Crowded(_)) => sleep(CROWDED_DELAY.mul_f64(0.5 + fastrand::f64())).await,
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

    /// Closes all connections, and stops opening others.
    pub(super) fn close(&self) {
        self.pool.close();
        self.reconnect.close();
    }
}
