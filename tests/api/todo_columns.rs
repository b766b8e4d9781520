//! The columns of `todos`: none is forgotten by a write, the version, the history or undo.

use serde_json::{Value, json};

use crate::support::{Owner, TestApp, rows};

/// Columns that are not content, and why.
const EXCUSED: [(&str, &str); 9] = [
    ("user_id", "the owner never changes"),
    ("id", "the identifier never changes"),
    ("version", "counts the changes"),
    ("created_at", "never changes"),
    ("updated_at", "follows the version"),
    ("completed", "follows completed_at, which is content"),
    ("creation_hash", "belongs to the request that created the todo"),
    ("in_trash", "generated from deleted_at"),
    ("terms", "generated from the texts and tags"),
];

async fn todo_row(app: &TestApp) -> Value {
    let row = rows(app, "SELECT to_jsonb(todos)::text AS text FROM todos").await.remove(0);
    serde_json::from_str(&row).unwrap()
}

/// Changes every field that a client can change. A new field belongs into this input.
async fn change_all(ada: &Owner<'_>, id: &Value) {
    let input = json!({ "id": id, "title": "b", "description": "b", "priority": "HIGH",
        "dueAt": "2030-01-01T00:00:00Z", "tags": ["b"] });
    ada.todo("updateTodo", input).await;
    ada.todo("completeTodo", json!({ "id": id })).await;
    ada.todo("deleteTodo", json!({ "id": id })).await;
}

#[tokio::test]
async fn each_column_is_written_versioned_and_in_the_history_or_excused() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let id = ada.create("a").await["id"].clone();
    let created = todo_row(&app).await;
    let quoted = created.to_string().replace('\'', "''");
    change_all(&ada, &id).await;
    let changed = todo_row(&app).await;

    let catalogue =
        "SELECT column_name::text AS text FROM information_schema.columns WHERE table_name = 'todos'";
    let columns = rows(&app, catalogue).await;
    for (excused, _) in EXCUSED {
        assert!(columns.iter().any(|column| column == excused), "{excused} is no longer a column");
    }
    let content = columns.iter().filter(|column| EXCUSED.iter().all(|(excused, _)| excused != column));
    for (column, version) in content.zip(changed["version"].as_i64().unwrap()..) {
        assert_ne!(created[column], changed[column], "no mutation writes {column}: excuse it or write it");

        // The column alone, back to its first value.
        let back = format!(
            "UPDATE todos SET {column} = (jsonb_populate_record(todos, '{quoted}')).{column}
             RETURNING version::text AS text"
        );
        assert_eq!(rows(&app, &back).await, [(version + 1).to_string()], "{column} is not versioned");
        let event =
            "SELECT before::text || after::text AS text FROM todo_events ORDER BY number DESC LIMIT 1";
        let expected =
            json!({ column: changed[column] }).to_string() + &json!({ column: created[column] }).to_string();
        let event = rows(&app, event).await.remove(0).replace("\": ", "\":");
        assert_eq!(event, expected, "{column} is not in the history");
        let query = "query($id: ID!) { todo(id: $id) { history(first: 1) { nodes { changes { field } } } } }";
        let answer = ada.ask(query, json!({ "id": id })).await;
        let fields = answer.data("todo")["history"]["nodes"][0]["changes"].as_array().unwrap();
        assert_eq!(fields.len(), 1, "clients do not see {column} in the history");
    }
}

#[tokio::test]
async fn undo_restores_each_column() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let id = ada.create("a").await["id"].clone();
    let content = "SELECT todo_content(todos)::text AS text FROM todos";
    let created = rows(&app, content).await;
    change_all(&ada, &id).await;
    let events = "SELECT id::text AS text FROM todo_events WHERE kind <> 'CREATED' ORDER BY number DESC";
    for event in rows(&app, events).await {
        ada.todo("undo", json!({ "eventId": event })).await;
    }
    assert_eq!(rows(&app, content).await, created);
}
