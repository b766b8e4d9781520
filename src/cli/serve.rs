use anyhow::{Context, anyhow, bail};
use async_graphql::Executor;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Misconfigured, shutdown_on_signal};
use crate::Clock;
use crate::auth::{SigningKey, SigningKeys};
use crate::config::{AppEnv, Config};
use crate::data_dir::DataDir;
#[cfg(feature = "embedded-postgres")]
use crate::db::embedded::EmbeddedPostgres;
use crate::db::{Connector, Connectors, DatabaseUrl, migrations, pooler};
use crate::graphql::{self, Engine, TrustedDocuments};
use crate::state::AppState;
use crate::{housekeeping, http};

/// Serves until the process is told to stop.
pub(super) async fn serve(config: Config) -> anyhow::Result<()> {
    // From here on a signal stops the service in order, and with it its PostgreSQL.
    let shutdown = shutdown_on_signal()?;
    let keys = signing_keys(&config).map_err(Misconfigured)?;
    let trusted = TrustedDocuments::from_settings(&config.graphql).map_err(Misconfigured)?;
    config.cache.client().map_err(Misconfigured)?;
    let address = (config.http.host, config.http.port);
    // Before anything that takes time: a port in use is a common mistake.
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("can't listen on {}:{}; HOST and PORT choose another address", address.0, address.1)
    })?;
    let metrics = metrics_listener(&config).await?;
    let backend = tokio::select! {
        backend = Backend::open(&config) => backend?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let result = tokio::select! {
        result = serve_on(&config, &backend, listener, metrics, keys, trusted, shutdown) => result,
        () = backend.died() => Err(anyhow!("the service's PostgreSQL has ended; see postgres.log in the data directory")),
    };
    backend.close().await;
    result
}

/// Where metrics are served alone, if they are.
async fn metrics_listener(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(port) = config.metrics.own_port() else { return Ok(None) };
    let host = config.http.host;
    let listener = TcpListener::bind((host, port)).await;
    let hint = || format!("can't listen on {host}:{port}; METRICS_PORT chooses another port");
    listener.map(Some).with_context(hint)
}

async fn serve_on(
    config: &Config,
    backend: &Backend,
    listener: TcpListener,
    metrics: Option<TcpListener>,
    keys: SigningKeys,
    trusted: Option<TrustedDocuments>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        prepared = prepare_database(config, backend) => prepared?,
        () = shutdown.cancelled() => return Ok(()),
    }
    let state = AppState::new(config, backend.connectors(config)?, keys, Clock::system())?;
    let schema = graphql::schema(state.clone(), config.introspection());
    let engine = Engine::new(schema, &graphql::sdl(), config, trusted)?;
    let address = listener.local_addr()?;
    let page = if config.graphiql() { "graphiql" } else { "graphql" };
    tracing::info!("todo-api {} is ready: http://{address}/{page}", env!("CARGO_PKG_VERSION"));
    let Some(metrics) = metrics else {
        serve_until(listener, state, engine, config, shutdown).await;
        return Ok(());
    };
    tracing::info!("metrics are at http://{}/metrics", metrics.local_addr()?);
    let alone = http::serve_metrics(metrics, state.clone(), &config.http, shutdown.clone());
    tokio::join!(serve_until(listener, state, engine, config, shutdown), alone);
    Ok(())
}

/// Serves the API with its background tasks until `shutdown`, then drains both and closes the database.
pub async fn serve_until<E: Executor>(
    listener: TcpListener,
    state: AppState,
    engine: Engine<E>,
    config: &Config,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    tasks.spawn(housekeeping::run(state.clone(), shutdown.clone()));
    http::serve(listener, state.clone(), engine, config, tasks, shutdown).await;
    state.database.close();
}

/// Runs pending migrations where that is wished, and refuses to serve on a database that lacks one.
async fn prepare_database(config: &Config, backend: &Backend) -> anyhow::Result<()> {
    let connector = &backend.direct_connector(config)?;
    if config.database.migrate_on_start.unwrap_or(backend.is_embedded()) {
        for name in migrations::run(connector).await.map_err(about_pooler)? {
            tracing::info!("ran migration {name}");
        }
        return check_route(config, backend).await;
    }
    let status = migrations::status(connector).await.map_err(about_pooler);
    let status = status.context("can't read the database's migrations")?;
    let pending: Vec<_> = status.into_iter().filter(|migration| !migration.applied).map(|m| m.name).collect();
    if !pending.is_empty() {
        bail!(
            "the database lacks {} migration(s): {}\nRun them with: todo-api migrate run\n\
             or set MIGRATE_ON_START=true to have the service run them when it starts.",
            pending.len(),
            pending.join(", "),
        );
    }
    check_route(config, backend).await
}

/// Refuses a pooler through which statements would fail now and then, once requests come.
async fn check_route(config: &Config, backend: &Backend) -> anyhow::Result<()> {
    if !backend.is_embedded() {
        pooler::probe(&backend.connectors(config)?.primary).await?;
    }
    Ok(())
}

/// Says what is wrong where a migration has met such a pooler.
fn about_pooler(error: anyhow::Error) -> anyhow::Error {
    if pooler::is_lost_statement(&format!("{error:#}")) {
        pooler::Failure::LosesStatements.into()
    } else {
        error
    }
}

/// The keys that are set, or in development one that is generated once and kept in the data directory.
pub(super) fn signing_keys(config: &Config) -> anyhow::Result<SigningKeys> {
    let mut keys = config.auth.keys()?.into_iter();
    if let Some(first) = keys.next() {
        return Ok(SigningKeys { first, others: keys.collect() });
    }
    if config.app_env == AppEnv::Production {
        bail!(
            "neither JWT_SECRET nor JWT_KEY_FILES is set; production needs a secret of at least {} bytes, for example \
             from: openssl rand -base64 48",
            SigningKey::MIN_SECRET_BYTES,
        );
    }
    let secret = DataDir::open(config.data_dir.as_deref())?.secret("jwt-secret")?;
    Ok(SigningKeys { first: SigningKey::from_secret(&secret)?, others: Vec::new() })
}

/// The PostgreSQL to work on: one that runs elsewhere, or the service's own for as long as this lives.
pub(super) enum Backend {
    External(Box<DatabaseUrl>),
    #[cfg(feature = "embedded-postgres")]
    Embedded(Box<EmbeddedPostgres>),
}

impl Backend {
    #[cfg_attr(
        not(feature = "embedded-postgres"),
        expect(clippy::unused_async, reason = "the other kind waits")
    )]
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        if let Some(url) = config.database.url().map_err(Misconfigured)? {
            return Ok(Self::External(Box::new(url)));
        }
        #[cfg(feature = "embedded-postgres")]
        {
            let data_dir = DataDir::open(config.data_dir.as_deref())?;
            let bin_dir = config.database.postgres_bin_dir.as_deref();
            Ok(Self::Embedded(Box::new(EmbeddedPostgres::start(data_dir, bin_dir).await?)))
        }
        #[cfg(not(feature = "embedded-postgres"))]
        {
            let message =
                "DATABASE_URL is not set; a URL such as postgresql://user:password@host/database is needed";
            Err(Misconfigured(anyhow::anyhow!(message)).into())
        }
    }

    /// The database for a command that works beside the service: also its own PostgreSQL, while it runs.
    pub(super) async fn reach(config: &Config) -> anyhow::Result<Self> {
        if config.database.url().map_err(Misconfigured)?.is_none() {
            let published = DataDir::open(config.data_dir.as_deref())?.path().join("database-url");
            let url =
                std::fs::read_to_string(published).ok().and_then(|url| DatabaseUrl::parse(url.trim()).ok());
            if let Some(url) = url
                && Self::connect_to(&url, config)?.connect().await.is_ok()
            {
                return Ok(Self::External(Box::new(url)));
            }
        }
        Self::open(config).await
    }

    /// All ways to it.
    pub(super) fn connectors(&self, config: &Config) -> anyhow::Result<Connectors> {
        let replicas = config.database.replica_urls().map_err(Misconfigured)?;
        Ok(Connectors {
            primary: Self::connect_to(self.url(), config)?,
            direct: self.direct_connector(config)?,
            replicas: replicas.iter().map(|url| Self::connect_to(url, config)).collect::<Result<_, _>>()?,
        })
    }

    /// For migrations, past a pooler.
    pub(super) fn direct_connector(&self, config: &Config) -> anyhow::Result<Connector> {
        let connector = match config.database.direct_url().map_err(Misconfigured)? {
            Some(url) if !self.is_embedded() => Self::connect_to(&url, config),
            _ => Self::connect_to(self.url(), config),
        };
        connector.map(Connector::lasting)
    }

    fn connect_to(url: &DatabaseUrl, config: &Config) -> anyhow::Result<Connector> {
        Ok(Connector::new(url, config.database.connect_timeout()).map_err(Misconfigured)?)
    }

    fn url(&self) -> &DatabaseUrl {
        match self {
            Self::External(url) => url,
            #[cfg(feature = "embedded-postgres")]
            Self::Embedded(postgres) => postgres.url(),
        }
    }

    /// Returns when the service's own PostgreSQL has ended without being told to.
    async fn died(&self) {
        match self {
            Self::External(_) => std::future::pending().await,
            #[cfg(feature = "embedded-postgres")]
            Self::Embedded(postgres) => postgres.died().await,
        }
    }

    fn is_embedded(&self) -> bool {
        !matches!(self, Self::External(_))
    }

    /// Stops the service's own PostgreSQL.
    pub(super) async fn close(self) {
        // Dropping it stops it; that waits, so not on an async thread.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}
