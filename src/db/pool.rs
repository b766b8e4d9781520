use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, Pool, RecycleError, RecycleResult, Timeouts};
use deadpool::{Runtime, Status};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::{PoolableConnection, RecyclingMethod};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{Connector, Error};

/// How often spare connections are looked for. It costs no query, so it does not keep a database awake.
const TIDY_EVERY: Duration = Duration::from_secs(15);

/// The pool's numbers.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// Connections kept for later use.
    pub size: usize,
    /// Connections beyond those while many are needed at once.
    pub overflow: usize,
    /// Age at which a connection is retired.
    pub lifetime: Duration,
    /// Idle time after which a connection is closed.
    pub idle: Duration,
    /// Idle time after which a connection is asked whether it still answers before it is used.
    pub check_after: Duration,
    /// How long that question may take.
    pub check_limit: Duration,
    /// How long a request waits for a connection while all are in use.
    pub wait: Duration,
    /// How long a unit of work may take once it has a connection.
    pub work: Duration,
}

/// A pool of connections to one database; cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool<Connections>,
    connector: Connector,
    settings: PoolSettings,
    get_limit: Duration,
    _tidy: Arc<AbortOnDropHandle<()>>,
}

impl Database {
    /// A pool that opens connections as they are needed; must be called on a tokio runtime.
    pub fn new(connector: Connector, settings: PoolSettings) -> anyhow::Result<Self> {
        // The connector bounds what it does itself. One get may have to try several dead connections in
        // turn, which deadpool's limits do not bound together, so there is one around it all.
        let get_limit = settings.wait + settings.check_limit + connector.limit();
        let pool = Pool::builder(Connections { connector: connector.clone(), settings })
            .max_size(settings.size + settings.overflow)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(settings.wait),
                create: None,
                recycle: Some(settings.check_limit),
            })
            .build()?;
        let tidy = tokio::spawn(tidy(pool.clone(), settings));
        Ok(Self { pool, connector, settings, get_limit, _tidy: Arc::new(AbortOnDropHandle::new(tidy)) })
    }

    /// Does a unit of work on a connection, within the limits for getting one and for the work.
    ///
    /// A connection on which the work was cut short, by its limit or because the caller went away, is
    /// closed: the server may still be busy with it.
    pub async fn run<R, F>(&self, work: F) -> Result<R, Error>
    where
        F: AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<R>,
    {
        let get = timeout(self.get_limit, self.pool.get()).await;
        let connection = get.map_err(|_| Error::timeout("waiting for a connection"))??;
        let mut lease = Lease { connection: Some(connection), connector: self.connector.clone() };
        let done = timeout(self.settings.work, work(lease.connection()?)).await;
        let result = done.map_err(|_| Error::timeout("at work"))?.map_err(Error::from);
        if !result.as_ref().is_err_and(Error::spoils_connection) {
            lease.give_back();
        }
        result
    }

    /// How many connections there are, how many of them are free, and how many requests wait for one.
    pub fn status(&self) -> Status {
        self.pool.status()
    }

    /// Closes all connections; later work fails.
    pub fn close(&self) {
        self.pool.close();
    }
}

/// A connection on loan, closed when dropped unless it is given back; what it was busy with is cancelled.
struct Lease {
    connection: Option<Object<Connections>>,
    connector: Connector,
}

impl Lease {
    fn connection(&mut self) -> Result<&mut AsyncPgConnection, Error> {
        self.connection
            .as_deref_mut()
            .ok_or_else(|| Error::Unavailable("the connection was given back".into()))
    }

    fn give_back(mut self) {
        self.connection.take();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take().map(Object::take) else { return };
        // Closing the connection alone would leave the statement running, and with it its locks.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (connector, token) = (self.connector.clone(), connection.cancel_token());
            runtime.spawn(async move { connector.cancel(token).await });
        }
    }
}

/// What deadpool asks for connections.
struct Connections {
    connector: Connector,
    settings: PoolSettings,
}

impl Manager for Connections {
    type Type = AsyncPgConnection;
    type Error = Error;

    async fn create(&self) -> Result<AsyncPgConnection, Error> {
        // Opening is rare, and its state with TLS's would make every future that may need it large.
        Box::pin(self.connector.connect()).await
    }

    async fn recycle(&self, connection: &mut AsyncPgConnection, metrics: &Metrics) -> RecycleResult<Error> {
        if connection.is_broken() {
            return Err(RecycleError::message("closed or inside a transaction"));
        }
        if metrics.age() > self.settings.lifetime {
            return Err(RecycleError::message("too old"));
        }
        if metrics.last_used() > self.settings.check_after {
            let ping = connection.ping(&RecyclingMethod::Verified).await;
            ping.map_err(|error| RecycleError::Backend(error.into()))?;
        }
        Ok(())
    }
}

/// Closes connections that are too old, have idled too long, or are spare and not needed any more.
async fn tidy(pool: Pool<Connections>, settings: PoolSettings) {
    let mut ticks = tokio::time::interval(TIDY_EVERY);
    loop {
        ticks.tick().await;
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
