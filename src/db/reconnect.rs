//! Opens the connections of a pool, as a circuit breaker with single-flight probes.
//!
//! - **closed**: callers open their own connections, a few at a time.
//! - **probing**: the server's state is unknown. One task probes and all callers share its outcome, so that a waking
//!   database sees no thundering herd.
//! - **open**: the server is away. Probes go on while there are callers, who fail fast once the outage has lasted longer
//!   than their patience.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Error;

/// Time for which one opened connection shows that others can be opened, too.
const FRESH: Duration = Duration::from_secs(30);
/// Time limit of an attempt; a probe's limit doubles. TLS and a login take eight round trips, here of 375 ms.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
/// First and longest delay of the back-off between failed attempts.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(1);
/// Time for which probes go on after the last caller, such as a health check.
const INTEREST: Duration = Duration::from_secs(30);
/// Connections opened at once while the breaker is closed.
const CONCURRENCY: usize = 4;

type Attempt<T> = BoxFuture<'static, Result<T, Error>>;

/// A single-flight reconnect; cheap to clone.
pub(super) struct Reconnect<T>(Arc<Shared<T>>);

struct Shared<T> {
    /// The server's name in the log.
    name: &'static str,
    connect: Box<dyn Fn() -> Attempt<T> + Send + Sync>,
    patience: Duration,
    state: watch::Sender<State>,
    permits: Semaphore,
    probe: Mutex<Probe<T>>,
}

struct Probe<T> {
    /// End of the callers' interest; `None` if no probe runs.
    wanted_until: Option<Instant>,
    /// The connection that the last probe opened, for the next caller.
    opened: Option<(T, Instant)>,
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
            permits: Semaphore::new(CONCURRENCY),
            probe: Mutex::new(Probe { wanted_until: None, opened: None }),
        }))
    }

    /// Opens a connection, or fails once the server has been away for the caller's patience.
    pub(super) async fn connect(&self) -> Result<T, Error> {
        let deadline = Instant::now() + self.0.patience();
        loop {
            if let Some(connection) = self.0.take_opened() {
                return Ok(connection);
            }
            if let Some(result) = self.0.connect_if_closed().await {
                return result;
            }
            self.want_probe(deadline);
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
            self.want_probe(Instant::now());
        }
        closed
    }

    /// True if the server is known to be away; if so, keeps the probe going, so that this ends by itself.
    pub(super) fn is_open(&self) -> bool {
        let open = matches!(*self.0.state.borrow(), State::Open { .. });
        if open {
            self.want_probe(Instant::now());
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

    /// Closes a probed connection that no caller has used.
    pub(super) fn discard_unused(&self) {
        let mut probe = self.0.probe.lock();
        probe.opened.take_if(|(_, at)| at.elapsed() >= FRESH);
    }

    fn want_probe(&self, deadline: Instant) {
        let until = deadline.max(Instant::now() + INTEREST);
        let mut probe = self.0.probe.lock();
        let running = probe.wanted_until;
        probe.wanted_until = running.max(Some(until));
        if running.is_none() {
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
async fn probe_until_answered<T>(shared: Arc<Shared<T>>) {
    let mut limit = ATTEMPT_LIMIT;
    let mut delay = FIRST_DELAY;
    while shared.is_probe_wanted() {
        match timeout(limit, (shared.connect)()).await {
            Ok(Ok(connection)) => return shared.close(connection),
            Ok(Err(error)) => {
                shared.open(&error.reason());
                // Jitter: processes that lost the server together do not come back together.
                sleep(delay.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                delay = LONGEST_DELAY.min(delay * 2);
            }
            // Something may be waking up behind a proxy that has taken the connection: it gets more time. Where packets
            // are lost the attempt ends much earlier, by `TCP_CONNECT_LIMIT` or `tcp_user_timeout`.
            Err(_) => {
                shared.open("no answer");
                limit *= 2;
            }
        }
    }
}

impl<T> Shared<T> {
    /// Opens a connection past the probe; returns `None` if the breaker is not closed, or opens it.
    async fn connect_if_closed(&self) -> Option<Result<T, Error>> {
        if !self.state.borrow().is_closed() {
            return None;
        }
        let _permit = self.permits.acquire().await;
        // Again: the callers that held the permits before may have opened it.
        if !self.state.borrow().is_closed() {
            return None;
        }
        match timeout(ATTEMPT_LIMIT, (self.connect)()).await {
            Ok(Err(error)) if !error.is_crowded() => self.open(&error.reason()),
            Ok(result) => return Some(result),
            Err(_) => self.open("no answer"),
        }
        None
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

    fn close(&self, connection: T) {
        let since = Instant::now();
        *self.probe.lock() = Probe { wanted_until: None, opened: Some((connection, since)) };
        if let State::Open { since, .. } = self.state.send_replace(State::Closed { since }) {
            tracing::info!(after = ?since.elapsed(), "{} is back", self.name);
        } else {
            tracing::debug!("{} answers", self.name);
        }
    }

    fn open(&self, reason: &str) {
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
        let (opened, at) = self.probe.lock().opened.take()?;
        (at.elapsed() < FRESH).then_some(opened)
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
