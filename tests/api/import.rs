//! Import of the original system's users.

mod adopt;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{Service, TestApp, TestDatabase, rows, texts};

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

/// Runs `import-users` on the text of a CSV file.
fn import_csv(url: &str, text: &[u8]) -> Output {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("users.csv");
    std::fs::write(&path, text).unwrap();
    Service::run(&mut command(url, &["import-users", path.to_str().unwrap()]))
}

const HEADER: &str = "id,email,hashed_password,name,created_at,updated_at\n";

fn csv_row(id: u32, email: &str, name: &str) -> String {
    let hash = &original_rows()[0].line[2];
    format!(
        "00000000-0000-4000-8000-{id:012},{email},{hash},{name},2024-01-01 00:00:00,2024-01-01 00:00:00\n"
    )
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
    let name = texts(&original.url, "SELECT current_database()::text AS text").await.remove(0);
    for setting in ["datestyle = 'German, DMY'", "timezone = 'Asia/Tokyo'"] {
        original.sql(&format!("ALTER DATABASE {name} SET {setting}")).await;
    }
    let mut import = command(&app.database.url, &["import-users", "--json"]);
    let output = Service::run(import.env("SOURCE_DATABASE_URL", &original.url));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report, json!({ "imported": 6, "alreadyThere": 0, "bcryptHashes": 6 }));
    let first = &rows(&app, TIMES).await[0];
    assert!(first.contains("2023-01-02 03:04:05.678901+00 2024-01-02 03:04:05+00"), "{first}");
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
    let import =
        |rows: String| refused(&import_csv(&app.database.url, (HEADER.to_owned() + &rows).as_bytes()));
    let message = import(
        row(1, "same@example.com", hash)
            + &row(2, " SAME@example.com", hash)
            + &row(3, "nobody", hash)
            + &row(4, "plain@example.com", "plain text"),
    );
    assert!(message.contains("3 problem(s)"), "{message}");
    for part in [
        "line 3, user 00000000-0000-4000-8000-000000000002: has the same email address as line 2, user",
        "000000000003: email address",
        "000000000004: the password",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("plain text"));
    let message = import(row(1, "fine@example.com", hash) + &row(2, "Taken@Example.com", hash));
    assert!(
        message.contains("line 3, user 00000000-0000-4000-8000-000000000002: taken@example.com already"),
        "{message}"
    );
    let message = import(row(1, "one@example.com", hash) + &row(1, "two@example.com", hash));
    assert!(
        message
            .contains("line 3, user 00000000-0000-4000-8000-000000000001: has the same identifier as line 2"),
        "{message}"
    );
    let message =
        import(row(1, "fine@example.com", hash) + "no uuid,a@b.c,x,N,2024-01-01,2024-01-01\nshort\n");
    assert!(
        message.contains("2 problem(s)")
            && message.contains("line 3: no uuid")
            && message.contains("line: 4"),
        "{message}"
    );
    assert_eq!(rows(&app, "SELECT email AS text FROM users").await, ["taken@example.com"]);
}

#[tokio::test]
async fn a_csv_without_its_header_or_a_column_is_refused() {
    let app = TestApp::start().await;
    let row = csv_row(1, "ada@example.com", "Ada");
    let without_name = row.replace(",Ada,", ",");
    for (text, reason) in [
        (String::new(), "the first line is not the header"),
        (row.clone(), "the first line is not the header"),
        (HEADER.replace(',', ";") + &row, "the first line is not the header"),
        (HEADER.replace(",name", "") + &without_name, "the header lacks name;"),
        (HEADER.replace(",name", ",full_name") + &row, "the header lacks name;"),
        (HEADER.replace("email,hashed_password,", "email,") + &row, "the header lacks hashed_password;"),
        (HEADER.replace("updated_at", "name") + &row, "the header lacks updated_at;"),
        (HEADER.replace("id,email", "id,email,email") + &row, "the header has email twice"),
    ] {
        let message = refused(&import_csv(&app.database.url, text.as_bytes()));
        assert!(message.contains(reason), "{text:?}: {message}");
        assert!(reason.contains("twice") || message.contains(HEADER.trim()), "{message}");
    }
    assert_eq!(rows(&app, "SELECT count(*)::text AS text FROM users").await, ["0"]);
    // A mark at the beginning, as spreadsheets write it, other columns, and another order are fine.
    let text = format!("\u{feff}phone,{HEADER}1,{row}");
    assert!(stdout(&import_csv(&app.database.url, text.as_bytes())).contains("imported 1"));
}

#[tokio::test]
async fn imported_names_obey_the_rules_of_registration() {
    let app = TestApp::start().await;
    let long = "é".repeat(256);
    let refused_names = ["\u{200B}", "\u{202E}evil", "A\u{7}da", &long, "\"two\nlines\""];
    let rows_of = |names: &[&str]| -> String {
        let row = |(n, name): (usize, &&str)| {
            csv_row(u32::try_from(n).unwrap(), &format!("user{n}@example.com"), name)
        };
        names.iter().enumerate().map(row).collect()
    };
    let text = HEADER.to_owned() + &rows_of(&refused_names);
    let message = refused(&import_csv(&app.database.url, text.as_bytes()));
    assert!(message.contains("5 problem(s)") && message.contains("line 2, user"), "{message}");
    assert_eq!(message.matches(": name: ").count(), 5, "{message}");
    let text = HEADER.to_owned() + &rows_of(&["  Ada Lovelace ", &long[2..], "", "   "]);
    assert!(stdout(&import_csv(&app.database.url, text.as_bytes())).contains("imported 4"));
    let names = rows(&app, "SELECT name AS text FROM users ORDER BY id").await;
    assert_eq!(names, ["Ada Lovelace", &long[2..], "user2", "user3"]);
}
