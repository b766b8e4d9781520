//! A killed server and silent connections.

use std::time::{Duration, Instant};

use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use todo_api::db::Error;

use crate::support::{OwnServer, Proxy, TestApp, TestDatabase};

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
