//! Arguments as resolvers receive them, tested with a schema that has every kind of input.

use serde_json::{Value, json};

use crate::support::TestApp;

#[tokio::test]
async fn resolvers_receive_coerced_arguments() {
    let app = TestApp::with_test_schema(&[]).await;
    let absent = json!({ "required": 1, "defaulted": 7, "text": null, "float": null, "id": null, "color": null,
        "numbers": null, "matrix": null, "inner": null });
    let everything = |changes: Value| {
        let mut expected = absent.clone();
        changes.as_object().unwrap().iter().for_each(|(name, value)| expected[name] = value.clone());
        expected
    };
    for (declared, input, variables, expected) in [
        ("", "required: 1", json!({}), everything(json!({}))),
        ("", "required: 1, defaulted: 2", json!({}), everything(json!({ "defaulted": 2 }))),
        ("$d: Int", "required: 1, defaulted: $d", json!({}), everything(json!({}))),
        ("$d: Int = 3", "required: 1, defaulted: $d", json!({}), everything(json!({ "defaulted": 3 }))),
        ("", "required: -0, float: 1", json!({}), everything(json!({ "required": 0, "float": 1.0 }))),
        (
            "",
            "required: 1, id: 99999999999999999999",
            json!({}),
            everything(json!({ "id": "99999999999999999999" })),
        ),
        ("$i: ID", "required: 1, id: $i", json!({ "i": 7 }), everything(json!({ "id": "7" }))),
        ("", "required: 1, color: RED", json!({}), everything(json!({ "color": "RED" }))),
        ("$c: Color = GREEN", "required: 1, color: $c", json!({}), everything(json!({ "color": "GREEN" }))),
        ("", "required: 1, numbers: 5", json!({}), everything(json!({ "numbers": [5] }))),
        ("", "required: 1, numbers: [1, null]", json!({}), everything(json!({ "numbers": [1, null] }))),
        ("$n: Int", "required: 1, numbers: [1, $n]", json!({}), everything(json!({ "numbers": [1, null] }))),
        ("$n: Int", "required: 1, numbers: [$n]", json!({ "n": 4 }), everything(json!({ "numbers": [4] }))),
        ("$n: [Int] = 5", "required: 1, numbers: $n", json!({}), everything(json!({ "numbers": [5] }))),
        ("$n: [Int]", "required: 1, numbers: $n", json!({ "n": 6 }), everything(json!({ "numbers": [6] }))),
        ("", "required: 1, matrix: 1", json!({}), everything(json!({ "matrix": [[1]] }))),
        ("", "required: 1, matrix: [[1], 2]", json!({}), everything(json!({ "matrix": [[1], [2]] }))),
        (
            "$m: [[Int!]!]",
            "required: 1, matrix: $m",
            json!({ "m": [1, [2, 3]] }),
            everything(json!({ "matrix": [[1], [2, 3]] })),
        ),
        ("$f: Float", "required: 1, float: $f", json!({ "f": 2 }), everything(json!({ "float": 2.0 }))),
        (
            "$t: String, $r: Int!",
            "required: 1, inner: { required: $r, text: $t }",
            json!({ "r": 1 }),
            everything(json!({ "inner": absent })),
        ),
    ] {
        let declared = if declared.is_empty() { String::new() } else { format!("({declared})") };
        let query = format!("query{declared} {{ echo(everything: {{ {input} }}) }}");
        let answer = app.ask(&query, variables.clone()).await;
        assert_eq!(answer.data("echo")["everything"], expected, "{query} {variables}");
    }
    let query = "query($c: [Color!], $i: [ID], $f: Boolean) { echo(colors: $c, ids: $i, flag: $f) }";
    let answer = app.ask(query, json!({ "c": "RED", "i": [1, null, "x"] })).await;
    let expected = json!({ "everything": null, "colors": ["RED"], "ids": ["1", null, "x"], "flag": true });
    assert_eq!(answer.data("echo"), &expected);
    assert_eq!(app.ask(query, json!({ "f": null })).await.code(), "BAD_USER_INPUT");
}

#[tokio::test]
async fn fields_of_interfaces_and_unions_are_resolved_on_the_object() {
    let app = TestApp::with_test_schema(&[]).await;
    let text = async |query: &str| {
        let request = app.http.post(app.url("/graphql")).json(&json!({ "query": query }));
        request.send().await.unwrap().text().await.unwrap()
    };
    for (query, expected) in [
        (
            "{ pets { ... on Dog { size name } ... on Named { name } __typename ... on Cat { lives(atMost: 3) } } }",
            r#"{"pets":[{"size":60,"name":"Rex","__typename":"Dog"},{"name":"Tom","__typename":"Cat","lives":3}]}"#,
        ),
        (
            "{ named { ...F name ... on Cat { lives } } } fragment F on Dog { friend { name __typename ... on Dog { size } } }",
            r#"{"named":{"friend":{"name":"Tom","__typename":"Cat"},"name":"Rex"}}"#,
        ),
        ("{ pets { ... on Cat { name } } }", r#"{"pets":[{},{"name":"Tom"}]}"#),
        ("{ named { ... on Cat { lives __typename } } }", r#"{"named":{}}"#),
        (
            "{ hello pets { ... on Cat { size __typename } } }",
            r#"{"hello":"world","pets":[{},{"size":"small","__typename":"Cat"}]}"#,
        ),
        ("{ pets { ... on Cat { __typename: name } } }", r#"{"pets":[{},{"__typename":"Tom"}]}"#),
        (
            "{ pets { ... on Dog { size name } ... on Cat { name } } }",
            r#"{"pets":[{"size":60,"name":"Rex"},{"name":"Tom"}]}"#,
        ),
        ("{ late hello }", r#"{"late":"late","hello":"world"}"#),
    ] {
        assert_eq!(text(query).await, format!("{{\"data\":{expected}}}"), "{query}");
    }
}

#[tokio::test]
async fn a_failed_field_is_null_or_makes_its_parent_null() {
    let app = TestApp::with_test_schema(&[]).await;
    let answer = app.ask("{ hello nullableFailure }", Value::Null).await;
    assert_eq!(answer.body["data"], json!({ "hello": "world", "nullableFailure": null }));
    let answer = app.ask("{ hello failure }", Value::Null).await;
    assert_eq!(answer.body.get("data"), Some(&Value::Null));
}
