//! Writes of todos that a client sends again because it has not seen the first response.

use diesel_async::SimpleAsyncConnection;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::support::{Answer, Owner, TestApp, rows};

const WAITING: &str = "SELECT count(*)::text AS text FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// Creates todos with the given identifiers.
async fn create_all(owner: &Owner<'_>, ids: &[&str]) -> Answer {
    let query = "mutation($input: CreateTodosInput!) { createTodos(input: $input) { todos { id } } }";
    let todos: Vec<_> = ids.iter().map(|id| json!({ "id": id, "title": id })).collect();
    owner.ask(query, json!({ "input": { "todos": todos } })).await
}

#[tokio::test]
async fn a_repeated_creation_gives_the_first_todo() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let bob = Owner::new(&app, "bob@example.com").await;
    let id = "0192c0de-0000-7000-8000-000000000001";
    let input = json!({ "id": id, "title": "Buy milk", "tags": ["home"] });
    let made = ada.todo("createTodo", input.clone()).await;
    assert_eq!(ada.todo("createTodo", input.clone()).await, made);
    let changed = ada.todo("updateTodo", json!({ "id": id, "title": "Buy more milk" })).await;
    assert_eq!(ada.todo("createTodo", input.clone()).await, changed);
    let other = ada.call("createTodo", json!({ "id": id, "title": "Buy bread" })).await;
    assert_eq!(other.code(), "CONFLICT");
    assert_eq!(other.error()["extensions"]["todo"], changed);
    assert_eq!(other.error()["extensions"]["currentVersion"], 2);
    // Somebody else's identifiers are nobody's.
    let bobs = bob.todo("createTodo", json!({ "id": id, "title": "Buy bread" })).await;
    assert_eq!((&bobs["id"], &bobs["title"]), (&json!(id), &json!("Buy bread")));
    let answers = futures_util::future::join_all((0..10).map(|_| {
        ada.call("createTodo", json!({ "id": "0192c0de-0000-7000-8000-000000000002", "title": "Once" }))
    }));
    let versions: Vec<_> =
        answers.await.iter().map(|answer| answer.data("createTodo")["todo"].clone()).collect();
    assert!(versions.iter().all(|todo| *todo == versions[0]));
    assert_eq!(ada.titles("").await, ["Once", "Buy more milk"]);
}

#[tokio::test]
async fn a_repeated_creation_locks_like_other_writes_and_so_never_deadlocks_with_them() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let [first, second, new] = [
        "0192c0de-0000-7000-8000-000000000001",
        "0192c0de-0000-7000-8000-000000000002",
        "0192c0de-0000-7000-8000-000000000003",
    ];
    create_all(&ada, &[first, second]).await.data("createTodos");
    // Another write, which has locked the first todo and locks more while the creation waits for that.
    let mut writer = app.database.connect().await;
    let lock_todo = |id: &str| format!("SELECT FROM todos WHERE id = '{id}' FOR UPDATE");
    writer.batch_execute(&format!("BEGIN; {}", lock_todo(first))).await.unwrap();
    let write = async {
        while rows(&app, WAITING).await != ["1"] {}
        writer.batch_execute(&lock_todo(second)).await.unwrap();
        writer.batch_execute("SELECT FROM todo_event_counters FOR UPDATE; COMMIT").await.unwrap();
    };
    let (created, ()) = join(create_all(&ada, &[new, second, first]), write).await;
    assert_eq!(created.data("createTodos")["todos"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_creation_that_meets_a_purge_creates_the_todo_anew() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let input = json!({ "id": "0192c0de-0000-7000-8000-000000000001", "title": "Buy milk" });
    let purge = "mutation($input: TodoInput!) { purgeTodo(input: $input) { purgedTodoId } }";
    join_all((0..6).map(async |_| {
        for _ in 0..50 {
            assert_eq!(ada.todo("createTodo", input.clone()).await["title"], "Buy milk");
            ada.ask(purge, json!({ "input": { "id": input["id"] } })).await;
        }
    }))
    .await;
}

#[tokio::test]
async fn a_creation_can_be_repeated_across_deployments() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let sent = json!({ "id": "0192c0de-0000-7000-8000-000000000001", "title": "Buy milk" });
    let full = json!({ "id": "0192c0de-0000-7000-8000-000000000002", "title": "Buy milk", "description": "two litres",
        "priority": "HIGH", "dueAt": "2030-01-02T03:04:05+01:00", "tags": ["home"] });
    // What versions before 2026-11-26 hashed; this one finds the same in its own rows.
    for (input, hashed) in [
        (sent, r#"{"description":"","due_at":null,"priority":"NONE","tags":[],"title":"Buy milk"}"#),
        (
            full,
            r#"{"description":"two litres","due_at":"2030-01-02T02:04:05.000000Z","priority":"HIGH","tags":["home"],"title":"Buy milk"}"#,
        ),
    ] {
        let created = ada.todo("createTodo", input.clone()).await;
        let stored = format!(
            "SELECT (creation_hash = sha256(convert_to('{hashed}', 'UTF8')))::text AS text FROM todos WHERE id = '{}'",
            input["id"].as_str().unwrap()
        );
        assert_eq!(rows(&app, &stored).await, ["true"]);
        assert_eq!(ada.todo("createTodo", input).await, created);
    }
    // Sending a default is the same as not sending the field.
    let explicit = json!({ "id": "0192c0de-0000-7000-8000-000000000001", "title": "Buy milk", "description": "",
        "priority": "NONE", "dueAt": null, "tags": [] });
    assert_eq!(ada.todo("createTodo", explicit).await["title"], "Buy milk");
}

#[tokio::test]
async fn a_repeated_conditional_write_gives_the_same_answer() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let id = ada.create("a").await["id"].clone();
    let full = json!({ "title": " b ", "description": "c", "priority": "HIGH", "dueAt": "2030-01-01T01:00:00.123456+01:00",
        "tags": ["x", "y", " x "] });
    let empty = json!({ "description": null, "priority": null, "dueAt": null, "tags": null });
    let mut version = 1;
    for (mutation, fields) in [
        ("updateTodo", full),
        ("updateTodo", empty),
        ("completeTodo", json!({})),
        ("reopenTodo", json!({})),
        ("deleteTodo", json!({})),
        ("restoreTodo", json!({})),
    ] {
        let mut input = fields.clone();
        input["id"] = id.clone();
        input["expectedVersion"] = json!(version);
        let first = ada.todo(mutation, input.clone()).await;
        version += 1;
        assert_eq!(first["version"], version);
        assert_eq!(ada.todo(mutation, input.clone()).await, first, "{mutation}");
        for other in [version - 2, version + 1] {
            input["expectedVersion"] = json!(other);
            assert_eq!(ada.call(mutation, input.clone()).await.code(), "CONFLICT", "{mutation} {other}");
        }
    }
    // One version on, but not as asked; or as asked, but nothing was.
    let stale = |fields: Value| {
        let mut input = fields;
        input["id"] = id.clone();
        input["expectedVersion"] = json!(version - 1);
        input
    };
    for fields in [
        json!({ "title": "other" }),
        json!({ "title": "b", "priority": "LOW" }),
        json!({ "title": "b", "dueAt": "2030-01-01T00:00:00Z" }),
        json!({ "title": "b", "tags": ["x"] }),
        json!({}),
    ] {
        let answer = ada.call("updateTodo", stale(fields.clone())).await;
        assert_eq!(answer.code(), "CONFLICT", "{fields}");
        assert_eq!(answer.error()["extensions"]["currentVersion"], version);
    }
    assert_eq!(ada.call("completeTodo", stale(json!({}))).await.code(), "CONFLICT");
    // Two changes on, the answer of the first is gone.
    ada.todo("updateTodo", json!({ "id": id, "title": "c" })).await;
    assert_eq!(ada.call("restoreTodo", stale(json!({}))).await.code(), "CONFLICT");
    let events = rows(&app, "SELECT count(*)::text AS text FROM todo_events").await;
    assert_eq!(events, ["8"]);
}

#[tokio::test]
async fn a_repeated_undo_gives_the_same_answer() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let bob = Owner::new(&app, "bob@example.com").await;
    let id = ada.create("a").await["id"].clone();
    let update = json!({ "id": id, "title": "b", "dueAt": "2030-01-01T00:00:00Z", "tags": ["x"] });
    for (mutation, input) in [
        ("updateTodo", update.clone()),
        ("completeTodo", json!({ "id": id })),
        ("deleteTodo", json!({ "id": id })),
    ] {
        ada.todo(mutation, input).await;
        let event = ada.last_event(&id).await;
        let undone = ada.todo("undo", json!({ "eventId": event })).await;
        assert_eq!(ada.todo("undo", json!({ "eventId": event })).await, undone, "{mutation}");
        // Other fields may have changed since.
        let later = ada.todo("updateTodo", json!({ "id": id, "description": mutation })).await;
        assert_eq!(ada.todo("undo", json!({ "eventId": event })).await, later, "{mutation}");
        assert_eq!(bob.call("undo", json!({ "eventId": event })).await.code(), "NOT_FOUND");
    }
    // A creation that has been undone is in the trash, and out of it no longer undone.
    let made = ada.create("b").await["id"].clone();
    let creation = ada.last_event(&made).await;
    let trashed = ada.todo("undo", json!({ "eventId": creation })).await;
    assert_eq!(ada.todo("undo", json!({ "eventId": creation })).await, trashed);
    ada.todo("restoreTodo", json!({ "id": made })).await;
    assert_eq!(ada.call("undo", json!({ "eventId": creation })).await.code(), "CONFLICT");

    // The same value by other ways is no undo.
    ada.todo("updateTodo", json!({ "id": id, "title": "b" })).await;
    let event = ada.last_event(&id).await;
    ada.todo("updateTodo", json!({ "id": id, "title": "c" })).await;
    ada.todo("updateTodo", json!({ "id": id, "title": "a" })).await;
    assert_eq!(ada.call("undo", json!({ "eventId": event })).await.code(), "CONFLICT");
    // An undone event whose fields have changed again is not undone.
    ada.todo("updateTodo", json!({ "id": id, "title": "d" })).await;
    let event = ada.last_event(&id).await;
    ada.todo("undo", json!({ "eventId": event })).await;
    ada.todo("updateTodo", json!({ "id": id, "title": "e" })).await;
    assert_eq!(ada.call("undo", json!({ "eventId": event })).await.code(), "CONFLICT");

    // At once: one takes effect, and all get its answer.
    let answers = futures_util::future::join_all(
        (0..10).map(|_| async { ada.todo("updateTodo", json!({ "id": id, "title": "f" })).await }),
    );
    answers.await;
    let event = ada.last_event(&id).await;
    let answers =
        futures_util::future::join_all((0..10).map(|_| ada.todo("undo", json!({ "eventId": event })))).await;
    assert!(answers.iter().all(|todo| *todo == answers[0]), "{answers:#?}");
}

#[tokio::test]
async fn a_reversal_by_hand_is_a_change_like_any_other() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let id =
        ada.todo("createTodo", json!({ "title": "a", "dueAt": "2030-01-01T00:00:00Z" })).await["id"].clone();
    ada.todo("updateTodo", json!({ "id": id, "dueAt": "2031-01-01T00:00:00Z" })).await;
    let event = ada.last_event(&id).await;
    app.database.sql("SET TIME ZONE 'Asia/Tokyo'; UPDATE todos SET due_at = '2030-01-01T00:00:00Z'").await;
    assert_eq!(ada.call("undo", json!({ "eventId": event })).await.code(), "CONFLICT");
    let by_hand = json!({ "eventId": ada.last_event(&id).await });
    for _ in 0..2 {
        assert_eq!(ada.todo("undo", by_hand.clone()).await["dueAt"], "2031-01-01T00:00:00.000000Z");
    }
}
