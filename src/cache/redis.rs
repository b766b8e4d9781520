use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::metrics::{CacheOutcome, Metrics};

/// How long Redis may take for one thing.
const LIMIT: Duration = Duration::from_millis(50);
/// How long opening a connection may take. No read waits for it.
const OPEN_LIMIT: Duration = Duration::from_secs(1);
/// How long a change waits for Redis to forget what was before, also while the connection is being opened.
const FORGET_LIMIT: Duration = Duration::from_millis(200);
/// How long Redis is left alone after a failure. Nothing lives longer in it: who could not make it forget something
/// does not read that from it afterwards.
const REST: Duration = Duration::from_secs(1);

/// One connection to Redis, opened when it is needed and again after it was lost.
pub(super) struct Redis {
    client: Client,
    shared: Arc<Shared>,
}

struct Shared {
    state: watch::Sender<State>,
    metrics: Metrics,
}

struct State {
    link: Link,
    /// Until when nothing is opened.
    closed_until: Instant,
    /// Until when nothing is read.
    unread_until: Instant,
    /// Whether it is in the log that Redis is out of use.
    logged: bool,
}

enum Link {
    Closed,
    Opening(#[expect(dead_code, reason = "ends with it")] AbortOnDropHandle<()>),
    Open(MultiplexedConnection),
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not asked.
    OutOfUse,
    /// The key holds something of another type.
    WrongType,
    /// It failed.
    Failed,
}

impl Redis {
    pub(super) fn new(client: Client, metrics: Metrics) -> Self {
        let now = Instant::now();
        let state = State { link: Link::Closed, closed_until: now, unread_until: now, logged: false };
        let shared = Shared { state: watch::Sender::new(state), metrics };
        Self { client, shared: Arc::new(shared) }
    }

    pub(super) fn count(&self, outcome: CacheOutcome) {
        self.shared.metrics.cache_requests.get(outcome).inc();
    }

    /// Asks, unless Redis is out of use just now.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let connection = self.connection(Instant::now()).ok_or(Failure::OutOfUse)?;
        self.ask_on(connection, command).await
    }

    /// Has a key removed, waiting for a connection if that is new.
    pub(super) async fn remove(&self, key: &str) {
        let remove = async {
            let connection = self.wait_for_connection().await.ok_or(Failure::OutOfUse)?;
            self.ask_on::<()>(connection, Cmd::new().arg("DEL").arg(key)).await
        };
        if !matches!(timeout(FORGET_LIMIT, remove).await, Ok(Ok(()))) {
            self.count(CacheOutcome::Error);
            self.shared.state.send_modify(|state| state.unread_until = Instant::now() + REST);
        }
    }

    async fn ask_on<T: FromRedisValue>(
        &self,
        mut connection: MultiplexedConnection,
        command: &Cmd,
    ) -> Result<T, Failure> {
        let failed = match timeout(LIMIT, command.query_async(&mut connection)).await {
            Ok(Ok(answer)) => {
                self.recovered();
                return Ok(answer);
            }
            Ok(Err(error)) if error.code() == Some("WRONGTYPE") => return Err(Failure::WrongType),
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        fail(&self.shared, failed.as_ref());
        Err(Failure::Failed)
    }

    /// The connection for reading; begins to open one if there is none.
    fn connection(&self, now: Instant) -> Option<MultiplexedConnection> {
        let (connection, open) = {
            let state = self.shared.state.borrow();
            match &state.link {
                Link::Open(connection) => ((now >= state.unread_until).then(|| connection.clone()), false),
                Link::Opening(_) => (None, false),
                Link::Closed => (None, now >= state.closed_until),
            }
        };
        if open {
            self.open(now);
        }
        connection
    }

    async fn wait_for_connection(&self) -> Option<MultiplexedConnection> {
        self.connection(Instant::now());
        let mut state = self.shared.state.subscribe();
        let state = state.wait_for(|state| !matches!(state.link, Link::Opening(_))).await.ok()?;
        match &state.link {
            Link::Open(connection) => Some(connection.clone()),
            _ => None,
        }
    }

    fn open(&self, now: Instant) {
        let begin = |state: &mut State| {
            // Somebody else may have begun.
            let begin = matches!(state.link, Link::Closed) && now >= state.closed_until;
            if begin {
                let task = tokio::spawn(open(self.client.clone(), Arc::downgrade(&self.shared)));
                state.link = Link::Opening(AbortOnDropHandle::new(task));
            }
            begin
        };
        self.shared.state.send_if_modified(begin);
    }

    fn recovered(&self) {
        if self.shared.state.borrow().logged {
            self.shared.state.send_modify(|state| state.logged = false);
            tracing::info!("Redis is in use again");
        }
    }
}

/// Opens a connection and hands it over.
async fn open(client: Client, shared: Weak<Shared>) {
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let opened = timeout(OPEN_LIMIT, client.get_multiplexed_async_connection_with_config(&config)).await;
    let Some(shared) = shared.upgrade() else { return };
    match opened {
        Ok(Ok(connection)) => shared.state.send_modify(|state| state.link = Link::Open(connection)),
        Ok(Err(error)) => fail(&shared, Some(&error)),
        Err(_) => fail(&shared, None),
    }
}

/// Leaves Redis alone for a while; without an error it was too slow.
fn fail(shared: &Shared, error: Option<&RedisError>) {
    let until = Instant::now() + REST;
    let mut first = false;
    shared.metrics.cache_requests.get(CacheOutcome::Error).inc();
    shared.state.send_modify(|state| {
        first = !std::mem::replace(&mut state.logged, true);
        state.unread_until = until;
        // What the server refuses, as a full one does, leaves the connection as it is.
        let refused = error.is_some_and(|error| !error.is_unrecoverable_error());
        if !(refused && matches!(state.link, Link::Open(_))) {
            state.link = Link::Closed;
            state.closed_until = until;
        }
    });
    if first {
        let reason = error.map_or_else(|| "it takes too long".to_owned(), ToString::to_string);
        tracing::warn!(reason, "Redis is out of use; the database answers instead");
    }
}
