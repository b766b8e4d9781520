//! The embedded PostgreSQL, through the real binary.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{OwnServer, Service};

const REGISTER: &str = "mutation { register(input: { email: \"ada@example.com\", name: \"Ada\",
    password: \"correct horse battery staple\" }) { accessToken } }";
const LOGIN: &str = "mutation { login(input: { email: \"ada@example.com\",
    password: \"correct horse battery staple\" }) { accessToken } }";

fn postmaster(data_dir: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    text.lines().next()?.parse().ok()
}

fn runs(process: i32) -> bool {
    Command::new("kill")
        .args(["-0", &process.to_string()])
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap()
        .success()
}

fn assert_token(answer: &Value) {
    let data = answer["data"].as_object().unwrap_or_else(|| panic!("{answer:#}"));
    assert!(data.values().all(|payload| payload["accessToken"].is_string()));
}

#[tokio::test]
async fn accounts_and_tokens_survive_a_restart() {
    let dir = TempDir::new().unwrap();
    let service = Service::start(dir.path());
    let registered = service.ask(REGISTER).await;
    assert_token(&registered);
    service.stop();
    assert_eq!(postmaster(dir.path()), None);

    let began = Instant::now();
    let service = Service::start(dir.path());
    assert_token(&service.ask(LOGIN).await);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "the second start took {took:?}");
    let token = registered["data"]["register"]["accessToken"].as_str().unwrap();
    let me = reqwest::Client::new()
        .post(format!("http://{}/graphql", service.address))
        .bearer_auth(token)
        .json(&serde_json::json!({ "query": "{ me { name } }" }));
    let me: Value = me.send().await.unwrap().json().await.unwrap();
    assert_eq!(me["data"]["me"]["name"], "Ada");
}

/// True if this process ignores a signal, as below `nohup`: then the service ignores it, too.
fn is_ignored_here(signal: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or("0").trim();
    u64::from_str_radix(mask, 16).unwrap() >> (signal - 1) & 1 == 1
}

#[tokio::test]
async fn signals_stop_the_service_and_its_postgresql() {
    let dir = TempDir::new().unwrap();
    for (number, signal) in [(2, "INT"), (15, "TERM"), (1, "HUP")] {
        if is_ignored_here(number) {
            continue;
        }
        let mut service = Service::start(dir.path());
        let postgres = postmaster(dir.path()).unwrap();
        service.signal(signal);
        let (status, log) = service.wait();
        assert!(status.success(), "{signal}: {status} {log:#?}");
        assert!(!runs(postgres), "PostgreSQL outlived {signal}");
        assert!(!dir.path().join("database-url").exists());
    }
}

#[tokio::test]
async fn the_service_ends_when_its_postgresql_does() {
    let dir = TempDir::new().unwrap();
    let mut service = Service::start(dir.path());
    let killed =
        Command::new("kill").args(["-KILL", &postmaster(dir.path()).unwrap().to_string()]).status().unwrap();
    assert!(killed.success());
    let (status, log) = service.wait();
    assert_eq!(status.code(), Some(1));
    assert!(log.iter().any(|line| line.contains("postgres.log")), "{log:#?}");
    Service::start(dir.path()).stop();
}

#[tokio::test]
async fn a_closed_log_does_not_stop_the_service() {
    let dir = TempDir::new().unwrap();
    let mut command = Service::command();
    let mut service =
        Service::start_command(command.env("TODO_DATA_DIR", dir.path()).env("RUST_LOG", "debug"));
    let postgres = postmaster(dir.path()).unwrap();
    service.close_log();
    for _ in 0..5 {
        assert_eq!(service.ask("{ __typename }").await["data"]["__typename"], "Query");
    }
    service.signal("TERM");
    assert!(service.wait().0.success());
    assert!(!runs(postgres));
}

#[tokio::test]
async fn a_signal_stops_a_start_that_waits_for_the_database() {
    let server = OwnServer::start().await;
    let connector = crate::support::connector(&server.url());
    todo_api::db::migrations::run(&connector).await.unwrap();
    let mut holder = connector.connect().await.unwrap();
    let lock = "BEGIN; LOCK TABLE __diesel_schema_migrations";
    diesel_async::SimpleAsyncConnection::batch_execute(&mut holder, lock).await.unwrap();
    let mut command = Service::command();
    command
        .env("DATABASE_URL", server.url())
        .env("JWT_SECRET", "x".repeat(32))
        .stderr(std::process::Stdio::null());
    let mut process = command.spawn().unwrap();
    let waiting = "DO $$ BEGIN ASSERT (SELECT count(*) = 1 FROM pg_locks WHERE NOT granted); END $$";
    let mut observer = connector.connect().await.unwrap();
    while diesel_async::SimpleAsyncConnection::batch_execute(&mut observer, waiting).await.is_err() {
        tokio::task::yield_now().await;
    }
    let signal = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
    assert!(signal.success());
    assert!(process.wait().unwrap().success());
}

#[tokio::test]
async fn data_survives_a_crash_of_the_service() {
    let dir = TempDir::new().unwrap();
    let mut service = Service::start(dir.path());
    assert_token(&service.ask(REGISTER).await);
    service.signal("KILL");
    service.wait();
    assert!(postmaster(dir.path()).is_some());

    let service = Service::start(dir.path());
    assert_token(&service.ask(LOGIN).await);
}

#[tokio::test]
async fn a_stale_pid_file_with_the_pid_of_another_process_is_replaced() {
    let dir = TempDir::new().unwrap();
    let service = Service::start(dir.path());
    assert_token(&service.ask(REGISTER).await);
    let pid_file = dir.path().join("postgres/postmaster.pid");
    let left_behind = std::fs::read_to_string(&pid_file).unwrap();
    service.stop();
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    let rest = left_behind.split_once('\n').unwrap().1;
    std::fs::write(&pid_file, format!("{}\n{rest}", stranger.id())).unwrap();

    let service = Service::start(dir.path());
    assert_token(&service.ask(LOGIN).await);
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger was killed");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// Lists processes that work in a directory, as PostgreSQL does in its cluster.
fn processes_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let entries = entries.filter(|entry| {
        std::fs::read_link(entry.path().join("cwd")).is_ok_and(|directory| directory.starts_with(dir))
    });
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_start_that_fails_leaves_no_postgresql_behind() {
    let dir = TempDir::new().unwrap();
    Service::start(dir.path()).stop();
    let run = || {
        let output = Service::run(Service::command().env("TODO_DATA_DIR", dir.path()));
        assert_eq!(output.status.code(), Some(1));
        assert_eq!((postmaster(dir.path()), processes_in(dir.path())), (None, Vec::new()));
        String::from_utf8(output.stderr).unwrap()
    };
    // The URL can't be written.
    std::fs::create_dir(dir.path().join("database-url")).unwrap();
    assert!(run().contains("database-url"));
    std::fs::remove_dir(dir.path().join("database-url")).unwrap();

    // A migration fails.
    let data_dir = todo_api::data_dir::DataDir::open(Some(dir.path())).unwrap();
    let server = todo_api::db::embedded::EmbeddedPostgres::start(data_dir, None).await.unwrap();
    let url = std::fs::read_to_string(dir.path().join("database-url")).unwrap();
    let mut conn = crate::support::connector(url.trim()).connect().await.unwrap();
    // That of users, which creates a table that is there.
    let forget = "DELETE FROM __diesel_schema_migrations WHERE version = '20261123090000'";
    diesel_async::SimpleAsyncConnection::batch_execute(&mut conn, forget).await.unwrap();
    drop((conn, server));
    run();
}

#[tokio::test]
async fn a_signal_during_the_first_start_leaves_no_postgresql_behind() {
    for milestone in ["", "creating a PostgreSQL"] {
        let dir = TempDir::new().unwrap();
        let mut command = Service::command();
        let mut service = Service::start_listening(command.env("TODO_DATA_DIR", dir.path()));
        if !milestone.is_empty() {
            service.wait_for_line(milestone);
        }
        service.signal("TERM");
        let (status, log) = service.wait();
        assert!(status.success(), "{status}: {log:#?}");
        assert_eq!((postmaster(dir.path()), processes_in(dir.path())), (None, Vec::new()), "{log:#?}");
        Service::start(dir.path()).stop();
    }
}

#[tokio::test]
async fn a_lost_password_is_reported_and_not_replaced() {
    let dir = TempDir::new().unwrap();
    let service = Service::start(dir.path());
    assert_token(&service.ask(REGISTER).await);
    service.stop();
    let file = dir.path().join("postgres-password");
    let password = std::fs::read_to_string(&file).unwrap();
    let refused = || {
        let output = Service::run(Service::command().env("TODO_DATA_DIR", dir.path()));
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        for part in ["is lost", "postgres-password", "ALTER ROLE", "TODO_DATA_DIR"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(processes_in(dir.path()), Vec::<String>::new());
        assert!(!message.contains(password.trim()), "{message}");
    };
    std::fs::remove_file(&file).unwrap();
    refused();
    assert!(!file.exists());
    for text in ["", "\n", "too short", "another password, which is long enough"] {
        std::fs::write(&file, text).unwrap();
        refused();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
    std::fs::write(&file, &password).unwrap();
    assert_token(&Service::start(dir.path()).ask(LOGIN).await);
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused() {
    let dir = TempDir::new().unwrap();
    let service = Service::start(dir.path());
    let output = Service::run(Service::command().env("TODO_DATA_DIR", dir.path()));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("another todo-api") && message.contains("TODO_DATA_DIR"), "{message}");
    assert_eq!(service.ask("{ __typename }").await["data"]["__typename"], "Query");
}

#[tokio::test]
async fn a_panic_stops_postgresql() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().to_owned();
    let panicked = tokio::spawn(async move {
        let data_dir = todo_api::data_dir::DataDir::open(Some(&path)).unwrap();
        let _postgres = todo_api::db::embedded::EmbeddedPostgres::start(data_dir, None).await.unwrap();
        std::panic::resume_unwind(Box::new(postmaster(&path).unwrap()));
    });
    let payload = panicked.await.unwrap_err().into_panic();
    assert!(!runs(*payload.downcast::<i32>().unwrap()));
}

#[tokio::test]
async fn a_data_directory_below_a_private_one_works() {
    let dir = TempDir::new().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let service = Service::start(&dir.path().join("below/it"));
    assert_token(&service.ask(REGISTER).await);
}

#[tokio::test]
async fn secrets_in_the_data_directory_are_readable_by_the_owner_only() {
    let server = OwnServer::start().await;
    let data_dir = todo_api::data_dir::DataDir::open(Some(server.dir.path())).unwrap();
    data_dir.secret("jwt-secret").unwrap();
    for name in ["jwt-secret", "postgres-password", "database-url", "postgres.log"] {
        let mode = std::fs::metadata(server.dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} has mode {mode:o}");
    }
}

#[test]
fn a_wrong_directory_of_programs_is_named() {
    let dir = TempDir::new().unwrap();
    let mut command = Service::command();
    let output = Service::run(command.env("TODO_DATA_DIR", dir.path()).env("POSTGRES_BIN_DIR", "/nowhere"));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.contains("POSTGRES_BIN_DIR=/nowhere"), "{message}");
}

#[test]
fn data_of_another_major_version_is_not_touched() {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("postgres")).unwrap();
    std::fs::write(dir.path().join("postgres/PG_VERSION"), "9\n").unwrap();
    let output = Service::run(Service::command().env("TODO_DATA_DIR", dir.path()));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("made by PostgreSQL 9") && message.contains("POSTGRES_BIN_DIR"), "{message}");
}
