use std::cell::{Cell, RefCell};

use tokio::join;
use tokio::time::{advance, timeout};

use super::*;
use crate::feed::RevocationStatus;

/// A database that answers after a while.
#[derive(Default)]
struct Script {
    delay: Cell<Duration>,
    is_down: Cell<bool>,
    revoked: RefCell<Vec<RevokedSession>>,
    /// The times that polls reached back to.
    polls: RefCell<Vec<Option<DateTime<Utc>>>>,
}

impl Script {
    fn revoke(&self, session_id: Uuid, revoked_at: DateTime<Utc>) {
        self.revoked.borrow_mut().push(RevokedSession { session_id, revoked_at });
    }

    fn polls(&self) -> usize {
        self.polls.borrow().len()
    }
}

impl Source for Script {
    async fn revoked_since(&self, time: Option<DateTime<Utc>>) -> Result<Vec<RevokedSession>, db::Error> {
        self.polls.borrow_mut().push(time);
        let mut found = self.revoked.borrow().clone();
        found.retain(|session| time.is_none_or(|time| session.revoked_at >= time));
        sleep(self.delay.get()).await;
        if self.is_down.get() { Err(db::Error::Unavailable("asleep".into())) } else { Ok(found) }
    }
}

const MOMENT: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(43_200, 0).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_poll_counts_until_it_is_no_longer_fresh() {
    let revocations = Revocations::new();
    let script = Script::default();
    let id = Uuid::new_v4();
    let contains = async || revocations.contains_since(&script, id, None).await.unwrap();
    assert!(!contains().await);
    script.revoke(id, noon());
    advance(FRESH.saturating_sub(MOMENT)).await;
    assert!(!contains().await);
    assert_eq!(script.polls(), 1);
    advance(MOMENT).await;
    assert!(contains().await);
    // A revocation is final: nothing has to be polled for it.
    advance(SECOND * 60).await;
    assert!(contains().await);
    assert_eq!(script.polls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_takes_longer_than_it_stays_fresh_still_answers_its_callers() {
    let revocations = Revocations::new();
    let script = Script::default();
    script.delay.set(FRESH * 2);
    let contains = || revocations.contains_since(&script, Uuid::new_v4(), None);
    let (first, second) = join!(contains(), contains());
    assert!(!first.unwrap() && !second.unwrap());
    assert_eq!(script.polls(), 1);
    assert!(!contains().await.unwrap());
    assert_eq!(script.polls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_joins_a_poll_too_old_for_it_polls_again() {
    let revocations = Revocations::new();
    let script = Script::default();
    let id = Uuid::new_v4();
    script.delay.set(SECOND * 2);
    let late = async {
        sleep(SECOND).await;
        script.revoke(id, noon());
        revocations.contains_since(&script, id, None).await
    };
    let (first, second) = join!(revocations.contains_since(&script, id, None), late);
    assert!(!first.unwrap());
    assert!(second.unwrap());
}

#[tokio::test(start_paused = true)]
async fn waiting_callers_share_a_failure_and_later_ones_poll_again() {
    let revocations = Revocations::new();
    let script = Script::default();
    script.delay.set(SECOND);
    script.is_down.set(true);
    let contains = || revocations.contains_since(&script, Uuid::new_v4(), None);
    let began = Instant::now();
    let outcomes = join!(contains(), contains(), contains());
    assert!(outcomes.0.is_err() && outcomes.1.is_err() && outcomes.2.is_err());
    assert_eq!((script.polls(), began.elapsed()), (1, SECOND));
    script.is_down.set(false);
    advance(MOMENT).await;
    assert!(!contains().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_poll_is_made_by_the_next_caller() {
    let revocations = Revocations::new();
    let script = Script::default();
    script.delay.set(SECOND);
    let contains = || revocations.contains_since(&script, Uuid::new_v4(), None);
    let (cancelled, answer) = join!(timeout(SECOND / 2, contains()), contains());
    assert!(cancelled.is_err());
    assert!(!answer.unwrap());
    assert_eq!(script.polls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_poll_overlaps_with_what_was_seen_before() {
    let revocations = Revocations::new();
    let script = Script::default();
    let late = Uuid::new_v4();
    script.revoke(Uuid::new_v4(), noon());
    assert!(!revocations.contains_since(&script, late, None).await.unwrap());
    advance(FRESH).await;
    // Written before the revocation that was seen, by a transaction that commits after it.
    script.revoke(late, noon() - OVERLAP);
    assert!(revocations.contains_since(&script, late, None).await.unwrap());
    assert_eq!(*script.polls.borrow(), [None, Some(noon() - OVERLAP)]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_this_process_ends_is_revoked_at_once_and_forgotten_with_its_tokens() {
    let revocations = Revocations::new();
    let script = Script::default();
    let id = Uuid::new_v4();
    assert!(!revocations.contains_since(&script, id, None).await.unwrap());
    revocations.add([id]);
    assert!(revocations.contains_since(&script, id, None).await.unwrap());
    assert_eq!(script.polls(), 1);
    advance(MAX_ACCESS_TOKEN_TTL).await;
    revocations.add([Uuid::new_v4()]);
    assert_eq!(revocations.known.lock().revoked.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_announcement_ends_the_wait_without_regular_polls() {
    let revocations = Revocations::new();
    let script = Script::default();
    let id = Uuid::new_v4();
    let (announce, subscriber) = RevocationSubscriber::with_sender();
    let now = || RevocationStatus { is_listening: true, announced_at: Some(Instant::now()) };
    announce(now());
    let revoked_at = async {
        revocations.poll_until_revoked(&script, subscriber, id).await;
        Instant::now()
    };
    let scenario = async {
        sleep(SECOND * 60).await;
        announce(now());
        sleep(SECOND).await;
        assert_eq!(script.polls(), 2);
        script.revoke(id, noon());
        announce(now());
        Instant::now()
    };
    let (revoked_at, announced_at) = join!(revoked_at, scenario);
    assert!(revoked_at - announced_at < SOCKET_PAUSE * 2);
}

#[tokio::test(start_paused = true)]
async fn the_wait_polls_regularly_without_announcements_and_through_an_outage() {
    let revocations = Revocations::new();
    let script = Script::default();
    let id = Uuid::new_v4();
    let (announce, subscriber) = RevocationSubscriber::with_sender();
    announce(RevocationStatus::default());
    script.is_down.set(true);
    let scenario = async {
        sleep(FRESH * 10).await;
        assert!((10..=11).contains(&script.polls()), "{}", script.polls());
        script.is_down.set(false);
        script.revoke(id, noon());
    };
    let began = Instant::now();
    join!(revocations.poll_until_revoked(&script, subscriber, id), scenario);
    assert!(began.elapsed() <= FRESH * 11);
}
