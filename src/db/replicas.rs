//! Copies of the database that answer reads, as far as they have come.
//!
//! The write-ahead log orders everything: after each write of a user it is noted, on the primary, how far the log had come
//! ([`WritePosition`]). A read of that user's asks the primary for this number and goes to a replica that has replayed as
//! much, or else to the primary. So users see what they wrote, whichever process they come to.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::QueryResult;
use diesel::sql_types::{BigInt, Nullable, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::database::{Silence, unit};
use super::pool::ConnectionPool;
use super::{Connector, Error, PoolSettings};
use crate::metrics::Metrics;

/// How far a replica may be behind before it is left out, also for users whose last write it has.
const MAX_LAG: Duration = Duration::from_secs(10);
/// How often a replica is asked how far it has come, if it is not needed sooner.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How often it is asked if somebody needs more than it had.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// How long the answer may take; meanwhile a request waits that the primary could have answered.
const ANSWER_LIMIT: Duration = Duration::from_millis(200);
/// How long it may take if a connection has to be opened for it, which nobody waits for.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// How long a read may take on a replica before the primary is asked.
const READ_LIMIT: Duration = Duration::from_secs(2);
/// Positions that are remembered for measuring how far behind a replica is.
const MAX_MARKS: usize = 64;

/// How far the log has come on the primary, and how far it had after a user's last write.
#[derive(Clone, Copy, Debug, diesel::QueryableByName)]
pub(super) struct WritePosition {
    #[diesel(sql_type = Nullable<BigInt>)]
    last_write: Option<i64>,
    #[diesel(sql_type = BigInt)]
    now: i64,
}

impl WritePosition {
    pub(super) async fn find(conn: &mut AsyncPgConnection, user_id: Uuid) -> QueryResult<Self> {
        diesel::sql_query(
            "SELECT (SELECT position FROM write_positions WHERE user_id = $1) AS last_write,
                 pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS now",
        )
        .bind::<SqlUuid, _>(user_id)
        .get_result(conn)
        .await
    }

    /// Notes that a user has just written.
    pub(super) async fn note(conn: &mut AsyncPgConnection, user_id: Uuid) -> QueryResult<()> {
        diesel::sql_query(
            "INSERT INTO write_positions (user_id, position)
             VALUES ($1, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint)
             ON CONFLICT (user_id) DO UPDATE
             SET position = pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint",
        )
        .bind::<SqlUuid, _>(user_id)
        .execute(conn)
        .await
        .map(|_| ())
    }
}

/// The replicas, in the order in which they are configured.
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

    /// Reads from a replica that has come far enough; none if none has, or if it fails.
    pub(super) async fn read<R: Send>(
        &self,
        position: WritePosition,
        work: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
    ) -> Option<R> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let (before, from) = self.all.split_at(first % self.all.len().max(1));
        for replica in from.iter().chain(before) {
            if replica.has_replayed(position).await {
                let read = timeout(READ_LIMIT, unit(&replica.pool, READ_LIMIT, Silence::Wait, work));
                let result = read.await.unwrap_or_else(|_| Err(Error::timeout("reading from a replica")));
                if let Err(error) = &result {
                    tracing::debug!(%error, "a replica failed; the primary is asked");
                    replica.progress(|progress| progress.trusted &= !error.is_outage());
                }
                return result.ok();
            }
        }
        None
    }

    /// How far each is behind the primary as far as is known; none for one that is left out as it does not answer.
    pub(super) fn lags(&self) -> Vec<Option<Duration>> {
        let lag = |progress: &mut Progress| progress.trusted.then(|| progress.lag(Instant::now()));
        self.all.iter().map(|replica| replica.progress(lag)).collect()
    }

    pub(super) fn close(&self) {
        self.all.iter().for_each(|replica| replica.pool.close());
    }
}

struct Replica {
    pool: ConnectionPool,
    progress: Mutex<Progress>,
    asking: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Replica {
    fn new(connector: Connector, settings: PoolSettings, metrics: Metrics) -> anyhow::Result<Arc<Self>> {
        // Nobody waits for a replica: the primary is there.
        let pool = ConnectionPool::impatient(connector, settings, metrics)?;
        Ok(Arc::new(Self { pool, progress: Mutex::default(), asking: Mutex::default() }))
    }

    /// Whether it shows everything up to a user's last write, and is not too far behind altogether.
    async fn has_replayed(self: &Arc<Self>, position: WritePosition) -> bool {
        let now = Instant::now();
        let known = self.progress(|progress| {
            progress.mark(now, position.now);
            progress.judge(now, position.last_write)
        });
        let judge = || self.progress(|progress| progress.is_usable(Instant::now(), position.last_write));
        match known {
            Verdict::Usable => true,
            Verdict::Unusable => false,
            Verdict::Ask if self.pool.status().available > 0 => self.ask(ANSWER_LIMIT).await && judge(),
            Verdict::Ask => {
                self.ask_beside();
                false
            }
        }
    }

    /// Asks, while nobody waits for it: a connection has to be opened first.
    fn ask_beside(self: &Arc<Self>) {
        if self.pool.is_warm() {
            let replica = Arc::clone(self);
            let task = tokio::spawn(async move {
                replica.ask(OPEN_LIMIT).await;
            });
            *self.asking.lock().unwrap_or_else(PoisonError::into_inner) = Some(AbortOnDropHandle::new(task));
        }
    }

    /// Asks how far it has come; whether it said.
    async fn ask(&self, limit: Duration) -> bool {
        #[derive(diesel::QueryableByName)]
        struct Replayed {
            #[diesel(sql_type = Nullable<BigInt>)]
            position: Option<i64>,
        }
        // A server that was promoted replays nothing any more; what it holds is not the primary's.
        let query = "SELECT CASE WHEN pg_is_in_recovery()
            THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint END AS position";
        let asked =
            async |conn: &mut AsyncPgConnection| diesel::sql_query(query).get_result::<Replayed>(conn).await;
        let answer = timeout(limit, unit(&self.pool, limit, Silence::Wait, asked)).await;
        let position = answer.ok().and_then(Result::ok).and_then(|replayed| replayed.position);
        self.progress(|progress| progress.answered(position))
    }

    fn progress<R>(&self, work: impl FnOnce(&mut Progress) -> R) -> R {
        work(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How far a replica has come.
#[derive(Debug, Default)]
struct Progress {
    /// Whether it answered when it was last asked.
    trusted: bool,
    replayed: i64,
    asked: Option<Instant>,
    /// When the primary was at positions that the replica has not reached yet, the oldest first.
    marks: VecDeque<(Instant, i64)>,
    /// When the primary was where the replica is.
    shows: Option<Instant>,
    /// Whether the log says if it is used.
    told: bool,
}

enum Verdict {
    Usable,
    Unusable,
    Ask,
}

impl Progress {
    /// Notes where the primary is.
    fn mark(&mut self, now: Instant, position: i64) {
        let newer =
            self.marks.back().is_none_or(|(at, last)| position > *last && now - *at >= ASK_EVERY / 10);
        if position <= self.replayed {
            self.shows = Some(now);
        } else if newer && self.marks.len() < MAX_MARKS {
            self.marks.push_back((now, position));
        }
    }

    fn lag(&self, now: Instant) -> Duration {
        self.marks.front().map_or(Duration::ZERO, |(at, _)| now - *at)
    }

    /// Whether it is not known to show what the primary was within the time that it may be behind.
    fn is_stale(&self, now: Instant) -> bool {
        self.shows.is_none_or(|at| now - at > MAX_LAG)
    }

    fn is_usable(&self, now: Instant, needed: Option<i64>) -> bool {
        self.trusted && needed.is_none_or(|needed| self.replayed >= needed) && !self.is_stale(now)
    }

    /// Whether it can be used for a read; whoever is told to ask is the only one for a while.
    fn judge(&mut self, now: Instant, needed: Option<i64>) -> Verdict {
        let usable = self.is_usable(now, needed);
        let wait = if usable || !self.trusted || self.lag(now) > MAX_LAG { ASK_EVERY } else { ASK_AGAIN };
        if self.asked.is_none_or(|asked| now - asked >= wait) {
            self.asked = Some(now);
            return Verdict::Ask;
        }
        if usable { Verdict::Usable } else { Verdict::Unusable }
    }

    /// Notes what it answered; whether it did.
    fn answered(&mut self, position: Option<i64>) -> bool {
        let trusted = position.is_some();
        if std::mem::replace(&mut self.trusted, trusted) != trusted
            || !std::mem::replace(&mut self.told, true)
        {
            if trusted {
                tracing::info!("a read replica is used");
            } else {
                tracing::warn!("a read replica is left out: it does not answer, or is none");
            }
        }
        if let Some(position) = position {
            self.replayed = position;
            while self.marks.front().is_some_and(|(_, mark)| *mark <= position) {
                self.shows = self.marks.pop_front().map(|(at, _)| at);
            }
        }
        self.trusted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_used_once_it_has_come_as_far_as_the_last_write() {
        let (mut progress, start) = (Progress::default(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        progress.mark(start, 100);
        assert!(matches!(progress.judge(start, Some(100)), Verdict::Ask));
        assert!(progress.answered(Some(90)));
        assert!(!progress.is_usable(start, None), "it is not known how far it is behind");
        progress.mark(start, 90);
        assert!(!progress.is_usable(start, Some(100)));
        assert!(progress.is_usable(start, Some(90)) && progress.is_usable(start, None));
        assert!(matches!(progress.judge(after(10), Some(100)), Verdict::Unusable), "asked again too soon");
        assert!(matches!(progress.judge(after(20), Some(100)), Verdict::Ask));
        progress.answered(Some(100));
        assert!(matches!(progress.judge(after(30), Some(100)), Verdict::Usable));
    }

    #[test]
    fn a_replica_far_behind_or_silent_is_left_out_and_comes_back() {
        let (mut progress, start) = (Progress::default(), Instant::now());
        progress.mark(start, 0);
        progress.mark(start, 100);
        progress.answered(Some(50));
        assert!(progress.is_usable(start, None));
        let late = start + MAX_LAG + Duration::from_secs(1);
        assert_eq!(progress.lag(late), MAX_LAG + Duration::from_secs(1));
        assert!(!progress.is_usable(late, None), "it is far behind");
        progress.answered(Some(100));
        assert!(!progress.is_usable(late, None), "what it shows is as old as that");
        progress.mark(late, 100);
        assert!(progress.is_usable(late, None));
        progress.answered(None);
        assert!(!progress.is_usable(late, None), "it does not answer");
    }
}
