use serde_json::{Value, json};

use super::{Asker, data_text};
use crate::support::TestApp;

#[tokio::test]
async fn a_repeated_response_key_runs_once() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    let query = "mutation { createTodo(input: { title: \"d\" }) { todo { id } }
        createTodo(input: { title: \"d\" }) { todo { title } } }";
    let made = ada.ask(query, Value::Null).await.data("createTodo")["todo"].clone();
    assert_eq!(made["title"], "d");
    assert!(made["id"].is_string());
    let query = "mutation($t: String!) { createTodo(input: { title: $t, tags: [] }) { todo { id } } ...F ... { ...F } }
        fragment F on Mutation { createTodo(input: { tags: [], title: $t }) { todo { title tags } } }";
    let made = ada.ask(query, json!({ "t": "e" })).await.data("createTodo")["todo"].clone();
    assert_eq!((&made["title"], &made["tags"]), (&json!("e"), &json!([])));
    assert_eq!(ada.titles("").await, ["e", "d"]);
}

#[tokio::test]
async fn selections_of_one_response_key_are_merged_at_every_level() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    ada.create("a").await;
    let query = "{ todos { nodes { title } } ...A ... on Query { todos { pageInfo { hasNextPage } nodes { version } } } }
        fragment A on Query { todos { nodes { ...B } } } fragment B on Todo { completed title }";
    let data = ada.answered(query, &json!({})).await;
    let nodes = json!([{ "title": "a", "completed": false, "version": 1 }]);
    assert_eq!(data, json!({ "todos": { "nodes": nodes, "pageInfo": { "hasNextPage": false } } }));
}

#[tokio::test]
async fn fields_of_a_response_have_the_order_of_the_selection() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    ada.create("a").await;
    for (query, expected) in [
        // Slow fields keep their position.
        (
            "{ todos { nodes { title } } b: __typename me { name } a: __typename }",
            r#"{"todos":{"nodes":[{"title":"a"}]},"b":"Query","me":{"name":"Ada Lovelace"},"a":"Query"}"#,
        ),
        // A response key has the position of its first occurrence, with fragments expanded.
        (
            "{ me { ...F name } a: __typename ...G me { __typename } } fragment F on User { e: __typename }
             fragment G on Query { b: __typename a: __typename me { email } }",
            r#"{"me":{"e":"User","name":"Ada Lovelace","email":"ada@example.com","__typename":"User"},"a":"Query","b":"Query"}"#,
        ),
        (
            "{ todos { nodes { history { nodes { kind } } title } totalCount } }",
            r#"{"todos":{"nodes":[{"history":{"nodes":[{"kind":"CREATED"}]},"title":"a"}],"totalCount":1}}"#,
        ),
        // Skipped occurrences do not count.
        (
            "{ me { name @skip(if: true) email name } }",
            r#"{"me":{"email":"ada@example.com","name":"Ada Lovelace"}}"#,
        ),
    ] {
        assert_eq!(data_text(&ada, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn different_fields_under_one_response_key_are_refused() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    for query in [
        "{ me { a: id a: name } }",
        "{ todos(first: 1) { nodes { id } } todos(first: 2) { nodes { id } } }",
        "{ todos(first: 1) { nodes { id } } todos { nodes { id } } }",
        // apollo-compiler considers the longer list the same.
        "{ todos(filter: { priority: [HIGH] }) { nodes { id } } todos(filter: { priority: [HIGH, LOW] }) { nodes { id } } }",
        "{ ...A ...B } fragment A on Query { todos(filter: { tags: { any: [] } }) { nodes { id } } }
         fragment B on Query { todos(filter: { tags: { any: [\"a\"] } }) { nodes { id } } }",
        "query A { __typename } query B { todos(filter: { priority: [] }) { nodes { id } } todos(filter: { priority: [LOW] }) { nodes { id } } }",
        "query($a: Int, $b: Int) { todos(first: $a) { nodes { id } } todos(first: $b) { nodes { id } } }",
    ] {
        ada.refused(query, &Value::Null, "GRAPHQL_VALIDATION_FAILED").await;
    }
}
