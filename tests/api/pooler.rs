//! Through PgBouncer in transaction mode, with prepared statements and without.

use todo_api::db::pooler::{Failure, Route, probe};

use crate::support::{PgBouncer, Pooling, Service, TestDatabase, Version, connector};

/// All ways in which a pooler loses prepared statements, with several connections to the server and with one.
fn losing() -> [Pooling; 4] {
    let old = Pooling { version: Version::Old, ..Pooling::default() };
    let off = Pooling { prepared_statements: 0, ..Pooling::default() };
    [old, Pooling { size: 1, ..old }, off, Pooling { size: 1, ..off }]
}

#[tokio::test]
async fn a_route_is_told_by_how_it_behaves() {
    let database = TestDatabase::new().await;
    assert_eq!(probe(&database.connector()).await.unwrap(), Route::Direct);
    for size in [1, 2, 3] {
        let pgbouncer = PgBouncer::start(&database.url, Pooling { size, ..Pooling::default() });
        assert_eq!(probe(&connector(&pgbouncer.url)).await.unwrap(), Route::Pooled, "{size}");
    }
}

#[tokio::test]
async fn a_pooler_that_loses_prepared_statements_is_recognised() {
    let database = TestDatabase::new().await;
    for pooling in losing() {
        let pgbouncer = PgBouncer::start(&database.url, pooling);
        let route = probe(&connector(&pgbouncer.url)).await;
        assert!(matches!(route, Err(Failure::LosesStatements)), "{pooling:?}: {route:?}");
    }
}

#[tokio::test]
async fn a_start_through_such_a_pooler_is_refused_with_what_to_do() {
    let database = TestDatabase::new().await;
    for pooling in losing() {
        let pgbouncer = PgBouncer::start(&database.url, pooling);
        let dir = tempfile::TempDir::new().unwrap();
        let mut command = Service::command();
        command.env("TODO_DATA_DIR", dir.path()).env("DATABASE_URL", &pgbouncer.url);
        let output = Service::run(&mut command);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{pooling:?}: {message}");
        assert!(message.contains("1.21") && message.contains("max_prepared_statements"), "{message}");
    }
}
