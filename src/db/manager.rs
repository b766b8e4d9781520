use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Pool, RecycleError, RecycleResult};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::{PoolableConnection, RecyclingMethod};
use tokio::time::{Instant, timeout};

use super::dialer::Dialer;
use super::{Connector, Error, PoolSettings, silence};

/// How often spare connections are looked for. It costs no query, so it does not keep a database awake.
const TIDY_EVERY: Duration = Duration::from_secs(15);

/// A connection of the pool.
pub(super) struct Pooled {
    pub(super) connection: AsyncPgConnection,
    /// The server's process that serves this connection and no other one; not known behind a pooler.
    pub(super) process: Option<i32>,
}

/// What deadpool asks for connections.
pub(super) struct Connections {
    dialer: Dialer,
    connector: Connector,
    settings: PoolSettings,
    /// When it was noticed that a connection was dead though nobody had said so.
    doubted: Mutex<Option<Instant>>,
}

impl Connections {
    pub(super) fn new(dialer: Dialer, connector: Connector, settings: PoolSettings) -> Self {
        Self { dialer, connector, settings, doubted: Mutex::default() }
    }

    /// Has the connections closed that idle now.
    pub(super) fn doubt(&self) {
        *self.doubted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection has not been used since others were found dead.
    fn is_doubtful(&self, idle: Duration) -> bool {
        let doubted = *self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        doubted.is_some_and(|at| at.elapsed() <= idle)
    }
}

impl Connections {
    async fn begin(&self) -> Result<Pooled, Error> {
        let mut connection = self.dialer.connect().await?;
        let process = silence::process_of(&mut connection, self.settings.work).await?;
        if process.is_none() {
            self.connector.is_pooled();
        }
        Ok(Pooled { connection, process })
    }
}

impl Manager for Connections {
    type Type = Pooled;
    type Error = Error;

    async fn create(&self) -> Result<Pooled, Error> {
        // Opening is rare, and its state with TLS's would make every future that may need it large.
        Box::pin(async {
            // One that was lost at once is worth another try.
            let begun = self.begin().await;
            if matches!(begun, Err(Error::Lost(_))) { self.begin().await } else { begun }
        })
        .await
    }

    async fn recycle(&self, pooled: &mut Pooled, metrics: &Metrics) -> RecycleResult<Error> {
        let connection = &mut pooled.connection;
        let idle = metrics.last_used();
        if connection.is_broken() {
            return Err(RecycleError::message("closed or inside a transaction"));
        }
        if metrics.age() > self.settings.lifetime {
            return Err(RecycleError::message("too old"));
        }
        if self.is_doubtful(idle) {
            return Err(RecycleError::message("others that were there with it were dead"));
        }
        if idle > self.settings.check_after {
            let ping = timeout(self.settings.check_limit, connection.ping(&RecyclingMethod::Verified)).await;
            if !matches!(ping, Ok(Ok(()))) {
                self.doubt();
                return Err(RecycleError::message("no answer"));
            }
        }
        Ok(())
    }
}

/// Closes connections that are too old, have idled too long, or are spare and not needed any more.
pub(super) async fn tidy(pool: Pool<Connections>, settings: PoolSettings) {
    let mut ticks = tokio::time::interval(TIDY_EVERY);
    loop {
        ticks.tick().await;
        pool.manager().dialer.tidy();
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
