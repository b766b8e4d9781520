use std::net::SocketAddr;

use anyhow::{Context, anyhow, bail};
use async_graphql::Executor;
use diesel_async::AsyncPgConnection;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{ConfigurationError, shutdown_on_signal};
use crate::Clock;
use crate::auth::{SigningKey, SigningKeys};
use crate::config::{self, AppEnv, AuthSettings, Config};
use crate::data_dir::DataDir;
#[cfg(feature = "embedded-postgres")]
use crate::db::embedded::EmbeddedPostgres;
use crate::db::requirements::{self, Judgement};
use crate::db::{Connector, Connectors, DatabaseUrl, migrations};
use crate::graphql::{self, Engine, Schema, TrustedDocuments};
use crate::state::AppState;
use crate::{housekeeping, http};

/// Serves until the process is told to stop.
pub(super) async fn serve(config: Config) -> anyhow::Result<()> {
    // Before the embedded PostgreSQL starts: a signal has to stop both cleanly.
    let shutdown = shutdown_on_signal()?;
    if let Some(warning) = config.warning() {
        tracing::warn!("{warning}");
    }
    if config.graphiql()
        && let Some(reason) = http::missing_ide()
    {
        tracing::warn!(
            "this build does not contain GraphiQL, as npm failed: {reason}. Browsers will load it from unpkg.com. To \
             embed it, install Node.js with npm and build again; GRAPHIQL=off turns the IDE off."
        );
    }
    let keys = signing_keys(&config).map_err(ConfigurationError)?;
    let trusted = TrustedDocuments::from_settings(&config.graphql).map_err(ConfigurationError)?;
    config.cache.client().map_err(ConfigurationError)?;
    Backend::check(&config)?;
    let address = (config.http.host, config.http.port);
    // Before anything that takes time: a port in use is a common mistake.
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("can't listen on {}:{}; HOST and PORT choose another address", address.0, address.1)
    })?;
    let metrics = metrics_listener(&config).await?;
    let listeners = Listeners::start(listener, metrics, &config, &shutdown)?;
    let backend = tokio::select! {
        backend = Backend::open(&config) => backend?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let result = tokio::select! {
        result = serve_on(&config, &backend, listeners, keys, trusted, shutdown) => result,
        () = backend.wait_for_exit() => Err(anyhow!("the embedded PostgreSQL has stopped; see postgres.log in the data directory")),
    };
    backend.close().await;
    result
}

/// Binds the separate port of metrics, if they have one.
async fn metrics_listener(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(port) = config.metrics.own_port() else { return Ok(None) };
    let host = config.http.host;
    let listener = TcpListener::bind((host, port)).await;
    let hint = || format!("can't listen on {host}:{port}; METRICS_PORT chooses another port");
    listener.map(Some).with_context(hint)
}

/// The servers of a starting service, with the address of the first.
struct Listeners {
    address: SocketAddr,
    api: http::Server,
    /// Metrics on a port of their own.
    metrics: Option<(SocketAddr, http::Server)>,
}

impl Listeners {
    /// Answers liveness checks from now on: a start may have to wait for the database or a migration.
    fn start(
        api: TcpListener,
        metrics: Option<TcpListener>,
        config: &Config,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let start = |listener: TcpListener| {
            let address = listener.local_addr()?;
            anyhow::Ok((address, http::Server::start(listener, config, shutdown.clone())))
        };
        let (address, api) = start(api)?;
        tracing::info!("listening on {address}, starting");
        Ok(Self { address, api, metrics: metrics.map(start).transpose()? })
    }
}

async fn serve_on(
    config: &Config,
    backend: &Backend,
    listeners: Listeners,
    keys: SigningKeys,
    trusted: Option<TrustedDocuments>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let (state, engine) = tokio::select! {
        prepared = prepare(config, backend, keys, trusted) => prepared?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let Listeners { address, api, metrics } = listeners;
    open_api(&api, &state, engine, config, &shutdown);
    let page = if config.graphiql() { "graphiql" } else { "graphql" };
    tracing::info!("todo-api {} is ready: http://{address}/{page}", env!("CARGO_PKG_VERSION"));
    let Some((address, metrics)) = metrics else {
        finish(api, &state, shutdown).await;
        return Ok(());
    };
    metrics.open_metrics(state.clone());
    tracing::info!("metrics are at http://{address}/metrics");
    tokio::join!(finish(api, &state, shutdown), metrics.finish());
    Ok(())
}

/// Prepares the database and, concurrently, builds the state and the engine.
async fn prepare(
    config: &Config,
    backend: &Backend,
    keys: SigningKeys,
    trusted: Option<TrustedDocuments>,
) -> anyhow::Result<(AppState, Engine<Schema>)> {
    let connectors = backend.connectors(config)?;
    let settings = config.clone();
    let building = tokio::task::spawn_blocking(move || {
        let state = AppState::new(&settings, connectors, keys, Clock::system())?;
        let engine = graphql::engine(state.clone(), &settings, trusted)?;
        anyhow::Ok((state, engine))
    });
    // Not `try_join`: an error here must not cut a migration off.
    let (prepared, built) = tokio::join!(prepare_database(config, backend), building);
    let built = built??;
    prepared?;
    Ok(built)
}

/// Serves the API with its background tasks until `shutdown`, then drains both and closes the database.
pub async fn serve_until<E: Executor>(
    listener: TcpListener,
    state: AppState,
    engine: Engine<E>,
    config: &Config,
    shutdown: CancellationToken,
) {
    let server = http::Server::start(listener, config, shutdown.clone());
    open_api(&server, &state, engine, config, &shutdown);
    finish(server, &state, shutdown).await;
}

/// Opens the API and starts its background tasks.
fn open_api<E: Executor>(
    server: &http::Server,
    state: &AppState,
    engine: Engine<E>,
    config: &Config,
    shutdown: &CancellationToken,
) {
    server.tasks().spawn(housekeeping::run(state.clone(), shutdown.clone()));
    server.open_api(state.clone(), engine, config, shutdown.clone());
}

/// Waits for the shutdown, drains the API and its tasks, and closes the database.
async fn finish(server: http::Server, state: &AppState, shutdown: CancellationToken) {
    shutdown.cancelled().await;
    tracing::info!("shutting down: draining connections");
    server.finish().await;
    state.database.close();
}

/// Stops on a database that the service can't work on, with the fix. Runs pending migrations if `MIGRATE_ON_START` is
/// on, and fails if one is still missing.
async fn prepare_database(config: &Config, backend: &Backend) -> anyhow::Result<()> {
    let connector = &backend.direct_connector(config)?;
    let has_direct_setting = !backend.is_embedded() && config.database.unparsed_urls().1.is_some();
    let setting = if has_direct_setting { "DATABASE_DIRECT_URL" } else { "DATABASE_URL" };
    let opened = connector.connect_patiently().await;
    let mut conn = opened
        .map_err(|error| anyhow!("{setting}: {error}\nTo find the cause and its fix: todo-api doctor"))?;
    let judgements = requirements::judge(&mut conn).await.context(setting)?;
    let requests = if has_direct_setting { &[] } else { requirements::REQUESTS };
    requirements::require(&judgements, &[requirements::MIGRATIONS, requests].concat()).context(setting)?;
    if config.database.migrate_on_start.unwrap_or(backend.is_embedded()) {
        drop(conn);
        for name in migrations::run(connector).await.context(setting)? {
            tracing::info!("ran migration {name}");
        }
    } else {
        require_migrations(&mut conn, &judgements).await?;
    }
    if has_direct_setting { backend.require_for_requests(config).await } else { Ok(()) }
}

/// Fails if a migration is pending.
async fn require_migrations(conn: &mut AsyncPgConnection, judgements: &[Judgement]) -> anyhow::Result<()> {
    let status = migrations::status_on(conn).await.context("can't read the database's migrations")?;
    let pending: Vec<_> = status.iter().filter(|one| !one.applied).map(|one| one.name.as_str()).collect();
    if pending.is_empty() {
        return Ok(());
    }
    let found = format!("the database lacks {} migration(s): {}", pending.len(), pending.join(", "));
    match requirements::obstacle(judgements, &pending) {
        Some(obstacle) => bail!("{found}\n{obstacle}"),
        None => bail!(
            "{found}\nRun them with: todo-api migrate run\n\
             or set MIGRATE_ON_START=true to have the service run them when it starts.",
        ),
    }
}

/// Builds the keys of `JWT_KEY_FILES` and `JWT_SECRET`, in this order of preference. Without either, development
/// generates a secret once and keeps it in the data directory.
fn signing_keys(config: &Config) -> anyhow::Result<SigningKeys> {
    let files = config.auth.jwt_key_files.iter();
    let files = files.map(|path| SigningKey::from_file(path).context("JWT_KEY_FILES"));
    let secret = AuthSettings::jwt_secret();
    if secret.as_ref().is_some_and(|secret| config::is_quoted(secret.expose_secret())) {
        tracing::warn!("JWT_SECRET is in quotes, which are a part of it");
    }
    let secret = secret.map(|secret| SigningKey::from_text(&secret).context("JWT_SECRET"));
    let mut keys = files.chain(secret).collect::<anyhow::Result<Vec<_>>>()?.into_iter();
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

/// The PostgreSQL to work on: an external one, or the embedded one, which stops when this is dropped.
pub(super) enum Backend {
    External(Box<DatabaseUrl>),
    #[cfg(feature = "embedded-postgres")]
    Embedded(Box<EmbeddedPostgres>),
}

impl Backend {
    /// Checks the settings, before anything is started.
    fn check(config: &Config) -> anyhow::Result<()> {
        let database = &config.database;
        let urls = Self::external_url(config)?.into_iter();
        let urls = urls.chain(database.direct_url().map_err(ConfigurationError)?);
        for url in urls.chain(database.replica_urls().map_err(ConfigurationError)?) {
            Self::connect_to(&url, config)?;
        }
        Ok(())
    }

    /// Returns `DATABASE_URL`; `None` stands for the embedded PostgreSQL, which production does not use.
    fn external_url(config: &Config) -> anyhow::Result<Option<DatabaseUrl>> {
        let url = config.database.url().map_err(ConfigurationError)?;
        if url.is_none() && config.app_env == AppEnv::Production {
            let message = "DATABASE_URL is not set, and APP_ENV=production starts no embedded PostgreSQL; set it to a \
                           URL such as postgresql://user:password@host/database, or APP_ENV to development";
            return Err(ConfigurationError(anyhow!(message)).into());
        }
        Ok(url)
    }

    /// Fails if a migration is missing; runs it on an embedded PostgreSQL that was started for this command.
    pub(super) async fn require_migrations(&self, config: &Config) -> anyhow::Result<()> {
        let connector = &self.direct_connector(config)?;
        if self.is_embedded() {
            migrations::run(connector).await?;
            return Ok(());
        }
        let mut conn = connector.connect_patiently().await?;
        let judgements = requirements::judge(&mut conn).await?;
        require_migrations(&mut conn, &judgements).await
    }

    #[cfg_attr(
        not(feature = "embedded-postgres"),
        expect(clippy::unused_async, reason = "starting the embedded one is async")
    )]
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        if let Some(url) = Self::external_url(config)? {
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
                "DATABASE_URL is not set; expected a URL such as postgresql://user:password@host/database";
            Err(ConfigurationError(anyhow!(message)).into())
        }
    }

    /// Opens the database for a command that may run beside the service: uses its embedded PostgreSQL if that runs.
    pub(super) async fn attach_or_open(config: &Config) -> anyhow::Result<Self> {
        if Self::external_url(config)?.is_none() {
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

    /// Builds the connectors to the primary, to the replicas and without a pooler.
    pub(super) fn connectors(&self, config: &Config) -> anyhow::Result<Connectors> {
        let replicas = config.database.replica_urls().map_err(ConfigurationError)?;
        Ok(Connectors {
            primary: Self::connect_to(self.url(), config)?,
            direct: self.direct_connector(config)?,
            replicas: replicas.iter().map(|url| Self::connect_to(url, config)).collect::<Result<_, _>>()?,
        })
    }

    /// Builds the connector without a pooler, for migrations.
    pub(super) fn direct_connector(&self, config: &Config) -> anyhow::Result<Connector> {
        let connector = match config.database.direct_url().map_err(ConfigurationError)? {
            Some(url) if !self.is_embedded() => Self::connect_to(&url, config),
            _ => Self::connect_to(self.url(), config),
        };
        connector.map(Connector::lasting)
    }

    /// Checks `DATABASE_URL` where migrations go another way. A pooler that is down is no reason to stop: requests wait
    /// for it.
    async fn require_for_requests(&self, config: &Config) -> anyhow::Result<()> {
        match Self::connect_to(self.url(), config)?.connect().await {
            Ok(mut conn) => {
                let judgements = requirements::judge(&mut conn).await.context("DATABASE_URL")?;
                requirements::require(&judgements, requirements::REQUESTS).context("DATABASE_URL")
            }
            Err(error) => {
                tracing::warn!(reason = error.reason(), "DATABASE_URL does not answer");
                Ok(())
            }
        }
    }

    fn connect_to(url: &DatabaseUrl, config: &Config) -> anyhow::Result<Connector> {
        Ok(Connector::new(url, config.database.connect_timeout()).map_err(ConfigurationError)?)
    }

    fn url(&self) -> &DatabaseUrl {
        match self {
            Self::External(url) => url,
            #[cfg(feature = "embedded-postgres")]
            Self::Embedded(postgres) => postgres.url(),
        }
    }

    /// Waits until the embedded PostgreSQL stops unexpectedly.
    async fn wait_for_exit(&self) {
        match self {
            Self::External(_) => std::future::pending().await,
            #[cfg(feature = "embedded-postgres")]
            Self::Embedded(postgres) => postgres.wait_for_exit().await,
        }
    }

    fn is_embedded(&self) -> bool {
        !matches!(self, Self::External(_))
    }

    /// Stops the embedded PostgreSQL.
    pub(super) async fn close(self) {
        // Dropping waits until the server has stopped, which would block an async thread.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}
