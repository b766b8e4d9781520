//! Import of the original system's users.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{Service, TestApp, TestDatabase, rows};

const CSV: &str = include_str!("../fixtures/original_users.csv");

/// Table of the original system, as its migration creates it.
const ORIGINAL: &str = "
    CREATE TABLE users (
        id uuid DEFAULT gen_random_uuid() NOT NULL, email varchar(255) NOT NULL,
        hashed_password varchar(255) NOT NULL, name varchar(255),
        created_at timestamptz DEFAULT now() NOT NULL, updated_at timestamptz DEFAULT now() NOT NULL,
        PRIMARY KEY (id));
    CREATE UNIQUE INDEX idx_user_email ON users (email text_pattern_ops);
    CREATE INDEX idx_user_created_at ON users (created_at);
    CREATE TABLE alembic_version (version_num varchar(32) NOT NULL PRIMARY KEY);";

struct Row {
    id: String,
    email: String,
    name: String,
    line: Vec<String>,
}

fn original_rows() -> Vec<Row> {
    let mut reader = csv::Reader::from_reader(CSV.as_bytes());
    let row = |record: csv::StringRecord| {
        let line: Vec<String> = record.iter().map(str::to_owned).collect();
        Row { id: line[0].clone(), email: line[1].clone(), name: line[3].clone(), line }
    };
    reader.records().map(|record| row(record.unwrap())).collect()
}

async fn original_database() -> TestDatabase {
    let database = TestDatabase::empty().await;
    database.sql(ORIGINAL).await;
    for row in original_rows() {
        let values = row.line.iter().map(|value| match value.as_str() {
            "" => "NULL".to_owned(),
            value => format!("'{}'", value.replace('\'', "''")),
        });
        let values: Vec<_> = values.collect();
        database.sql(&format!("INSERT INTO users VALUES ({})", values.join(", "))).await;
    }
    database
}

fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Service::command();
    command.env("DATABASE_URL", url).args(arguments);
    command
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asserts that all users log in with their old passwords, keep their ids, and get argon2 hashes.
async fn assert_all_log_in(app: &TestApp) {
    for row in original_rows() {
        let opened = app.login(&row.email, &format!("password of {}", row.email)).await;
        let user = &opened.data("login")["user"];
        let name = if row.name.is_empty() { "nameless" } else { &row.name };
        assert_eq!((&user["id"], &user["name"]), (&json!(row.id), &json!(name)));
    }
    let schemes = "SELECT DISTINCT split_part(hashed_password, '$', 2) AS text FROM users";
    assert_eq!(rows(app, schemes).await, ["argon2id"]);
}

const TIMES: &str = "SELECT id || ' ' || created_at || ' ' || updated_at AS text FROM users ORDER BY id";

#[tokio::test]
async fn users_imported_from_csv_log_in() {
    let app = TestApp::start().await;
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/original_users.csv");
    let import =
        || Service::run(&mut command(&app.database.url, &["import-users", fixture.to_str().unwrap()]));
    let report = stdout(&import());
    assert!(
        report.contains("imported 6") && report.contains("6 account(s) still have a bcrypt hash"),
        "{report}"
    );
    let first = &rows(&app, TIMES).await[0];
    assert!(first.contains("2023-01-02 03:04:05.678901") && first.contains("2024-01-02 03:04:05"), "{first}");
    assert_all_log_in(&app).await;
    let again = stdout(&import());
    assert!(again.contains("imported 0 user(s); 6 already existed\n0 account(s) still"), "{again}");
    assert_all_log_in(&app).await;
}

#[tokio::test]
async fn users_imported_from_the_original_database_log_in() {
    let app = TestApp::start().await;
    let original = original_database().await;
    let mut import = command(&app.database.url, &["import-users", "--json"]);
    let output = Service::run(import.env("SOURCE_DATABASE_URL", &original.url));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report, json!({ "imported": 6, "alreadyThere": 0, "bcryptHashes": 6 }));
    assert_all_log_in(&app).await;
}

#[tokio::test]
async fn collisions_and_bad_rows_are_all_reported_and_nothing_is_imported() {
    let app = TestApp::start().await;
    app.register("taken@example.com").await.data("register");
    let hash = &original_rows()[0].line[2];
    let row = |id: u32, email: &str, hash: &str| {
        format!("00000000-0000-4000-8000-{id:012},{email},{hash},N,2024-01-01 00:00:00,2024-01-01 00:00:00\n")
    };
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("users.csv");
    let import = |rows: String| {
        std::fs::write(&path, "id,email,hashed_password,name,created_at,updated_at\n".to_owned() + &rows)
            .unwrap();
        refused(&Service::run(&mut command(&app.database.url, &["import-users", path.to_str().unwrap()])))
    };
    let message = import(
        row(1, "same@example.com", hash)
            + &row(2, " SAME@example.com", hash)
            + &row(3, "nobody", hash)
            + &row(4, "plain@example.com", "plain text"),
    );
    assert!(message.contains("3 problem(s)"), "{message}");
    for part in [
        "000000000002: has the same email address",
        "000000000003: email address",
        "000000000004: the password",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("plain text"));
    let message = import(row(1, "fine@example.com", hash) + &row(2, "Taken@Example.com", hash));
    assert!(message.contains("taken@example.com"), "{message}");
    assert_eq!(rows(&app, "SELECT email AS text FROM users").await, ["taken@example.com"]);
}

#[tokio::test]
async fn the_original_table_is_adopted_in_place_and_its_users_log_in() {
    let original = original_database().await;
    let url = original.url.clone();
    let report = stdout(&Service::run(&mut command(&url, &["migrate", "adopt"])));
    assert!(
        report.contains("6 user(s)") && report.contains("6 account(s) still have a bcrypt hash"),
        "{report}"
    );
    assert!(!stdout(&Service::run(&mut command(&url, &["migrate", "status"]))).contains("pending"));
    let app = TestApp::on(&url, &[], original).await;
    let first = &rows(&app, TIMES).await[0];
    assert!(first.contains("2023-01-02 03:04:05.678901") && first.contains("2024-01-02 03:04:05"), "{first}");
    assert_all_log_in(&app).await;
    app.register("new@example.com").await.data("register");
    let again = refused(&Service::run(&mut command(&url, &["migrate", "adopt"])));
    assert!(again.contains("already"), "{again}");

    // The table equals the migrations' one, down to the names.
    let shape = "SELECT string_agg(line, E'\\n' ORDER BY line) AS text FROM (
        SELECT pg_get_indexdef(indexrelid) AS line FROM pg_index WHERE indrelid = 'users'::regclass
        UNION ALL SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'users'::regclass
        UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'users'::regclass AND NOT tgisinternal
        UNION ALL SELECT concat(attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid),
                                col_description(attrelid, attnum))
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = 'users'::regclass AND attnum > 0) AS lines";
    assert_eq!(rows(&app, shape).await, rows(&TestApp::start().await, shape).await);
}

#[tokio::test]
async fn a_table_of_another_shape_is_not_adopted() {
    for (change, expected) in [
        ("DROP TABLE users", "no table users"),
        ("ALTER TABLE users DROP COLUMN name", "name is missing"),
        ("ALTER TABLE users ALTER id DROP DEFAULT, ALTER id TYPE text", "id is text"),
        ("ALTER TABLE users DROP CONSTRAINT users_pkey", "primary key"),
        (
            "ALTER TABLE users ADD phone text NOT NULL DEFAULT ''; ALTER TABLE users ALTER phone DROP DEFAULT",
            "phone",
        ),
        ("UPDATE users SET email = 'ADA@example.com' WHERE email LIKE 'Grace%'", "same email address"),
    ] {
        let original = original_database().await;
        original.sql(change).await;
        let message = refused(&Service::run(&mut command(&original.url, &["migrate", "adopt"])));
        assert!(message.contains(expected), "{change}: {message}");
        let status = stdout(&Service::run(&mut command(&original.url, &["migrate", "status"])));
        assert_eq!(status.matches("applied").count(), 1, "{status}");
    }
}
