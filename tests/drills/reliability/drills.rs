use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use diesel_async::RunQueryDsl;
use tokio::time::{Instant, sleep};

use super::load::Load;
use super::{Drill, TURN, judge};
use crate::support::{
    OwnServer, PgBouncer, Pooling, Service, Standby, TestApp, TestDatabase, connector, texts,
};

/// Duration of a fault.
const FAULT: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_server_that_is_killed_and_started_again() {
    let mut drill = Drill::start().await;
    drill.server.kill();
    sleep(FAULT).await;
    drill.server.start_again().await;
    let returned = Instant::now();
    drill.proxy.retarget(drill.server.port());
    drill.end("server killed, back after 3 s", returned).await;
}

#[tokio::test]
async fn a_server_that_stays_away() {
    let mut drill = Drill::with(OwnServer::start().await, &["--database-connect-timeout=2s"]).await;
    drill.server.kill();
    while drill.health("/health/ready").await == 200 {}
    assert_eq!(drill.health("/health/live").await, 200);
    // Longer than any request waits.
    sleep(FAULT * 2).await;
    assert_eq!((drill.health("/health/ready").await, drill.health("/health/live").await), (503, 200));
    drill.server.start_again().await;
    let returned = Instant::now();
    drill.proxy.retarget(drill.server.port());
    while drill.health("/health/ready").await != 200 {}
    let name = "server away for 7 s, waited for 2 s (`DATABASE_CONNECT_TIMEOUT`)";
    drill.end(name, returned).await;
}

#[tokio::test]
async fn connections_that_are_cut() {
    let drill = Drill::start().await;
    for _ in 0..10 {
        drill.proxy.cut();
        sleep(Duration::from_millis(200)).await;
    }
    drill.proxy.cut();
    drill.end("all connections cut, 11 times in 2 s", Instant::now()).await;
}

#[tokio::test]
async fn a_server_that_ends_all_sessions() {
    let drill = Drill::start().await;
    for _ in 0..5 {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = 'todo-api' AND pid <> pg_backend_pid()";
        drill.server.sql(end).await;
        sleep(Duration::from_millis(200)).await;
    }
    drill
        .end("all sessions ended by the server, 5 times in 1 s (as when Neon suspends)", Instant::now())
        .await;
}

#[tokio::test]
async fn a_black_hole() {
    let drill = Drill::start().await;
    drill.proxy.black_hole(true);
    sleep(FAULT).await;
    drill.proxy.black_hole(false);
    drill.end("black hole for 3 s", Instant::now()).await;
}

#[tokio::test]
async fn connections_that_are_silent_for_ever() {
    let drill = Drill::start().await;
    let began = Instant::now();
    drill.proxy.lose_packets();
    drill.end("connections silent for ever, new ones work", began).await;
}

#[tokio::test]
async fn connections_that_are_acknowledged_and_never_answered() {
    let flags = ["--database-work-timeout=3s"];
    let drill = Drill::with(OwnServer::start().await, &flags).await;
    let began = Instant::now();
    drill.proxy.freeze();
    let name = "connections that acknowledge and never answer, waited for 3 s (`DATABASE_WORK_TIMEOUT`)";
    let report = drill.end(name, began).await;
    // The work's limit, and a second for a ping that is not answered either.
    assert!(report.slowest() < Duration::from_secs(6), "{:?}", report.slowest());
}

#[tokio::test]
async fn a_network_that_becomes_slow() {
    let drill = Drill::start().await;
    drill.proxy.delay(Duration::from_millis(100));
    sleep(FAULT).await;
    drill.proxy.delay(Duration::ZERO);
    drill.end("100 ms delay in each direction for 3 s", Instant::now()).await;
}

#[tokio::test]
async fn a_database_that_wakes_up_for_8_seconds() {
    let drill = Drill::start().await;
    let cold = Duration::from_secs(8);
    let began = Instant::now();
    drill.proxy.sleep_for(cold);
    sleep(cold).await;
    let report = drill.end("cold start of 8 s", began + cold).await;
    assert!(
        report.codes().get("SERVICE_UNAVAILABLE").is_none_or(|errors| *errors <= 8),
        "{:?}",
        report.codes()
    );
}

#[tokio::test]
async fn a_pool_that_is_exhausted() {
    let flags = ["--database-pool-size=2", "--database-pool-overflow=0", "--database-pool-timeout=500ms"];
    let drill = Drill::with(OwnServer::start().await, &flags).await;
    let hold = async || {
        let seconds = format!("SELECT pg_sleep({})", FAULT.as_secs());
        let held =
            drill.app.state.database.write(async |conn| diesel::sql_query(&seconds).execute(conn).await);
        held.await.unwrap();
    };
    tokio::join!(hold(), hold());
    let returned = Instant::now();
    drill.end("all connections in use for 3 s, waited for 0.5 s (`DATABASE_POOL_TIMEOUT`)", returned).await;
}

#[tokio::test]
async fn a_read_only_database() {
    let drill = Drill::start().await;
    let set = async |what: &str| {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'todo-api'
            AND pid <> pg_backend_pid()";
        drill.server.sql(&format!("ALTER DATABASE todo_api {what}; {end}")).await;
    };
    set("SET default_transaction_read_only = on").await;
    sleep(FAULT).await;
    let reset = "ALTER DATABASE todo_api RESET default_transaction_read_only";
    drill.server.sql(&format!("BEGIN READ WRITE; {reset}; COMMIT")).await;
    let returned = Instant::now();
    drill.end("read-only for 3 s", returned).await;
}

#[tokio::test]
async fn a_disk_that_is_full() {
    let drill = Drill::start().await;
    // The limit below holds for all files of the server, and WAL segments have 16 MiB: the table must be larger.
    let fill = "SET session_replication_role = replica;
        INSERT INTO todos (user_id, id, title, description)
        SELECT gen_random_uuid(), gen_random_uuid(), 'filler ' || n, repeat(md5(n::text), 10)
        FROM generate_series(1, 60000) n";
    drill.server.sql(fill).await;
    let owner = std::fs::metadata(drill.server.cluster()).unwrap();
    let limit = |bytes: &str| {
        // New sessions inherit the postmaster's limit.
        let script = format!(
            "prlimit --pid {0} --fsize={bytes}: || exit
             for pid in $(cat /proc/{0}/task/*/children); do prlimit --pid $pid --fsize={bytes}:; done; true",
            drill.server.process()
        );
        let mut command = Command::new("sh");
        if rustix::process::geteuid().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let output = command.args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    // The table can't grow any more, as on a full disk.
    limit(&(17 << 20).to_string());
    sleep(FAULT).await;
    limit("unlimited");
    drill.end("the table can't grow for 3 s (disk full)", Instant::now()).await;
}

#[tokio::test]
async fn a_pooler_that_is_killed() {
    let _turn = TURN.lock().await;
    let server = OwnServer::start().await;
    todo_api::db::migrations::run(&connector(&server.url())).await.unwrap();
    let pooling = Pooling { size: 3, ..Pooling::default() };
    let first = PgBouncer::start(&server.url(), pooling);
    let proxy = crate::support::Proxy::to(port_of(&first.url)).await;
    let direct = format!("--database-direct-url={}", server.url());
    let app = TestApp::on(&proxy.url(&first.url), &[&direct], TestDatabase::empty().await).await;
    let load = Load::start(&app).await;
    drop(first);
    sleep(FAULT).await;
    let second = PgBouncer::start(&server.url(), pooling);
    proxy.retarget(port_of(&second.url));
    let returned = Instant::now();
    let report = load.stop().await;
    judge(
        "PgBouncer (transaction mode, 3 connections) killed, back after 3 s",
        &server.url(),
        &report,
        returned,
    )
    .await;
    app.stop().await;
}

fn port_of(url: &str) -> u16 {
    let (_, after) = url.rsplit_once("127.0.0.1:").unwrap();
    after.split('/').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_replica_that_takes_over() {
    let server = OwnServer::start().await;
    let standby = Standby::of(&server, "").await;
    // Only commits that the replica has are acknowledged.
    server.sql("ALTER SYSTEM SET synchronous_standby_names = '*'").await;
    server.sql("SELECT pg_reload_conf()").await;
    let drill = Drill::with(server, &[]).await;
    drill.server.kill();
    sleep(FAULT).await;
    // It would wait for a standby of its own otherwise.
    standby.sql("ALTER SYSTEM SET synchronous_standby_names = ''").await;
    standby.sql("SELECT pg_promote()").await;
    drill.proxy.retarget(standby.port);
    let returned = Instant::now();
    let report = drill.load.stop().await;
    judge("primary killed, its replica takes over after 3 s", &standby.url, &report, returned).await;
    drill.app.stop().await;
}

#[tokio::test]
async fn a_migration_that_changes_a_column_under_load() {
    let drill = Drill::start().await;
    drill.server.sql("ALTER TABLE users ALTER COLUMN name TYPE varchar(300)").await;
    let returned = Instant::now();
    let report = drill.end("type of a column changed by a migration (cached plans)", returned).await;
    assert_eq!(report.codes().len(), 1, "{:?}", report.codes());
}

#[tokio::test]
async fn a_migration_that_changes_a_column_behind_a_pooler() {
    let _turn = TURN.lock().await;
    let (server, _pooler, app) = behind_a_pooler().await;
    let load = Load::start(&app).await;
    server.sql("ALTER TABLE users ALTER COLUMN name TYPE varchar(300)").await;
    let returned = Instant::now();
    let report = load.stop().await;
    judge("the same through PgBouncer, which shares prepared statements", &server.url(), &report, returned)
        .await;
    app.stop().await;
}

/// Starts a service that reaches a server of its own through PgBouncer.
async fn behind_a_pooler() -> (OwnServer, PgBouncer, TestApp) {
    let server = OwnServer::start().await;
    todo_api::db::migrations::run(&connector(&server.url())).await.unwrap();
    let pooler = PgBouncer::start(&server.url(), Pooling { size: 3, ..Pooling::default() });
    let direct = format!("--database-direct-url={}", server.url());
    let app = TestApp::on(&pooler.url, &[&direct], TestDatabase::empty().await).await;
    (server, pooler, app)
}

#[tokio::test]
async fn two_processes_that_migrate_at_once() {
    let _turn = TURN.lock().await;
    let database = TestDatabase::empty().await;
    let migrate = || {
        let mut command = Service::command();
        command.args(["migrate", "run"]).env("DATABASE_URL", &database.url);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let processes = [migrate(), migrate()];
    let ran: Vec<usize> = processes
        .map(|process| {
            let output = process.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().lines().filter(|line| line.starts_with("ran ")).count()
        })
        .into();
    let all = texts(&database.url, "SELECT version AS text FROM __diesel_schema_migrations").await.len();
    println!("\n| two processes migrate at once | {all} migrations | none | | | 0 | 0 |");
    assert!(ran == [0, all] || ran == [all, 0], "{ran:?}");
}

#[tokio::test]
async fn a_single_request_that_wakes_the_database_is_served() {
    let _turn = TURN.lock().await;
    let server = OwnServer::start().await;
    todo_api::db::migrations::run(&connector(&server.url())).await.unwrap();
    let proxy = crate::support::Proxy::to(server.port()).await;
    let app = TestApp::on(&proxy.url(&server.url()), &[], TestDatabase::empty().await).await;
    let token = app.register("ada@example.com").await.token();
    for _ in 0..2 {
        // After a pause the state of the database is unknown.
        proxy.sleep_for(FAULT);
        assert_eq!(app.me(&token).await.data("me")["email"], "ada@example.com");
    }
}

#[tokio::test]
async fn all_requests_to_a_silent_database_are_answered_within_the_limit() {
    let _turn = TURN.lock().await;
    let server = OwnServer::start().await;
    todo_api::db::migrations::run(&connector(&server.url())).await.unwrap();
    let proxy = crate::support::Proxy::to(server.port()).await;
    let flags = ["--database-connect-timeout=2s"];
    let app = TestApp::on(&proxy.url(&server.url()), &flags, TestDatabase::empty().await).await;
    let token = app.register("ada@example.com").await.token();
    proxy.sleep_for(Duration::from_mins(2));
    let began = Instant::now();
    let answers = futures_util::future::join_all((0..8).map(|_| app.me(&token))).await;
    for answer in answers {
        assert_eq!(answer.code(), "SERVICE_UNAVAILABLE");
    }
    // One shared timeout, not one after the other.
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}
