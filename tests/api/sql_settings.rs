//! Changes by `psql`, whose sessions have settings of their own.

use serde_json::{Value, json};

use crate::support::{Owner, TestApp, rows};

const HISTORY: &str = "query($id: ID!) { todo(id: $id) { dueAt history(first: 1) { nodes { id
    changes { field before after } } } } }";

/// Settings that change how PostgreSQL prints or reads values, or finds names.
const SETTINGS: [&str; 11] = [
    "TIME ZONE 'Asia/Kolkata'",
    "TIME ZONE 'America/St_Johns'",
    "TIME ZONE 'Europe/Amsterdam'",
    "TIME ZONE INTERVAL '-08:30' HOUR TO MINUTE",
    "datestyle = 'German, DMY'",
    "datestyle = 'SQL, DMY'",
    "intervalstyle = 'iso_8601'",
    "bytea_output = 'escape'",
    "extra_float_digits = -15",
    "search_path = ''",
    "search_path = 'nowhere'",
];

#[tokio::test]
async fn a_change_in_any_session_is_shown_in_utc_and_undone() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let id =
        ada.todo("createTodo", json!({ "title": "a", "dueAt": "2030-01-01T00:00:00Z" })).await["id"].clone();
    let read = async || ada.ask(HISTORY, json!({ "id": id })).await.data("todo").clone();
    for settings in SETTINGS {
        for due_at in ["2030-07-01 12:00:00.123456+05:30", "1900-06-01 00:00:00+00"] {
            app.database.sql(&format!("SET {settings}; UPDATE public.todos SET due_at = '{due_at}'")).await;
            let changed = read().await;
            let event = &changed["history"]["nodes"][0];
            let change = json!([{ "field": "DUE_AT", "before": "2030-01-01T00:00:00.000000Z", "after": changed["dueAt"] }]);
            assert_eq!(event["changes"], change, "{settings}");
            let undone = ada.call("undo", json!({ "eventId": event["id"] })).await;
            let undone = &undone.data("undo")["todo"];
            assert_eq!(undone["dueAt"], "2030-01-01T00:00:00.000000Z", "{settings}");
        }
    }
    let offsets =
        "SELECT count(*)::text AS text FROM todo_events WHERE after ->> 'due_at' NOT LIKE '%+00:00'";
    assert_eq!(rows(&app, offsets).await, ["0"]);
}

#[tokio::test]
async fn settings_of_the_database_change_nothing_either() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let name = rows(&app, "SELECT current_database()::text AS text").await.remove(0);
    for setting in ["timezone = 'Asia/Tokyo'", "datestyle = 'German'", "intervalstyle = 'sql_standard'"] {
        app.database.sql(&format!("ALTER DATABASE {name} SET {setting}")).await;
    }
    // A process whose connections are all opened with these settings.
    let other = app.beside(&[]).await;
    let ada = Owner { app: &other, token: ada.token };
    let id =
        ada.todo("createTodo", json!({ "title": "a", "dueAt": "2030-01-01T00:00:00Z" })).await["id"].clone();
    app.database.sql("UPDATE todos SET due_at = due_at + interval '1 hour', completed = true").await;
    let read = async || ada.ask(HISTORY, json!({ "id": id })).await.data("todo").clone();
    let changed = read().await;
    let event = &changed["history"]["nodes"][0];
    assert_eq!(event["changes"][0]["after"], "2030-01-01T01:00:00.000000Z");
    let undone = ada.todo("undo", json!({ "eventId": event["id"] })).await;
    assert_eq!(
        (&undone["dueAt"], &undone["completed"]),
        (&json!("2030-01-01T00:00:00.000000Z"), &json!(false))
    );
}

#[tokio::test]
async fn events_written_with_another_offset_can_be_undone() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let id = ada.create("a").await["id"].clone();
    ada.todo("updateTodo", json!({ "id": id, "dueAt": "2030-01-01T00:00:00Z" })).await;
    ada.todo("updateTodo", json!({ "id": id, "dueAt": "2031-01-01T00:00:00Z", "title": "b" })).await;
    let event =
        async || ada.ask(HISTORY, json!({ "id": id })).await.data("todo")["history"]["nodes"][0].clone();
    // As they were written by a session in another time zone.
    app.database
        .sql(
            "UPDATE todo_events SET before = before || '{\"due_at\": \"2030-01-01T02:00:00+02:00\"}',
                 after = after || '{\"due_at\": \"2030-12-31T16:00:00-08:00\"}'
             WHERE number = 3",
        )
        .await;
    let shown = event().await;
    assert_eq!(
        shown["changes"][1],
        json!({ "field": "DUE_AT",
        "before": "2030-01-01T00:00:00.000000Z", "after": "2031-01-01T00:00:00.000000Z" })
    );
    let undone = ada.todo("undo", json!({ "eventId": shown["id"] })).await;
    assert_eq!((&undone["dueAt"], &undone["title"]), (&json!("2030-01-01T00:00:00.000000Z"), &json!("a")));

    // Another instant is a conflict, however alike the text.
    let undo = event().await["id"].clone();
    app.database
        .sql("SET TIME ZONE 'Asia/Tokyo'; UPDATE todos SET due_at = due_at + interval '1 microsecond'")
        .await;
    assert_eq!(ada.call("undo", json!({ "eventId": undo })).await.code(), "CONFLICT");
    assert_eq!(rows(&app, "SELECT title AS text FROM todos").await, [Value::from("a").as_str().unwrap()]);
}

#[tokio::test]
async fn instants_that_would_fail_each_list_cannot_be_written() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    ada.create("a").await;
    for column in ["due_at", "completed_at", "deleted_at", "created_at"] {
        for instant in ["infinity", "-infinity", "290000-01-01 00:00:00+00"] {
            app.database
                .sql(&format!(
                    "DO $$ BEGIN
                         UPDATE todos SET {column} = '{instant}';
                         RAISE EXCEPTION '{column} is {instant}';
                     EXCEPTION WHEN check_violation THEN NULL; END $$"
                ))
                .await;
        }
    }
    app.database.sql("UPDATE todos SET due_at = '4000-01-01 00:00:00+00 BC', completed = true").await;
    let todos = ada.ask("{ todos { nodes { dueAt completed } } }", json!({})).await;
    assert_eq!(todos.data("todos")["nodes"].as_array().map(Vec::len), Some(1));
}
