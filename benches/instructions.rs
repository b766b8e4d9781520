//! Counts the instructions per request of the release binary with callgrind, and fails if a request costs more than
//! [`MAX_PERCENT`] of the committed count: `cargo bench --bench instructions`; `-- --renew` overwrites the committed counts.
//!
//! The service answers N requests in one run and 5 N in another; the difference, divided by 4 N, excludes start and shutdown.
//! Unlike times, counts hardly depend on the machine's load; they include neither the kernel nor memory stalls.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program to be read by its author"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

use serde_json::{Value, json};
use support::{Owner, SECRET, Service, TestApp, TestDatabase};
use tempfile::TempDir;

/// Bound on a count, in percent of the committed one. Tolerates other processors and versions of valgrind and libc.
const MAX_PERCENT: u64 = 110;
/// File with the committed counts.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json");
const PAGE: usize = 50;
/// Starts differ by up to a million instructions, as AWS-LC measures jitter for its entropy; so many requests share these.
const REQUESTS: usize = 1000;

/// Verifier of the password `counted` after a single iteration of SCRAM, as PostgreSQL stores it. Before version 16 only
/// clients can choose the number.
const VERIFIER: &str = "SCRAM-SHA-256$1:aW5zdHJ1Y3Rpb25z$ll376S5NUl5RU6p8Zjo4uAPDQ3lLh8vf+znt8aSj/OM=:Z85R0wye58fhitOP3ooToNL2jeyZXpiUewB1HJHMF/M=";

/// A request whose instructions are counted.
struct Scenario {
    name: &'static str,
    query: &'static str,
    /// Requests of the shorter run.
    requests: usize,
    log: &'static str,
}

const SCENARIOS: [Scenario; 4] = [
    Scenario { name: "typename", query: "{ __typename }", requests: REQUESTS, log: QUIET },
    Scenario { name: "me", query: ME, requests: REQUESTS, log: QUIET },
    Scenario { name: "me_logged", query: ME, requests: REQUESTS, log: "info" },
    Scenario {
        name: "todos",
        query: "query Todos($first: Int!) { todos(first: $first) { nodes { id title description completed createdAt } } }",
        requests: REQUESTS / 4,
        log: QUIET,
    },
];
const ME: &str = "query Me { me { id email name createdAt updatedAt } }";
/// Log filter without a line per request, but with the line that says that the service is ready.
const QUIET: &str = "error,todo_api::cli=info";

#[tokio::main]
async fn main() -> ExitCode {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: valgrind is not installed");
        return ExitCode::SUCCESS;
    }
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    for number in 0..PAGE {
        let description =
            format!("Something that has to be done before the end of the week, number {number}");
        ada.todo("createTodo", json!({ "title": format!("Todo {number}"), "description": description }))
            .await;
    }
    let role = format!("counted_{}", std::process::id());
    let database_url = create_role(&app.database, &role).await;
    let mut counts = BTreeMap::new();
    for scenario in &SCENARIOS {
        let count = |times| count_instructions(&ada, &database_url, scenario, times);
        let (few, many) = tokio::join!(count(1), count(5));
        counts.insert(scenario.name, (many - few) / (4 * scenario.requests as u64));
    }
    app.database.sql(&format!("DROP ROLE {role}")).await;
    if std::env::args().any(|argument| argument == "--renew") {
        std::fs::write(COMMITTED, serde_json::to_string_pretty(&counts).unwrap() + "\n").unwrap();
    }
    report(&counts)
}

/// Creates a role whose logins take one iteration of SCRAM, and returns its URL.
///
/// The usual 4,096 cost 63 million instructions for each connection, and a start opens two or three, depending on what
/// is answered first: a difference of 16,000 instructions for each request.
async fn create_role(database: &TestDatabase, role: &str) -> String {
    database.sql(&format!("CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{VERIFIER}'")).await;
    let (_, server) = database.url.rsplit_once('@').expect("the URL has credentials");
    format!("postgresql://{role}:counted@{server}")
}

/// Counts the instructions of a run that sends the scenario's requests `times` times.
async fn count_instructions(owner: &Owner<'_>, database_url: &str, scenario: &Scenario, times: usize) -> u64 {
    let dir = TempDir::new().unwrap();
    let output = dir.path().join("callgrind");
    let mut command = callgrind(&output, database_url, scenario.log);
    let service = tokio::task::spawn_blocking(move || Service::start_command(&mut command)).await.unwrap();
    let client = reqwest::Client::new();
    let body = json!({ "query": scenario.query, "variables": { "first": PAGE } }).to_string();
    for _ in 0..times * scenario.requests {
        let request = client.post(format!("http://{}/graphql", service.address)).bearer_auth(&owner.token);
        let request = request.header("content-type", "application/json").body(body.clone());
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert!(answer.get("errors").is_none(), "{answer:#}");
    }
    drop(client);
    tokio::task::spawn_blocking(move || service.stop()).await.unwrap();
    let text = std::fs::read_to_string(output).unwrap();
    let totals =
        text.lines().find_map(|line| line.strip_prefix("totals: ")).expect("callgrind writes totals");
    totals.parse().unwrap()
}

/// Returns the command that serves under callgrind, with the settings of production.
fn callgrind(output: &Path, database_url: &str, log: &str) -> Command {
    let mut command = Command::new("valgrind");
    command
        .env_clear()
        .args(["--tool=callgrind", &format!("--callgrind-out-file={}", output.display())])
        .arg(env!("CARGO_BIN_EXE_todo-api"))
        .envs(std::env::var("PATH").map(|path| ("PATH", path)))
        .envs([
            ("APP_ENV", "production"),
            ("DATABASE_URL", database_url),
            ("JWT_SECRET", SECRET),
            ("PORT", "0"),
            ("RUST_LOG", log),
            ("LOG_FORMAT", "json"),
            ("TOKIO_WORKER_THREADS", "1"),
        ]);
    command
}

/// Prints the counts beside the committed ones; fails if one is over its bound.
fn report(counts: &BTreeMap<&str, u64>) -> ExitCode {
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(COMMITTED).unwrap()).unwrap();
    let mut status = ExitCode::SUCCESS;
    println!("| request | instructions | committed | measured of committed |\n| --- | --- | --- | --- |");
    for (name, count) in counts {
        let known = committed[name].as_u64().unwrap_or_else(|| panic!("{COMMITTED} has no {name}"));
        let percent = count * 100 / known;
        println!("| {name} | {count} | {known} | {percent} % |");
        if percent > MAX_PERCENT {
            println!("{name} costs too much; if it has to: cargo bench --bench instructions -- --renew");
            status = ExitCode::FAILURE;
        }
    }
    status
}
