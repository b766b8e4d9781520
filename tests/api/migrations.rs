//! Migrations go up, down and up again, one process at a time.

use std::process::Command;

use diesel_async::SimpleAsyncConnection;
use todo_api::db::migrations;
use tokio::task::JoinSet;

use crate::support::{Service, TestApp, TestDatabase, program};

/// The schema and the rows as `pg_dump` writes them.
fn dump(database: &TestDatabase) -> String {
    let output =
        Command::new(program("pg_dump")).args(["--no-owner", "--dbname", &database.url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // Newer versions of pg_dump write a random key that means nothing.
    text.lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn each_migration_goes_up_down_and_up_on_filled_tables() {
    let app = TestApp::start().await;
    for n in 0..3 {
        app.register(&format!("user{n}@example.com")).await.data("register");
    }
    let connector = app.database.connector();
    let all = migrations::status(&connector).await.unwrap();
    assert!(all.len() >= 3 && all.iter().all(|migration| migration.applied));

    // The tables as they are with the first n migrations, on the way down and up again.
    let mut expected = vec![schema_of(&dump(&app.database))];
    for migration in all.iter().rev() {
        assert_eq!(&migrations::revert(&connector).await.unwrap(), &migration.name);
        expected.push(schema_of(&dump(&app.database)));
    }
    let names: Vec<_> = all.iter().map(|migration| migration.name.clone()).collect();
    assert_eq!(migrations::run(&connector).await.unwrap(), names);
    assert_eq!(schema_of(&dump(&app.database)), expected[0]);
    for expected in &expected[1..] {
        migrations::revert(&connector).await.unwrap();
        assert_eq!(&schema_of(&dump(&app.database)), expected);
    }
}

/// The part of a dump that says how tables are made, without their rows.
fn schema_of(dump: &str) -> String {
    let mut inside = false;
    let keep = |line: &&str| {
        inside |= line.starts_with("COPY ");
        let keep = !inside;
        inside &= *line != "\\.";
        keep
    };
    dump.lines().filter(keep).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn redo_leaves_the_tables_before_it_as_they_were() {
    // Without what is in the last table.
    let app = TestApp::with(&["--rate-limits=off"]).await;
    app.register("ada@example.com").await.data("register");
    app.database.sql("DELETE FROM sessions").await;
    let run_on = "UPDATE __diesel_schema_migrations SET run_on = '2026-01-01'";
    app.database.sql(run_on).await;
    let before = dump(&app.database);
    migrations::redo(&app.database.connector()).await.unwrap();
    app.database.sql(run_on).await;
    assert_eq!(dump(&app.database), before);
}

#[tokio::test]
async fn processes_that_start_together_take_turns() {
    let database = TestDatabase::empty().await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let connector = database.connector();
        tasks.spawn(async move { migrations::run(&connector).await.unwrap().len() });
    }
    let mut ran = tasks.join_all().await;
    ran.sort_unstable();
    let all = migrations::status(&database.connector()).await.unwrap().len();
    assert_eq!(ran, [0, 0, 0, 0, 0, 0, 0, all]);
}

#[tokio::test]
async fn the_trigger_keeps_updated_at() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await.data("register");
    let mut conn = app.database.connect().await;
    conn.batch_execute("UPDATE users SET name = name").await.unwrap();
    conn.batch_execute("DO $$ BEGIN ASSERT (SELECT updated_at = created_at FROM users); END $$")
        .await
        .unwrap();
    conn.batch_execute("UPDATE users SET name = 'Other'").await.unwrap();
    conn.batch_execute("DO $$ BEGIN ASSERT (SELECT updated_at > created_at FROM users); END $$")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_start_refuses_a_database_that_lacks_a_migration_and_says_what_to_type() {
    let database = TestDatabase::empty().await;
    let command = || {
        let mut command = Service::command();
        command
            .env("DATABASE_URL", &database.url)
            .env("JWT_SECRET", "x".repeat(32))
            .env("APP_ENV", "production");
        command
    };
    let output = Service::run(&mut command());
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("todo-api migrate run") && message.contains("create_users"), "{message}");

    let service = Service::start_command(command().env("MIGRATE_ON_START", "true"));
    assert_eq!(service.ask("{ me { id } }").await["data"]["me"], serde_json::Value::Null);
    service.stop();
    Service::start_command(&mut command()).stop();
}

#[tokio::test]
async fn the_command_line_runs_lists_redoes_and_reverts() {
    let database = TestDatabase::empty().await;
    let migrate = |action: &str| {
        let output =
            Service::run(Service::command().args(["migrate", action]).env("DATABASE_URL", &database.url));
        assert!(output.status.success(), "{action}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(migrate("status").lines().all(|line| line.starts_with("pending  ")));
    assert!(migrate("run").contains("ran 2026-11-23-090000_create_users"));
    assert_eq!(migrate("run"), "nothing is pending\n");
    assert!(migrate("redo").starts_with("reverted and ran "));
    assert!(migrate("revert").starts_with("reverted "));
    assert_eq!(migrate("status").lines().filter(|line| line.starts_with("pending  ")).count(), 1);
}
