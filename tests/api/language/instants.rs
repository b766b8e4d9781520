use serde_json::{Value, json};

use super::Asker;
use crate::support::TestApp;

#[tokio::test]
async fn instants_keep_microseconds_and_are_written_in_one_form() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    let query = "mutation($d: DateTime) { createTodo(input: { title: \"a\", dueAt: $d }) { todo { dueAt createdAt } } }";
    for (given, expected) in [
        ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00.000000Z"),
        ("2030-01-01t00:00:00.5z", "2030-01-01T00:00:00.500000Z"),
        ("2030-01-01T00:00:00.123456+05:30", "2029-12-31T18:30:00.123456Z"),
    ] {
        let made = ada.ask(query, json!({ "d": given })).await.data("createTodo")["todo"].clone();
        assert_eq!(made["dueAt"], expected);
        assert_eq!(made["createdAt"].as_str().unwrap().len(), expected.len());
        // Output is valid input.
        let filter = "query($d: DateTime) { todos(filter: { dueAfter: $d }, first: 1, orderBy: { field: DUE_AT }) { nodes { dueAt } } }";
        let found = ada.answered(filter, &json!({ "d": expected })).await;
        assert_eq!(found["todos"]["nodes"][0]["dueAt"], expected);
    }
    for wrong in [
        json!("2030-01-01"),
        json!("2030-01-01T00:00:00"),
        json!("2030-01-01T00:00:60Z"),
        json!("2030-01-01T00:00:00.1234567Z"),
        json!("2030-01-01T00:00:00\u{2212}01:00"),
        json!("2030-02-30T00:00:00Z"),
        json!(1_893_456_000),
        json!(["2030-01-01T00:00:00Z"]),
        json!({}),
        json!(true),
    ] {
        ada.refused(query, &json!({ "d": wrong }), "BAD_USER_INPUT").await;
        if wrong.is_string() {
            let literal = query.replace("($d: DateTime)", "").replace("$d", &wrong.to_string());
            ada.refused(&literal, &Value::Null, "BAD_USER_INPUT").await;
        }
    }
}

#[tokio::test]
async fn the_schema_links_the_definition_of_date_time() {
    let app = TestApp::start().await;
    let answer = app.ask("{ __type(name: \"DateTime\") { specifiedByURL } }", Value::Null).await;
    let url = "https://scalars.graphql.org/chillicream/date-time.html";
    assert_eq!(answer.data("__type")["specifiedByURL"], url);
}

#[tokio::test]
async fn an_invalid_instant_literal_is_refused_in_every_position() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    let create = "{ a: createTodo(input: { title: \"A\" }) { todo { id } } b: createTodo(input: { title: \"B\", dueAt: _ }) { todo { id } } }";
    let in_mutation = json!(["b", "input", "dueAt"]);
    for literal in ["{}", "{ a: 1 }", "[]", "5", "true", "RED", "\"tomorrow\""] {
        let query = format!("mutation {}", create.replace('_', literal));
        let errors = ada.refused(&query, &Value::Null, "BAD_USER_INPUT").await;
        assert_eq!(errors[0]["extensions"]["fields"][0]["path"], in_mutation, "{literal}");
        assert_eq!(errors[0]["locations"].as_array().unwrap().len(), 1, "{literal}");
        let query = format!("mutation($d: DateTime = {literal}) {}", create.replace('_', "$d"));
        let errors = ada.refused(&query, &json!({ "d": null }), "BAD_USER_INPUT").await;
        assert_eq!(errors[0]["extensions"]["fields"][0]["path"], in_mutation, "{literal}");
    }
    let query = "mutation($i: CreateTodoInput! = { title: \"x\", dueAt: { a: 1 } }) { createTodo(input: $i) { todo { id } } }";
    let errors = ada.refused(query, &json!({}), "BAD_USER_INPUT").await;
    assert_eq!(errors[0]["extensions"]["fields"][0]["path"], json!(["createTodo", "input", "dueAt"]));
    assert!(ada.titles("").await.is_empty());
}
