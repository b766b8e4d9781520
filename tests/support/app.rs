use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_graphql::Executor;
use chrono::{TimeDelta, Utc};
use clap::{Args, FromArgMatches};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Value, json};
use todo_api::auth::{SigningKey, SigningKeys};
use todo_api::cli::serve_until;
use todo_api::config::Config;
use todo_api::db::{Connector, Connectors, DatabaseUrl};
use todo_api::graphql::{self, Engine, TrustedDocuments};
use todo_api::state::AppState;
use todo_api::{Clock, crypto};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::TestDatabase;
use super::test_schema::test_schema;

/// A password that satisfies all rules.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// Secret that signs the access tokens of test apps.
pub(crate) const SECRET: &str = "a secret of the tests, 32 bytes or more";

/// The service in this process, on a socket and a database of its own.
pub(crate) struct TestApp {
    pub(crate) address: SocketAddr,
    pub(crate) database: Arc<TestDatabase>,
    pub(crate) state: AppState,
    pub(crate) http: reqwest::Client,
    seconds_ahead: Arc<AtomicI64>,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts with flags, such as `--max-body=1KiB`.
    pub(crate) async fn with(flags: &[&str]) -> Self {
        let database = TestDatabase::new().await;
        let url = database.url.clone();
        Self::on(&url, flags, database).await
    }

    /// Starts on a URL that leads to the database, through a proxy for example.
    pub(crate) async fn on(url: &str, flags: &[&str], database: TestDatabase) -> Self {
        Self::on_shared(url, flags, Arc::new(database)).await
    }

    /// Starts another instance on the same database, as a second process would be.
    pub(crate) async fn beside(&self, flags: &[&str]) -> Self {
        Self::on_shared(&self.database.url, flags, Arc::clone(&self.database)).await
    }

    /// Like [`Self::on`], on a database shared with others.
    pub(crate) async fn on_shared(url: &str, flags: &[&str], database: Arc<TestDatabase>) -> Self {
        let config = config(flags);
        let engine = |state, trusted| graphql::engine(state, &config, trusted).unwrap();
        Self::serve(url, &config, database, engine).await
    }

    /// Like [`Self::beside`], but without the fast path: resolves every query.
    pub(crate) async fn resolving_beside(&self, flags: &[&str]) -> Self {
        let config = config(flags);
        let engine = |state, trusted| {
            let schema = graphql::schema(state, config.introspection());
            Engine::new(schema, &graphql::sdl(), &config, trusted).unwrap()
        };
        Self::serve(&self.database.url, &config, Arc::clone(&self.database), engine).await
    }

    /// Starts with the schema of the tests instead of the service's own.
    pub(crate) async fn with_test_schema(flags: &[&str]) -> Self {
        let database = TestDatabase::new().await;
        let url = database.url.clone();
        let schema = test_schema();
        let config = config(flags);
        let engine = |_, trusted| Engine::new(schema.clone(), &schema.sdl(), &config, trusted).unwrap();
        Self::serve(&url, &config, Arc::new(database), engine).await
    }

    async fn serve<E: Executor>(
        url: &str,
        config: &Config,
        database: Arc<TestDatabase>,
        engine: impl FnOnce(AppState, Option<TrustedDocuments>) -> Engine<E>,
    ) -> Self {
        crypto::install_provider();
        let seconds_ahead = Arc::new(AtomicI64::new(0));
        let clock = clock(Arc::clone(&seconds_ahead));
        let mut keys = config.auth.jwt_key_files.iter().map(|path| SigningKey::from_file(path).unwrap());
        let secret = SigningKey::from_secret(&SECRET.as_bytes().to_vec().into()).unwrap();
        let keys = match keys.next() {
            Some(first) => SigningKeys { first, others: keys.chain([secret]).collect() },
            None => SigningKeys { first: secret, others: Vec::new() },
        };
        let connector = |url: &DatabaseUrl| Connector::new(url, config.database.connect_timeout()).unwrap();
        let url = DatabaseUrl::parse(url).unwrap();
        let connectors = Connectors {
            primary: connector(&url),
            direct: connector(config.database.direct_url().unwrap().as_ref().unwrap_or(&url)),
            replicas: config.database.replica_urls().unwrap().iter().map(connector).collect(),
        };
        let state = AppState::new(config, connectors, keys, clock).unwrap();
        let trusted = TrustedDocuments::from_settings(&config.graphql).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let engine = engine(state.clone(), trusted);
        let shared = state.clone();
        let config = config.clone();
        let stop = shutdown.clone();
        let server = tokio::spawn(async move { serve_until(listener, shared, engine, &config, stop).await });
        Self { address, database, state, http: reqwest::Client::new(), seconds_ahead, shutdown, server }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Advances the clock of this process alone.
    pub(crate) fn skew(&self, seconds: i64) {
        self.seconds_ahead.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Lets time pass: advances the clock of this process, and makes all rows older whose age matters.
    pub(crate) async fn pass(&self, seconds: i64) {
        self.skew(seconds);
        let age = format!(
            "SET session_replication_role = replica; -- no triggers
             DO $$ DECLARE change text; BEGIN
                 FOR change IN
                     SELECT format('UPDATE %I SET ', table_name)
                         || string_agg(format('%1$I = %1$I - interval ''{seconds} s''', column_name), ', ')
                     FROM information_schema.columns
                     WHERE table_schema = current_schema() AND data_type = 'timestamp with time zone'
                         AND table_name <> 'users' AND (table_name <> 'todos' OR column_name = 'deleted_at')
                     GROUP BY table_name
                 LOOP EXECUTE change; END LOOP;
             END $$"
        );
        self.database.sql(&age).await;
    }

    /// Sends an operation without a token.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Answer {
        self.ask_with(HeaderMap::new(), query, variables).await
    }

    /// Sends an operation with a token.
    pub(crate) async fn ask_as(&self, token: &str, query: &str, variables: Value) -> Answer {
        let headers = [(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())];
        self.ask_with(HeaderMap::from_iter(headers), query, variables).await
    }

    pub(crate) async fn ask_with(&self, headers: HeaderMap, query: &str, variables: Value) -> Answer {
        let body = json!({ "query": query, "variables": variables });
        Answer::of(self.http.post(self.url("/graphql")).headers(headers).json(&body)).await
    }

    pub(crate) async fn register(&self, email: &str) -> Answer {
        self.register_with(email, PASSWORD, "Ada Lovelace").await
    }

    pub(crate) async fn register_with(&self, email: &str, password: &str, name: &str) -> Answer {
        let query = "mutation Register($input: RegisterInput!) { register(input: $input) {
            user { id email name createdAt updatedAt } accessToken refreshToken expiresAt } }";
        self.ask(query, json!({ "input": { "email": email, "password": password, "name": name } })).await
    }

    pub(crate) async fn login(&self, email: &str, password: &str) -> Answer {
        let query = "mutation Login($input: LoginInput!) { login(input: $input) {
            user { id email name } accessToken refreshToken expiresAt } }";
        self.ask(query, json!({ "input": { "email": email, "password": password } })).await
    }

    pub(crate) async fn me(&self, token: &str) -> Answer {
        self.ask_as(token, "{ me { id email name } }", Value::Null).await
    }

    /// Begins a shutdown.
    pub(crate) fn ask_to_stop(&self) {
        self.shutdown.cancel();
    }

    /// Shuts down and waits until it is done.
    pub(crate) async fn stop(self) {
        self.ask_to_stop();
        self.server.await.unwrap();
    }
}

/// Parses settings from flags alone, ignoring the environment of the test run.
fn config(flags: &[&str]) -> Config {
    let command = Config::augment_args(clap::Command::new("test")).mut_args(|arg| arg.env(None::<&str>));
    Config::from_arg_matches(&command.get_matches_from(["test"].iter().chain(flags))).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the tests' clock")]
fn clock(seconds_ahead: Arc<AtomicI64>) -> Clock {
    Clock::new(move || Utc::now() + TimeDelta::seconds(seconds_ahead.load(Ordering::SeqCst)))
}

/// A response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// Sends a request and reads its response.
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        Self { status, headers, body: response.json().await.unwrap() }
    }

    /// Returns the data of a field; panics if there are errors.
    #[track_caller]
    pub(crate) fn data(&self, field: &str) -> &Value {
        assert!(self.body.get("errors").is_none(), "errors: {:#}", self.body);
        &self.body["data"][field]
    }

    /// Returns the only error.
    #[track_caller]
    pub(crate) fn error(&self) -> &Value {
        let errors = self.body["errors"].as_array();
        let errors = errors.unwrap_or_else(|| panic!("no errors: {:#}", self.body));
        assert_eq!(errors.len(), 1, "{errors:#?}");
        &errors[0]
    }

    #[track_caller]
    pub(crate) fn code(&self) -> &str {
        self.error()["extensions"]["code"].as_str().expect("the error has a code")
    }

    /// Returns the access token of a registration or login.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        let data = self.body["data"].as_object().unwrap_or_else(|| panic!("no data: {:#}", self.body));
        data.values().next().unwrap()["accessToken"].as_str().unwrap().to_owned()
    }
}
