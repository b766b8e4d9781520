//! The committed schema.

use serde_json::{Value, json};

use crate::support::TestApp;

#[test]
fn the_committed_schema_is_served() {
    let committed = include_str!("../../schema.graphql");
    assert!(
        committed == todo_api::graphql::sdl(),
        "schema.graphql is out of date: todo-api schema > schema.graphql"
    );
}

#[tokio::test]
async fn every_item_of_the_schema_has_a_description() {
    let app = TestApp::start().await;
    let query = "{ __schema { types { name kind description
        fields(includeDeprecated: true) { name description args { name description } }
        inputFields { name description } enumValues(includeDeprecated: true) { name description } } } }";
    let answer = app.ask(query, Value::Null).await;
    let mut bare = Vec::new();
    for kind in answer.data("__schema")["types"].as_array().unwrap() {
        let name = kind["name"].as_str().unwrap();
        // Introspection and ID are the executor's own.
        if !name.starts_with("__") && name != "ID" {
            collect_bare(kind, name, &mut bare);
        }
    }
    assert!(bare.is_empty(), "without description: {bare:#?}");
}

#[tokio::test]
async fn error_codes_and_the_fields_that_fail_with_them_are_introspectable() {
    let app = TestApp::start().await;
    let query = "{ __type(name: \"ErrorCode\") { enumValues { name description } } __schema { directives { name args { name } } } }";
    let answer = app.ask(query, Value::Null).await;
    let codes = answer.data("__type")["enumValues"].as_array().unwrap();
    for code in
        ["BAD_USER_INPUT", "INVALID_CREDENTIALS", "UNAUTHENTICATED", "EMAIL_TAKEN", "SERVICE_UNAVAILABLE"]
    {
        assert!(codes.iter().any(|value| value["name"] == code), "{code}");
    }
    assert!(codes.iter().all(|value| value["description"].as_str().is_some_and(|text| text.len() > 20)));
    let directives = answer.data("__schema")["directives"].as_array().unwrap();
    let errors = directives.iter().find(|directive| directive["name"] == "errors").unwrap();
    assert_eq!(errors["args"], json!([{ "name": "codes" }, { "name": "reasons" }]));
}

fn collect_bare(item: &Value, path: &str, bare: &mut Vec<String>) {
    if item["description"].as_str().is_none_or(str::is_empty) {
        bare.push(path.to_owned());
    }
    for list in ["fields", "args", "inputFields", "enumValues"] {
        for child in item[list].as_array().into_iter().flatten() {
            collect_bare(child, &format!("{path}.{}", child["name"].as_str().unwrap()), bare);
        }
    }
}

#[tokio::test]
async fn documents_that_do_not_match_the_schema_are_refused_with_a_code() {
    let app = TestApp::start().await;
    for (query, variables, code) in [
        ("{", json!({}), "GRAPHQL_PARSE_FAILED"),
        ("", json!({}), "GRAPHQL_PARSE_FAILED"),
        ("{ nobody { id } }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("{ me }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        (
            "mutation { login(input: { email: 1, password: \"2\" }) { accessToken } }",
            json!({}),
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "mutation($i: LoginInput!) { login(input: $i) { accessToken } }",
            json!({ "i": { "email": "a@example.com" } }),
            "BAD_USER_INPUT",
        ),
    ] {
        let answer = app.ask(query, variables).await;
        assert_eq!(answer.code(), code, "{query}: {:#}", answer.body);
    }
}
