//! Queries of an idle service.

use serde_json::Value;

use crate::support::{OwnServer, TestApp, TestDatabase, connector};

#[tokio::test]
async fn an_idle_service_sends_the_database_nothing() {
    let server = OwnServer::start().await;
    for setting in ["log_statement = 'all'", "log_line_prefix = '%a '"] {
        server.sql(&format!("ALTER SYSTEM SET {setting}")).await;
    }
    todo_api::db::migrations::run(&connector(&server.url())).await.unwrap();
    let app = TestApp::on(&server.url(), &[], TestDatabase::empty().await).await;
    let token = app.register("ada@example.com").await.token();
    server.sql("SELECT pg_reload_conf()").await;
    app.me(&token).await.data("me");
    let log = || std::fs::read_to_string(server.dir.path().join("postgres.log")).unwrap();
    // Housekeeping runs some seconds after the request and deletes events last.
    while !log().rsplit_once("DELETE FROM todo_events").is_some_and(|(_, rest)| rest.contains("COMMIT")) {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let before = log();
    // The absence of queries can only be observed over time.
    for _ in 0..20 {
        for path in ["/health/live", "/health/ready", "/metrics"] {
            assert_eq!(app.http.get(app.url(path)).send().await.unwrap().status(), 200, "{path}");
        }
        app.ask("{ __typename }", Value::Null).await.data("__typename");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(log(), before);
}

#[tokio::test]
async fn a_service_that_stops_sends_the_database_nothing() {
    let server = OwnServer::start().await;
    for setting in ["log_statement = 'all'", "log_connections = on", "log_line_prefix = '%a '"] {
        server.sql(&format!("ALTER SYSTEM SET {setting}")).await;
    }
    todo_api::db::migrations::run(&connector(&server.url())).await.unwrap();
    let app = TestApp::on(&server.url(), &[], TestDatabase::empty().await).await;
    let token = app.register("ada@example.com").await.token();
    server.sql("SELECT pg_reload_conf()").await;
    // The time of this request is not stored yet.
    app.me(&token).await.data("me");
    let log = || std::fs::read_to_string(server.dir.path().join("postgres.log")).unwrap();
    let before = log();
    app.stop().await;
    assert_eq!(log(), before);
}
