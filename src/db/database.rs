use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool::Status;
use diesel::QueryResult;
use diesel::result::Error as DieselError;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection, TransactionManager};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::pool::ConnectionPool;
use super::replicas::{Replicas, WritePosition};
use super::silence::SILENCE;
use super::{Connector, Error, PoolSettings};
use crate::metrics::{DatabaseFailure, Metrics};

/// The database, as requests use it; cheap to clone.
#[derive(Clone)]
pub struct Database {
    primary: ConnectionPool,
    replicas: Replicas,
    settings: PoolSettings,
}

impl Database {
    /// Opens connections as they are needed; must be called on a tokio runtime.
    pub fn new(
        connector: Connector,
        replicas: Vec<Connector>,
        settings: PoolSettings,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let replicas = Replicas::new(replicas, settings, &metrics)?;
        Ok(Self { primary: ConnectionPool::new(connector, settings, metrics)?, replicas, settings })
    }

    /// Reads. If the connection turns out to be lost, or silent, it is tried once more on another one.
    pub async fn read<R, F>(&self, work: F) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        read_from(&self.primary, self.settings.work, work).await
    }

    /// Reads what belongs to a user, as [`read`](Self::read), but from a replica that has all that this user has written.
    pub async fn read_of<R, F>(&self, user_id: Uuid, work: F) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        if self.replicas.is_empty() {
            return self.read(work).await;
        }
        // Apart, so that it takes no room in the future of those who have no replicas.
        Box::pin(async {
            let position = self.read(async |conn| WritePosition::find(conn, user_id).await).await?;
            match self.replicas.read(position, work.clone()).await {
                Some(result) => Ok(result),
                None => self.read(work).await,
            }
        })
        .await
    }

    /// Notes that a user has written, before anybody is told so: from now on this user's reads show it, on every process.
    pub async fn note_write_of(&self, user_id: Uuid) -> Result<(), Error> {
        if self.replicas.is_empty() {
            return Ok(());
        }
        match self.write_repeatably(async |conn| WritePosition::note(conn, user_id).await).await {
            // The user is gone, and with them whoever could read.
            Err(Error::ForeignKeyViolation) => Ok(()),
            result => result,
        }
    }

    /// Writes with one statement, which is whole or not at all, or with several of which only the last one writes. It is
    /// tried once more if the server certainly did nothing; if the connection is lost, it is not known whether it did.
    pub async fn write<R, F>(&self, work: F) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        match self.unit(work.clone()).await {
            Err(Error::Refused(_)) => Box::pin(self.unit(work)).await,
            result => result,
        }
    }

    /// Writes what can be written again without harm: as [`write`](Self::write), and also tried once more if the
    /// connection is lost.
    pub async fn write_repeatably<R, F>(&self, work: F) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        match self.unit(work.clone()).await {
            Err(Error::Refused(_) | Error::Lost(_)) => Box::pin(self.unit(work)).await,
            result => result,
        }
    }

    /// Does work in a transaction. It is tried once more if that certainly was not committed: the server refused it, or
    /// the connection was lost before the end of the work.
    pub async fn transaction<R, F>(&self, work: F) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        let (done, again) = (AtomicBool::new(false), work.clone());
        let pool = &self.primary;
        match self.unit(async |conn| in_transaction(conn, pool, again, &done).await).await {
            Err(Error::Refused(_)) => {}
            Err(Error::Lost(_)) if !done.load(Ordering::Relaxed) => {}
            result => return result,
        }
        Box::pin(self.unit(async |conn| in_transaction(conn, pool, work, &done).await)).await
    }

    async fn unit<R: Send>(
        &self,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
    ) -> Result<R, Error> {
        unit(&self.primary, self.settings.work, Silence::Wait, work).await
    }

    /// Whether the database is there, as far as that can be known without asking it anything.
    pub async fn is_reachable(&self) -> bool {
        !self.primary.is_down() && self.primary.knock().await
    }

    /// Whether requests have used it within some time.
    pub fn was_used_within(&self, time: Duration) -> bool {
        self.primary.was_used_within(time)
    }

    /// How far each replica is behind; none for one that is left out as it does not answer.
    pub fn replica_lags(&self) -> Vec<Option<Duration>> {
        self.replicas.lags()
    }

    /// How many connections there are, how many of them are free, and how many requests wait for one.
    pub fn status(&self) -> Status {
        self.primary.status()
    }

    /// Closes all connections; later work fails.
    pub fn close(&self) {
        self.primary.close();
        self.replicas.close();
    }
}

/// Reads from one server, trying it once more on another connection.
async fn read_from<R>(
    pool: &ConnectionPool,
    limit: Duration,
    work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
) -> Result<R, Error> {
    match unit(pool, limit, Silence::Repeat, work.clone()).await {
        Err(Error::Refused(_) | Error::Lost(_)) => Box::pin(unit(pool, limit, Silence::Wait, work)).await,
        result => result,
    }
}

/// What to do about an answer that does not come where the server can't be asked after it, as behind a pooler.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Silence {
    /// Wait for it until the limit.
    Wait,
    /// Take the connection for lost: what was asked can be asked again.
    Repeat,
}

/// Does a unit of work on a connection, within the limits for getting one and for the work.
///
/// A connection on which the work was cut short, by its limit or because the caller went away, is closed: the server may
/// still be busy with it.
pub(super) async fn unit<R>(
    pool: &ConnectionPool,
    limit: Duration,
    silence: Silence,
    work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
) -> Result<R, Error> {
    let (mut lease, began) = (pool.get().await?, Instant::now());
    let process = lease.process();
    let given_up = async {
        sleep(SILENCE.min(limit)).await;
        // What comes now is rare, and its state would make every future that waits for the database large.
        Box::pin(give_up(pool, process, silence, limit)).await
    };
    let result = tokio::select! {
        biased;
        done = work(lease.connection()?) => done.map_err(Error::from),
        error = given_up => Err(error),
    };
    // Where the server could not be asked, it may have been slow alone.
    let guessed = process.is_none() && began.elapsed() >= SILENCE;
    if let Err(error) = &result {
        Box::pin(note(pool, error, began, guessed)).await;
    }
    match &result {
        Err(Error::Lost(_)) if !guessed => lease.bury(),
        Err(error) if error.is_outage() => drop(lease),
        _ => lease.give_back(),
    }
    result
}

/// Waits on for an answer that does not come; returns why it is not waited for any longer.
async fn give_up(pool: &ConnectionPool, process: Option<i32>, silence: Silence, limit: Duration) -> Error {
    let lost = async {
        match (process, silence) {
            (Some(process), _) => pool.forgotten(process).await,
            (None, Silence::Repeat) => {}
            (None, Silence::Wait) => pending().await,
        }
    };
    match timeout(limit.saturating_sub(SILENCE), lost).await {
        Ok(()) => Error::Lost("no answer".into()),
        Err(_) => Error::Unavailable(format!("the work was not done within {limit:?}")),
    }
}

/// Counts a failure, and has other connections go that are no better.
async fn note(pool: &ConnectionPool, error: &Error, began: Instant, guessed: bool) {
    match error {
        Error::Query(_) => pool.failed(DatabaseFailure::Statement),
        Error::Unavailable(_) => pool.failed(DatabaseFailure::Work),
        error if error.is_outage() => pool.failed(DatabaseFailure::Lost),
        _ => {}
    }
    if error.is_stale_plan() {
        pool.renew(began).await;
    }
    if error.spoils_others() && !guessed {
        pool.doubt();
    }
}

type Transactions = <AsyncPgConnection as AsyncConnection>::TransactionManager;

/// Notes when the work is done and nothing is left but to commit it. diesel's own function asks for a future that can be
/// sent, which can't be said of an async closure's.
async fn in_transaction<R>(
    conn: &mut AsyncPgConnection,
    pool: &ConnectionPool,
    work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
    done: &AtomicBool,
) -> QueryResult<R> {
    done.store(false, Ordering::Relaxed);
    Transactions::begin_transaction(conn).await?;
    let result = async {
        if let Some(limits) = pool.transaction_limits() {
            conn.batch_execute(&limits).await?;
        }
        work(conn).await
    };
    match result.await {
        Ok(result) => {
            done.store(true, Ordering::Relaxed);
            Transactions::commit_transaction(conn).await?;
            Ok(result)
        }
        Err(error) => match Transactions::rollback_transaction(conn).await {
            // The connection is lost, which the first error says better.
            Ok(()) | Err(DieselError::BrokenTransactionManager) => Err(error),
            Err(rollback) => Err(rollback),
        },
    }
}
