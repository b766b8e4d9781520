//! What finding and checking a document costs before anything is executed: `cargo bench --bench documents`.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a program to be read by its author")]

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::{Args, FromArgMatches};
use todo_api::auth::{SigningKey, SigningKeys};
use todo_api::config::Config;
use todo_api::db::{Connector, Connectors, DatabaseUrl};
use todo_api::graphql::{self, Engine, GraphqlRequest};
use todo_api::state::AppState;
use todo_api::{Clock, crypto};

/// How long each document is measured.
const TIME: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() {
    let engine = engine();
    let me = "query Me { me { id email name createdAt updatedAt } }".to_owned();
    let bomb = (0..40).fold("{ me { ...F0 } }".to_owned(), |mut text, n| {
        let _ = write!(text, " fragment F{n} on User {{ ...F{0} ...F{0} }}", n + 1);
        text
    }) + " fragment F40 on User { id }";
    for (what, document) in [
        ("me", me),
        ("60,000 nested braces", "{".repeat(60_000)),
        ("50,000 nested brackets", format!("{{ a(b: {}", "[".repeat(50_000))),
        ("10,000 tokens", format!("{{ {} }}", "id ".repeat(10_000))),
        ("2^40 fields in fragments", bomb),
        ("a fragment that contains itself", "{ me { ...A } } fragment A on User { ...A }".to_owned()),
    ] {
        let (mut times, began) = (0_u32, Instant::now());
        let mut outcome = "accepted";
        while began.elapsed() < TIME {
            let request = GraphqlRequest { query: Some(document.clone()), ..GraphqlRequest::default() };
            if black_box(engine.prepare(request)).is_err() {
                outcome = "refused";
            }
            times += 1;
        }
        let each = began.elapsed() / times;
        println!("{what:<32} {:>6} bytes  {outcome:<8}  {each:>10.1?}", document.len());
    }
}

fn engine() -> Engine {
    crypto::install_provider();
    let matches = Config::augment_args(clap::Command::new("documents")).get_matches_from(["documents"]);
    let config = Config::from_arg_matches(&matches).expect("the defaults are right");
    // Nothing is executed, so nobody asks for a connection.
    let url = DatabaseUrl::parse("postgres://nobody@127.0.0.1:1/nothing").expect("it is a URL");
    let connector = Connector::new(&url, TIME).expect("it needs no certificates");
    let first =
        SigningKey::from_secret(&crypto::random_bytes::<32>().to_vec().into()).expect("it is long enough");
    let keys = SigningKeys { first, others: Vec::new() };
    let connectors = Connectors { primary: connector.clone(), direct: connector, replicas: Vec::new() };
    let state = AppState::new(&config, connectors, keys, Clock::system()).expect("the settings are right");
    Engine::new(graphql::schema(state, true), &graphql::sdl(), &config, None).expect("the schema is right")
}
