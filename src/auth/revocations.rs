use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::config::MAX_ACCESS_TOKEN_TTL;
use crate::db::{self, Database};
use crate::feed::{Feed, RevocationSubscriber};
use crate::models::RevokedSession;

/// Age up to which a poll still counts. A session that any process ends is refused here within this and the time of one
/// query, which together have to stay below a second.
const FRESH: Duration = Duration::from_millis(700);
/// Least time between two polls of one socket, however many sessions end at once.
const SOCKET_PAUSE: Duration = Duration::from_millis(20);
/// Time by which each poll reaches back beyond the latest revocation seen. A revocation carries the time at which its
/// transaction wrote it and becomes visible when that commits, so this exceeds the longest transaction.
const OVERLAP: TimeDelta = TimeDelta::minutes(2);

/// The sessions revoked within the lifetime of an access token, so that a request need not query the database.
///
/// A poll is made when a request needs one and the last is too old: an idle service sends the database nothing.
#[derive(Default)]
pub(super) struct Revocations {
    known: Mutex<Known>,
    /// Single-flight: held while polling, so that waiting callers share the outcome.
    polling: AsyncMutex<()>,
}

#[derive(Default)]
struct Known {
    /// Revoked sessions, and when this process learned of them.
    revoked: HashMap<Uuid, Instant>,
    /// Latest revocation seen, by the database's clock.
    latest: Option<DateTime<Utc>>,
    last_poll: Option<Poll>,
}

struct Poll {
    began: Instant,
    outcome: Outcome,
}

enum Outcome {
    Succeeded,
    Failed { at: Instant, reason: String },
}

/// Origin of revocations: the database, or a script in tests.
trait Source {
    /// Reads the sessions revoked since a time of the database's clock, or within the lifetime of an access token.
    async fn revoked_since(&self, time: Option<DateTime<Utc>>) -> Result<Vec<RevokedSession>, db::Error>;
}

impl Source for Database {
    async fn revoked_since(&self, time: Option<DateTime<Utc>>) -> Result<Vec<RevokedSession>, db::Error> {
        let lifetime = MAX_ACCESS_TOKEN_TTL.as_secs();
        let read = self.read(async |conn| match time {
            Some(time) => RevokedSession::list_since(conn, time).await,
            None => RevokedSession::list_within(conn, lifetime).await,
        });
        read.await
    }
}

impl Known {
    /// Answers for a session without a poll, if what is known suffices for a caller that began at `asked`.
    fn answer(&self, id: Uuid, asked: Instant, oldest: Option<Instant>) -> Option<Result<bool, db::Error>> {
        if self.revoked.contains_key(&id) {
            return Some(Ok(true));
        }
        let Poll { began, outcome } = self.last_poll.as_ref()?;
        match outcome {
            // A poll that began after the question is fresh however long it took.
            Outcome::Succeeded if *began >= asked || asked - *began < FRESH => {
                oldest.is_none_or(|oldest| *began >= oldest).then_some(Ok(false))
            }
            // Callers that waited for a failed poll share its outcome, or each would wait for a timeout of its own. Later
            // callers poll again, so that recovery is seen at once.
            Outcome::Failed { at, reason } if *at >= asked => {
                Some(Err(db::Error::Unavailable(reason.clone())))
            }
            _ => None,
        }
    }

    fn insert(&mut self, ids: impl IntoIterator<Item = Uuid>) {
        let now = Instant::now();
        let before = self.revoked.len();
        self.revoked.extend(ids.into_iter().map(|id| (id, now)));
        if self.revoked.len() > before {
            // No access token of an older session is valid any more.
            self.revoked.retain(|_, learned| now - *learned < MAX_ACCESS_TOKEN_TTL);
        }
    }
}

impl Revocations {
    /// Creates an empty set; the first request polls for all of it.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Returns true if a session was revoked. Fails if that can't be known at present.
    pub(super) async fn contains(&self, database: &Database, id: Uuid) -> Result<bool, db::Error> {
        self.contains_since(database, id, None).await
    }

    /// Like `contains`, but ignores polls that began before `oldest`.
    async fn contains_since(
        &self,
        source: &impl Source,
        id: Uuid,
        oldest: Option<Instant>,
    ) -> Result<bool, db::Error> {
        let asked = Instant::now();
        if let Some(answer) = self.known.lock().answer(id, asked, oldest) {
            return answer;
        }
        let _permit = self.polling.lock().await;
        // Another caller may have polled meanwhile.
        if let Some(answer) = self.known.lock().answer(id, asked, oldest) {
            return answer;
        }
        // As for the callers that wait for this poll: they get its reason, too.
        // Boxed: most callers do not poll, and their futures need no room for it.
        Box::pin(self.poll(source)).await.map_err(|error| db::Error::Unavailable(error.reason()))?;
        Ok(self.known.lock().revoked.contains_key(&id))
    }

    async fn poll(&self, source: &impl Source) -> Result<(), db::Error> {
        let began = Instant::now();
        let latest = self.known.lock().latest;
        let found = source.revoked_since(latest.map(|latest| latest - OVERLAP)).await;
        let mut known = self.known.lock();
        let outcome = match &found {
            Ok(found) => {
                known.latest = found.iter().map(|session| session.revoked_at).max().max(latest);
                known.insert(found.iter().map(|session| session.session_id));
                Outcome::Succeeded
            }
            Err(error) => Outcome::Failed { at: Instant::now(), reason: error.reason() },
        };
        known.last_poll = Some(Poll { began, outcome });
        found.map(drop)
    }

    /// Waits until a session is revoked: polls when the feed announces revocations, or else regularly.
    pub(super) async fn wait_until_revoked(&self, database: &Database, feed: &Feed, id: Uuid) {
        self.poll_until_revoked(database, feed.subscribe_to_revocations(), id).await;
    }

    async fn poll_until_revoked(&self, source: &impl Source, mut subscriber: RevocationSubscriber, id: Uuid) {
        loop {
            let status = subscriber.status();
            match self.contains_since(source, id, status.announced_at).await {
                Ok(true) => return,
                Ok(false) if status.is_listening => {
                    subscriber.changed().await;
                    sleep(SOCKET_PAUSE).await;
                }
                // Nothing announces revocations, or the poll failed, which is no reason to end what was begun.
                _ => {
                    let stale_at = self.known.lock().last_poll.as_ref().map(|poll| poll.began + FRESH);
                    let soonest = Instant::now() + SOCKET_PAUSE;
                    tokio::select! {
                        () = sleep_until(stale_at.unwrap_or(soonest).max(soonest)) => {}
                        () = subscriber.changed() => {}
                    }
                }
            }
        }
    }

    /// Adds sessions that this process has revoked, which holds at once.
    pub(super) fn add(&self, ids: impl IntoIterator<Item = Uuid>) {
        self.known.lock().insert(ids);
    }
}

#[cfg(test)]
mod tests;
