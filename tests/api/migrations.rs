//! Migrations go up, down and up again, one process at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;

use diesel_async::SimpleAsyncConnection;
use reqwest::header::{AUTHORIZATION, HeaderMap, USER_AGENT};
use serde_json::{Map, Value, json};
use todo_api::db::migrations;
use tokio::task::JoinSet;

use crate::support::{Owner, PASSWORD, Service, TestApp, TestDatabase, program, texts};

type Row = Map<String, Value>;

/// Data that does not come back when a migration is reverted and run again.
enum Loss {
    Table,
    Columns(&'static [&'static str]),
    Rows(fn(&Row) -> bool),
}

/// Losses by design: a migration, a table, and what it loses.
const LOSSES: [(&str, &str, Loss); 13] = [
    ("create_users", "users", Loss::Table),
    ("create_sessions", "sessions", Loss::Table),
    // The reverted schema has room for one token of a session, and none for where it was used.
    ("create_refresh_tokens", "refresh_tokens", Loss::Rows(|row| !row["used_at"].is_null())),
    ("create_refresh_tokens", "refresh_tokens", Loss::Columns(&["created_at"])),
    ("create_refresh_tokens", "sessions", Loss::Columns(&["last_seen_at", "user_agent", "ip_address"])),
    ("create_revoked_sessions", "revoked_sessions", Loss::Table),
    ("create_security_events", "security_events", Loss::Table),
    ("create_throttle_buckets", "throttle_buckets", Loss::Table),
    ("create_todos", "todos", Loss::Table),
    ("create_todo_events", "todo_events", Loss::Table),
    ("create_todo_events", "todo_event_counters", Loss::Table),
    ("create_write_positions", "write_positions", Loss::Table),
    ("link_reverting_events", "todo_events", Loss::Columns(&["reverts"])),
];

/// The schema as `pg_dump` writes it, which comes with every PostgreSQL.
fn schema(database: &TestDatabase) -> String {
    let mut dump = Command::new(program("pg_dump"));
    let output = dump.args(["--schema-only", "--no-owner", "--dbname", &database.url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // Newer versions of pg_dump write a random key that means nothing.
    text.lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A table's columns and rows.
#[derive(Clone, Default)]
struct Table {
    columns: BTreeSet<String>,
    rows: Vec<Row>,
}

/// Reads all tables that the catalogue lists.
async fn read_tables(url: &str) -> BTreeMap<String, Table> {
    let catalogue = "SELECT table_name || ' ' || column_name AS text FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name <> '__diesel_schema_migrations'";
    let mut tables = BTreeMap::<String, Table>::new();
    for text in texts(url, catalogue).await {
        let (table, column) = text.split_once(' ').unwrap();
        tables.entry(table.to_owned()).or_default().columns.insert(column.to_owned());
    }
    for (name, table) in &mut tables {
        let rows = texts(url, &format!("SELECT to_jsonb({name})::text AS text FROM {name}")).await;
        table.rows = rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    }
    tables
}

impl Table {
    /// Returns some columns of the rows, in an order that does not depend on how they are stored.
    fn project(&self, columns: &BTreeSet<String>) -> Vec<String> {
        let cell = |row: &Row, column: &String| format!("{column}: {}", row[column]);
        let row = |row| columns.iter().map(|column| cell(row, column)).collect::<Vec<_>>().join(", ");
        let mut rows: Vec<_> = self.rows.iter().map(row).collect();
        rows.sort();
        rows
    }

    fn without(mut self, loss: &Loss) -> Self {
        match loss {
            Loss::Table => self.rows.clear(),
            Loss::Columns(named) => self.columns.retain(|column| !named.contains(&column.as_str())),
            Loss::Rows(matches) => self.rows.retain(|row| !matches(row)),
        }
        self
    }
}

/// Uses the service until every table has rows, and fills in what takes replicas or time.
async fn fill(app: &TestApp) {
    for n in 0..3 {
        app.register(&format!("user{n}@example.com")).await.data("register");
    }
    app.login("nobody@example.com", PASSWORD).await.code();
    let ada = Owner::new(app, "ada@example.com").await;
    let todo = json!({ "id": uuid::Uuid::new_v4(), "title": "a", "description": "b", "priority": "HIGH",
        "dueAt": "2030-01-01T00:00:00Z", "tags": ["c"] });
    let todo = ada.todo("createTodo", todo).await;
    ada.todo("updateTodo", json!({ "id": todo["id"], "title": "d" })).await;
    ada.todo("completeTodo", json!({ "id": todo["id"] })).await;
    ada.todo("undo", json!({ "eventId": ada.last_event(&todo["id"]).await })).await;
    ada.todo("completeTodo", json!({ "id": todo["id"] })).await;
    ada.todo("deleteTodo", json!({ "id": ada.create("e").await["id"] })).await;

    let login = app.login("ada@example.com", PASSWORD).await;
    let refresh = format!(
        "mutation {{ refreshSession(input: {{ refreshToken: {} }}) {{ accessToken }} }}",
        login.data("login")["refreshToken"]
    );
    let headers = |token: &str| {
        let bearer = format!("Bearer {token}").parse().unwrap();
        HeaderMap::from_iter([(USER_AGENT, "tests".parse().unwrap()), (AUTHORIZATION, bearer)])
    };
    app.ask_with(headers(&login.token()), &refresh, Value::Null).await.data("refreshSession");
    let token = app.login("ada@example.com", PASSWORD).await.token();
    app.ask_as(&token, "mutation { logout { revokedSessionIds } }", Value::Null).await.data("logout");
    app.database
        .sql(
            "INSERT INTO write_positions (user_id, position) SELECT id, 1 FROM users;
             UPDATE throttle_buckets SET refused_at = now();",
        )
        .await;
}

/// Fails for tables without rows, and for columns that are null in all of them.
fn assert_full(tables: &BTreeMap<String, Table>) {
    for (name, table) in tables {
        for column in &table.columns {
            let filled = table.rows.iter().any(|row| !row[column].is_null());
            assert!(filled, "{name}.{column} has no value: extend `fill`");
        }
    }
}

#[tokio::test]
async fn each_migration_goes_down_and_up_on_full_tables_and_loses_only_what_is_named() {
    let app = TestApp::start().await;
    fill(&app).await;
    let database = Arc::clone(&app.database);
    // Housekeeping writes.
    app.stop().await;
    let connector = database.connector();
    let url = &database.url;
    assert_full(&read_tables(url).await);
    let all = migrations::status(&connector).await.unwrap();
    assert!(all.iter().all(|migration| migration.applied));

    for migration in all.iter().rev() {
        let name = &migration.name;
        let before = read_tables(url).await;
        migrations::redo(&connector).await.unwrap();
        let again = read_tables(url).await;
        assert_survives(name, &before, &again);

        assert_eq!(&migrations::revert(&connector).await.unwrap(), name);
        for (table, reverted) in read_tables(url).await {
            let columns = again[&table].columns.intersection(&reverted.columns).cloned().collect();
            assert_eq!(again[&table].project(&columns), reverted.project(&columns), "{name}: {table}");
        }
    }
}

/// Compares rows from before a migration was reverted and run again with those from afterwards.
fn assert_survives(migration: &str, before: &BTreeMap<String, Table>, after: &BTreeMap<String, Table>) {
    for (name, table) in before {
        let losses = LOSSES.iter().filter(|loss| migration.ends_with(loss.0) && loss.1 == name);
        let losses: Vec<_> = losses.map(|loss| &loss.2).collect();
        let left = losses.iter().fold(table.clone(), |table, loss| table.without(loss));
        let expected = left.project(&left.columns);
        let found = after[name].project(&left.columns);
        assert_eq!(
            expected, found,
            "{name} after {migration} went down and up: mend it or name it in LOSSES"
        );
        let same = table.project(&table.columns) == after[name].project(&table.columns);
        assert_eq!(same, losses.is_empty(), "LOSSES names {name} for {migration}, which loses nothing of it");
    }
}

#[tokio::test]
async fn migrations_make_the_same_schema_on_the_way_down_and_up() {
    let app = TestApp::start().await;
    let connector = app.database.connector();
    let all = migrations::status(&connector).await.unwrap();
    // The schema with each number of migrations, on the way down.
    let mut expected = vec![schema(&app.database)];
    for migration in all.iter().rev() {
        assert_eq!(&migrations::revert(&connector).await.unwrap(), &migration.name);
        expected.push(schema(&app.database));
    }
    let names: Vec<_> = all.iter().map(|migration| migration.name.clone()).collect();
    assert_eq!(migrations::run(&connector).await.unwrap(), names);
    assert_eq!(schema(&app.database), expected[0]);
    for expected in &expected[1..] {
        migrations::revert(&connector).await.unwrap();
        assert_eq!(&schema(&app.database), expected);
    }
}

#[tokio::test]
async fn concurrent_migrations_run_once() {
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
async fn a_start_refuses_a_database_with_pending_migrations_and_names_the_command() {
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

fn migrate(database: &TestDatabase, action: &str) -> Result<String, String> {
    let output =
        Service::run(Service::command().args(["migrate", action]).env("DATABASE_URL", &database.url));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[tokio::test]
async fn a_redo_leaves_an_earlier_pending_migration_alone() {
    let database = TestDatabase::new().await;
    let all = migrations::status(&database.connector()).await.unwrap();
    let last = &all[all.len() - 1].name;
    let earlier = &all[all.len() - 2].name;
    // As after a merge of an older branch.
    let version = earlier.split('_').next().unwrap().replace('-', "");
    database.sql(&format!("DELETE FROM __diesel_schema_migrations WHERE version = '{version}'")).await;
    assert_eq!(migrate(&database, "redo").unwrap(), format!("reverted and ran {last}\n"));
    let status = migrate(&database, "status").unwrap();
    assert!(status.contains(&format!("pending  {earlier}\n")), "{status}");
    assert!(status.contains(&format!("applied  {last}\n")), "{status}");
}

#[tokio::test]
async fn a_redo_that_fails_on_its_way_up_is_not_left_half_done() {
    let database = TestDatabase::new().await;
    let before = schema(&database);
    database
        .sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON __diesel_schema_migrations
                 FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    let refused = migrate(&database, "redo").unwrap_err();
    assert!(refused.contains("not now"), "{refused}");
    database.sql("DROP FUNCTION refuse() CASCADE").await;
    assert!(!migrate(&database, "status").unwrap().contains("pending"));
    assert_eq!(schema(&database), before);
}

#[tokio::test]
async fn the_status_lists_migrations_that_this_version_does_not_know() {
    let database = TestDatabase::new().await;
    database.sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('29990101000000')").await;
    let status = migrate(&database, "status").unwrap();
    assert!(status.ends_with("unknown  29990101000000\n") && !status.contains("pending"), "{status}");
    assert_eq!(status.matches("unknown").count(), 1, "{status}");
    assert!(migrate(&database, "redo").unwrap_err().contains("29990101000000"));
}

#[tokio::test]
async fn the_command_line_runs_lists_redoes_and_reverts() {
    let database = TestDatabase::empty().await;
    let migrate = |action: &str| migrate(&database, action).unwrap();
    assert_eq!(migrate("redo"), "no migration has been run\n");
    assert!(migrate("status").lines().all(|line| line.starts_with("pending  ")));
    assert!(migrate("run").contains("ran 2026-11-23-090000_create_users"));
    assert_eq!(migrate("run"), "no migration is pending\n");
    assert!(migrate("redo").starts_with("reverted and ran "));
    assert!(migrate("revert").starts_with("reverted "));
    assert_eq!(migrate("status").lines().filter(|line| line.starts_with("pending  ")).count(), 1);
}
