//! The pool, and the database going away and coming back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use serde_json::Value;
use todo_api::db::Error;
use tokio::sync::Semaphore;

use crate::support::{Answer, OwnServer, Proxy, TestApp, TestDatabase};

const SLEEP: &str = "SELECT pg_sleep(30)";

#[tokio::test]
async fn an_exhausted_pool_is_service_unavailable_and_recovers() {
    let flags = ["--database-pool-size=1", "--database-pool-overflow=1", "--database-pool-timeout=100ms"];
    let app = TestApp::with(&flags).await;
    let token = app.register("ada@example.com").await.token();

    let release = Arc::new(Semaphore::new(0));
    let hold = || {
        let (database, release) = (app.state.database.clone(), Arc::clone(&release));
        tokio::spawn(async move {
            let work = database.write(async |_| {
                let _ = release.acquire().await;
                Ok(())
            });
            work.await
        })
    };
    let tasks = [hold(), hold()];
    while app.state.database.status().available > 0 || app.state.database.status().size < 2 {
        tokio::task::yield_now().await;
    }
    let answer = app.me(&token).await;
    assert_eq!(answer.code(), "SERVICE_UNAVAILABLE");
    assert!(answer.error()["extensions"]["retryAfter"].as_u64().unwrap() >= 1);

    release.add_permits(2);
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(app.me(&token).await.data("me")["name"], "Ada Lovelace");
}

#[tokio::test]
async fn a_killed_server_is_service_unavailable_and_recovers_by_itself() {
    let mut server = OwnServer::start().await;
    let proxy = Proxy::to(server.port()).await;
    let url = proxy.url(&server.url());
    todo_api::db::migrations::run(&crate::support::connector(&url)).await.unwrap();
    let app = TestApp::on(&url, &["--database-connect-timeout=1s"], TestDatabase::empty().await).await;
    let token = app.register("ada@example.com").await.token();

    server.kill();
    // The server's children notice the death of their parent a moment later.
    while app.me(&token).await.body.get("errors").is_none() {}
    for _ in 0..5 {
        let began = Instant::now();
        let answer = app.me(&token).await;
        assert_eq!(answer.code(), "SERVICE_UNAVAILABLE");
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(!answer.body.to_string().to_lowercase().contains("postgres"), "{:#}", answer.body);
    }
    let health = async |path| app.http.get(app.url(path)).send().await.unwrap().status().as_u16();
    assert_eq!((health("/health/live").await, health("/health/ready").await), (200, 503));

    server.start_again().await;
    proxy.retarget(server.port());
    assert_eq!(app.me(&token).await.data("me")["name"], "Ada Lovelace");
    assert_eq!(health("/health/ready").await, 200);
}

#[tokio::test]
async fn connections_that_the_server_ended_are_not_handed_out() {
    let app = TestApp::start().await;
    let token = app.register("ada@example.com").await.token();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for _ in 0..3 {
        app.database.sql(end).await;
        let answer = wait_for_end_of_outage(&app, &token).await;
        assert_eq!(answer.data("me")["name"], "Ada Lovelace");
    }
}

/// The pool learns of the end of a connection when the news has arrived, not before.
async fn wait_for_end_of_outage(app: &TestApp, token: &str) -> Answer {
    loop {
        let answer = app.me(token).await;
        if answer.body.get("errors").is_none() || answer.code() != "SERVICE_UNAVAILABLE" {
            return answer;
        }
    }
}

#[tokio::test]
async fn work_beyond_its_limit_is_ended_and_its_connection_closed() {
    let app = TestApp::with(&["--database-work-timeout=200ms"]).await;
    let result = app.state.database.write(async |conn| diesel::sql_query(SLEEP).execute(conn).await).await;
    assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
    assert_eq!(app.state.database.status().size, 0);
    assert_eq!(app.ask("{ me { id } }", Value::Null).await.data("me"), &Value::Null);
}

#[tokio::test]
async fn the_connection_of_a_caller_that_went_away_is_closed() {
    let app = TestApp::start().await;
    let database = app.state.database.clone();
    let caller = tokio::spawn(async move {
        database.write(async |conn| conn.batch_execute(&format!("BEGIN; {SLEEP}; COMMIT")).await).await
    });
    while app.state.database.status().size == 0 {
        tokio::task::yield_now().await;
    }
    caller.abort();
    let _ = caller.await;
    assert_eq!(app.state.database.status().size, 0);
}

#[tokio::test]
async fn a_failed_statement_keeps_its_connection() {
    let app = TestApp::start().await;
    let result =
        app.state.database.write(async |conn| diesel::sql_query("SELECT 1/0").execute(conn).await).await;
    assert!(matches!(result, Err(Error::Query(_))), "{result:?}");
    let status = app.state.database.status();
    assert_eq!((status.size, status.available), (1, 1));
}

#[tokio::test]
async fn a_connection_is_tested_before_use_if_it_has_idled_and_only_then() {
    let server = OwnServer::start().await;
    todo_api::db::migrations::run(&crate::support::connector(&server.url())).await.unwrap();
    for (check_after, answers) in [("0s", true), ("1h", false)] {
        let proxy = Proxy::to(server.port()).await;
        let url = proxy.url(&server.url());
        let check_after = format!("--database-check-after={check_after}");
        let flags = [&check_after, "--database-check-timeout=300ms", "--database-work-timeout=1s"];
        let app = TestApp::on(&url, &flags, TestDatabase::empty().await).await;
        let ask = async || {
            app.state.database.write(async |conn| diesel::sql_query("SELECT 1").execute(conn).await).await
        };
        ask().await.unwrap();
        // The connection is dead, but nobody has said so: only a test of it can tell.
        proxy.freeze();
        assert_eq!(ask().await.is_ok(), answers, "{check_after}");
        assert!(ask().await.is_ok(), "a dead connection was handed out twice");
    }
}

#[tokio::test]
async fn retired_and_idle_connections_are_replaced() {
    let app = TestApp::with(&["--database-connection-lifetime=1s", "--database-check-after=0s"]).await;
    let process = async || {
        let query = "SELECT pg_backend_pid()::bigint AS count";
        app.state
            .database
            .write(async |conn| diesel::sql_query(query).get_result::<Count>(conn).await)
            .await
            .unwrap()
            .count
    };
    let first = process().await;
    let began = Instant::now();
    while process().await == first {
        assert!(began.elapsed() < Duration::from_secs(10), "the connection was never retired");
    }
    assert!(began.elapsed() > Duration::from_millis(500));
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    count: i64,
}

#[tokio::test]
async fn the_pool_has_5_kept_and_10_more_connections_at_most() {
    let app = TestApp::start().await;
    let status = app.state.database.status();
    assert_eq!((status.max_size, status.size, status.waiting), (15, 0, 0));
}

#[tokio::test]
async fn errors_of_the_server_are_classified() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await.data("register");
    let run = async |sql: &'static str| {
        app.state
            .database
            .write(async move |conn| diesel::sql_query(sql).execute(conn).await)
            .await
            .unwrap_err()
    };
    let insert = "INSERT INTO users (email, hashed_password, name) VALUES ('ADA@example.com', 'x', 'x')";
    assert!(
        matches!(run(insert).await, Error::UniqueViolation { constraint } if constraint == "idx_user_email")
    );
    let insert = "INSERT INTO users (email, hashed_password, name) VALUES (' ada@example.com', 'x', 'x')";
    assert!(
        matches!(run(insert).await, Error::CheckViolation { constraint } if constraint == "users_email_normalised")
    );
    for sql in [
        "DO $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device'; END $$",
        "DO $$ BEGIN RAISE EXCEPTION 'canceling statement due to lock timeout'; END $$",
    ] {
        let error = run(sql).await;
        assert!(matches!(error, Error::Unavailable(_)), "{sql}: {error:?}");
    }
    for sql in [
        "DO $$ BEGIN RAISE read_only_sql_transaction; END $$",
        "DO $$ BEGIN RAISE serialization_failure; END $$",
        "DO $$ BEGIN RAISE EXCEPTION 'deadlock detected'; END $$",
        "DO $$ BEGIN RAISE EXCEPTION 'prepared statement \"s7\" does not exist'; END $$",
    ] {
        let error = run(sql).await;
        assert!(matches!(error, Error::Refused(_)), "{sql}: {error:?}");
    }
    let error = run("SELECT pg_terminate_backend(pg_backend_pid())").await;
    assert!(matches!(error, Error::Lost(_)), "{error:?}");
    let error = run("SELECT * FROM nothing").await;
    assert!(matches!(error, Error::Query(_)), "{error:?}");
    let cut_short = app.state.database.write(async |conn| {
        conn.batch_execute("SET statement_timeout = 10").await?;
        conn.batch_execute(SLEEP).await
    });
    assert!(matches!(cut_short.await, Err(Error::Unavailable(_))));
}
