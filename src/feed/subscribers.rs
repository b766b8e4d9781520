use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// The subscribers of a feed, and the worker that serves them.
#[derive(Default)]
pub(super) struct Subscribers {
    registry: Mutex<Registry>,
    revocations: watch::Sender<RevocationStatus>,
}

#[derive(Default)]
struct Registry {
    /// Number of each subscribed user's last known event.
    users: HashMap<Uuid, watch::Sender<i64>>,
    revocation_subscribers: usize,
    /// Runs from the first subscriber to the last.
    worker: Option<AbortOnDropHandle<()>>,
}

/// State of the announcements of revoked sessions.
#[derive(Clone, Copy, Debug, Default)]
pub struct RevocationStatus {
    /// True if revocations are announced; otherwise they have to be polled.
    pub is_listening: bool,
    /// Time of the last announcement, or of the start of listening: earlier revocations were not announced.
    pub announced_at: Option<Instant>,
}

impl Subscribers {
    pub(super) fn add_todo_subscriber(
        self: &Arc<Self>,
        user_id: Uuid,
        spawn_worker: impl FnOnce() -> AbortOnDropHandle<()>,
    ) -> TodoSubscriber {
        let mut registry = self.registry.lock();
        let number = registry.users.entry(user_id).or_insert_with(|| watch::channel(0).0).subscribe();
        self.ensure_worker(&mut registry, spawn_worker);
        drop(registry);
        TodoSubscriber { subscribers: Arc::clone(self), user_id, number }
    }

    pub(super) fn add_revocation_subscriber(
        self: &Arc<Self>,
        spawn_worker: impl FnOnce() -> AbortOnDropHandle<()>,
    ) -> RevocationSubscriber {
        let mut registry = self.registry.lock();
        registry.revocation_subscribers += 1;
        self.ensure_worker(&mut registry, spawn_worker);
        drop(registry);
        RevocationSubscriber { subscribers: Arc::clone(self), status: self.revocations.subscribe() }
    }

    fn ensure_worker(&self, registry: &mut Registry, spawn: impl FnOnce() -> AbortOnDropHandle<()>) {
        if registry.worker.is_none() {
            // The last worker was aborted, perhaps while it listened.
            self.revocations.send_replace(RevocationStatus::default());
            registry.worker = Some(spawn());
        }
    }

    pub(super) fn is_active(&self) -> bool {
        self.registry.lock().worker.is_some()
    }

    pub(super) fn user_ids(&self) -> Vec<Uuid> {
        self.registry.lock().users.keys().copied().collect()
    }

    /// Announces the number of a user's last event; an older one than the last known changes nothing.
    pub(super) fn announce_event(&self, user_id: Uuid, number: i64) {
        if let Some(sender) = self.registry.lock().users.get(&user_id) {
            sender.send_if_modified(|last| number > std::mem::replace(last, number.max(*last)));
        }
    }

    /// Announces that sessions were revoked, or may have been before listening began.
    pub(super) fn announce_revocations(&self) {
        let status = RevocationStatus { is_listening: true, announced_at: Some(Instant::now()) };
        self.revocations.send_replace(status);
    }

    /// Has subscribers poll for revocations; returns true if they were announced until now.
    pub(super) fn stop_listening(&self) -> bool {
        let mut was_listening = false;
        self.revocations.send_modify(|status| {
            was_listening = std::mem::replace(&mut status.is_listening, false);
        });
        was_listening
    }
}

impl Registry {
    fn stop_worker_if_idle(&mut self) {
        if self.users.is_empty() && self.revocation_subscribers == 0 {
            self.worker = None;
        }
    }
}

/// A subscription to a user's events, until it is dropped.
pub struct TodoSubscriber {
    subscribers: Arc<Subscribers>,
    user_id: Uuid,
    number: watch::Receiver<i64>,
}

impl TodoSubscriber {
    /// Announces the number of the user's last event, as read from the database, to all of the user's subscribers.
    pub fn announce(&self, number: i64) {
        self.subscribers.announce_event(self.user_id, number);
    }

    /// Waits until there may be events after a number.
    pub async fn wait_for_events_after(&mut self, number: i64) {
        // Fails only without a sender, which lives until the last subscriber of the user is dropped.
        let _ = self.number.wait_for(|last| *last > number).await;
    }
}

impl Drop for TodoSubscriber {
    fn drop(&mut self) {
        let mut registry = self.subscribers.registry.lock();
        // The receiver of this one is dropped afterwards.
        if registry.users.get(&self.user_id).is_some_and(|sender| sender.receiver_count() <= 1) {
            registry.users.remove(&self.user_id);
        }
        registry.stop_worker_if_idle();
    }
}

/// A subscription to revocations of sessions, until it is dropped.
pub struct RevocationSubscriber {
    subscribers: Arc<Subscribers>,
    status: watch::Receiver<RevocationStatus>,
}

impl RevocationSubscriber {
    /// Returns the present status; [`changed`](Self::changed) waits for a later one.
    pub fn status(&mut self) -> RevocationStatus {
        *self.status.borrow_and_update()
    }

    /// Waits for an announcement, or for listening to begin or end.
    pub async fn changed(&mut self) {
        // Fails only without a sender, which lives as long as `subscribers`.
        let _ = self.status.changed().await;
    }

    /// Creates a subscription for a test, which makes the announcements.
    #[cfg(test)]
    pub(crate) fn with_sender() -> (impl Fn(RevocationStatus), Self) {
        let subscribers = Arc::<Subscribers>::default();
        let subscriber =
            subscribers.add_revocation_subscriber(|| AbortOnDropHandle::new(tokio::spawn(async {})));
        let announce = move |status| {
            subscribers.revocations.send_replace(status);
        };
        (announce, subscriber)
    }
}

impl Drop for RevocationSubscriber {
    fn drop(&mut self) {
        let mut registry = self.subscribers.registry.lock();
        registry.revocation_subscribers -= 1;
        registry.stop_worker_if_idle();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Duration, timeout};

    use super::*;

    fn worker() -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(pending()))
    }

    #[tokio::test(start_paused = true)]
    async fn the_worker_runs_from_the_first_subscriber_to_the_last() {
        let subscribers = Arc::<Subscribers>::default();
        let user_id = Uuid::new_v4();
        let first = subscribers.add_todo_subscriber(user_id, worker);
        let second = subscribers.add_todo_subscriber(user_id, || unreachable!("one runs"));
        let third = subscribers.add_revocation_subscriber(|| unreachable!("one runs"));
        drop((first, third));
        assert!(subscribers.is_active());
        assert_eq!(subscribers.user_ids(), [user_id]);
        drop(second);
        assert!(!subscribers.is_active());
        assert!(subscribers.user_ids().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_worker_does_not_inherit_that_the_last_one_listened() {
        let subscribers = Arc::<Subscribers>::default();
        let first = subscribers.add_revocation_subscriber(worker);
        subscribers.announce_revocations();
        drop(first);
        let mut second = subscribers.add_revocation_subscriber(worker);
        assert!(!second.status().is_listening);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_number_is_no_news() {
        let subscribers = Arc::<Subscribers>::default();
        let ada = Uuid::new_v4();
        let bob = Uuid::new_v4();
        let mut subscriber = subscribers.add_todo_subscriber(ada, worker);
        subscribers.announce_event(ada, 7);
        subscribers.announce_event(ada, 5);
        subscribers.announce_event(bob, 9);
        subscriber.wait_for_events_after(6).await;
        let later = timeout(Duration::from_mins(1), subscriber.wait_for_events_after(7)).await;
        assert!(later.is_err(), "the last event is number 7");
    }
}
