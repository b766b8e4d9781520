use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Pool, RecycleError, RecycleResult};
use diesel_async::pooled_connection::{PoolableConnection, RecyclingMethod};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::reconnect::Reconnect;
use super::session::Session;
use super::{Connector, Error, PoolSettings};

/// Period of the search for surplus connections. It costs no query, so it does not keep a database awake.
const TIDY_EVERY: Duration = Duration::from_secs(15);
/// Idle time after which a connection is pinged before it is used. Keepalives notice a silent network much earlier; this
/// is for a proxy in between that still acknowledges what it does not pass on.
const PING_AFTER: Duration = Duration::from_secs(30);
/// Time limit of that ping: several round trips around the world, and short enough to try another connection.
pub(super) const PING_LIMIT: Duration = Duration::from_secs(1);

/// The pool's source of connections.
pub(super) struct Connections {
    reconnect: Reconnect<Session>,
    connector: Connector,
    settings: PoolSettings,
    suspicion: Mutex<Suspicion>,
}

/// Times at which the connections that there were came under suspicion.
#[derive(Debug, Default)]
struct Suspicion {
    /// Loss of a connection; those that idled then are closed.
    lost: Option<Instant>,
    /// Work that was not done in time; connections that idled then are pinged.
    silent: Option<Instant>,
    /// A stale prepared statement, after a migration; connections opened before are closed.
    stale: Option<Instant>,
}

/// Treatment of a connection before it is used again.
#[derive(Debug, PartialEq, Eq)]
enum Treatment {
    Use,
    Ping,
    Close(&'static str),
}

impl Suspicion {
    fn treatment(&self, age: Duration, idle: Duration) -> Treatment {
        let since = |suspected: Option<Instant>, time| suspected.is_some_and(|at| at.elapsed() <= time);
        if since(self.stale, age) {
            Treatment::Close("its prepared statements are stale")
        } else if since(self.lost, idle) {
            Treatment::Close("others that idled with it were lost")
        } else if since(self.silent, idle) || idle > PING_AFTER {
            Treatment::Ping
        } else {
            Treatment::Use
        }
    }
}

impl Connections {
    pub(super) fn new(reconnect: Reconnect<Session>, connector: Connector, settings: PoolSettings) -> Self {
        Self { reconnect, connector, settings, suspicion: Mutex::default() }
    }

    pub(super) fn close_idle(&self) {
        self.suspicion.lock().lost = Some(Instant::now());
    }

    /// True for a connection that idled when another one was lost.
    pub(super) fn is_suspected_lost(&self, metrics: Metrics) -> bool {
        let lost = self.suspicion.lock().lost;
        lost.is_some_and(|at| at.elapsed() <= metrics.last_used())
    }

    pub(super) fn ping_idle(&self) {
        self.suspicion.lock().silent = Some(Instant::now());
    }

    pub(super) fn close_stale(&self) {
        self.suspicion.lock().stale = Some(Instant::now());
    }

    async fn open(&self) -> Result<Box<Session>, Error> {
        let mut session = self.reconnect.connect().await?;
        if session.connection.is_broken() {
            self.reconnect.discard_opened();
            return Err(Error::Lost("closed before its first use".into()));
        }
        self.connector.check_limits(&mut session).await?;
        Ok(Box::new(session))
    }
}

impl Manager for Connections {
    // Boxed, so that the futures of requests hold a pointer.
    type Type = Box<Session>;
    type Error = Error;

    async fn create(&self) -> Result<Box<Session>, Error> {
        // Boxed: opening is rare, and its state would be part of the future of every request.
        Box::pin(async {
            match self.open().await {
                // A connection opened earlier may have been lost before this caller came for it.
                Err(Error::Lost(_)) => self.open().await,
                opened => opened,
            }
        })
        .await
    }

    async fn recycle(&self, session: &mut Box<Session>, metrics: &Metrics) -> RecycleResult<Error> {
        let connection = &mut session.connection;
        if connection.is_broken() {
            return Err(RecycleError::message("closed or inside a transaction"));
        }
        if metrics.age() > self.settings.lifetime {
            return Err(RecycleError::message("too old"));
        }
        let treatment = self.suspicion.lock().treatment(metrics.age(), metrics.last_used());
        match treatment {
            Treatment::Use => Ok(()),
            Treatment::Close(reason) => Err(RecycleError::message(reason)),
            Treatment::Ping => {
                let ping = timeout(PING_LIMIT, connection.ping(&RecyclingMethod::Verified)).await;
                if matches!(ping, Ok(Ok(()))) {
                    return Ok(());
                }
                self.close_idle();
                Err(RecycleError::message("no answer"))
            }
        }
    }
}

/// Reaper: closes connections that are too old, idle for too long, or surplus, and a probed connection that no caller uses.
pub(super) async fn tidy(pool: Pool<Connections>, settings: PoolSettings) {
    let mut ticks = tokio::time::interval(TIDY_EVERY);
    loop {
        ticks.tick().await;
        pool.manager().reconnect.discard_unused();
        let mut kept = 0;
        pool.retain(|_, metrics| {
            let idle = metrics.last_used();
            let keep = metrics.age() < settings.lifetime
                && idle < settings.idle
                && (kept < settings.size || idle < TIDY_EVERY);
            kept += usize::from(keep);
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_idled_is_pinged_before_use() {
        let suspicion = Suspicion::default();
        assert_eq!(suspicion.treatment(PING_AFTER * 2, PING_AFTER), Treatment::Use);
        assert_eq!(suspicion.treatment(PING_AFTER * 2, PING_AFTER + SECOND), Treatment::Ping);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_closes_those_that_idled_with_it_and_no_others() {
        let suspicion = Suspicion { lost: Some(Instant::now()), ..Suspicion::default() };
        advance(SECOND).await;
        assert!(matches!(suspicion.treatment(SECOND * 9, SECOND * 2), Treatment::Close(_)));
        assert_eq!(suspicion.treatment(SECOND * 9, SECOND / 2), Treatment::Use, "in use at that time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_has_those_pinged_that_idled_with_it() {
        let suspicion = Suspicion { silent: Some(Instant::now()), ..Suspicion::default() };
        advance(SECOND).await;
        assert_eq!(suspicion.treatment(SECOND * 9, SECOND * 2), Treatment::Ping);
        assert_eq!(suspicion.treatment(SECOND * 9, SECOND / 2), Treatment::Use);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_plan_closes_all_connections_opened_before_it() {
        let suspicion = Suspicion { stale: Some(Instant::now()), ..Suspicion::default() };
        advance(SECOND).await;
        assert!(matches!(suspicion.treatment(SECOND * 2, Duration::ZERO), Treatment::Close(_)));
        assert_eq!(suspicion.treatment(SECOND / 2, Duration::ZERO), Treatment::Use);
    }
}
