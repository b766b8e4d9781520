//! A killed server and silent connections.

use std::time::{Duration, Instant};

use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde_json::json;
use todo_api::db::Error;

use crate::support::{OwnServer, Owner, Proxy, TestApp, TestDatabase, connector, texts};

#[tokio::test]
async fn a_killed_server_is_service_unavailable_and_recovers_by_itself() {
    let mut server = OwnServer::start().await;
    let proxy = Proxy::to(server.port()).await;
    let url = proxy.url(&server.url());
    todo_api::db::migrations::run(&crate::support::connector(&url)).await.unwrap();
    let app = TestApp::on(&url, &["--database-connect-timeout=1s"], TestDatabase::empty().await).await;
    let token = app.register("ada@example.com").await.token();

    server.kill();
    // Backends notice the death of the postmaster a moment later.
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
async fn a_server_starts_again_though_a_backend_of_the_killed_one_is_still_busy() {
    let mut server = OwnServer::start().await;
    let mut busy = crate::support::connector(&server.url()).connect().await.unwrap();
    let mut other = crate::support::connector(&server.url()).connect().await.unwrap();
    // Computes for some seconds without noticing that the postmaster is gone.
    let statement = "DO $$ BEGIN FOR i IN 1..100000000 LOOP END LOOP; END $$";
    let work = tokio::spawn(async move {
        let _ = busy.batch_execute(statement).await;
    });
    let active = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'DO %'";
    while diesel::sql_query(active).execute(&mut other).await.unwrap() == 0 {}
    server.kill();
    assert!(!work.is_finished());
    server.start_again().await;
}

#[tokio::test]
async fn after_one_silent_connection_the_idle_ones_are_pinged_before_use() {
    let server = OwnServer::start().await;
    todo_api::db::migrations::run(&crate::support::connector(&server.url())).await.unwrap();
    let proxy = Proxy::to(server.port()).await;
    let url = proxy.url(&server.url());
    let app = TestApp::on(&url, &["--database-work-timeout=1s"], TestDatabase::empty().await).await;
    let ask = async || {
        app.state.database.write(async |conn| diesel::sql_query("SELECT 1").execute(conn).await).await
    };
    let (one, other) = tokio::join!(ask(), ask());
    one.and(other).unwrap();
    // Both connections are dead, but acknowledge what they get: only an answer could tell.
    proxy.freeze();
    assert!(matches!(ask().await, Err(Error::Unavailable(_))));
    assert!(ask().await.is_ok(), "a dead connection was handed out");
}

#[tokio::test]
async fn a_server_that_speaks_german_is_understood() {
    let server = OwnServer::start().await;
    server.sql("ALTER DATABASE todo_api SET lc_messages = 'de_DE.UTF-8'").await;
    todo_api::db::migrations::run(&connector(&server.url())).await.unwrap();
    let flags = ["--database-work-timeout=2s"];
    let app = TestApp::on(&server.url(), &flags, TestDatabase::empty().await).await;
    let database = &app.state.database;
    let ada = Owner::new(&app, "ada@example.com").await;
    let todo = ada.create("a").await;

    let unknown =
        async |conn: &mut AsyncPgConnection| diesel::sql_query("SELECT * FROM x").execute(conn).await;
    let message = database.write(unknown).await.unwrap_err().to_string();
    assert!(message.contains("existiert nicht"), "{message}");

    let end = async |conn: &mut AsyncPgConnection| {
        conn.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await
    };
    assert!(matches!(database.write(end).await, Err(Error::Lost(_))));
    let cancel = async |conn: &mut AsyncPgConnection| {
        conn.batch_execute("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)").await
    };
    let error = database.write(cancel).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    let slow = async |conn: &mut AsyncPgConnection| conn.batch_execute("SELECT pg_sleep(5)").await;
    let error = database.write(slow).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");

    let mut holder = connector(&server.url()).connect().await.unwrap();
    holder.batch_execute("BEGIN; SELECT FROM todos FOR UPDATE").await.unwrap();
    let answer = ada.call("completeTodo", json!({ "id": todo["id"] })).await;
    assert_eq!(answer.code(), "SERVICE_UNAVAILABLE");
    holder.batch_execute("COMMIT").await.unwrap();

    // Stale plans are prepared anew, on every connection.
    for length in [300, 301] {
        app.me(&ada.token).await.data("me");
        server.sql(&format!("ALTER TABLE users ALTER COLUMN name TYPE varchar({length})")).await;
        app.me(&ada.token).await.data("me");
    }
}

#[tokio::test]
async fn a_server_without_free_connections_is_waited_for() {
    let mut server = OwnServer::start().await;
    todo_api::db::migrations::run(&connector(&server.url())).await.unwrap();
    server.sql("ALTER SYSTEM SET max_connections = 10").await;
    server.sql("ALTER SYSTEM SET superuser_reserved_connections = 0").await;
    server.start_again().await;
    let app = TestApp::on(&server.url(), &[], TestDatabase::empty().await).await;
    let token = app.register("ada@example.com").await.token();
    let mut others = Vec::new();
    while let Ok(other) = connector(&server.url()).connect().await {
        others.push(other);
    }
    let ready = async || app.http.get(app.url("/health/ready")).send().await.unwrap().status().as_u16();
    let requests = async {
        for answer in futures_util::future::join_all((0..40).map(|_| app.me(&token))).await {
            answer.data("me");
        }
    };
    let looks = async {
        for _ in 0..20 {
            assert_eq!(ready().await, 200);
        }
    };
    tokio::join!(requests, looks);
    assert_eq!(ready().await, 200);
    drop(others);
    app.me(&token).await.data("me");
}

#[tokio::test]
async fn connections_lost_in_silence_are_given_up_together() {
    const CONNECTIONS: usize = 6;
    let server = OwnServer::start().await;
    let proxy = Proxy::to(server.port()).await;
    let app = TestApp::on(&proxy.url(&server.url()), &[], TestDatabase::empty().await).await;
    let run = async |database: todo_api::db::Database, statement: &'static str| {
        database.write(async |conn| conn.batch_execute(statement).await).await
    };
    let database = || app.state.database.clone();
    let open = (0..CONNECTIONS).map(|_| run(database(), "SELECT pg_sleep(0.3)"));
    for opened in futures_util::future::join_all(open).await {
        opened.unwrap();
    }
    assert_eq!(app.state.database.status().available, CONNECTIONS);
    proxy.lose_packets();
    let began = Instant::now();
    // One after the other, each on a silent connection of its own.
    let requests = (0..CONNECTIONS).map(async |n| {
        tokio::time::sleep(Duration::from_millis(600) * u32::try_from(n).unwrap()).await;
        let result = run(database(), "SELECT 1").await;
        assert!(matches!(result, Err(Error::Lost(_))), "{result:?}");
        began.elapsed()
    });
    let ends = futures_util::future::join_all(requests).await;
    let first = ends.iter().min().unwrap();
    let last = ends.iter().max().unwrap();
    assert!(*last < Duration::from_secs(7), "{ends:?}");
    assert!(last.saturating_sub(*first) < Duration::from_secs(1), "{ends:?}");
    assert_eq!(app.state.database.status().available, 0);
}

#[tokio::test]
async fn a_listening_connection_that_is_given_up_does_not_wait_for_its_statement() {
    let database = TestDatabase::empty().await;
    let mut listening = database.connector().connect_to_listen().await.unwrap();
    // The server looks whether its client is still there.
    listening.connection.batch_execute("SET client_connection_check_interval = '100ms'").await.unwrap();
    let sleep = listening.connection.batch_execute("SELECT pg_sleep(30)");
    tokio::time::timeout(Duration::from_millis(200), sleep).await.unwrap_err();
    drop(listening);
    let sleeping = "SELECT count(*)::text AS text FROM pg_stat_activity
        WHERE datname = current_database() AND query = 'SELECT pg_sleep(30)'";
    let began = Instant::now();
    while texts(&database.url, sleeping).await != ["0"] {
        assert!(began.elapsed() < Duration::from_secs(5), "still connected");
    }
}
