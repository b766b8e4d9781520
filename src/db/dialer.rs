use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::PoolableConnection;
use futures_util::future::{BoxFuture, pending};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::{Connector, Error};

/// For how long a connection that could be opened shows that others can be, too.
const FRESH: Duration = Duration::from_secs(30);
/// How long an attempt may be silent before another one is made beside it. A network that swallowed the first packets is
/// noticed to be back by the next attempt, long before TCP repeats them.
const SILENCE: Duration = Duration::from_secs(1);
/// Pauses between attempts that failed: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// For how long attempts go on after somebody has asked, be it a health check.
const INTEREST: Duration = Duration::from_secs(30);
/// Connections that are opened at once while the database is there.
const AT_ONCE: usize = 4;

/// Opens the connections of a pool.
///
/// While it is not known whether the database is there, one task tries and everybody else waits for it, however many they
/// are: a database that wakes up is not met by a crowd. Once it has been away for as long as anybody would wait, nobody
/// waits any more, and the task goes on for as long as somebody asks.
#[derive(Clone)]
pub(super) struct Dialer(Arc<Shared>);

struct Shared {
    /// What it leads to, for the log.
    name: &'static str,
    connector: Connector,
    patience: Duration,
    state: watch::Sender<State>,
    places: Semaphore,
    attempts: Mutex<Attempts>,
}

/// What the task that tries has to do with those who want a connection.
#[derive(Default)]
struct Attempts {
    running: bool,
    task: Option<AbortOnDropHandle<()>>,
    /// What it has opened and when, for whoever comes first.
    opened: Option<(AsyncPgConnection, Instant)>,
    /// When somebody last asked.
    wanted: Option<Instant>,
}

#[derive(Clone, Debug)]
enum State {
    Unknown,
    Up { since: Instant },
    Down { since: Instant, reason: String },
}

impl State {
    fn is_up(&self) -> bool {
        matches!(self, Self::Up { since } if since.elapsed() < FRESH)
    }
}

impl Dialer {
    /// Opens connections for those who wait for the database for as long as `patience`.
    pub(super) fn new(connector: Connector, patience: Duration, name: &'static str) -> Self {
        Self(Arc::new(Shared {
            name,
            connector,
            patience,
            state: watch::channel(State::Unknown).0,
            places: Semaphore::new(AT_ONCE),
            attempts: Mutex::default(),
        }))
    }

    /// Opens a connection; gives up when the database does not come back for as long as the patience lasts.
    pub(super) async fn connect(&self) -> Result<AsyncPgConnection, Error> {
        let shared = &*self.0;
        let deadline = Instant::now() + shared.patience();
        loop {
            if let Some(opened) = shared.take_opened() {
                return Ok(opened);
            }
            if self.is_up() {
                let place = shared.places.acquire().await;
                let mut attempt = pin!(shared.connector.connect());
                match timeout(SILENCE, &mut attempt).await {
                    Ok(Err(error)) if !error.is_crowded() => shared.failed(&error.reason()),
                    Ok(result) => return result,
                    // Far away perhaps: it goes on, and so does the search for what is wrong.
                    Err(_) => {
                        drop(place);
                        shared.state.send_replace(State::Unknown);
                        self.want();
                        tokio::select! {
                            Ok(connection) = &mut attempt => return Ok(connection),
                            () = self.wait_until_up(deadline) => {}
                        }
                        continue;
                    }
                }
            }
            if Instant::now() >= deadline {
                return Err(shared.away());
            }
            self.want();
            self.wait_until_up(deadline).await;
        }
    }

    async fn wait_until_up(&self, deadline: Instant) {
        let mut state = self.0.state.subscribe();
        let _ = timeout_at(deadline, state.wait_for(State::is_up)).await;
    }

    /// Whether connections can be opened, as far as is known; if it is not known that they can, it is tried.
    pub(super) fn is_up(&self) -> bool {
        let up = self.0.state.borrow().is_up();
        if !up {
            self.want();
        }
        up
    }

    /// Whether the database is known to be away; if so it is tried, so that this becomes untrue by itself.
    pub(super) fn is_down(&self) -> bool {
        let down = matches!(*self.0.state.borrow(), State::Down { .. });
        if down {
            self.want();
        }
        down
    }

    /// Closes what was opened and nobody has come for.
    pub(super) fn tidy(&self) {
        let mut attempts = self.0.attempts();
        attempts.opened = attempts.opened.take().filter(|(_, at)| at.elapsed() < FRESH);
    }

    /// Returns once the database has been there for some time without a break.
    pub(super) async fn up_for(&self, time: Duration) {
        let mut state = self.0.state.subscribe();
        let up = |state: &State| matches!(state, State::Up { .. });
        loop {
            let _ = state.wait_for(up).await;
            if timeout(time, state.wait_for(|state| !up(state))).await.is_err() {
                return;
            }
        }
    }

    /// Has the database tried.
    fn want(&self) {
        let mut attempts = self.0.attempts();
        attempts.wanted = Some(Instant::now());
        if !attempts.running {
            attempts.running = true;
            let task = tokio::spawn(dial(Arc::downgrade(&self.0)));
            attempts.task = Some(AbortOnDropHandle::new(task));
        }
    }
}

impl Shared {
    fn attempts(&self) -> std::sync::MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long somebody waits who asks now. Once the database has been away for as long as anybody would wait, that is no
    /// longer than for the next attempt.
    fn patience(&self) -> Duration {
        match &*self.state.borrow() {
            State::Down { since, .. } if since.elapsed() >= self.patience => LONGEST_PAUSE.min(self.patience),
            _ => self.patience,
        }
    }

    fn take_opened(&self) -> Option<AsyncPgConnection> {
        let (mut opened, at) = self.attempts().opened.take()?;
        (at.elapsed() < FRESH && !opened.is_broken()).then_some(opened)
    }

    fn failed(&self, reason: &str) {
        self.state.send_modify(|state| {
            let since = match state {
                State::Down { since, .. } => *since,
                _ => Instant::now(),
            };
            if !matches!(state, State::Down { .. }) {
                tracing::warn!(reason, "{} can't be reached; trying again", self.name);
            }
            *state = State::Down { since, reason: reason.to_owned() };
        });
    }

    fn succeeded(&self, connection: AsyncPgConnection) {
        {
            let mut attempts = self.attempts();
            (attempts.running, attempts.opened) = (false, Some((connection, Instant::now())));
        }
        let before = self.state.send_replace(State::Up { since: Instant::now() });
        if let State::Down { since, .. } = before {
            tracing::info!(after = ?since.elapsed(), "{} is back", self.name);
        }
    }

    fn away(&self) -> Error {
        match &*self.state.borrow() {
            State::Down { reason, .. } => Error::Unavailable(reason.clone()),
            _ => Error::timeout("connecting"),
        }
    }

    /// Whether somebody wants a connection; if not, there are no more attempts.
    fn goes_on(&self) -> bool {
        let mut attempts = self.attempts();
        let recent = attempts.wanted.is_some_and(|wanted| wanted.elapsed() < INTEREST);
        attempts.running = recent || self.state.receiver_count() > 0;
        attempts.running
    }
}

type Attempt = BoxFuture<'static, Result<AsyncPgConnection, Error>>;

/// Tries until there is a connection, or nobody wants one.
///
/// One attempt waits as long as it takes, as a database may have to wake up for it. While it is silent, others come and go
/// beside it.
async fn dial(shared: std::sync::Weak<Shared>) {
    let (mut patient, mut other): (Option<Attempt>, Option<Attempt>) = (None, None);
    let (mut pause, mut silent) = (FIRST_PAUSE, false);
    loop {
        let Some(connector) = shared.upgrade().map(|shared| shared.connector.clone()) else { return };
        let attempt: Attempt = Box::pin(async move { connector.connect().await });
        if patient.is_none() {
            patient = Some(attempt);
        } else {
            other = Some(attempt);
        }
        let result = tokio::select! {
            result = ended(&mut patient) => Some(result),
            result = ended(&mut other) => Some(result),
            () = sleep(SILENCE) => None,
        };
        let failed = matches!(result, Some(Err(_)));
        {
            let Some(shared) = shared.upgrade() else { return };
            match result {
                Some(Ok(connection)) => return shared.succeeded(connection),
                Some(Err(error)) => shared.failed(&error.reason()),
                // One second may be the way: TLS and a login take eight round trips.
                None if std::mem::replace(&mut silent, true) => shared.failed("no answer"),
                None => {}
            }
            if !shared.goes_on() {
                shared.state.send_replace(State::Unknown);
                return;
            }
        }
        if failed {
            // Processes that lost the database together come back apart.
            sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}

/// The end of an attempt, which is no more afterwards.
async fn ended(attempt: &mut Option<Attempt>) -> Result<AsyncPgConnection, Error> {
    let Some(running) = attempt else { return pending().await };
    let result = running.await;
    *attempt = None;
    result
}
