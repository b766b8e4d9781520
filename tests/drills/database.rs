//! A killed server and silent connections.

use std::time::{Duration, Instant};

use diesel_async::RunQueryDsl;

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
        // The connection is dead without having been closed: only a check can tell.
        proxy.freeze();
        assert_eq!(ask().await.is_ok(), answers, "{check_after}");
        assert!(ask().await.is_ok(), "a dead connection was handed out twice");
    }
}
