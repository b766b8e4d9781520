//! Databases, roles and settings that the service can't work on: the start, `migrate run` and `doctor` name them with one
//! fix, and the fix helps.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use todo_api::db::migrations;

use crate::support::{OwnServer, Service, connector};

/// Returns the URL of another database of the server, for its superuser or for the role `app`.
fn url_of(server: &OwnServer, database: &str) -> String {
    server.url().replace("/todo_api?", &format!("/{database}?"))
}

fn url_of_app(server: &OwnServer, database: &str) -> String {
    let url = url_of(server, database);
    format!("postgresql://app:hunter2@{}", url.split_once('@').unwrap().1)
}

async fn sql(url: &str, sql: &str) {
    use diesel_async::SimpleAsyncConnection;

    connector(url).connect().await.unwrap().batch_execute(sql).await.unwrap();
}

fn command(url: &str, arguments: &[&str]) -> (Command, TempDir) {
    let dir = TempDir::new().unwrap();
    let mut command = Service::command();
    command.env("TODO_DATA_DIR", dir.path()).env("DATABASE_URL", url).args(arguments);
    (command, dir)
}

/// Runs a command that has to fail, and returns its message.
fn refused(url: &str, arguments: &[&str], settings: &[(&str, &str)]) -> String {
    let (mut command, _dir) = command(url, arguments);
    let output = Service::run(command.envs(settings.iter().copied()));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    message
}

/// Returns the status and the fix of one of doctor's findings.
fn finding(url: &str, name: &str) -> (String, String) {
    let (mut command, _dir) = command(url, &["doctor", "--json"]);
    let output = Service::run(&mut command);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut findings = report["findings"].as_array().unwrap().iter();
    let finding = findings.find(|finding| finding["name"] == name);
    let finding = finding.unwrap_or_else(|| panic!("no finding {name}: {report:#}"));
    (finding["status"].as_str().unwrap().to_owned(), finding["fix"].as_str().unwrap_or_default().to_owned())
}

/// Asserts that all refuse to work on a database, with doctor's fix, and returns that.
#[track_caller]
fn fix_for(url: &str, name: &str) -> String {
    let (status, fix) = finding(url, name);
    assert_eq!(status, "error", "{name}");
    for message in [
        refused(url, &[], &[]),
        refused(url, &[], &[("MIGRATE_ON_START", "true")]),
        refused(url, &["migrate", "run"], &[]),
    ] {
        assert!(message.contains(&fix), "{fix}\n{message}");
        assert!(!message.contains("db error") && !message.contains("SQLSTATE"), "{message}");
    }
    fix
}

/// Undoes the settings of roles and databases.
async fn reset(admin: &str, setting: &str) {
    for owner in ["ROLE app", "DATABASE todos", "ROLE app IN DATABASE todos", "ROLE ALL"] {
        sql(admin, &format!("BEGIN READ WRITE; ALTER {owner} RESET {setting}; COMMIT")).await;
    }
}

async fn server_with_app() -> OwnServer {
    let server = OwnServer::start().await;
    server.sql("CREATE ROLE app LOGIN PASSWORD 'hunter2'").await;
    server.sql("CREATE DATABASE todos OWNER app").await;
    server
}

#[tokio::test]
async fn transactions_that_are_read_only_by_default() {
    let server = server_with_app().await;
    let admin = url_of(&server, "todos");
    let url = url_of_app(&server, "todos");
    for (setting, expected) in [
        ("ALTER ROLE app SET", "ALTER ROLE \"app\" SET"),
        ("ALTER DATABASE todos SET", "ALTER DATABASE \"todos\" SET"),
        ("ALTER ROLE app IN DATABASE todos SET", "ALTER ROLE \"app\" IN DATABASE \"todos\" SET"),
        ("ALTER ROLE ALL SET", "ALTER ROLE \"app\" SET"),
    ] {
        sql(&admin, &format!("BEGIN READ WRITE; {setting} default_transaction_read_only = on; COMMIT")).await;
        let fix = fix_for(&url, "writes");
        assert!(fix.contains(expected), "{fix}");
        sql(&admin, &fix).await;
        assert_eq!(finding(&url, "writes"), ("ok".into(), String::new()), "{setting}");
        reset(&admin, "default_transaction_read_only").await;
    }
    let of_url = format!("{url}&options=-c%20default_transaction_read_only%3Don");
    assert!(fix_for(&of_url, "writes").contains("options in the URL"));
}

#[tokio::test]
async fn a_search_path_that_leads_nowhere() {
    let server = server_with_app().await;
    let admin = url_of(&server, "todos");
    let url = url_of_app(&server, "todos");
    for (setting, expected) in [
        ("ALTER ROLE app SET search_path = nowhere", "ALTER ROLE \"app\" SET search_path = \"public\";"),
        ("ALTER DATABASE todos SET search_path = nowhere, \"No, where\"", "ALTER DATABASE \"todos\" SET"),
        (
            "ALTER ROLE app IN DATABASE todos SET search_path = \"$user\"",
            "ALTER ROLE \"app\" IN DATABASE \"todos\" SET",
        ),
        ("ALTER ROLE app IN DATABASE todos SET search_path = ''", "IN DATABASE"),
        ("ALTER ROLE app IN DATABASE todos SET search_path = pg_catalog", "IN DATABASE"),
        (
            "REVOKE USAGE ON SCHEMA public FROM PUBLIC; ALTER SCHEMA public OWNER TO todo_api",
            "GRANT USAGE ON SCHEMA \"public\" TO \"app\";",
        ),
        ("DROP SCHEMA public", "CREATE SCHEMA \"public\" AUTHORIZATION \"app\";"),
    ] {
        sql(&admin, setting).await;
        let fix = fix_for(&url, "search_path");
        assert!(fix.contains(expected), "{setting}: {fix}");
        sql(&admin, &fix).await;
        assert_eq!(finding(&url, "search_path").0, "ok", "{setting}");
        reset(&admin, "search_path").await;
    }
    let of_url = format!("{url}&options=-c%20search_path%3Dnowhere");
    assert!(fix_for(&of_url, "search_path").contains("options in the URL"));

    migrations::run(&connector(&url)).await.unwrap();
    sql(&admin, "CREATE SCHEMA third AUTHORIZATION app").await;
    let of_url = format!("{url}&options=-c%20search_path%3Dthird");
    assert_eq!(
        finding(&of_url, "search_path"),
        ("warning".into(), "have options in the URL set search_path to \"public\"".into())
    );
    sql(
        &admin,
        "CREATE SCHEMA other AUTHORIZATION app; ALTER ROLE app IN DATABASE todos SET search_path = other",
    )
    .await;
    let (status, fix) = finding(&url, "search_path");
    assert_eq!(status, "warning");
    assert_eq!(finding(&url, "migrations").1, fix);
    assert!(refused(&url, &[], &[]).contains(&fix));
    sql(&admin, &fix).await;
    assert_eq!(finding(&url, "migrations").0, "ok");
}

#[tokio::test]
async fn an_encoding_that_cannot_store_every_text() {
    let server = server_with_app().await;
    for encoding in ["SQL_ASCII", "LATIN1"] {
        server.sql(&format!(
            "CREATE DATABASE \"{encoding} x\" ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' OWNER app"
        ))
        .await;
        let fix = fix_for(&url_of_app(&server, &format!("{encoding}%20x")), "encoding");
        let line = fix.lines().next().unwrap();
        assert!(
            line.starts_with(&format!(
                "CREATE DATABASE \"{encoding} x_utf8\" ENCODING 'UTF8' TEMPLATE template0"
            )),
            "{line}"
        );
        server.sql(line).await;
        let url = url_of_app(&server, &format!("{encoding}%20x_utf8"));
        assert_eq!(finding(&url, "encoding").0, "ok");
        migrations::run(&connector(&url)).await.unwrap();
    }
}

#[tokio::test]
async fn rights_that_the_role_lacks() {
    let server = server_with_app().await;
    server.sql("CREATE DATABASE others").await;
    let admin = url_of(&server, "others");
    let url = url_of_app(&server, "others");
    // Pending migrations need CREATE, then ownership; requests need rights on the tables.
    for (before, name, expected) in [
        (
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            "migrations",
            "GRANT CREATE ON SCHEMA \"public\" TO \"app\";",
        ),
        ("", "role", "GRANT SELECT, INSERT, UPDATE, DELETE ON"),
        (
            "REVOKE INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public FROM app",
            "role",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON",
        ),
        (
            "REVOKE INSERT ON todos FROM app",
            "role",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON todos TO \"app\";",
        ),
        (
            "REVOKE SELECT ON __diesel_schema_migrations FROM app",
            "migrations",
            "GRANT SELECT ON __diesel_schema_migrations TO \"app\";",
        ),
    ] {
        sql(&admin, before).await;
        let (status, fix) = finding(&url, name);
        assert_eq!(status, "error", "{before}");
        assert!(fix.contains(expected), "{before}: {fix}");
        let message = refused(&url, &[], &[("MIGRATE_ON_START", "true")]);
        assert!(message.contains(expected) && !message.contains("db error"), "{message}");
        sql(&admin, &fix).await;
        if expected.contains("CREATE") {
            migrations::run(&connector(&admin)).await.unwrap();
        }
    }
    // No statement of the service needs these.
    sql(
        &admin,
        "REVOKE DELETE ON todo_event_counters, write_positions FROM app; REVOKE UPDATE ON users FROM app;
         GRANT UPDATE (email, hashed_password, name, updated_at) ON users TO app",
    )
    .await;
    let (mut command, _dir) = command(&url, &[]);
    Service::start_command(&mut command).stop();

    // Another one is pending, but the tables are the administrator's.
    sql(&admin, "DELETE FROM __diesel_schema_migrations WHERE version > '20261126095900'").await;
    let fix = fix_for(&url, "migrations");
    assert!(
        fix.contains("run them as \"todo_api\"") && fix.contains("GRANT \"todo_api\" TO \"app\";"),
        "{fix}"
    );
}

#[tokio::test]
async fn rights_on_tables_in_a_schema_that_only_the_role_looks_into() {
    let server = server_with_app().await;
    server.sql("CREATE DATABASE others").await;
    let admin = url_of(&server, "others");
    let url = url_of_app(&server, "others");
    sql(&admin, "CREATE SCHEMA \"To do\"; GRANT USAGE ON SCHEMA \"To do\" TO app").await;
    migrations::run(&connector(&format!("{admin}&options=-c%20search_path%3D%22To%5C%20do%22")))
        .await
        .unwrap();
    sql(&admin, "ALTER ROLE app SET search_path = \"To do\"").await;
    for name in ["role", "migrations"] {
        let (status, fix) = finding(&url, name);
        assert!(status == "error" && fix.contains("ON \"To do\"."), "{fix}");
        sql(&admin, &fix).await;
    }
    let (mut command, _dir) = command(&url, &[]);
    Service::start_command(&mut command).stop();
}

#[tokio::test]
async fn a_role_for_requests_needs_no_rights_of_the_one_for_migrations() {
    let server = server_with_app().await;
    server.sql("CREATE DATABASE others").await;
    let admin = url_of(&server, "others");
    let url = url_of_app(&server, "others");
    sql(&admin, "REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let settings = [("DATABASE_DIRECT_URL", admin.as_str()), ("MIGRATE_ON_START", "true")];
    let message = refused(&url, &[], &settings);
    assert!(
        message.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON") && message.contains("DATABASE_URL: role"),
        "{message}"
    );
    sql(&admin, "GRANT SELECT, INSERT, UPDATE, DELETE ON refresh_tokens, revoked_sessions, security_events, sessions, \
        throttle_buckets, todo_event_counters, todo_events, todos, users, write_positions TO app").await;
    let (mut command, _dir) = command(&url, &[]);
    Service::start_command(command.envs(settings)).stop();
}

#[tokio::test]
async fn a_table_users_that_is_there_already() {
    let server = server_with_app().await;
    let admin = url_of(&server, "todos");
    let url = url_of_app(&server, "todos");
    sql(&url, "CREATE TABLE users (id uuid PRIMARY KEY, email varchar(255), hashed_password varchar(255))")
        .await;
    assert_eq!(fix_for(&url, "migrations"), "todo-api migrate adopt");
    sql(&admin, "ALTER TABLE users DROP COLUMN hashed_password").await;
    assert!(fix_for(&url, "migrations").contains("a database of its own"));
    sql(&admin, "DROP TABLE users").await;
    migrations::run(&connector(&url)).await.unwrap();
    assert_eq!(finding(&url, "migrations").0, "ok");
}
