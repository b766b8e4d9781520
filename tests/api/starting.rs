//! The start: what is answered before the service is ready, and signals that it ignores.

use std::process::Command;
use std::time::{Duration, Instant};

use diesel_async::SimpleAsyncConnection;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::support::{SECRET, Service, TestDatabase};

/// Less than a start that waits takes by itself.
const PROMPT: Duration = Duration::from_secs(10);

fn command(url: &str) -> Command {
    let mut command = Service::command();
    command.env("DATABASE_URL", url).env("JWT_SECRET", SECRET).env("DATABASE_CONNECT_TIMEOUT", "2m");
    command
}

/// Starts on a database that accepts connections and says nothing.
async fn start_on_silence(settings: &[(&str, &str)]) -> (Service, TcpListener) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgresql://u:p@{}/db", silent.local_addr().unwrap());
    (Service::start_listening(command(&url).envs(settings.iter().copied())), silent)
}

async fn get(service: &Service, path: &str) -> reqwest::Response {
    reqwest::get(format!("http://{}{path}", service.address)).await.unwrap()
}

fn health(service: &Service, arguments: &[&str]) -> bool {
    let (_, port) = service.address.rsplit_once(':').unwrap();
    Service::run(Service::command().env("PORT", port).arg("health").args(arguments)).status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_waits_for_the_database_is_alive_and_serves_nothing() {
    let (mut service, _silent) = start_on_silence(&[]).await;
    let live = get(&service, "/health/live").await;
    assert_eq!((live.status().as_u16(), live.text().await.unwrap()), (200, "live\n".to_owned()));
    let ready = get(&service, "/health/ready").await;
    assert_eq!((ready.status().as_u16(), &ready.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert!(health(&service, &[]) && !health(&service, &["--ready"]));

    let client = reqwest::Client::new();
    let url = format!("http://{}/graphql", service.address);
    for accept in ["application/json", "application/graphql-response+json", "text/html"] {
        let request = client.post(&url).header("accept", accept).json(&json!({ "query": "{ __typename }" }));
        let answer = request.send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (503, &"1".parse().unwrap())
        );
        let kind = if accept == "text/html" { "application/json" } else { accept };
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with(kind));
        assert!(answer.headers().contains_key("x-request-id"));
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["errors"][0]["extensions"]["code"], "SERVICE_UNAVAILABLE", "{body}");
        assert_eq!(body["errors"][0]["extensions"]["retryAfter"], 1);
    }
    for path in ["/", "/graphiql", "/graphql/ws", "/metrics", "/.well-known/jwks.json", "/nowhere"] {
        assert_eq!(get(&service, path).await.status().as_u16(), 503, "{path}");
    }
    let began = Instant::now();
    service.signal("TERM");
    let (status, log) = service.wait();
    assert!(status.success() && began.elapsed() < PROMPT, "{status}: {log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_short_start_wait_for_the_service() {
    let database = TestDatabase::new().await;
    let mut holder = database.connect().await;
    holder.batch_execute("BEGIN; LOCK TABLE __diesel_schema_migrations").await.unwrap();
    let service = Service::start_listening(&mut command(&database.url));
    let url = format!("http://{}/graphql?query={{__typename}}", service.address);
    let request = tokio::spawn(async move { reqwest::get(url).await.unwrap() });
    // Another connection, which stays open until the service is ready.
    let client = reqwest::Client::new();
    let live = || client.get(format!("http://{}/health/live", service.address)).send();
    assert_eq!(live().await.unwrap().status().as_u16(), 200);
    assert!(!request.is_finished());
    holder.batch_execute("ROLLBACK").await.unwrap();
    let answer = request.await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "data": { "__typename": "Query" } }));
    service.wait_for_line("is ready: http://");
    assert_eq!(live().await.unwrap().status().as_u16(), 200);
    let ready = client.get(format!("http://{}/health/ready", service.address)).send().await.unwrap();
    assert_eq!(ready.status().as_u16(), 200);
    service.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_waits_for_a_migration_is_alive_and_can_be_stopped() {
    let database = TestDatabase::empty().await;
    let mut holder = database.connect().await;
    // The first migration creates a table of this name.
    holder.batch_execute("BEGIN; CREATE TABLE users (id int)").await.unwrap();
    let mut service = Service::start_listening(command(&database.url).env("MIGRATE_ON_START", "true"));
    let waiting = "DO $$ BEGIN ASSERT (SELECT count(*) = 1 FROM pg_locks WHERE NOT granted); END $$";
    let mut observer = database.connect().await;
    while observer.batch_execute(waiting).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(health(&service, &[]) && !health(&service, &["--ready"]));
    let began = Instant::now();
    service.signal("TERM");
    let (status, log) = service.wait();
    assert!(status.success(), "{status}: {log:#?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // The server has given up as well: otherwise it would hold the lock of migrations.
    let over = waiting.replace("= 1", "= 0");
    while observer.batch_execute(&over).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_of_metrics_is_alive_during_the_start() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (service, _silent) = start_on_silence(&[("METRICS_PORT", &port.to_string())]).await;
    let status = async |path: &str| {
        reqwest::get(format!("http://127.0.0.1:{port}{path}")).await.unwrap().status().as_u16()
    };
    assert_eq!((status("/health/live").await, status("/metrics").await), (200, 503));
    service.stop();
}

#[test]
fn a_port_in_use_is_reported_before_anything_else() {
    let used = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgresql://u:p@{}/db", silent.local_addr().unwrap());
    let began = Instant::now();
    let output = Service::run(command(&url).env("PORT", used.local_addr().unwrap().port().to_string()));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("can't listen on") && began.elapsed() < PROMPT, "{message}");
}

/// Starts under a shell that ignores a signal, as `nohup` and scripts with background jobs do.
fn start_ignoring(database: &TestDatabase, signal: &str) -> Service {
    let service = command(&database.url);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("trap '' {signal}; exec \"$0\"")]).arg(service.get_program());
    shell
        .env_clear()
        .current_dir("/")
        .envs(service.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Service::start_command(&mut shell)
}

#[tokio::test]
async fn signals_that_were_ignored_at_the_start_stay_ignored() {
    let database = TestDatabase::new().await;
    for signal in ["HUP", "INT"] {
        let service = start_ignoring(&database, signal);
        service.signal(signal);
        service.signal(signal);
        assert_eq!(service.ask("{ __typename }").await["data"]["__typename"], "Query", "{signal}");
        service.stop();
    }
    // SIGTERM always works.
    start_ignoring(&database, "TERM").stop();
}

#[tokio::test]
async fn nohup_keeps_the_service_running() {
    let database = TestDatabase::new().await;
    let service = command(&database.url);
    let mut nohup = Command::new("nohup");
    nohup.arg(service.get_program()).env_clear().current_dir("/");
    nohup.envs(service.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let service = Service::start_command(&mut nohup);
    service.signal("HUP");
    assert_eq!(service.ask("{ __typename }").await["data"]["__typename"], "Query");
    service.stop();
}

#[tokio::test]
async fn a_silent_database_is_given_up_within_its_limit() {
    let (mut service, silent) = start_on_silence(&[("DATABASE_CONNECT_TIMEOUT", "100ms")]).await;
    let mut first = silent.accept().await.unwrap().0;
    let mut request = [0; 8];
    first.read_exact(&mut request).await.unwrap();
    let (status, log) = service.wait();
    assert_eq!(status.code(), Some(1), "{log:#?}");
    assert!(log.iter().any(|line| line.contains("unavailable")), "{log:#?}");
}
