//! Dumps of `pg_dump`, loaded into a migrated database by `pg_restore --data-only`.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Client, Owner, TestApp, TestDatabase, program, rows, texts};

const TABLES: [&str; 9] = [
    "users",
    "sessions",
    "refresh_tokens",
    "revoked_sessions",
    "security_events",
    "throttle_buckets",
    "todos",
    "todo_events",
    "todo_event_counters",
];
const REFRESH: &str = "mutation Refresh($token: String!) { refreshSession(input: { refreshToken: $token }) {
    accessToken refreshToken } }";

fn run(name: &str, arguments: &[&str]) {
    let output = Command::new(program(name)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn contents(url: &str) -> Vec<Vec<String>> {
    let mut tables = Vec::new();
    for table in TABLES {
        tables.push(texts(url, &format!("SELECT {table}::text AS text FROM {table} ORDER BY 1")).await);
    }
    tables
}

/// Loads a dump into a migrated database.
async fn restored(dump: &Path, options: &[&str]) -> TestDatabase {
    let database = TestDatabase::new().await;
    let migrations = "SELECT version || run_on AS text FROM __diesel_schema_migrations ORDER BY version";
    let run_before = texts(&database.url, migrations).await;
    let arguments = [&["--dbname", &database.url], options, &[dump.to_str().unwrap()]].concat();
    run("pg_restore", &arguments);
    assert_eq!(texts(&database.url, migrations).await, run_before);
    database
}

#[tokio::test]
async fn a_data_only_restore_brings_everything_back_and_the_service_goes_on() {
    let app = TestApp::start().await;
    let registered = app.register("ada@example.com").await;
    let refreshed = app.ask(REFRESH, json!({ "token": registered.data("register")["refreshToken"] })).await;
    let ada = Owner { app: &app, token: registered.token() };
    let ended = app.login("ada@example.com", crate::support::PASSWORD).await.token();
    app.ask_as(&ended, "mutation { logout { revokedSessionIds } }", Value::Null).await.data("logout");
    let id = ada.create("milk").await["id"].clone();
    ada.todo("updateTodo", json!({ "id": id, "title": "oat milk", "dueAt": "2030-01-01T00:00:00Z" })).await;
    ada.todo("deleteTodo", json!({ "id": ada.create("bread").await["id"] })).await;
    Owner::new(&app, "bob@example.com").await.create("his").await;
    app.database.sql("INSERT INTO write_positions SELECT id, 1 FROM users").await;

    let dir = tempfile::TempDir::new().unwrap();
    let data = dir.path().join("data.dump");
    let full = dir.path().join("full.dump");
    let url = &app.database.url;
    run("pg_dump", &["--format=custom", "--data-only", "--file", data.to_str().unwrap(), "--dbname", url]);
    run("pg_dump", &["--format=custom", "--file", full.to_str().unwrap(), "--dbname", url]);
    let expected = contents(url).await;
    for (dump, options) in [
        (&data, &["--data-only"][..]),
        (&data, &["--data-only", "--single-transaction"]),
        (&full, &["--data-only", "--single-transaction"]),
    ] {
        let database = restored(dump, options).await;
        assert_eq!(contents(&database.url).await, expected, "{options:?}");
        // Positions of another server's log.
        assert!(texts(&database.url, "SELECT user_id::text AS text FROM write_positions").await.is_empty());
        let url = database.url.clone();
        let again = TestApp::on(&url, &[], database).await;
        goes_on(&again, &ada.token, &ended, &id).await;
        let token = json!({ "token": refreshed.data("refreshSession")["refreshToken"] });
        again.ask(REFRESH, token).await.data("refreshSession");
    }
}

/// Asserts that sessions, lists, undo and subscriptions continue.
async fn goes_on(app: &TestApp, token: &str, ended: &str, id: &Value) {
    let ada = Owner { app, token: token.to_owned() };
    assert_eq!(app.me(ended).await.error()["extensions"]["reason"], "REVOKED");
    assert_eq!(ada.titles("").await, ["oat milk"]);
    assert_eq!(ada.titles("(filter: { search: \"oat\" })").await, ["oat milk"]);
    assert_eq!(ada.titles("(filter: { inTrash: true })").await, ["bread"]);
    let history = "query($id: ID!) { todo(id: $id) { history { nodes { id kind } } } }";
    let events = ada.ask(history, json!({ "id": id })).await.data("todo")["history"]["nodes"].clone();
    assert_eq!(
        (&events[0]["kind"], &events[1]["kind"], &events[2]),
        (&json!("UPDATED"), &json!("CREATED"), &Value::Null)
    );
    // A subscription that begins after the restored event hears of the undo, once.
    let mut client = Client::ready(app, json!({ "Authorization": format!("Bearer {token}") })).await;
    let after = format!("subscription {{ todoChanged(after: {}) {{ kind todoId }} }}", events[0]["id"]);
    client.subscribe("live", &after).await;
    assert_eq!(client.next().await["todoChanged"]["kind"], "CREATED", "of the todo in the trash");
    assert_eq!(client.next().await["todoChanged"]["kind"], "DELETED");
    assert_eq!(ada.todo("undo", json!({ "eventId": events[0]["id"] })).await["title"], "milk");
    let change = client.next().await["todoChanged"].clone();
    assert_eq!((&change["kind"], &change["todoId"]), (&json!("UPDATED"), id));
    let gaps = "SELECT count(*)::text AS text FROM todo_event_counters AS counter
        WHERE last_number <> (SELECT count(*) FROM todo_events WHERE user_id = counter.user_id)";
    assert_eq!(rows(app, gaps).await, ["0"]);
}

#[tokio::test]
async fn only_a_restore_leaves_the_history_to_the_dump() {
    let app = TestApp::start().await;
    Owner::new(&app, "ada@example.com").await;
    for settings in ["SET search_path = ''", "SET row_security = off", "SET application_name = 'pg_restore'"]
    {
        let insert = "INSERT INTO public.todos (user_id, title) SELECT id, 'by hand' FROM public.users";
        app.database.sql(&format!("{settings}; {insert}")).await;
    }
    assert_eq!(rows(&app, "SELECT kind AS text FROM todo_events").await, ["CREATED"; 3]);
}
