//! Opens the connections of a pool, as a circuit breaker with single-flight probes.
//!
//! - **closed**: callers open their own connections, a few at a time.
//! - **probing**: the server's state is unknown. One task probes and all callers share its outcome, so that a waking
//!   database sees no thundering herd.
//! - **open**: the server is away. Probes go on while there are callers, who fail fast once the outage has lasted longer
//!   than their patience; while only health checks ask, probes are rare.
//!
//! An attempt outlives its caller: a proxy in front of a waking database would log in all the same, and the next caller
//! needs the connection.

mod crowding;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use self::crowding::Crowding;
use super::Error;
use super::backoff::jittered;

/// Time for which one opened connection shows that others can be opened, too.
const FRESH: Duration = Duration::from_secs(30);
/// Time of an attempt after which the server counts as away, though the attempt goes on. TLS and a login take eight round
/// trips, here of 375 ms.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
/// First and longest delay of the back-off between failed attempts.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(1);
/// Delay while only health checks ask, to which up to a quarter is added as jitter.
const UNREQUESTED_DELAY: Duration = Duration::from_secs(15);
/// Time for which probes go on after the last caller, such as a health check.
const INTEREST: Duration = Duration::from_secs(30);
/// Connections opened at once while the breaker is closed.
const CONCURRENCY: u32 = 4;

type Attempt<T> = BoxFuture<'static, Result<T, Error>>;

/// A single-flight reconnect; cheap to clone.
pub(super) struct Reconnect<T>(Arc<Shared<T>>);

struct Shared<T> {
    /// The server's name in the log.
    name: &'static str,
    connect: Box<dyn Fn() -> Attempt<T> + Send + Sync>,
    patience: Duration,
    state: watch::Sender<State>,
    /// Held by attempts until they end; a probe holds all of them.
    permits: Arc<Semaphore>,
    probe: Mutex<Probe<T>>,
    /// Wakes a probe that waits for health checks only.
    requested: Notify,
    crowding: Mutex<Crowding>,
}

struct Probe<T> {
    /// End of the callers' interest; `None` if no probe runs.
    wanted_until: Option<Instant>,
    /// End of the interest of callers that need a connection, other than health checks.
    requested_until: Option<Instant>,
    /// Connections whose caller has gone, and that of the last probe, for the next callers.
    opened: Vec<(T, Instant)>,
}

/// A caller's reason.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    Request,
    HealthCheck,
}

#[derive(Debug)]
enum State {
    Closed { since: Instant },
    Probing,
    Open { since: Instant, reason: String },
}

impl State {
    /// False also for a closed state so old that the server has to be probed again.
    fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { since } if since.elapsed() < FRESH)
    }
}

impl<T: Send + 'static> Reconnect<T> {
    /// `patience` is the time that a caller waits for a server that is away.
    pub(super) fn new(
        name: &'static str,
        patience: Duration,
        connect: impl Fn() -> Attempt<T> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            name,
            connect: Box::new(connect),
            patience,
            state: watch::channel(State::Probing).0,
            permits: Arc::new(Semaphore::new(CONCURRENCY as usize)),
            probe: Mutex::new(Probe { wanted_until: None, requested_until: None, opened: Vec::new() }),
            requested: Notify::new(),
            crowding: Mutex::default(),
        }))
    }

    /// Opens a connection, or fails once the server has been away for the caller's patience. Fails at once where it takes
    /// no more connections.
    pub(super) async fn connect(&self) -> Result<T, Error> {
        let deadline = Instant::now() + self.0.patience();
        loop {
            if let Some(connection) = self.0.take_opened() {
                return Ok(connection);
            }
            if let Some(result) = self.0.connect_if_closed().await {
                return result;
            }
            self.want_probe(deadline, Reason::Request);
            if Instant::now() >= deadline {
                return Err(self.0.outage());
            }
            let mut state = self.0.state.subscribe();
            let _ = timeout_at(deadline, state.wait_for(State::is_closed)).await;
        }
    }

    /// True if connections are known to open; if not, starts a probe.
    pub(super) fn is_closed(&self) -> bool {
        let closed = self.0.state.borrow().is_closed();
        if !closed {
            self.want_probe(Instant::now(), Reason::Request);
        }
        closed
    }

    /// True if the server is known to be away; if so, keeps the probe going for a health check, so that this ends by itself.
    pub(super) fn is_open(&self) -> bool {
        let open = matches!(*self.0.state.borrow(), State::Open { .. });
        if open {
            self.want_probe(Instant::now(), Reason::HealthCheck);
        }
        open
    }

    /// Returns once the breaker has stayed closed for `time`.
    pub(super) async fn closed_for(&self, time: Duration) {
        let mut state = self.0.state.subscribe();
        let is_closed = |state: &State| matches!(state, State::Closed { .. });
        loop {
            let _ = state.wait_for(is_closed).await;
            if timeout(time, state.wait_for(|state| !is_closed(state))).await.is_err() {
                return;
            }
        }
    }

    /// Closes opened connections that no caller has used.
    pub(super) fn discard_unused(&self) {
        self.0.probe.lock().opened.retain(|(_, at)| at.elapsed() < FRESH);
    }

    /// Closes all opened connections, as one of them has turned out to be lost.
    pub(super) fn discard_opened(&self) {
        self.0.probe.lock().opened.clear();
    }

    /// Returns why no connection can be had.
    pub(super) fn reason(&self) -> String {
        self.crowding().unwrap_or_else(|| self.0.outage().reason())
    }

    /// Returns the server's words if it takes no more connections.
    pub(super) fn crowding(&self) -> Option<String> {
        self.0.crowding.lock().reason()
    }

    /// Stops opening connections.
    pub(super) fn close(&self) {
        self.0.permits.close();
        self.0.probe.lock().opened.clear();
    }

    fn want_probe(&self, deadline: Instant, reason: Reason) {
        let until = deadline.max(Instant::now() + INTEREST);
        let mut probe = self.0.probe.lock();
        let running = probe.wanted_until;
        probe.wanted_until = running.max(Some(until));
        if reason == Reason::Request {
            probe.requested_until = probe.requested_until.max(Some(until));
            self.0.requested.notify_waiters();
        }
        if running.is_none() && !self.0.permits.is_closed() {
            tokio::spawn(probe_until_answered(Arc::clone(&self.0)));
        }
    }
}

impl<T> Clone for Reconnect<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Probes until the server answers or there are no more callers, with exponential back-off after failures.
async fn probe_until_answered<T: Send + 'static>(shared: Arc<Shared<T>>) {
    let mut delay = FIRST_DELAY;
    while shared.is_probe_wanted() {
        // All of them: not beside an attempt that a caller has left.
        let Ok(permits) = Arc::clone(&shared.permits).acquire_many_owned(CONCURRENCY).await else { return };
        if shared.state.borrow().is_closed() {
            // That attempt has been answered.
            shared.probe.lock().wanted_until = None;
            return;
        }
        let attempt = (shared.connect)();
        tokio::pin!(attempt);
        let answer = if let Ok(answer) = timeout(ATTEMPT_LIMIT, &mut attempt).await {
            answer
        } else {
            // Something may be waking up behind a proxy that has taken the connection. Where packets are lost the
            // attempt ends by `TCP_CONNECT_LIMIT` or `tcp_user_timeout`.
            shared.open("no answer");
            attempt.await
        };
        drop(permits);
        match answer {
            Ok(connection) => return shared.close(Some(connection)),
            // The server is there; callers wait for room.
            Err(Error::Crowded(reason)) => {
                shared.crowding.lock().note(shared.name, &reason);
                return shared.close(None);
            }
            Err(error) => shared.open(&error.reason()),
        }
        shared.pause(&mut delay).await;
    }
}

impl<T: Send + 'static> Shared<T> {
    /// Opens a connection past the probe; returns `None` if the breaker is not closed, or opens it.
    async fn connect_if_closed(self: &Arc<Self>) -> Option<Result<T, Error>> {
        if !self.state.borrow().is_closed() {
            return None;
        }
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
            return Some(Err(Error::Unavailable("closing".into())));
        };
        // Again: the callers that held the permits before may have opened it.
        if !self.state.borrow().is_closed() {
            return None;
        }
        if let Err(error) = self.crowding.lock().admit() {
            return Some(Err(error));
        }
        match timeout(ATTEMPT_LIMIT, self.begin_attempt(permit)).await {
            Ok(Ok(Err(Error::Crowded(reason)))) => {
                self.crowding.lock().note(self.name, &reason);
                return Some(Err(Error::Crowded(reason)));
            }
            Ok(Ok(Err(error))) => self.open(&error.reason()),
            Ok(Ok(Ok(connection))) => {
                *self.crowding.lock() = Crowding::default();
                return Some(Ok(connection));
            }
            // The attempt goes on, or has panicked.
            Ok(Err(_)) | Err(_) => self.open("no answer"),
        }
        None
    }

    /// Begins an attempt that outlives its caller.
    fn begin_attempt(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> oneshot::Receiver<Result<T, Error>> {
        let (sender, answer) = oneshot::channel();
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let _permit = permit;
            let answered = (shared.connect)().await;
            if let Err(Ok(connection)) = sender.send(answered) {
                shared.close(Some(connection));
            }
        });
        answer
    }

    /// Waits between two probes. While only health checks ask, a request ends the wait.
    async fn pause(&self, delay: &mut Duration) {
        let requested = self.requested.notified();
        tokio::pin!(requested);
        requested.as_mut().enable();
        if self.probe.lock().requested_until.is_some_and(|until| Instant::now() < until) {
            sleep(jittered(*delay)).await;
            *delay = LONGEST_DELAY.min(*delay * 2);
        } else {
            let _ = timeout(UNREQUESTED_DELAY.mul_f64(1.0 + fastrand::f64() / 4.0), requested).await;
            *delay = FIRST_DELAY;
        }
    }

    /// Under the probe's lock, so that a caller finds either a probe that goes on or one to start.
    fn is_probe_wanted(&self) -> bool {
        let mut probe = self.probe.lock();
        probe.wanted_until = probe.wanted_until.filter(|until| Instant::now() < *until);
        if probe.wanted_until.is_none() {
            tracing::debug!("no callers for {}: not probing", self.name);
            self.state.send_replace(State::Probing);
        }
        probe.wanted_until.is_some()
    }

    /// Notes that the server answers, with a connection for the next caller.
    fn close(&self, connection: Option<T>) {
        let since = Instant::now();
        if connection.is_some() {
            *self.crowding.lock() = Crowding::default();
        }
        let mut probe = self.probe.lock();
        probe.wanted_until = None;
        // Under the probe's lock, so that none is kept after `Reconnect::close`.
        let kept = connection.filter(|_| !self.permits.is_closed());
        probe.opened.extend(kept.map(|connection| (connection, since)));
        drop(probe);
        if let State::Open { since, .. } = self.state.send_replace(State::Closed { since }) {
            tracing::info!(after = ?since.elapsed(), "{} is back", self.name);
        } else {
            tracing::debug!("{} answers", self.name);
        }
    }

    fn open(&self, reason: &str) {
        // The outage is the reason from now on.
        *self.crowding.lock() = Crowding::default();
        self.state.send_modify(|state| {
            let mut since = Instant::now();
            if let State::Open { since: earlier, .. } = state {
                since = *earlier;
            } else {
                tracing::warn!(reason, "{} can't be reached; trying again", self.name);
            }
            *state = State::Open { since, reason: reason.to_owned() };
        });
    }

    fn patience(&self) -> Duration {
        match &*self.state.borrow() {
            // Away for longer than callers wait: for the next attempt only.
            State::Open { since, .. } if since.elapsed() >= self.patience => LONGEST_DELAY.min(self.patience),
            _ => self.patience,
        }
    }

    fn take_opened(&self) -> Option<T> {
        let mut probe = self.probe.lock();
        probe.opened.retain(|(_, at)| at.elapsed() < FRESH);
        probe.opened.pop().map(|(opened, _)| opened)
    }

    fn outage(&self) -> Error {
        match &*self.state.borrow() {
            State::Open { reason, .. } => Error::Unavailable(reason.clone()),
            _ => Error::timeout("connecting"),
        }
    }
}

#[cfg(test)]
mod tests;
