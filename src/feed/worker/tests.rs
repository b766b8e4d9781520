use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, advance};
use tokio_util::task::AbortOnDropHandle;

use super::super::subscribers::{RevocationSubscriber, TodoSubscriber};
use super::*;

/// A database that does as a test says.
#[derive(Default)]
struct Script {
    refuses_to_listen: Cell<bool>,
    /// Drops notifications, as poolers do.
    is_pooled: Cell<bool>,
    is_used: Cell<bool>,
    /// Times of attempts to listen.
    attempts: RefCell<Vec<Instant>>,
    /// Reaches the last listener; dropping it cuts the connection.
    listener: RefCell<Option<UnboundedSender<Notification>>>,
    numbers: Rc<RefCell<Vec<(Uuid, i64)>>>,
    polls: Cell<u32>,
    checks: Rc<Cell<u32>>,
}

struct ScriptedListener {
    notifications: UnboundedReceiver<Notification>,
    numbers: Rc<RefCell<Vec<(Uuid, i64)>>>,
    checks: Rc<Cell<u32>>,
}

impl Script {
    fn notify(&self, notification: Notification) {
        self.listener.borrow().as_ref().expect("a listener").send(notification).expect("it lives");
    }

    fn attempts(&self) -> usize {
        self.attempts.borrow().len()
    }
}

impl Source for Script {
    type Listener = ScriptedListener;

    async fn listen(&self) -> anyhow::Result<ScriptedListener> {
        self.attempts.borrow_mut().push(Instant::now());
        if self.refuses_to_listen.get() {
            bail!("refused");
        }
        let (sender, notifications) = unbounded_channel();
        *self.listener.borrow_mut() = Some(sender);
        let numbers = Rc::clone(&self.numbers);
        Ok(ScriptedListener { notifications, numbers, checks: Rc::clone(&self.checks) })
    }

    async fn send_probe(&self, id: Uuid) -> anyhow::Result<()> {
        if !self.is_pooled.get() {
            self.notify(Notification::TodoEvent { user_id: id, number: 0 });
        }
        Ok(())
    }

    async fn last_numbers(&self, _user_ids: &[Uuid]) -> anyhow::Result<Vec<(Uuid, i64)>> {
        self.polls.set(self.polls.get() + 1);
        Ok(self.numbers.borrow().clone())
    }

    fn was_used_within(&self, _time: Duration) -> bool {
        self.is_used.get()
    }
}

impl Listener for ScriptedListener {
    async fn next(&mut self) -> anyhow::Result<Notification> {
        self.notifications.recv().await.context("the connection has ended")
    }

    async fn last_numbers(&mut self, _user_ids: &[Uuid]) -> anyhow::Result<Vec<(Uuid, i64)>> {
        self.checks.set(self.checks.get() + 1);
        Ok(self.numbers.borrow().clone())
    }
}

struct Subscriptions {
    user_id: Uuid,
    todos: TodoSubscriber,
    revocations: RevocationSubscriber,
}

/// Runs a scenario, which begins first, beside the worker.
async fn with_worker(script: &Script, scenario: impl AsyncFnOnce(Subscriptions)) {
    let subscribers = Arc::<Subscribers>::default();
    let user_id = Uuid::new_v4();
    let spawn = || AbortOnDropHandle::new(tokio::spawn(pending()));
    let todos = subscribers.add_todo_subscriber(user_id, spawn);
    let revocations = subscribers.add_revocation_subscriber(spawn);
    let scenario = scenario(Subscriptions { user_id, todos, revocations });
    tokio::select! {
        biased;
        ended = timeout(Duration::from_hours(1), scenario) => ended.expect("an end of the scenario"),
        never = run(script, &subscribers) => match never {},
    }
}

async fn until_listening(revocations: &mut RevocationSubscriber) {
    while !revocations.status().is_listening {
        revocations.changed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn notifications_reach_subscribers_without_polling() {
    let script = Script::default();
    with_worker(&script, async |mut subscriptions: Subscriptions| {
        until_listening(&mut subscriptions.revocations).await;
        let since = subscriptions.revocations.status().announced_at;
        script.notify(Notification::TodoEvent { user_id: subscriptions.user_id, number: 3 });
        subscriptions.todos.wait_for_events_after(2).await;
        advance(Duration::from_millis(1)).await;
        script.notify(Notification::SessionRevoked);
        subscriptions.revocations.changed().await;
        assert!(subscriptions.revocations.status().announced_at > since);
    })
    .await;
    assert_eq!((script.attempts(), script.polls.get()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn events_from_before_listening_are_announced() {
    let script = Script::default();
    with_worker(&script, async |mut subscriptions: Subscriptions| {
        script.numbers.borrow_mut().push((subscriptions.user_id, 9));
        subscriptions.todos.wait_for_events_after(8).await;
    })
    .await;
    assert_eq!((script.checks.get(), script.polls.get()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn numbers_are_polled_where_listening_is_refused_and_attempts_back_off() {
    let script = Script::default();
    script.refuses_to_listen.set(true);
    let began = Instant::now();
    with_worker(&script, async |mut subscriptions: Subscriptions| {
        script.numbers.borrow_mut().push((subscriptions.user_id, 1));
        subscriptions.todos.wait_for_events_after(0).await;
        assert_eq!(began.elapsed(), POLL_INTERVAL);
        assert!(!subscriptions.revocations.status().is_listening);
        sleep(Duration::from_mins(4)).await;
    })
    .await;
    let attempts = script.attempts.borrow();
    let seconds: Vec<_> = attempts.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(seconds, [2, 4, 8, 16, 32, 60, 60]);
}

#[tokio::test(start_paused = true)]
async fn a_pooler_that_passes_no_notification_on_is_noticed_by_the_probe() {
    let script = Script::default();
    script.is_pooled.set(true);
    let began = Instant::now();
    with_worker(&script, async |mut subscriptions: Subscriptions| {
        let user_id = subscriptions.user_id;
        tokio::task::yield_now().await;
        // Arrives because the connection is busy, and proves nothing.
        script.notify(Notification::SessionRevoked);
        subscriptions.revocations.changed().await;
        assert!(!subscriptions.revocations.status().is_listening);
        assert_eq!(began.elapsed(), QUERY_TIMEOUT);
        script.numbers.borrow_mut().push((user_id, 1));
        subscriptions.todos.wait_for_events_after(0).await;
        assert_eq!(script.polls.get(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_connection_it_is_polled_once_before_listening_again() {
    let script = Script::default();
    with_worker(&script, async |mut subscriptions: Subscriptions| {
        for round in 1..=3 {
            until_listening(&mut subscriptions.revocations).await;
            assert_eq!(script.polls.get(), round - 1);
            *script.listener.borrow_mut() = None;
            subscriptions.revocations.changed().await;
            assert!(!subscriptions.revocations.status().is_listening);
        }
    })
    .await;
    assert_eq!(script.attempts(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_checked_only_while_the_database_is_used() {
    let script = Script::default();
    with_worker(&script, async |mut subscriptions: Subscriptions| {
        until_listening(&mut subscriptions.revocations).await;
        let before = script.checks.get();
        sleep(CHECK_INTERVAL * 10).await;
        assert_eq!(script.checks.get(), before);
        script.is_used.set(true);
        // A notification that was lost.
        script.numbers.borrow_mut().push((subscriptions.user_id, 4));
        subscriptions.todos.wait_for_events_after(3).await;
        assert_eq!(script.checks.get(), before + 1);
    })
    .await;
    assert_eq!((script.attempts(), script.polls.get()), (1, 0));
}
