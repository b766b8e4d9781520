use serde_json::{Value, json};

use crate::support::{Owner, TestApp};

#[tokio::test]
async fn a_failed_non_null_field_makes_its_parent_null() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    ada.create("a").await;
    for (query, data) in [
        ("{ __typename todos(first: -1) { nodes { id } } }", Value::Null),
        (
            "{ me { name sessions(first: -1) { totalCount } } a: __typename }",
            json!({ "me": null, "a": "Query" }),
        ),
        ("{ a: __typename todos { nodes { title history(first: -1) { totalCount } } } }", Value::Null),
        ("{ a: __typename todo(id: \"x\") { id } }", json!({ "a": "Query", "todo": null })),
        ("{ todo(id: \"x\") { id } me { name } }", json!({ "todo": null, "me": { "name": "Ada Lovelace" } })),
        (
            "mutation { a: emptyTrash { purgedCount } createTodo(input: { title: \"\" }) { todo { id } } }",
            Value::Null,
        ),
    ] {
        let answer = ada.ask(query, Value::Null).await;
        assert_eq!(answer.body.get("data"), Some(&data), "{query}: {:#}", answer.body);
        assert!(answer.error()["path"].is_array(), "{query}");
    }
}
