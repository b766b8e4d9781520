use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool::Status;
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::deadline::Deadline;
use super::pool::ConnectionPool;
use super::replicas::Replicas;
use super::transaction::in_transaction;
use super::write_position::WritePosition;
use super::{Connector, Error, PoolSettings};
use crate::metrics::Metrics;

/// The database, as requests use it; cheap to clone.
///
/// Methods that end in `_for` know whose data they read or write: with replicas, a user's reads show that user's writes,
/// on every process.
#[derive(Clone)]
pub struct Database {
    primary: ConnectionPool,
    replicas: Replicas,
    settings: PoolSettings,
}

/// A way to write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WriteMode {
    /// A statement that may take effect once: see [`Database::write_for`].
    Once,
    /// A statement that may be repeated: see [`Database::write_idempotent_for`].
    Idempotent,
    /// Several statements: see [`Database::transaction_for_owner`].
    Transaction,
}

impl Database {
    /// Creates the pools, which open connections on demand; must be called on a tokio runtime.
    pub fn new(
        connector: Connector,
        replicas: Vec<Connector>,
        settings: PoolSettings,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let replicas = Replicas::new(replicas, settings, &metrics)?;
        Ok(Self { primary: ConnectionPool::new(connector, settings, metrics)?, replicas, settings })
    }

    /// Reads from the primary; retries once if the connection is lost or the server refused.
    pub async fn read<R, F>(&self, work: F) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        self.read_by(self.primary.deadline(), work).await
    }

    async fn read_by<R, F>(&self, deadline: Deadline, work: F) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        match self.primary.run_read(deadline, self.settings.work, work.clone()).await {
            Err(error) if error.is_refusal() || matches!(error, Error::Lost(_)) => {
                self.run_again(&error, deadline, work).await
            }
            result => result,
        }
    }

    /// Reads a user's data from a replica that has replayed all of that user's writes, or else as [`read`](Self::read).
    pub async fn read_for<R, F>(&self, user_id: Uuid, work: F) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        if self.replicas.is_empty() {
            return self.read(work).await;
        }
        // Boxed, so that without replicas it is not part of the future.
        Box::pin(async {
            let deadline = self.primary.deadline();
            let find = async |conn: &mut AsyncPgConnection| WritePosition::find(conn, user_id).await;
            let position = self.read_by(deadline, find).await?;
            match self.replicas.read(position, work.clone()).await {
                Some(result) => Ok(result),
                None => self.read_by(deadline, work).await,
            }
        })
        .await
    }

    /// Reads from the primary, so that the user's later reads show at least as much (monotonic reads). `user_of` returns
    /// `None` if there was nothing new.
    pub async fn read_monotonic_for<R, F>(
        &self,
        user_of: impl FnOnce(&R) -> Option<Uuid>,
        work: F,
    ) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        let deadline = self.primary.deadline();
        let read = self.read_by(deadline, work).await?;
        self.store_position(deadline, user_of(&read)).await?;
        Ok(read)
    }

    /// Writes with one statement, which is whole or not at all, or with several of which only the last one writes.
    ///
    /// Retries once if the server certainly did nothing. If the connection is lost, the outcome is unknown.
    pub async fn write<R, F>(&self, work: F) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        self.write_by(self.primary.deadline(), false, work).await
    }

    /// Writes; retries once if the server certainly did nothing, or if the connection is lost and the work `repeatable`.
    ///
    /// Through a pooler, a transaction gives even one statement the server's limits: a write that was given up while it
    /// waited for a lock must not take effect later.
    async fn write_by<R, F>(&self, deadline: Deadline, repeatable: bool, work: F) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        self.write_within(deadline, self.settings.work, repeatable, work).await
    }

    async fn write_within<R, F>(
        &self,
        deadline: Deadline,
        limit: Duration,
        repeatable: bool,
        work: F,
    ) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        if self.primary.transaction_limits().is_some() {
            // Boxed, so that without a pooler it is not part of the future.
            return Box::pin(self.transact(deadline, limit, repeatable, work)).await;
        }
        match self.primary.run(deadline, limit, work.clone()).await {
            Err(error) if error.is_refusal() || repeatable && matches!(error, Error::Lost(_)) => {
                self.run_again(&error, deadline, work).await
            }
            result => result,
        }
    }

    /// Writes a user's data as [`write`](Self::write).
    pub async fn write_for<R, F>(&self, user_id: Uuid, work: F) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        let deadline = self.primary.deadline();
        let written = self.write_by(deadline, false, work).await;
        self.with_position(deadline, written, async |_| Some(user_id)).await
    }

    /// Writes what does no harm if it is done twice: as [`write`](Self::write), and retries also if the connection is
    /// lost.
    pub async fn write_idempotent<R, F>(&self, work: F) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        self.write_by(self.primary.deadline(), true, work).await
    }

    /// Writes a user's data as the mode says.
    pub async fn write_in_mode_for<R, F>(&self, user_id: Uuid, mode: WriteMode, work: F) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        match mode {
            WriteMode::Once => self.write_for(user_id, work).await,
            WriteMode::Idempotent => self.write_idempotent_for(user_id, work).await,
            // Boxed, so that it is not part of the future of other writes.
            WriteMode::Transaction => {
                Box::pin(self.transaction_for_owner(async |_| Some(user_id), work)).await
            }
        }
    }

    /// Writes a user's data as [`write_idempotent`](Self::write_idempotent).
    pub async fn write_idempotent_for<R, F>(&self, user_id: Uuid, work: F) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        let deadline = self.primary.deadline();
        let written = self.write_by(deadline, true, work).await;
        self.with_position(deadline, written, async |_| Some(user_id)).await
    }

    /// Does work in a transaction.
    ///
    /// Retries once if nothing was committed for certain: the server refused, or the connection was lost before the
    /// commit.
    pub async fn transaction<R, F>(&self, work: F) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        self.transact(self.primary.deadline(), self.settings.work, false, work).await
    }

    /// Does work in a transaction; retries also after a commit whose outcome is unknown if the work is `repeatable`.
    async fn transact<R, F>(
        &self,
        deadline: Deadline,
        limit: Duration,
        repeatable: bool,
        work: F,
    ) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        let done = AtomicBool::new(false);
        let transaction = async |conn: &mut AsyncPgConnection, work: F| {
            done.store(false, Ordering::Relaxed);
            let limits = self.primary.transaction_limits();
            in_transaction(conn, limits.as_deref(), work, || done.store(true, Ordering::Relaxed)).await
        };
        let first = work.clone();
        match self.primary.run(deadline, limit, async |conn| transaction(conn, first).await).await {
            Err(error @ Error::Lost(_)) if done.load(Ordering::Relaxed) && !repeatable => Err(error),
            Err(error) if error.is_refusal() || matches!(error, Error::Lost(_)) => {
                self.run_again(&error, deadline, async |conn| transaction(conn, work).await).await
            }
            result => result,
        }
    }

    /// Writes a user's data in a [`transaction`](Self::transaction) that may find out whose.
    ///
    /// `owner` runs once after the commit, with the result, or without one if the outcome is unknown. It returns the user
    /// whose later reads must show the write.
    pub async fn transaction_for_owner<R, F>(
        &self,
        owner: impl AsyncFnOnce(Option<&R>) -> Option<Uuid>,
        work: F,
    ) -> Result<R, Error>
    where
        R: Send,
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R> + Clone,
    {
        let deadline = self.primary.deadline();
        let written = self.transact(deadline, self.settings.work, false, work).await;
        self.with_position(deadline, written, owner).await
    }

    /// Boxed: a second attempt is rare, and would double the future of every request.
    async fn run_again<R: Send>(
        &self,
        error: &Error,
        deadline: Deadline,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
    ) -> Result<R, Error> {
        Box::pin(self.primary.run_again(error, deadline, self.settings.work, work)).await
    }

    /// Stores the position of a write before its result is known to any client. Also when the outcome is unknown (then
    /// `owner` gets no result), so that the user's next read shows the write if it happened.
    async fn with_position<R>(
        &self,
        deadline: Deadline,
        written: Result<R, Error>,
        owner: impl AsyncFnOnce(Option<&R>) -> Option<Uuid>,
    ) -> Result<R, Error> {
        let user_id = match &written {
            Ok(written) => owner(Some(written)).await,
            Err(error) if error.is_unknown() => owner(None).await,
            Err(_) => None,
        };
        let stored = self.store_position(deadline, user_id).await;
        let written = written?;
        stored?;
        Ok(written)
    }

    /// Stores a user's position, by the deadline of the call that wrote.
    async fn store_position(&self, deadline: Deadline, user_id: Option<Uuid>) -> Result<(), Error> {
        let Some(user_id) = user_id.filter(|_| !self.replicas.is_empty()) else { return Ok(()) };
        let store = async |conn: &mut AsyncPgConnection| WritePosition::store(conn, user_id).await;
        let limit = deadline.cap(self.settings.work);
        // Boxed, so that without replicas it is not part of the future.
        match Box::pin(self.write_within(deadline, limit, true, store)).await {
            // The user has been deleted, so there are no later reads.
            Err(Error::ForeignKeyViolation) => Ok(()),
            result => result,
        }
    }

    /// Returns true if the database can serve requests, as far as that can be known without a query.
    pub async fn is_reachable(&self) -> bool {
        !self.primary.is_down() && self.primary.knock().await
    }

    /// True if requests have used the database within `time`.
    pub fn was_used_within(&self, time: Duration) -> bool {
        self.primary.was_used_within(time)
    }

    /// Returns the replication lag of each replica, or `None` for one that is excluded as it does not answer.
    pub fn replica_lags(&self) -> Vec<Option<Duration>> {
        self.replicas.lags()
    }

    /// Returns the numbers of open and free connections and of requests that wait for one.
    pub fn status(&self) -> Status {
        self.primary.status()
    }

    /// Closes all connections; later work fails.
    pub fn close(&self) {
        self.primary.close();
        self.replicas.close();
    }
}
