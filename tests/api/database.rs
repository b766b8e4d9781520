//! The pool and the classification of errors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde_json::Value;
use todo_api::db::Error;
use tokio::sync::Semaphore;

use crate::support::{Answer, TestApp, rows};

const SLEEP: &str = "SELECT pg_sleep(30)";

#[tokio::test]
async fn an_exhausted_pool_is_service_unavailable_and_recovers() {
    let flags = ["--database-pool-size=1", "--database-pool-overflow=1", "--database-pool-timeout=100ms"];
    let app = TestApp::with(&flags).await;
    let token = app.register("ada@example.com").await.token();

    let release = Arc::new(Semaphore::new(0));
    let hold = || {
        let database = app.state.database.clone();
        let release = Arc::clone(&release);
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
async fn a_read_whose_client_disconnects_keeps_its_connection() {
    let app = TestApp::with(&["--database-pool-size=1", "--database-pool-overflow=0"]).await;
    let backend_pid = async || {
        let read = async |conn: &mut AsyncPgConnection| {
            let pid = diesel::dsl::sql::<diesel::sql_types::Integer>("pg_backend_pid()");
            diesel::select(pid).get_result::<i32>(conn).await
        };
        app.state.database.read(read).await.unwrap()
    };
    let before = backend_pid().await;
    let database = app.state.database.clone();
    let reading = tokio::spawn(async move {
        let sleep = async |conn: &mut AsyncPgConnection| {
            diesel::sql_query("SELECT pg_sleep(0.3)").execute(conn).await
        };
        database.read(sleep).await
    });
    let asleep = "SELECT pid::text AS text FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event = 'PgSleep'";
    while rows(&app, asleep).await.is_empty() {}
    reading.abort();
    assert_eq!(backend_pid().await, before);
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

/// Queries until the pool has noticed that its connections were closed.
async fn wait_for_end_of_outage(app: &TestApp, token: &str) -> Answer {
    loop {
        let answer = app.me(token).await;
        if answer.body.get("errors").is_none() || answer.code() != "SERVICE_UNAVAILABLE" {
            return answer;
        }
    }
}

#[tokio::test]
async fn work_that_times_out_is_cancelled_and_its_connection_closed() {
    let app = TestApp::with(&["--database-work-timeout=200ms"]).await;
    let result = app.state.database.write(async |conn| diesel::sql_query(SLEEP).execute(conn).await).await;
    assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
    wait_until_closed(&app).await;
    assert_eq!(app.ask("{ me { id } }", Value::Null).await.data("me"), &Value::Null);
}

#[tokio::test]
async fn the_connection_of_a_cancelled_caller_is_closed() {
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
    wait_until_closed(&app).await;
}

/// Waits until the pool has no connection; one that is being cancelled keeps its place.
async fn wait_until_closed(app: &TestApp) {
    let began = Instant::now();
    while app.state.database.status().size > 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "the connection was not closed");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn sessions_end_with_a_word_to_the_server() {
    let app = TestApp::with(&["--database-work-timeout=200ms"]).await;
    app.register("ada@example.com").await.data("register");
    // One is cancelled, others are closed with the pool.
    let sleep = app.state.database.write(async |conn| diesel::sql_query(SLEEP).execute(conn).await);
    sleep.await.unwrap_err();
    app.state.database.close();
    let ended = "SELECT sessions_abandoned || ' of ' || sessions AS text FROM pg_stat_database
        WHERE datname = current_database() AND NOT EXISTS (SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'todo-api' AND pid <> pg_backend_pid())";
    loop {
        let ended = rows(&app, ended).await;
        if let [text] = &ended[..] {
            assert!(text.starts_with("0 of "), "{text}");
            break;
        }
    }
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
async fn retired_and_idle_connections_are_replaced() {
    let app = TestApp::with(&["--database-connection-lifetime=1s"]).await;
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
async fn the_pool_has_15_connections_at_most_by_default() {
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
        matches!(run(insert).await, Error::UniqueViolation { constraint, .. } if constraint == "idx_user_email")
    );
    let insert = "INSERT INTO users (email, hashed_password, name) VALUES (' ada@example.com', 'x', 'x')";
    assert!(
        matches!(run(insert).await, Error::CheckViolation { constraint } if constraint == "users_email_normalised")
    );
    let raise = async |code: &str| {
        let sql = format!("DO $$ BEGIN RAISE EXCEPTION 'Alles kaputt' USING ERRCODE = '{code}'; END $$");
        let work = async |conn: &mut AsyncPgConnection| diesel::sql_query(&sql).execute(conn).await;
        app.state.database.write(work).await.unwrap_err()
    };
    for code in ["53100", "53200", "53300", "55P03", "57014", "57P03", "58030"] {
        let error = raise(code).await;
        assert!(matches!(error, Error::Unavailable(_)), "{code}: {error:?}");
    }
    for code in ["25006", "26000", "40001", "40P01", "42P05"] {
        let error = raise(code).await;
        assert!(matches!(error, Error::Refused(_)), "{code}: {error:?}");
    }
    for code in ["08006", "57P01", "57P02", "57P05"] {
        let error = raise(code).await;
        assert!(matches!(error, Error::Lost(_)), "{code}: {error:?}");
    }
    for code in ["0A000", "22012", "P0001", "XX000"] {
        let error = raise(code).await;
        assert!(matches!(error, Error::Query(_)), "{code}: {error:?}");
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
