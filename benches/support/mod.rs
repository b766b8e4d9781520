//! The service without a listener, for benchmarks that call it in process.
#![allow(dead_code, reason = "each benchmark uses some of it")]

use std::time::Duration;

use clap::{Args, FromArgMatches};
use todo_api::auth::{SigningKey, SigningKeys};
use todo_api::config::Config;
use todo_api::db::{Connector, Connectors, DatabaseUrl};
use todo_api::graphql::{self, Engine, Schema};
use todo_api::state::AppState;
use todo_api::{Clock, crypto};

/// URL of no database: preparing a document never needs a connection.
pub(crate) const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";

pub(crate) struct Fixture {
    pub(crate) config: Config,
    pub(crate) state: AppState,
    pub(crate) engine: Engine<Schema>,
}

impl Fixture {
    /// Builds the service from flags, such as `--redis-url=redis://127.0.0.1`. Panics outside a tokio runtime.
    pub(crate) fn new(database_url: &str, flags: &[String]) -> Self {
        crypto::install_provider();
        let command = Config::augment_args(clap::Command::new("bench")).mut_args(|arg| arg.env(None::<&str>));
        let arguments = ["bench".to_owned()].into_iter().chain(flags.iter().cloned());
        let config =
            Config::from_arg_matches(&command.get_matches_from(arguments)).expect("the flags are right");
        let first = SigningKey::from_secret(&crypto::random_bytes::<32>().to_vec().into())
            .expect("the secret is long enough");
        let keys = SigningKeys { first, others: Vec::new() };
        let primary = connector(database_url);
        let connectors = Connectors { direct: primary.clone(), primary, replicas: Vec::new() };
        let state =
            AppState::new(&config, connectors, keys, Clock::system()).expect("the settings are right");
        let engine = graphql::engine(state.clone(), &config, None).expect("the schema is right");
        Self { config, state, engine }
    }
}

pub(crate) fn connector(url: &str) -> Connector {
    let url = DatabaseUrl::parse(url).expect("it is a URL");
    Connector::new(&url, Duration::from_secs(30)).expect("it needs no certificates")
}
