//! Serves the tests' schema, which has subscriptions, over the service's real transports.

#[path = "../support/test_schema.rs"]
mod test_schema;

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::{Args, FromArgMatches};
use todo_api::auth::{SigningKey, SigningKeys};
use todo_api::cli::{serve_until, shutdown_on_signal};
use todo_api::config::Config;
use todo_api::db::{Connector, Connectors, DatabaseUrl};
use todo_api::graphql::Engine;
use todo_api::state::AppState;
use todo_api::{Clock, crypto};
use tokio::net::TcpListener;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "the line that the tests wait for")]
async fn main() -> anyhow::Result<()> {
    crypto::install_provider();
    let matches = Config::augment_args(clap::Command::new("test_schema")).get_matches();
    let config = Config::from_arg_matches(&matches)?;
    // No field of the schema needs a connection.
    let url = DatabaseUrl::parse("postgres://nobody@127.0.0.1:1/nothing").map_err(anyhow::Error::msg)?;
    let first = SigningKey::from_secret(&b"a secret of the tests, 32 bytes or more".to_vec().into())?;
    let keys = SigningKeys { first, others: Vec::new() };
    let connector = Connector::new(&url, Duration::from_secs(1))?;
    let connectors = Connectors { primary: connector.clone(), direct: connector, replicas: Vec::new() };
    let state = AppState::new(&config, connectors, keys, Clock::system())?;
    let schema = test_schema::test_schema();
    let engine = Engine::new(schema.clone(), &schema.sdl(), &config, None)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.http.port)).await?;
    eprintln!("test_schema is ready: http://{}/graphql", listener.local_addr()?);
    serve_until(listener, state, engine, &config, shutdown_on_signal()?).await;
    Ok(())
}
