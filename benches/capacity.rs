//! Processor time and memory per request and connection, of the service and of PostgreSQL, for docs/performance.md:
//! `cargo bench --bench capacity`. Linux only: it reads `/proc`.
//!
//! Processor time is the processes' user and system time, so load on the machine hardly changes it.

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

use std::time::Duration;

use serde_json::{Value, json};
use support::{OwnServer, PASSWORD, SECRET, Service};
use todo_api::db::migrations;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Connections that send requests concurrently.
const CONNECTIONS: u32 = 16;
/// Connections that stay open after one request.
const IDLE: u32 = 2_000;
/// Clock tick of `/proc`: `USER_HZ` is 100 on all Linux systems.
const TICK: Duration = Duration::from_millis(10);
const PAGE: usize = 50;

#[tokio::main]
async fn main() {
    let server = OwnServer::start().await;
    migrations::run(&support::connector(&server.url())).await.expect("the migrations run");
    let mut command = Service::command();
    command.envs([
        ("APP_ENV", "production"),
        ("DATABASE_URL", &server.url()),
        ("JWT_SECRET", SECRET),
        ("LOG_FORMAT", "json"),
        ("RATE_LIMITS", "off"),
        ("MAX_CONNECTIONS", "10000"),
    ]);
    let service = Service::start_command(&mut command);
    let bench =
        Bench { url: format!("http://{}/graphql", service.address), service, server, token: String::new() };
    let bench = bench.prepare().await;
    println!(
        "| request | service, ms | PostgreSQL, ms | requests per second and core of the service | of PostgreSQL |\n| --- | --- | --- | --- | --- |"
    );
    let login = json!({ "query": "mutation($p: String!) { login(input: { email: \"ada@example.com\", password: $p }) { accessToken } }",
        "variables": { "p": PASSWORD } });
    let me = json!({ "query": "query Me { me { id email name createdAt updatedAt } }" });
    let page =
        "query($first: Int!) { todos(first: $first) { nodes { id title description completed createdAt } } }";
    let create = "mutation { createTodo(input: { title: \"Buy milk\" }) { todo { id } } }";
    bench.measure("`{ __typename }`", 20_000, &json!({ "query": "{ __typename }" })).await;
    bench.measure("`me`", 20_000, &me).await;
    bench.measure("page of 50", 10_000, &json!({ "query": page, "variables": { "first": PAGE } })).await;
    bench.measure("`createTodo`", 5_000, &json!({ "query": create })).await;
    bench.measure("`login`", 400, &login).await;
    bench.measure_idle(&me).await;
}

struct Bench {
    url: String,
    service: Service,
    server: OwnServer,
    token: String,
}

impl Bench {
    /// Registers the user and creates a page of todos.
    async fn prepare(mut self) -> Self {
        let register = "mutation($p: String!) { register(input: { email: \"ada@example.com\", password: $p, name: \"Ada\" }) { accessToken } }";
        let answer = self
            .ask(&reqwest::Client::new(), &json!({ "query": register, "variables": { "p": PASSWORD } }))
            .await;
        answer["data"]["register"]["accessToken"].as_str().unwrap().clone_into(&mut self.token);
        let todos = (0..PAGE).map(|number| {
            json!({ "title": format!("Todo {number}"),
                "description": format!("Something that has to be done before the end of the week, number {number}") })
        });
        let create =
            "mutation($todos: [CreateTodoInput!]!) { createTodos(input: { todos: $todos }) { eventId } }";
        let body = json!({ "query": create, "variables": { "todos": todos.collect::<Vec<_>>() } });
        self.ask(&reqwest::Client::new(), &body).await;
        self
    }

    async fn ask(&self, client: &reqwest::Client, body: &Value) -> Value {
        let request = client.post(&self.url).json(body);
        let request = if self.token.is_empty() { request } else { request.bearer_auth(&self.token) };
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert!(answer.get("errors").is_none(), "{answer:#}");
        answer
    }

    async fn load(&self, requests: u32, body: &Value) {
        let clients = (0..CONNECTIONS).map(|_| async {
            let client = reqwest::Client::new();
            for _ in 0..requests / CONNECTIONS {
                self.ask(&client, body).await;
            }
        });
        futures_util::future::join_all(clients).await;
    }

    /// Measures a request and prints its line.
    async fn measure(&self, name: &str, requests: u32, body: &Value) {
        self.load(requests / 10, body).await;
        let before = self.processor_times();
        self.load(requests, body).await;
        let after = self.processor_times();
        let [service, postgres] = [0, 1].map(|which| (after[which] - before[which]) / f64::from(requests));
        println!(
            "| {name} | {:.3} | {:.3} | {:.0} | {:.0} |",
            service * 1000.0,
            postgres * 1000.0,
            1.0 / service,
            1.0 / postgres
        );
    }

    /// Returns the processor times in seconds of the service and of PostgreSQL, whose closed connections count.
    fn processor_times(&self) -> [f64; 2] {
        let postmaster = u32::try_from(self.server.process()).unwrap();
        let living = list_processes()
            .into_iter()
            .filter(|process| process.parent == postmaster)
            .map(|process| process.own);
        let postgres = read_stat(postmaster).own + read_stat(postmaster).reaped + living.sum::<Duration>();
        [read_stat(self.service.id()).own, postgres].map(|time| time.as_secs_f64())
    }

    /// Measures and prints the memory of idle connections.
    async fn measure_idle(&self, body: &Value) {
        let before = resident(self.service.id());
        let body = body.to_string();
        let head = format!(
            "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
            self.token,
            body.len()
        );
        let mut open = JoinSet::new();
        for _ in 0..IDLE {
            let address = self.service.address.clone();
            let request = format!("{head}{body}");
            open.spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                assert!(
                    stream.read(&mut [0; 4096]).await.unwrap() > 0,
                    "the service has closed the connection"
                );
                stream
            });
        }
        let streams = open.join_all().await;
        let after = resident(self.service.id());
        println!(
            "\nresident: {before} KiB, and {:.1} KiB for each of {IDLE} idle connections",
            (after - before) / f64::from(IDLE)
        );
        drop(streams);
    }
}

/// A process in `/proc`.
struct Process {
    parent: u32,
    /// Processor time without that of children.
    own: Duration,
    /// Processor time of children that have ended.
    reaped: Duration,
}

fn read_stat(id: u32) -> Process {
    parse_stat(&std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap())
}

fn list_processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| Some(parse_stat(&std::fs::read_to_string(entry.path().join("stat")).ok()?)))
        .collect()
}

/// Parses `/proc/*/stat` from the fields after the name, which may contain spaces.
fn parse_stat(stat: &str) -> Process {
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    let time = |index: usize| TICK * fields[index].parse::<u32>().unwrap();
    Process { parent: fields[1].parse().unwrap(), own: time(11) + time(12), reaped: time(13) + time(14) }
}

/// Returns the resident memory of a process in KiB.
fn resident(id: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
