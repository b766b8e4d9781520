use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::AccessTokens;
use crate::cache::{Cache, Found};
use crate::db::{self, Database};
use crate::feed::Feed;
use crate::models::RevokedSession;

/// For how long what the database said is believed. A session that is ended anywhere is refused here within that time
/// and the time of one query, which together have to stay below a second.
const FRESH: Duration = Duration::from_millis(700);
/// How long a socket waits at least before it asks again.
const PAUSE: Duration = Duration::from_millis(20);
/// How far each look goes back beyond the last revocation that was seen: longer than a transaction may take, as
/// revocations become visible when theirs ends.
const OVERLAP: TimeDelta = TimeDelta::minutes(2);
/// How old the last look may be for what processes share to be enough, which goes back by that beyond the overlap.
const CAUGHT_UP: Duration = Duration::from_mins(1);

/// The sessions that were ended within the life of an access token, so that a request need not ask the database.
///
/// The database is looked at when a request comes and the last look is too old: an idle service asks nothing.
pub(super) struct Revocations {
    cache: Cache,
    seen: Mutex<Seen>,
    /// One look at a time; others wait for what it finds.
    turn: AsyncMutex<()>,
}

#[derive(Default)]
struct Seen {
    revoked: HashMap<Uuid, Instant>,
    /// The last revocation that was seen, by the database's clock.
    last: Option<DateTime<Utc>>,
    /// When the last look began, and whether it failed and when it did.
    looked: Option<(Instant, Result<(), Failed>)>,
}

/// A look that failed: all who wait for it by then have waited long enough.
struct Failed {
    at: Instant,
    reason: String,
}

impl Seen {
    /// What is known of a session, if that is not too old. A failed look counts for those alone who waited for it, so
    /// that nothing stands in the way of the next one.
    fn answer(&self, id: Uuid, asked: Instant, oldest: Option<Instant>) -> Option<Result<bool, db::Error>> {
        if self.revoked.contains_key(&id) {
            return Some(Ok(true));
        }
        match self.looked.as_ref()? {
            (at, Ok(()))
                if (*at >= asked || at.elapsed() < FRESH) && oldest.is_none_or(|oldest| *at >= oldest) =>
            {
                Some(Ok(false))
            }
            (_, Err(failed)) if failed.at >= asked => {
                Some(Err(db::Error::Unavailable(failed.reason.clone())))
            }
            _ => None,
        }
    }

    fn is_caught_up(&self) -> bool {
        self.looked.as_ref().is_some_and(|(at, result)| result.is_ok() && at.elapsed() < CAUGHT_UP)
    }

    fn add(&mut self, ids: impl IntoIterator<Item = Uuid>) {
        let now = Instant::now();
        let before = self.revoked.len();
        self.revoked.extend(ids.into_iter().map(|id| (id, now)));
        if self.revoked.len() > before {
            self.revoked.retain(|_, at| now - *at < AccessTokens::MAX_LIFETIME);
        }
    }
}

impl Revocations {
    /// None are known yet.
    pub(super) fn new(cache: Cache) -> Self {
        Self { cache, seen: Mutex::default(), turn: AsyncMutex::default() }
    }

    /// Whether a session was ended. An error says that it can't be known just now.
    pub(super) async fn contain(&self, database: &Database, id: Uuid) -> Result<bool, db::Error> {
        self.contain_since(database, id, None).await
    }

    /// The same, by a look that is not older than a certain time, at which a session has ended.
    async fn contain_since(
        &self,
        database: &Database,
        id: Uuid,
        oldest: Option<Instant>,
    ) -> Result<bool, db::Error> {
        let asked = Instant::now();
        let answer = || self.seen(|seen| seen.answer(id, asked, oldest));
        if let Some(answer) = answer() {
            return answer;
        }
        let _turn = self.turn.lock().await;
        if let Some(answer) = answer() {
            return answer;
        }
        self.look(database, oldest).await;
        if let Some(answer) = answer() {
            return answer;
        }
        // What others share may be too old by now, where the cache was slow.
        self.look(database, Some(asked)).await;
        answer().unwrap_or_else(|| Err(db::Error::Unavailable("revocations were read too slowly".into())))
    }

    /// Returns once a session has ended: told so by the database, or else by looking again and again.
    pub(super) async fn wait_for(&self, database: &Database, feed: &Feed, id: Uuid) {
        let mut ear = feed.hear();
        loop {
            let heard = ear.heard();
            match self.contain_since(database, id, heard.last).await {
                Ok(true) => return,
                Ok(false) if heard.live => {
                    ear.more().await;
                    // However many sessions end at once, it is looked now and then.
                    sleep(PAUSE).await;
                }
                // Not knowing is no reason to end what has begun.
                _ => {
                    let next = self.seen(|seen| seen.looked.as_ref().map(|(at, _)| *at + FRESH));
                    let next = next.unwrap_or_else(Instant::now).max(Instant::now() + PAUSE);
                    tokio::select! {
                        () = sleep_until(next) => {}
                        () = ear.more() => {}
                    }
                }
            }
        }
    }

    /// Notes what this process ended, which holds at once.
    pub(super) async fn add(&self, ids: impl IntoIterator<Item = Uuid>) {
        let mut ids = ids.into_iter().peekable();
        if ids.peek().is_some() {
            self.seen(|seen| seen.add(ids));
            self.cache.forget_revocations().await;
        }
    }

    async fn look(&self, database: &Database, oldest: Option<Instant>) {
        let mut began = Instant::now();
        let (last, caught_up) = self.seen(|seen| (seen.last, seen.is_caught_up()));
        // Whoever has heard that a session has ended wants to know now.
        let found = if self.cache.is_used() && caught_up && oldest.is_none() {
            let seconds = OVERLAP.num_seconds().unsigned_abs() + CAUGHT_UP.as_secs();
            let read = async || {
                began = Instant::now();
                database.read(async |conn| RevokedSession::within(conn, seconds).await).await
            };
            match self.cache.revocations(read).await {
                // It counts as if looked at when the oldest that is shared was.
                Ok(Found::Shared(found)) => {
                    began -= Cache::REVOCATIONS_LIFETIME;
                    Ok(found)
                }
                Ok(Found::Read(found)) => Ok(found),
                Err(error) => Err(error),
            }
        } else {
            let life = AccessTokens::MAX_LIFETIME.as_secs();
            let found = database.read(async |conn| match last {
                Some(last) => RevokedSession::since(conn, last - OVERLAP).await,
                None => RevokedSession::within(conn, life).await,
            });
            found.await
        };
        self.seen(|seen| {
            let result = found.map(|found| {
                seen.last = found.iter().map(|session| session.revoked_at).max().max(seen.last);
                seen.add(found.iter().map(|session| session.session_id));
            });
            let failed = |error: db::Error| Failed { at: Instant::now(), reason: error.reason() };
            seen.looked = Some((began, result.map_err(failed)));
        });
    }

    fn seen<R>(&self, read: impl FnOnce(&mut Seen) -> R) -> R {
        read(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
