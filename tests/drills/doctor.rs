//! `todo-api doctor` on URLs that lead through PgBouncer or to a standby.

use crate::support::{
    Login, OwnServer, Page, PgBouncer, Pooling, RefusingProxy, Service, Standby, TestDatabase, Version,
    connector,
};

#[tokio::test]
async fn a_pooler_is_recognised_with_the_direct_route_past_it() {
    let database = TestDatabase::new().await;
    let pgbouncer = PgBouncer::start(&database.url, Pooling::default());
    let page = Page::of(&pgbouncer.url, &[]);
    page.assert(1, "warning", "pooler", &["transaction mode", "DATABASE_DIRECT_URL"]);
    page.finding("ok", "prepared statements");

    let mut command = Service::command();
    command.env("DATABASE_URL", &pgbouncer.url).env("DATABASE_DIRECT_URL", &database.url).arg("doctor");
    let page = Page::from(&Service::run(&mut command), &database.url);
    page.assert(0, "ok", "pooler", &["transaction mode", "bypasses it"]);
    page.finding("ok", "direct");

    let other = TestDatabase::new().await;
    command.env("DATABASE_DIRECT_URL", &other.url);
    let page = Page::from(&Service::run(&mut command), &database.url);
    page.assert(2, "error", "direct", &["another database"]);
    let twice = PgBouncer::start(&database.url, Pooling::default());
    command.env("DATABASE_DIRECT_URL", &twice.url);
    let page = Page::from(&Service::run(&mut command), &database.url);
    page.assert(1, "warning", "direct", &["through a pooler, too", "PostgreSQL itself"]);

    let url = pgbouncer.url.replace("sslmode=disable", "channel_binding=require");
    Page::of(&url, &[]).assert(
        2,
        "error",
        "connection",
        &["channel binding", "remove channel_binding=require"],
    );
    let url = format!("{}&options=-c%20statement_timeout%3D5s", pgbouncer.url);
    Page::of(&url, &[]).assert(2, "error", "connection", &["unsupported startup parameter", "ALTER ROLE"]);
}

#[tokio::test]
async fn a_pooler_that_loses_prepared_statements_is_an_error() {
    let database = TestDatabase::new().await;
    let pgbouncer = PgBouncer::start(&database.url, Pooling { version: Version::Old, ..Pooling::default() });
    let page = Page::of(&pgbouncer.url, &[]);
    page.assert(2, "error", "prepared statements", &["lost", "1.21", "max_prepared_statements"]);
}

#[tokio::test]
async fn a_standby_is_refused_by_the_start_and_by_doctor() {
    let primary = OwnServer::start().await;
    todo_api::db::migrations::run(&connector(&primary.url())).await.unwrap();
    let standby = Standby::of(&primary, "").await;
    let page = Page::of(&standby.url, &[]);
    page.assert(2, "error", "writes", &["is a standby", "URL of the primary", "DATABASE_REPLICA_URLS"]);
    page.finding("ok", "migrations");
    let dir = tempfile::TempDir::new().unwrap();
    for arguments in [&[][..], &["--migrate-on-start", "true"], &["migrate", "run"], &["migrate", "revert"]] {
        let mut command = Service::command();
        command.env("TODO_DATA_DIR", dir.path()).env("DATABASE_URL", &standby.url).args(arguments);
        let output = Service::run(&mut command);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("the server is a standby") && message.contains("fix: "), "{message}");
    }
    standby.sql("SELECT pg_promote()").await;
    let mut command = Service::command();
    command.env("TODO_DATA_DIR", dir.path()).env("DATABASE_URL", &standby.url);
    Service::start_command(&mut command).stop();
}

#[tokio::test]
async fn a_pooled_host_that_never_answers_is_told_from_the_direct_one() {
    let database = TestDatabase::new().await;
    let proxy = RefusingProxy::start(Vec::new(), Login::Ignore);
    let pooled = format!(
        "postgres://u:hunter2@ep-x-pooler.c-2.aws.neon.tech:{}/db?hostaddr=127.0.0.1&sslmode=disable&channel_binding=require",
        proxy.address.port()
    );
    let mut command = Service::command();
    command.env("DATABASE_URL", &pooled).env("DATABASE_DIRECT_URL", &database.url).arg("doctor");
    command.env("DATABASE_CONNECT_TIMEOUT", "2s");
    let began = std::time::Instant::now();
    let page = Page::from(&Service::run(&mut command), &pooled);
    page.assert(
        2,
        "error",
        "connection",
        &["timed out", "the direct URL answers", "neondatabase/neon#12897"],
    );
    assert!((20..40).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}
