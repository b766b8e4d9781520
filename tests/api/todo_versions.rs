//! Mutations on several todos, each with the version that it must have.

use serde_json::{Value, json};

use crate::support::{Answer, Owner, TestApp, rows};

async fn call(owner: &Owner<'_>, mutation: &str, input: Value) -> Answer {
    let kind = if mutation == "updateTodos" { "UpdateTodosInput" } else { "TodosInput" };
    let selection =
        if mutation == "purgeTodos" { "purgedTodoIds" } else { "todos { id title version } events { id }" };
    let query = format!("mutation($input: {kind}!) {{ {mutation}(input: $input) {{ {selection} }} }}");
    owner.ask(&query, json!({ "input": input })).await
}

fn targets(todos: &[(&Value, Option<i64>)]) -> Value {
    todos.iter().map(|(id, version)| json!({ "id": id, "expectedVersion": version })).collect()
}

#[tokio::test]
async fn one_todo_with_another_version_is_a_conflict_for_all() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let [a, b, c] =
        [ada.create("a").await, ada.create("b").await, ada.create("c").await].map(|todo| todo["id"].clone());
    ada.todo("updateTodo", json!({ "id": b, "title": "bb" })).await;
    ada.todo("updateTodo", json!({ "id": c, "title": "cc" })).await;
    let state =
        "SELECT string_agg(title || version || completed || in_trash, ' ' ORDER BY title) AS text FROM todos";
    let before = rows(&app, state).await;
    for mutation in
        ["updateTodos", "completeTodos", "reopenTodos", "deleteTodos", "restoreTodos", "purgeTodos"]
    {
        // The first one that differs is reported; any version will do without an expected one.
        let mut input =
            json!({ "todos": targets(&[(&a, Some(1)), (&c, Some(3)), (&b, Some(4)), (&a, Some(1))]) });
        if mutation == "updateTodos" {
            input["title"] = json!("x");
        }
        let answer = call(&ada, mutation, input.clone()).await;
        assert_eq!(answer.code(), "CONFLICT", "{mutation}");
        let extensions = &answer.error()["extensions"];
        assert_eq!((&extensions["todo"]["id"], &extensions["currentVersion"]), (&c, &json!(2)), "{mutation}");
        input["todos"] = targets(&[(&a, None), (&json!("0192c0de-0000-7000-8000-00000000abcd"), None)]);
        assert_eq!(call(&ada, mutation, input).await.code(), "NOT_FOUND", "{mutation}");
    }
    assert_eq!(rows(&app, state).await, before);
    let input = json!({ "todos": targets(&[(&c, Some(2)), (&a, None), (&b, Some(2))]), "title": "x" });
    let answer = call(&ada, "updateTodos", input).await;
    let versions: Vec<_> =
        answer.data("updateTodos")["todos"].as_array().unwrap().iter().map(|todo| &todo["version"]).collect();
    assert_eq!(versions, [3, 2, 3]);
    let input = json!({ "todos": targets(&[(&b, Some(3)), (&a, Some(2))]) });
    assert_eq!(call(&ada, "purgeTodos", input).await.data("purgeTodos")["purgedTodoIds"], json!([b, a]));
}

#[tokio::test]
async fn a_repeated_bulk_write_with_versions_gives_the_same_answer() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let a = ada.create("a").await["id"].clone();
    let done = ada.create("b").await["id"].clone();
    ada.todo("completeTodo", json!({ "id": done })).await;
    let c = ada.create("c").await["id"].clone();
    // One of the three does not change, and keeps its version.
    let input = json!({ "todos": targets(&[(&c, Some(1)), (&done, Some(2)), (&a, Some(1))]) });
    let first = call(&ada, "completeTodos", input.clone()).await.data("completeTodos").clone();
    let versions: Vec<_> = first["todos"].as_array().unwrap().iter().map(|todo| &todo["version"]).collect();
    assert_eq!(versions, [2, 2, 2]);
    let events: Vec<_> =
        first["events"].as_array().unwrap().iter().map(|event| event["id"].is_string()).collect();
    assert_eq!(events, [true, false, true]);
    assert_eq!(*call(&ada, "completeTodos", input.clone()).await.data("completeTodos"), first);
    // Only one of them was written before.
    let d = ada.create("d").await["id"].clone();
    let mixed = json!({ "todos": targets(&[(&a, Some(1)), (&d, Some(1))]) });
    let written = call(&ada, "completeTodos", mixed).await.data("completeTodos").clone();
    assert_eq!((&written["events"][0], &written["todos"][1]["version"]), (&first["events"][2], &json!(2)));
    assert!(written["events"][1]["id"].is_string());
    // One version on, but not as asked.
    ada.todo("reopenTodo", json!({ "id": a })).await;
    assert_eq!(call(&ada, "completeTodos", input.clone()).await.code(), "CONFLICT");
    let other = json!({ "todos": targets(&[(&c, Some(1)), (&d, Some(1))]), "title": "x" });
    assert_eq!(call(&ada, "updateTodos", other).await.code(), "CONFLICT");
    let events = rows(&app, "SELECT count(*)::text AS text FROM todo_events").await;
    assert_eq!(events, ["9"]);
}

#[tokio::test]
async fn todos_are_given_either_by_ids_or_with_versions() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let id = ada.create("a").await["id"].clone();
    for mutation in ["updateTodos", "completeTodos", "purgeTodos"] {
        for (input, path) in [
            (json!({}), json!(["input"])),
            (json!({ "ids": null, "todos": null }), json!(["input"])),
            (json!({ "ids": [id], "todos": [{ "id": id }] }), json!(["input"])),
            (json!({ "ids": [] }), json!(["input", "ids"])),
            (json!({ "todos": [] }), json!(["input", "todos"])),
            (json!({ "todos": vec![json!({ "id": id }); 101] }), json!(["input", "todos"])),
            (json!({ "todos": targets(&[(&id, Some(1)), (&id, None)]) }), json!(["input", "todos", "1"])),
        ] {
            let answer = call(&ada, mutation, input.clone()).await;
            assert_eq!(answer.code(), "BAD_USER_INPUT", "{mutation} {input}");
            assert_eq!(answer.error()["extensions"]["fields"][0]["path"], path, "{mutation} {input}");
        }
    }
    let one = json!({ "todos": [{ "id": id }, { "id": id.as_str().unwrap().to_uppercase() }], "ids": null });
    assert_eq!(
        call(&ada, "completeTodos", one).await.data("completeTodos")["todos"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn of_many_bulk_writers_who_expect_the_same_versions_one_wins() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let ids = [ada.create("a").await["id"].clone(), ada.create("b").await["id"].clone()];
    let writers = (0..10).map(|writer| {
        let order = if writer % 2 == 0 { [&ids[0], &ids[1]] } else { [&ids[1], &ids[0]] };
        let input =
            json!({ "todos": targets(&order.map(|id| (id, Some(1)))), "title": format!("by {writer}") });
        call(&ada, "updateTodos", input)
    });
    let answers = futures_util::future::join_all(writers).await;
    let won = answers.iter().filter(|answer| answer.body.get("errors").is_none()).count();
    assert_eq!(won, 1, "{:#?}", answers.iter().map(|answer| &answer.body).collect::<Vec<_>>());
    assert!(
        answers
            .iter()
            .filter(|answer| answer.body.get("errors").is_some())
            .all(|answer| answer.code() == "CONFLICT")
    );
    assert_eq!(rows(&app, "SELECT DISTINCT version::text AS text FROM todos").await, ["2"]);
}
