//! Todos as their owners use them.

use serde_json::{Value, json};

use crate::support::{Owner, TestApp, rows};

#[tokio::test]
async fn a_todo_lives_from_creation_to_purge() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let input = json!({ "title": "  Buy milk ", "description": "two\nlitres", "priority": "HIGH",
        "dueAt": "2030-01-02T03:04:05+01:00", "tags": ["home", " home ", "shop"] });
    let made = ada.todo("createTodo", input).await;
    assert_eq!((&made["title"], &made["tags"]), (&json!("Buy milk"), &json!(["home", "shop"])));
    assert_eq!((&made["dueAt"], &made["version"]), (&json!("2030-01-02T02:04:05.000000Z"), &json!(1)));
    assert_eq!(
        (&made["completed"], &made["completedAt"], &made["deletedAt"]),
        (&json!(false), &Value::Null, &Value::Null)
    );
    let id = made["id"].as_str().unwrap();

    let changed = ada.todo("updateTodo", json!({ "id": id, "dueAt": null, "title": "Buy oat milk" })).await;
    assert_eq!(
        (&changed["dueAt"], &changed["title"], &changed["version"]),
        (&Value::Null, &json!("Buy oat milk"), &json!(2))
    );
    assert_eq!(changed["description"], "two\nlitres");
    let same = ada.todo("updateTodo", json!({ "id": id })).await;
    assert_eq!(same, changed);
    let same = ada.todo("updateTodo", json!({ "id": id, "title": "Buy oat milk", "priority": "HIGH" })).await;
    assert_eq!(same, changed);

    let done = ada.todo("completeTodo", json!({ "id": id })).await;
    assert_eq!((&done["completed"], &done["version"]), (&json!(true), &json!(3)));
    app.pass(60).await;
    assert_eq!(ada.todo("completeTodo", json!({ "id": id })).await, done);
    let open = ada.todo("reopenTodo", json!({ "id": id })).await;
    assert_eq!((&open["completed"], &open["completedAt"]), (&json!(false), &Value::Null));

    let gone = ada.todo("deleteTodo", json!({ "id": id })).await;
    assert!(gone["deletedAt"].is_string());
    assert!(ada.titles("").await.is_empty());
    assert_eq!(ada.titles("(filter: { inTrash: true })").await, ["Buy oat milk"]);
    let back = ada.todo("restoreTodo", json!({ "id": id })).await;
    assert_eq!((&back["deletedAt"], &back["version"]), (&Value::Null, &json!(6)));
    let query = "query($id: ID!) { todo(id: $id) { title } }";
    assert_eq!(ada.ask(query, json!({ "id": id })).await.data("todo")["title"], "Buy oat milk");

    let purge = format!("mutation {{ purgeTodo(input: {{ id: \"{id}\" }}) {{ purgedTodoId }} }}");
    assert_eq!(ada.ask(&purge, Value::Null).await.data("purgeTodo")["purgedTodoId"], id);
    let missing = ada.ask(query, json!({ "id": id })).await;
    assert_eq!((missing.code(), &missing.body["data"]), ("NOT_FOUND", &json!({ "todo": null })));
    let left = rows(
        &app,
        "SELECT count(*)::text AS text FROM todo_events WHERE before IS NOT NULL OR after IS NOT NULL",
    )
    .await;
    assert_eq!(left, ["0"]);
}

#[tokio::test]
async fn what_breaks_a_rule_is_named_all_at_once() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let bad = json!({ "id": "x", "title": " ", "description": "a\u{0}", "tags": [""], "dueAt": "0000-01-01T00:00:00Z" });
    let answer = ada.call("createTodo", bad).await;
    assert_eq!(answer.code(), "BAD_USER_INPUT");
    let fields = answer.error()["extensions"]["fields"].as_array().unwrap();
    let paths: Vec<_> = fields.iter().map(|field| field["path"][1].as_str().unwrap()).collect();
    assert_eq!(paths, ["id", "title", "description", "dueAt", "tags"]);
    let todo = ada.create("a").await;
    let answer = ada.call("updateTodo", json!({ "id": todo["id"], "title": null })).await;
    assert_eq!(answer.error()["extensions"]["fields"][0]["path"], json!(["input", "title"]));
    let answer = ada
        .ask(
            "{ todos(first: 101, after: \"x\", filter: { tags: { any: [\"\"] } }) { nodes { id } } }",
            Value::Null,
        )
        .await;
    assert_eq!(answer.error()["extensions"]["fields"].as_array().unwrap().len(), 2);
    let query =
        "mutation { createTodos(input: { todos: [{ title: \"a\" }, { title: \"\" }] }) { todos { id } } }";
    let answer = ada.ask(query, Value::Null).await;
    assert_eq!(answer.error()["extensions"]["fields"][0]["path"], json!(["input", "todos", "1", "title"]));
    assert_eq!(ada.titles("").await, ["a"]);
}

#[tokio::test]
async fn nobody_without_a_token_has_todos() {
    let app = TestApp::start().await;
    for query in [
        "{ todos { nodes { id } } }",
        "{ todo(id: \"x\") { id } }",
        "mutation { emptyTrash { purgedCount } }",
    ] {
        let answer = app.ask(query, Value::Null).await;
        assert_eq!(answer.code(), "UNAUTHENTICATED", "{query}");
        assert_eq!(answer.error()["extensions"]["reason"], "MISSING");
    }
}

#[tokio::test]
async fn of_many_writers_who_expect_one_version_one_wins() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let todo = ada.create("0").await;
    for version in 1..=10 {
        let writers = (0..20).map(|writer| {
            let title = format!("{version} by {writer}");
            ada.call("updateTodo", json!({ "id": todo["id"], "expectedVersion": version, "title": title }))
        });
        let answers = futures_util::future::join_all(writers).await;
        let (won, lost): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.body.get("errors").is_none());
        assert_eq!(won.len(), 1, "{answers:#?}");
        let winner = &won[0].data("updateTodo")["todo"];
        assert_eq!(winner["version"], version + 1);
        for answer in lost {
            assert_eq!(answer.code(), "CONFLICT");
            assert_eq!(answer.error()["extensions"]["todo"], *winner);
        }
    }
    let events = rows(&app, "SELECT count(*)::text AS text FROM todo_events").await;
    assert_eq!(events, ["11"]);
}

#[tokio::test]
async fn many_todos_are_written_all_or_none() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let bob = Owner::new(&app, "bob@example.com").await;
    let query =
        "mutation { createTodos(input: { todos: [{ title: \"a\" }, { title: \"b\" }, { title: \"c\" }] }) {
        todos { id title version } } }";
    let made = ada.ask(query, Value::Null).await.data("createTodos")["todos"].clone();
    let ids: Vec<_> = made.as_array().unwrap().iter().rev().map(|todo| todo["id"].clone()).collect();
    assert_eq!(made[2]["title"], "c");
    let strangers = bob.create("d").await["id"].clone();

    let update = "mutation($input: UpdateTodosInput!) { updateTodos(input: $input) { todos { title priority version } } }";
    let answer = ada.ask(update, json!({ "input": { "ids": ids, "priority": "LOW" } })).await;
    let todo = |title| json!({ "title": title, "priority": "LOW", "version": 2 });
    assert_eq!(answer.data("updateTodos")["todos"], json!([todo("c"), todo("b"), todo("a")]));
    for field in ["completeTodos", "reopenTodos", "deleteTodos", "restoreTodos"] {
        let query =
            format!("mutation($input: TodosInput!) {{ {field}(input: $input) {{ todos {{ version }} }} }}");
        let mut mixed = ids.clone();
        mixed.push(strangers.clone());
        assert_eq!(ada.ask(&query, json!({ "input": { "ids": mixed } })).await.code(), "NOT_FOUND");
        assert_eq!(ada.ask(&query, json!({ "input": { "ids": [] } })).await.code(), "BAD_USER_INPUT");
        let answer = ada.ask(&query, json!({ "input": { "ids": ids } })).await;
        assert_eq!(answer.data(field)["todos"].as_array().unwrap().len(), 3);
    }
    let purge = "mutation($input: TodosInput!) { purgeTodos(input: $input) { purgedTodoIds } }";
    let answer = ada.ask(purge, json!({ "input": { "ids": [ids[0], strangers] } })).await;
    assert_eq!(answer.code(), "NOT_FOUND");
    assert_eq!(ada.titles("(orderBy: { field: TITLE })").await, ["a", "b", "c"]);
    let answer = ada.ask(purge, json!({ "input": { "ids": ids } })).await;
    assert_eq!(answer.data("purgeTodos")["purgedTodoIds"], json!(ids));
    let many: Vec<_> = (0..101).map(|_| ids[0].clone()).collect();
    assert_eq!(ada.ask(purge, json!({ "input": { "ids": many } })).await.code(), "BAD_USER_INPUT");

    ada.create("e").await;
    let trashed = ada.create("f").await;
    ada.todo("deleteTodo", json!({ "id": trashed["id"] })).await;
    let answer = ada.ask("mutation { emptyTrash { purgedCount } }", Value::Null).await;
    assert_eq!(answer.data("emptyTrash")["purgedCount"], 1);
    assert_eq!((ada.titles("").await, bob.titles("").await), (vec!["e".to_owned()], vec!["d".to_owned()]));
}

#[tokio::test]
async fn history_says_what_changed_and_undo_takes_it_back() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let id = ada.create("a").await["id"].clone();
    ada.todo("updateTodo", json!({ "id": id, "title": "b", "dueAt": "2030-01-01T00:00:00Z" })).await;
    let query = "query($id: ID!) { todo(id: $id) { history(first: 50) { totalCount nodes { id kind at
        changes { field before after } } } } }";
    let history = async || ada.ask(query, json!({ "id": id })).await.data("todo")["history"].clone();
    let events = history().await;
    assert_eq!(events["totalCount"], 2);
    let (update, creation) = (&events["nodes"][0], &events["nodes"][1]);
    assert_eq!((&update["kind"], &creation["kind"]), (&json!("UPDATED"), &json!("CREATED")));
    assert_eq!(
        update["changes"],
        json!([
            { "field": "TITLE", "before": "a", "after": "b" },
            { "field": "DUE_AT", "before": null, "after": "2030-01-01T00:00:00.000000Z" }
        ])
    );
    let undone = ada.todo("undo", json!({ "eventId": update["id"] })).await;
    assert_eq!(
        (&undone["title"], &undone["dueAt"], &undone["version"]),
        (&json!("a"), &Value::Null, &json!(3))
    );
    assert_eq!(ada.todo("undo", json!({ "eventId": update["id"] })).await, undone);
    let undo = history().await["nodes"][0]["id"].clone();
    assert_eq!(ada.todo("undo", json!({ "eventId": undo })).await["title"], "b");

    // What has changed since stays; what has not may go back although other fields have changed.
    ada.todo("completeTodo", json!({ "id": id })).await;
    let completion = history().await["nodes"][0]["id"].clone();
    ada.todo("updateTodo", json!({ "id": id, "title": "c" })).await;
    assert_eq!(ada.call("undo", json!({ "eventId": undo })).await.code(), "CONFLICT");
    assert_eq!(ada.todo("undo", json!({ "eventId": completion })).await["completed"], false);
    assert_eq!(history().await["nodes"][0]["kind"], "REOPENED");

    assert_eq!(ada.call("undo", json!({ "eventId": creation["id"] })).await.code(), "CONFLICT");
    let other = ada.create("x").await["id"].clone();
    let events = ada.ask(query, json!({ "id": other })).await.data("todo")["history"]["nodes"].clone();
    assert!(ada.todo("undo", json!({ "eventId": events[0]["id"] })).await["deletedAt"].is_string());
    assert_eq!(ada.call("undo", json!({ "eventId": other })).await.code(), "NOT_FOUND");
    let named = rows(
        &app,
        "SELECT DISTINCT (request_id IS NOT NULL AND actor_id = user_id)::text AS text FROM todo_events",
    )
    .await;
    assert_eq!(named, ["true"]);
}

#[tokio::test]
async fn an_identifier_in_capitals_is_echoed_in_lower_case() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let id = "0192c0de-abcd-7000-8000-00000000beef";
    let capitals = "0192C0DE-ABCD-7000-8000-00000000BEEF";
    let made = ada.todo("createTodo", json!({ "id": capitals, "title": "a" })).await;
    assert_eq!(made["id"], id);
    assert_eq!(ada.todo("createTodo", json!({ "id": id, "title": "a" })).await, made);
    let conflict = ada.call("createTodo", json!({ "id": capitals, "title": "b" })).await;
    assert_eq!(conflict.error()["extensions"]["todo"]["id"], id);
    for mutation in ["updateTodo", "completeTodo", "reopenTodo", "deleteTodo", "restoreTodo"] {
        assert_eq!(ada.todo(mutation, json!({ "id": capitals })).await["id"], id, "{mutation}");
    }
    let query = "query($id: ID!) { todo(id: $id) { id } }";
    assert_eq!(ada.ask(query, json!({ "id": capitals })).await.data("todo")["id"], id);
    let event = ada.last_event(&json!(id)).await.as_str().unwrap().to_uppercase();
    assert_eq!(ada.todo("undo", json!({ "eventId": event })).await["id"], id);
    let many = "mutation($input: TodosInput!) { completeTodos(input: $input) { todos { id } } }";
    let answer = ada.ask(many, json!({ "input": { "ids": [capitals, id] } })).await;
    assert_eq!(answer.data("completeTodos")["todos"], json!([{ "id": id }]));
    let purge = "mutation($input: TodoInput!) { purgeTodo(input: $input) { purgedTodoId } }";
    let answer = ada.ask(purge, json!({ "input": { "id": capitals } })).await;
    assert_eq!(answer.data("purgeTodo")["purgedTodoId"], id);
    ada.todo("createTodo", json!({ "id": id, "title": "a" })).await;
    let purge = "mutation($input: TodosInput!) { purgeTodos(input: $input) { purgedTodoIds } }";
    let answer = ada.ask(purge, json!({ "input": { "ids": [capitals] } })).await;
    assert_eq!(answer.data("purgeTodos")["purgedTodoIds"], json!([id]));

    let session = rows(&app, "SELECT id::text AS text FROM sessions").await.remove(0);
    let end = format!(
        "mutation {{ revokeSession(input: {{ id: \"{}\" }}) {{ revokedSessionIds }} }}",
        session.to_uppercase()
    );
    let answer = ada.ask(&end, Value::Null).await;
    assert_eq!(answer.data("revokeSession")["revokedSessionIds"], json!([session]));
}

#[tokio::test]
async fn the_trash_empties_itself_after_its_time() {
    let app = TestApp::with(&["--trash-retention=30d"]).await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let todo = ada.create("old").await;
    ada.create("kept").await;
    ada.todo("deleteTodo", json!({ "id": todo["id"] })).await;
    app.pass(29 * 86_400).await;
    todo_api::housekeeping::delete_expired(&app.state).await.unwrap();
    assert_eq!(rows(&app, "SELECT count(*)::text AS text FROM todos").await, ["2"]);
    app.pass(2 * 86_400).await;
    todo_api::housekeeping::delete_expired(&app.state).await.unwrap();
    assert_eq!(rows(&app, "SELECT title AS text FROM todos").await, ["kept"]);
    let last = rows(
        &app,
        "SELECT kind || coalesce(actor_id::text, ' by nobody') AS text FROM todo_events ORDER BY number DESC LIMIT 1",
    );
    assert_eq!(last.await, ["PURGED by nobody"]);
}

#[tokio::test]
async fn a_write_is_finished_though_its_client_goes_away() {
    use tokio::io::AsyncWriteExt;

    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let todos: Vec<_> = (0..100).map(|n| json!({ "title": n.to_string() })).collect();
    let query = "mutation($input: CreateTodosInput!) { createTodos(input: $input) { todos { id } } }";
    let body = json!({ "query": query, "variables": { "input": { "todos": todos } } }).to_string();
    // The row that numbers the events is held, so that the write is under way when the client goes.
    let mut holder = app.database.connect().await;
    ada.create("first").await;
    let hold = "BEGIN; SELECT FROM todo_event_counters FOR UPDATE";
    diesel_async::SimpleAsyncConnection::batch_execute(&mut holder, hold).await.unwrap();
    let mut stream = tokio::net::TcpStream::connect(app.address).await.unwrap();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        ada.token,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let waiting = "SELECT count(*)::text AS text FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while rows(&app, waiting).await != ["1"] {}
    drop(stream);
    assert_eq!(rows(&app, "SELECT count(*)::text AS text FROM todos").await, ["1"]);
    diesel_async::SimpleAsyncConnection::batch_execute(&mut holder, "COMMIT").await.unwrap();
    while rows(&app, "SELECT count(*)::text AS text FROM todos").await != ["101"] {}
}

#[tokio::test]
async fn what_is_done_by_sql_is_done_for_clients_too() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let made = "INSERT INTO todos (user_id, title, completed) SELECT id, 'moved in', true FROM users";
    app.database.sql(made).await;
    let query =
        "{ todos { nodes { id completed completedAt createdAt version history { nodes { kind } } } } }";
    let todo = async || ada.ask(query, Value::Null).await.data("todos")["nodes"][0].clone();
    let seen = todo().await;
    assert_eq!((&seen["completed"], &seen["completedAt"]), (&json!(true), &seen["createdAt"]));
    app.database.sql("UPDATE todos SET completed = false").await;
    let seen = todo().await;
    assert_eq!(
        (&seen["completed"], &seen["completedAt"], &seen["version"]),
        (&json!(false), &Value::Null, &json!(2))
    );
    app.database.sql("UPDATE todos SET completed = true").await;
    let seen = todo().await;
    assert!(seen["completed"] == true && seen["completedAt"].is_string());
    assert_eq!(seen["history"]["nodes"][0]["kind"], "COMPLETED");
}

#[tokio::test]
async fn a_change_does_not_store_a_long_description_again() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    // Random, so that it is too long for its row even when compressed.
    let description: String = (0..5_000).map(|_| fastrand::alphanumeric()).collect();
    let id = ada.todo("createTodo", json!({ "title": "Buy milk", "description": description })).await["id"]
        .clone();
    let table = rows(
        &app,
        "SELECT reltoastrelid::regclass::text AS text FROM pg_class WHERE oid = 'todos'::regclass",
    )
    .await;
    let stored = format!("SELECT DISTINCT chunk_id::text AS text FROM {}", table[0]);
    let before = rows(&app, &stored).await;
    ada.todo("completeTodo", json!({ "id": id })).await;
    let after = rows(&app, &stored).await;
    assert!(before.iter().any(|value| after.contains(value)), "{before:?} {after:?}");
}
