//! Undo by the events that payloads carry.

use serde_json::{Value, json};

use crate::support::{Answer, Owner, TestApp, rows};

const MANY: &str = "todos { id title completed version } events { id kind }";

async fn one(owner: &Owner<'_>, mutation: &str, input: Value) -> Value {
    owner.call_with_event(mutation, input).await.data(mutation).clone()
}

async fn many(owner: &Owner<'_>, mutation: &str, kind: &str, input: Value) -> Value {
    let query = format!("mutation($input: {kind}!) {{ {mutation}(input: $input) {{ {MANY} }} }}");
    owner.ask(&query, json!({ "input": input })).await.data(mutation).clone()
}

async fn undo_events(owner: &Owner<'_>, ids: &[&Value]) -> Answer {
    let query = format!("mutation($input: UndoEventsInput!) {{ undoEvents(input: $input) {{ {MANY} }} }}");
    owner.ask(&query, json!({ "input": { "eventIds": ids } })).await
}

async fn count_events(app: &TestApp) -> String {
    rows(app, "SELECT count(*)::text AS text FROM todo_events").await.remove(0)
}

#[tokio::test]
async fn the_event_of_a_payload_undoes_its_mutation() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let made = one(&ada, "createTodo", json!({ "title": "a" })).await;
    assert_eq!(made["event"]["kind"], "CREATED");
    let id = made["todo"]["id"].clone();
    for (mutation, kind, input) in [
        ("updateTodo", "UPDATED", json!({ "id": id, "title": "b" })),
        ("completeTodo", "COMPLETED", json!({ "id": id })),
        ("deleteTodo", "DELETED", json!({ "id": id })),
    ] {
        let written = one(&ada, mutation, input).await;
        assert_eq!(written["event"]["kind"], kind);
        assert_eq!(ada.last_event(&id).await, written["event"]["id"]);
        let undone = one(&ada, "undo", json!({ "eventId": written["event"]["id"] })).await;
        assert_eq!((&undone["todo"]["title"], &undone["todo"]["completed"]), (&json!("a"), &json!(false)));
        assert_eq!(ada.last_event(&id).await, undone["event"]["id"]);
        let redone = one(&ada, "undo", json!({ "eventId": undone["event"]["id"] })).await;
        assert_eq!(redone["event"]["changes"], written["event"]["changes"]);
        one(&ada, "undo", json!({ "eventId": redone["event"]["id"] })).await;
    }
    let other = one(&ada, "createTodo", json!({ "title": "b" })).await;
    let undone = one(&ada, "undo", json!({ "eventId": other["event"]["id"] })).await;
    assert_eq!(undone["event"]["kind"], "DELETED");
}

#[tokio::test]
async fn a_mutation_that_changes_nothing_has_no_event() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let open = ada.create("a").await["id"].clone();
    let done = ada.create("b").await["id"].clone();
    ada.todo("completeTodo", json!({ "id": done })).await;
    for (mutation, input) in [
        ("completeTodo", json!({ "id": done })),
        ("completeTodo", json!({ "id": done, "expectedVersion": 2 })),
        ("reopenTodo", json!({ "id": open })),
        ("updateTodo", json!({ "id": open, "title": "a" })),
        ("updateTodo", json!({ "id": open })),
    ] {
        assert_eq!(one(&ada, mutation, input).await["event"], Value::Null, "{mutation}");
    }
    let written = many(&ada, "completeTodos", "TodosInput", json!({ "ids": [done, open] })).await;
    assert_eq!((&written["todos"][0]["id"], &written["todos"][1]["id"]), (&done, &open));
    assert_eq!((&written["events"][0], &written["events"][1]["kind"]), (&Value::Null, &json!("COMPLETED")));
    assert_eq!(ada.last_event(&open).await, written["events"][1]["id"]);
    // Also if the same request has changed the todo before.
    let query = format!(
        "mutation {{ a: reopenTodo(input: {{ id: {open} }}) {{ event {{ kind }} }}
            b: reopenTodo(input: {{ id: {open} }}) {{ event {{ kind }} }} }}"
    );
    let answer = ada.ask(&query, Value::Null).await;
    assert_eq!(
        (&answer.data("a")["event"]["kind"], &answer.data("b")["event"]),
        (&json!("REOPENED"), &Value::Null)
    );
}

#[tokio::test]
async fn a_repeated_request_has_the_event_of_the_first() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let id = json!("0192c0de-0000-7000-8000-000000000001");
    let create = json!({ "id": id, "title": "a" });
    let created = one(&ada, "createTodo", create.clone()).await["event"].clone();
    assert_eq!(one(&ada, "createTodo", create.clone()).await["event"], created);
    for (mutation, input) in [
        ("updateTodo", json!({ "id": id, "title": "b", "expectedVersion": 1 })),
        ("completeTodo", json!({ "id": id, "expectedVersion": 2 })),
    ] {
        let first = one(&ada, mutation, input.clone()).await;
        assert!(first["event"]["id"].is_string());
        assert_eq!(one(&ada, mutation, input).await, first, "{mutation}");
    }
    let undo = json!({ "eventId": ada.last_event(&id).await });
    let first = one(&ada, "undo", undo.clone()).await["event"].clone();
    assert_eq!(one(&ada, "undo", undo.clone()).await["event"], first);
    ada.todo("updateTodo", json!({ "id": id, "title": "c" })).await;
    assert_eq!(one(&ada, "undo", undo).await["event"], first);
    assert_eq!(one(&ada, "createTodo", create.clone()).await["event"], created);
    // A todo that was created again after a purge.
    ada.ask("mutation($id: ID!) { purgeTodo(input: { id: $id }) { eventId } }", json!({ "id": id })).await;
    let again = one(&ada, "createTodo", create.clone()).await["event"].clone();
    assert_ne!(again, created);
    assert_eq!(one(&ada, "createTodo", create).await["event"], again);
}

#[tokio::test]
async fn the_events_of_a_bulk_write_are_undone_together() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let new = json!({ "todos": [{ "title": "a" }, { "title": "b" }, { "title": "c" }] });
    let made = many(&ada, "createTodos", "CreateTodosInput", new).await;
    let ids: Vec<_> = made["todos"].as_array().unwrap().iter().map(|todo| todo["id"].clone()).collect();
    assert!(made["events"].as_array().unwrap().iter().all(|event| event["kind"] == "CREATED"));
    let written = many(&ada, "updateTodos", "UpdateTodosInput", json!({ "ids": ids, "title": "x" })).await;
    let events: Vec<_> = written["events"].as_array().unwrap().iter().map(|event| &event["id"]).collect();
    let order = [events[2], events[0], events[1], events[0]];
    let undone = undo_events(&ada, &order).await.data("undoEvents").clone();
    let titles: Vec<_> =
        undone["todos"].as_array().unwrap().iter().map(|todo| todo["title"].clone()).collect();
    assert_eq!(titles, ["c", "a", "b"]);
    assert_eq!(*undo_events(&ada, &order).await.data("undoEvents"), undone);
    let inverses: Vec<_> = undone["events"].as_array().unwrap().iter().map(|event| &event["id"]).collect();
    let redone = undo_events(&ada, &inverses).await.data("undoEvents").clone();
    assert!(redone["todos"].as_array().unwrap().iter().all(|todo| todo["title"] == "x"));
    assert_eq!(count_events(&app).await, "12");

    // One todo has changed since: nothing is undone.
    ada.todo("updateTodo", json!({ "id": ids[1], "title": "y" })).await;
    let redone: Vec<_> = redone["events"].as_array().unwrap().iter().map(|event| &event["id"]).collect();
    let conflict = undo_events(&ada, &redone).await;
    assert_eq!(conflict.code(), "CONFLICT");
    assert_eq!(conflict.error()["extensions"]["todo"]["id"], ids[1]);
    let unknown = json!("0192c0de-0000-7000-8000-00000000abcd");
    assert_eq!(undo_events(&ada, &[redone[0], &unknown]).await.code(), "NOT_FOUND");
    assert_eq!(count_events(&app).await, "13");
    assert_eq!(undo_events(&ada, &[]).await.code(), "BAD_USER_INPUT");
    assert_eq!(undo_events(&ada, &[redone[0]; 101]).await.code(), "BAD_USER_INPUT");
}

#[tokio::test]
async fn several_events_of_a_todo_are_undone_from_the_latest_on() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let id = ada.create("a").await["id"].clone();
    let mut events = Vec::new();
    for input in
        [json!({ "title": "b" }), json!({ "title": "c", "priority": "LOW" }), json!({ "title": "d" })]
    {
        let mut input = input;
        input["id"] = id.clone();
        events.push(one(&ada, "updateTodo", input).await["event"]["id"].clone());
    }
    // The title has changed again since the first two.
    assert_eq!(undo_events(&ada, &[&events[0], &events[1]]).await.code(), "CONFLICT");
    assert_eq!(count_events(&app).await, "4");
    let all = [&events[0], &events[2], &events[1]];
    let undone = undo_events(&ada, &all).await.data("undoEvents").clone();
    let todo = json!({ "id": id, "title": "a", "completed": false, "version": 5 });
    assert_eq!(undone["todos"], json!([todo, todo, todo]));
    // One event reverts them all.
    let last = json!({ "id": ada.last_event(&id).await, "kind": "UPDATED" });
    assert_eq!(undone["events"], json!([last, last, last]));
    assert_eq!(*undo_events(&ada, &all).await.data("undoEvents"), undone);
    ada.todo("updateTodo", json!({ "id": id, "title": "e" })).await;
    assert_eq!(undo_events(&ada, &all).await.code(), "CONFLICT");
    assert_eq!(count_events(&app).await, "6");
}

/// Sets the priority of a todo; returns the identifier of the event.
async fn set_priority(owner: &Owner<'_>, id: &Value, priority: &str) -> Value {
    let input = json!({ "id": id, "priority": priority });
    one(owner, "updateTodo", input).await["event"]["id"].clone()
}

async fn priority_and_version(owner: &Owner<'_>, id: &Value) -> Value {
    let query = "query($id: ID!) { todo(id: $id) { priority version } }";
    owner.ask(query, json!({ "id": id })).await.data("todo").clone()
}

#[tokio::test]
async fn equal_changes_are_told_apart() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let id = ada.create("a").await["id"].clone();
    let high = set_priority(&ada, &id, "HIGH").await;
    let first = one(&ada, "undo", json!({ "eventId": high })).await["event"].clone();
    // Set by hand again: a late repetition of the undo must not revert this.
    set_priority(&ada, &id, "HIGH").await;
    let repeated = ada.call("undo", json!({ "eventId": high })).await;
    assert_eq!(repeated.code(), "CONFLICT");
    assert_eq!(priority_and_version(&ada, &id).await, json!({ "priority": "HIGH", "version": 4 }));
    // Undone by hand in the same way: not the event of the undo.
    set_priority(&ada, &id, "NONE").await;
    assert_eq!(ada.call("undo", json!({ "eventId": high })).await.code(), "CONFLICT");

    let there = set_priority(&ada, &id, "HIGH").await;
    let back = set_priority(&ada, &id, "NONE").await;
    let again = set_priority(&ada, &id, "HIGH").await;
    let all = [&there, &back, &again];
    let undone = undo_events(&ada, &all).await.data("undoEvents").clone();
    assert_eq!(*undo_events(&ada, &all).await.data("undoEvents"), undone);
    assert_eq!(priority_and_version(&ada, &id).await, json!({ "priority": "NONE", "version": 9 }));
    let inverse = &undone["events"][0]["id"];
    assert_ne!(*inverse, first["id"]);
    undo_events(&ada, &[inverse]).await.data("undoEvents");
    assert_eq!(priority_and_version(&ada, &id).await, json!({ "priority": "HIGH", "version": 10 }));
}

#[tokio::test]
async fn events_that_cancel_each_other_out_are_undone_without_a_change() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let id = ada.create("a").await["id"].clone();
    let there = set_priority(&ada, &id, "HIGH").await;
    let back = set_priority(&ada, &id, "NONE").await;
    for _ in 0..2 {
        let undone = undo_events(&ada, &[&there, &back]).await.data("undoEvents").clone();
        assert_eq!((&undone["todos"][0]["version"], &undone["events"]), (&json!(3), &json!([null, null])));
    }
    assert_eq!(count_events(&app).await, "3");
}

#[tokio::test]
async fn a_conflict_shows_the_first_todo_of_the_input_as_it_is() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let mut events = Vec::new();
    for title in ["a", "b"] {
        let id = ada.create(title).await["id"].clone();
        let old = set_priority(&ada, &id, "HIGH").await;
        let new = one(&ada, "updateTodo", json!({ "id": id, "title": "c" })).await["event"]["id"].clone();
        set_priority(&ada, &id, "LOW").await;
        events.push((id, old, new));
    }
    events.sort_by_key(|(id, ..)| id.to_string());
    let [(first, first_old, first_new), (second, second_old, second_new)] =
        <[_; 2]>::try_from(events).unwrap();
    for (order, id) in [
        ([&first_new, &first_old, &second_new, &second_old], &first),
        ([&second_new, &second_old, &first_new, &first_old], &second),
    ] {
        let conflict = undo_events(&ada, &order).await;
        let shown = &conflict.error()["extensions"];
        assert_eq!((conflict.code(), &shown["todo"]["id"]), ("CONFLICT", id));
        assert_eq!((&shown["currentVersion"], &shown["todo"]["version"]), (&json!(4), &json!(4)));
        assert_eq!(priority_and_version(&ada, id).await["version"], 4);
    }
    assert_eq!(count_events(&app).await, "8");
}

#[tokio::test]
async fn a_creation_and_later_changes_are_undone_together() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let made = one(&ada, "createTodo", json!({ "title": "a" })).await;
    let id = &made["todo"]["id"];
    let created = &made["event"]["id"];
    let changed = one(&ada, "updateTodo", json!({ "id": id, "title": "b" })).await["event"]["id"].clone();
    assert_eq!(undo_events(&ada, &[created]).await.code(), "CONFLICT");
    let undone = undo_events(&ada, &[created, &changed]).await.data("undoEvents").clone();
    assert_eq!(
        (&undone["todos"][0]["title"], &undone["events"][0]["kind"]),
        (&json!("a"), &json!("DELETED"))
    );
    assert_eq!(*undo_events(&ada, &[created, &changed]).await.data("undoEvents"), undone);
    let redone = undo_events(&ada, &[&undone["events"][0]["id"]]).await.data("undoEvents").clone();
    assert_eq!(
        (&redone["todos"][0]["title"], &redone["events"][0]["kind"]),
        (&json!("b"), &json!("RESTORED"))
    );
}

#[tokio::test]
async fn of_many_who_undo_the_same_events_all_get_the_answer_of_one() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let mut events = Vec::new();
    for title in ["a", "b", "c", "d"] {
        let made = one(&ada, "createTodo", json!({ "title": title })).await;
        let input = json!({ "id": made["todo"]["id"] });
        events.push(one(&ada, "completeTodo", input).await["event"]["id"].clone());
    }
    let forward: Vec<_> = events.iter().collect();
    let backward: Vec<_> = events.iter().rev().collect();
    let all = (0..10).map(|n| undo_events(&ada, if n % 2 == 0 { &forward } else { &backward }));
    for (index, answer) in futures_util::future::join_all(all).await.iter().enumerate() {
        let mut todos = answer.data("undoEvents")["todos"].as_array().unwrap().clone();
        if index % 2 == 1 {
            todos.reverse();
        }
        let titles: Vec<_> = todos.iter().map(|todo| todo["title"].as_str().unwrap()).collect();
        assert_eq!(titles, ["a", "b", "c", "d"]);
        assert!(todos.iter().all(|todo| todo["completed"] == false && todo["version"] == 3));
    }
    assert_eq!(count_events(&app).await, "12");
}
