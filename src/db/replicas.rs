use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use diesel::QueryResult;
use diesel::sql_types::{BigInt, Nullable};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::deadline::Deadline;
use super::pool::ConnectionPool;
use super::progress::{Decision, Progress};
use super::write_position::WritePosition;
use super::{Connector, Error, PoolSettings};
use crate::metrics::Metrics;

/// Time limit of a replica's answer while a request waits for it that the primary could have served.
const ANSWER_LIMIT: Duration = Duration::from_millis(200);
/// Time without a result after which a replica has to show within the rest of that limit that it is there.
const SLOW: Duration = Duration::from_millis(100);
/// Time limit of that answer if a connection has to be opened first, for which no request waits.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// Time limit of a read on a replica that answers, after which the primary serves it.
const READ_LIMIT: Duration = Duration::from_secs(2);

/// The read replicas, in the order in which they are configured.
#[derive(Clone, Default)]
pub(super) struct Replicas {
    all: Arc<[Arc<Replica>]>,
    next: Arc<AtomicUsize>,
}

impl Replicas {
    pub(super) fn new(
        connectors: Vec<Connector>,
        settings: PoolSettings,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let replica = |connector| Replica::new(connector, settings, metrics.clone());
        Ok(Self {
            all: connectors.into_iter().map(replica).collect::<anyhow::Result<_>>()?,
            next: Arc::default(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Reads from a replica that has replayed the user's last write. Returns `None` if there is none, or if it fails.
    pub(super) async fn read<R: Send>(
        &self,
        position: WritePosition,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
    ) -> Option<R> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let (before, from) = self.all.split_at(first % self.all.len().max(1));
        for replica in from.iter().chain(before) {
            if replica.is_usable(position).await {
                return replica.read(work).await;
            }
        }
        None
    }

    /// Returns the replication lag of each, or `None` for one that is excluded as it does not answer.
    pub(super) fn lags(&self) -> Vec<Option<Duration>> {
        self.all.iter().map(|replica| replica.progress.lock().known_lag()).collect()
    }

    pub(super) fn close(&self) {
        for replica in &*self.all {
            replica.pool.close();
            replica.watch.close();
        }
    }
}

struct Replica {
    pool: ConnectionPool,
    /// A pool of one connection for questions, so that reads can't keep it busy.
    watch: ConnectionPool,
    progress: Mutex<Progress>,
    asking: Mutex<Option<AbortOnDropHandle<()>>>,
    /// Single-flight: held while a read that takes long has the replica asked.
    asking_for_reads: AsyncMutex<()>,
    answered: Mutex<Option<Instant>>,
}

impl Replica {
    fn new(connector: Connector, settings: PoolSettings, metrics: Metrics) -> anyhow::Result<Arc<Self>> {
        // No request waits for a replica to come back: the primary serves it.
        let pool = ConnectionPool::impatient(connector, settings, metrics)?;
        Ok(Arc::new(Self {
            watch: pool.companion()?,
            pool,
            progress: Mutex::default(),
            asking: Mutex::default(),
            asking_for_reads: AsyncMutex::default(),
            answered: Mutex::default(),
        }))
    }

    /// True if reads of a user can be served by this replica; asks it for its position if that may have changed.
    async fn is_usable(self: &Arc<Self>, position: WritePosition) -> bool {
        let decision = self.progress.lock().decide(position);
        match decision {
            Decision::Use => true,
            Decision::Skip => false,
            Decision::Ask if self.watch.status().available > 0 => {
                self.ask(ANSWER_LIMIT).await && self.progress.lock().is_usable(position)
            }
            Decision::Ask => {
                self.ask_in_background();
                false
            }
        }
    }

    /// Reads, unless the replica turns out to have vanished.
    async fn read<R: Send>(
        &self,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
    ) -> Option<R> {
        // Around the wait for a connection as well: the pool's own limit for that is longer.
        let read = timeout(READ_LIMIT, self.pool.run_read(Deadline::of_call(READ_LIMIT), READ_LIMIT, work));
        let result = tokio::select! {
            biased;
            read = read => read.unwrap_or_else(|_| Err(Error::timeout("reading from a replica"))),
            () = self.vanished() => Err(Error::timeout("waiting for a replica that does not answer")),
        };
        if let Err(error) = &result {
            tracing::debug!(%error, "a replica failed; the primary serves the read");
            if error.is_outage() {
                self.progress.lock().distrust();
            }
        }
        result.ok()
    }

    /// Returns if the replica does not answer a question beside a read that takes long: a heavy read is no reason to leave
    /// it, silence is.
    async fn vanished(&self) {
        sleep(SLOW).await;
        let limit = ANSWER_LIMIT.saturating_sub(SLOW);
        if timeout(limit, self.is_there(limit)).await.unwrap_or(false) {
            std::future::pending::<()>().await;
        }
    }

    async fn is_there(&self, limit: Duration) -> bool {
        let began = Instant::now();
        let _permit = self.asking_for_reads.lock().await;
        if self.answered.lock().is_some_and(|at| at >= began) {
            return true;
        }
        if self.watch.status().available == 0 {
            // A login would not be done in time.
            return self.watch.knock().await;
        }
        self.ask(limit).await
    }

    /// Asks for the position, on a connection that has to be opened first.
    fn ask_in_background(self: &Arc<Self>) {
        if self.watch.is_warm() {
            let replica = Arc::clone(self);
            let task = tokio::spawn(async move {
                replica.ask(OPEN_LIMIT).await;
            });
            *self.asking.lock() = Some(AbortOnDropHandle::new(task));
        }
    }

    /// Asks for the position; returns true if the replica answered.
    async fn ask(&self, limit: Duration) -> bool {
        #[derive(diesel::QueryableByName)]
        struct Replayed {
            #[diesel(sql_type = Nullable<BigInt>)]
            position: Option<i64>,
        }
        // A promoted server replays nothing any more: its data are no longer the primary's.
        let query = "SELECT CASE WHEN pg_is_in_recovery()
            THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint END AS position";
        let ask =
            async |conn: &mut AsyncPgConnection| diesel::sql_query(query).get_result::<Replayed>(conn).await;
        let answer = timeout(limit, self.watch.run(Deadline::of_call(limit), limit, ask)).await;
        let position = answer.ok().and_then(Result::ok).and_then(|replayed| replayed.position);
        if position.is_some() {
            *self.answered.lock() = Some(Instant::now());
        }
        self.progress.lock().note_answer(position)
    }
}
