use serde_json::{Value, json};

use super::Asker;
use crate::support::TestApp;

#[tokio::test]
async fn every_invalid_value_is_reported_with_its_path_and_a_message() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    let create = "mutation M($input: CreateTodosInput!) { createTodos(input: $input) { todos { id } } }";
    let update = "mutation($id: ID!, $title: String) { new: updateTodo(input: { id: $id, title: $title }) { todo { id } } }";
    let list = "query($n: Int, $f: TodoFilter, $h: Int) { todos(first: $n, filter: $f) { nodes { history(first: $h) { totalCount } } } }";
    for (query, variables, paths) in [
        (
            create,
            json!({ "input": { "todos": [{ "title": "a" }, { "title": "b", "dueAt": "tomorrow" }] } }),
            json!([["createTodos", "input", "todos", "1", "dueAt"]]),
        ),
        (
            create,
            json!({ "input": { "todos": [{ "title": 1, "priority": "URGENT", "tags": ["a", 2] }, {}], "more": 1 } }),
            json!([
                ["createTodos", "input", "todos", "0", "title"],
                ["createTodos", "input", "todos", "0", "priority"],
                ["createTodos", "input", "todos", "0", "tags", "1"],
                ["createTodos", "input", "todos", "1", "title"],
                ["createTodos", "input", "more"]
            ]),
        ),
        (create, json!({}), json!([["createTodos", "input"]])),
        (create, json!({ "input": null }), json!([["createTodos", "input"]])),
        (create, json!({ "input": "x" }), json!([["createTodos", "input"]])),
        (update, json!({ "title": 7 }), json!([["new", "input", "id"], ["new", "input", "title"]])),
        (
            list,
            json!({ "n": "ten", "f": { "completed": "yes", "tags": { "any": [1] } }, "h": 0.5 }),
            json!([
                ["todos", "first"],
                ["todos", "filter", "completed"],
                ["todos", "filter", "tags", "any", "0"],
                ["todos", "nodes", "history", "first"]
            ]),
        ),
    ] {
        let errors = ada.refused(query, &variables, "BAD_USER_INPUT").await;
        let fields = errors[0]["extensions"]["fields"].as_array().unwrap();
        let mut found: Vec<_> = fields.iter().map(|field| field["path"].clone()).collect();
        let mut expected = paths.as_array().unwrap().clone();
        found.sort_by_key(Value::to_string);
        expected.sort_by_key(Value::to_string);
        assert_eq!(found, expected, "{variables}");
        for field in fields {
            let message = field["message"].as_str().unwrap();
            let code = field["code"].as_str().unwrap();
            assert!(message.ends_with('.') && message.starts_with(char::is_uppercase), "{message}");
            assert!(["INVALID", "REQUIRED"].contains(&code), "{code}");
        }
    }
}

#[tokio::test]
async fn many_invalid_values_have_a_short_response() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    let query = "query($f: TodoFilter) { todos(filter: $f) { nodes { id } } }";
    let variables = json!({ "f": { "tags": { "any": vec![1; 30_000] } } });
    let errors = ada.refused(query, &variables, "BAD_USER_INPUT").await;
    assert_eq!(errors[0]["extensions"]["fields"].as_array().unwrap().len(), 100);
    let unknown = (0..900).map(|n| format!("f{n} ")).collect::<String>();
    let errors = ada.refused(&format!("{{ {unknown} }}"), &Value::Null, "GRAPHQL_VALIDATION_FAILED").await;
    assert_eq!(errors.as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn errors_in_a_document_are_validation_errors_with_locations() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    for (query, line, column) in [
        ("{\n  me { nam }\n}", 2, 8),
        ("{ todos(frist: 1) { nodes { id } } }", 1, 9),
        ("{ todos(filter: { complete: true }) { nodes { id } } }", 1, 29),
        ("{ todos(filter: { priority: HIHG }) { nodes { id } } }", 1, 29),
        ("{ todos(first: \"1\") { nodes { id } } }", 1, 16),
        ("{ todos(filter: { search: \"a\", search: \"b\" }) { nodes { id } } }", 1, 40),
        (
            "query($x: Boolean) { todos(filter: { inTrash: false, tags: { any: [$x] } }) { nodes { id } } }",
            1,
            68,
        ),
        ("query($x: String) { todos(filter: { tags: { any: [$x] } }) { nodes { id } } }", 1, 51),
        ("{ me }", 1, 3),
        ("{ me { ...Missing } }", 1, 11),
        ("{ ...F } fragment F on Query { __typename ...F }", 1, 46),
        ("{ __type(name: \"Todo\") { fields(includeDeprecated: null) { name } } }", 1, 52),
        ("{ me { id { x } } }", 1, 8),
    ] {
        let errors = ada.refused(query, &Value::Null, "GRAPHQL_VALIDATION_FAILED").await;
        assert_eq!(
            errors[0]["locations"][0],
            json!({ "line": line, "column": column }),
            "{query}: {errors:#}"
        );
    }
    for (query, name) in [
        ("{ me { nam } }", "\"name\""),
        ("{ todos(frist: 1) { nodes { id } } }", "\"first\""),
        ("{ todos(filter: { complete: true }) { nodes { id } } }", "\"completed\""),
        ("{ todos(filter: { priority: HIHG }) { nodes { id } } }", "\"HIGH\""),
    ] {
        let errors = ada.refused(query, &Value::Null, "GRAPHQL_VALIDATION_FAILED").await;
        let message = errors[0]["message"].as_str().unwrap();
        assert!(message.contains(&format!("Did you mean {name}?")), "{message}");
    }
}

#[tokio::test]
async fn introspection_refuses_null_for_include_deprecated() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    let query = "query($d: Boolean) { __type(name: \"TodoPriority\") { enumValues(includeDeprecated: $d) { name } isOneOf } }";
    let data = ada.answered(query, &json!({})).await;
    assert_eq!(data["__type"]["enumValues"].as_array().unwrap().len(), 4);
    ada.refused(query, &json!({ "d": null }), "BAD_USER_INPUT").await;
}
