use serde_json::{Value, json};

use super::Asker;
use crate::support::TestApp;

#[tokio::test]
async fn a_skipped_mutation_does_not_run() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    let id = ada.create("a").await["id"].clone();
    ada.todo("deleteTodo", json!({ "id": id })).await;
    for (query, variables) in [
        ("mutation($dryRun: Boolean = true) { emptyTrash @skip(if: $dryRun) { purgedCount } }", json!({})),
        ("mutation($run: Boolean! = false) { emptyTrash @include(if: $run) { purgedCount } }", json!({})),
        (
            "mutation($run: Boolean!) { emptyTrash @include(if: $run) { purgedCount } }",
            json!({ "run": false }),
        ),
        ("mutation { emptyTrash @skip(if: true) { purgedCount } }", json!({})),
        ("mutation { emptyTrash @include(if: true) @skip(if: true) { purgedCount } }", json!({})),
        ("mutation($x: Boolean = true) { ... @skip(if: $x) { emptyTrash { purgedCount } } }", json!({})),
        (
            "mutation($x: Boolean = true) { ...F @skip(if: $x) } fragment F on Mutation { emptyTrash { purgedCount } }",
            json!({}),
        ),
        (
            "mutation($x: Boolean = false) { ...F } fragment F on Mutation { emptyTrash @include(if: $x) { purgedCount } }",
            json!({}),
        ),
    ] {
        assert_eq!(ada.answered(query, &variables).await, json!({}), "{query}");
        assert_eq!(ada.titles("(filter: { inTrash: true })").await, ["a"], "{query}");
    }
    let query = "mutation($dryRun: Boolean = true) { emptyTrash @skip(if: $dryRun) { purgedCount } }";
    assert_eq!(ada.ask(query, json!({ "dryRun": false })).await.data("emptyTrash")["purgedCount"], 1);
}

#[tokio::test]
async fn skip_and_include_apply_to_fields_and_fragments_at_every_level() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    ada.create("a").await;
    for (selection, expected) in [
        ("me { id @include(if: false) }", json!({ "me": {} })),
        ("me { ... @include(if: false) { id } }", json!({ "me": {} })),
        ("me { name @skip(if: $no) id @skip(if: $yes) }", json!({ "me": { "name": "Ada Lovelace" } })),
        ("me { name @include(if: $yes) @skip(if: $yes) }", json!({ "me": {} })),
        ("me { name @include(if: $yes) @skip(if: $no) }", json!({ "me": { "name": "Ada Lovelace" } })),
        ("me { ...F @skip(if: $yes) __typename }", json!({ "me": { "__typename": "User" } })),
        ("me { ...F @skip(if: $no) }", json!({ "me": { "name": "Ada Lovelace" } })),
        ("me @skip(if: $yes) { id }", json!({})),
        ("t: __typename @include(if: $yes) u: __typename @include(if: $no)", json!({ "t": "Query" })),
        ("todos { nodes { id @skip(if: $yes) } }", json!({ "todos": { "nodes": [{}] } })),
        (
            "todos { edges { node { title history @include(if: $no) { nodes { id @skip(if: $yes) } } } } }",
            json!({ "todos": { "edges": [{ "node": { "title": "a" } }] } }),
        ),
        // One included occurrence suffices, even if another one is skipped.
        ("me { name @skip(if: $yes) name }", json!({ "me": { "name": "Ada Lovelace" } })),
    ] {
        let fragment = if selection.contains("...F") { "fragment F on User { name }" } else { "" };
        let declared = [("yes", "true"), ("no", "false")]
            .into_iter()
            .filter(|(name, _)| selection.contains(&format!("${name}")));
        let defaults: Vec<_> =
            declared.clone().map(|(name, value)| format!("${name}: Boolean = {value}")).collect();
        let required: Vec<_> = declared.clone().map(|(name, _)| format!("${name}: Boolean!")).collect();
        let list = |declared: &[String]| {
            if declared.is_empty() { String::new() } else { format!("({})", declared.join(" ")) }
        };
        let query = format!("query{} {{ {selection} }} {fragment}", list(&defaults));
        assert_eq!(ada.answered(&query, &json!({})).await, expected, "{query}");
        let query = format!("query{} {{ {selection} }} {fragment}", list(&required));
        assert_eq!(ada.answered(&query, &json!({ "yes": true, "no": false })).await, expected, "{query}");
    }
}

#[tokio::test]
async fn conditions_of_a_cached_document_are_evaluated_for_each_request() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    let query = "query($x: Boolean!) { me { name @include(if: $x) __typename } }";
    for _ in 0..3 {
        let data = ada.answered(query, &json!({ "x": true })).await;
        assert_eq!(data, json!({ "me": { "name": "Ada Lovelace", "__typename": "User" } }));
        let data = ada.answered(query, &json!({ "x": false })).await;
        assert_eq!(data, json!({ "me": { "__typename": "User" } }));
    }
}

#[tokio::test]
async fn a_condition_that_is_not_a_boolean_is_refused() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    for (query, variables, code) in [
        ("query($x: Boolean!) { me @skip(if: $x) { id } }", json!({}), "BAD_USER_INPUT"),
        ("query($x: Boolean!) { me @skip(if: $x) { id } }", json!({ "x": null }), "BAD_USER_INPUT"),
        ("query($x: Boolean!) { me @skip(if: $x) { id } }", json!({ "x": "true" }), "BAD_USER_INPUT"),
        ("query($x: Boolean = true) { me @skip(if: $x) { id } }", json!({ "x": null }), "BAD_USER_INPUT"),
        ("query($x: Boolean) { me @skip(if: $x) { id } }", json!({ "x": true }), "GRAPHQL_VALIDATION_FAILED"),
        (
            "query($x: Boolean = null) { me @skip(if: $x) { id } }",
            json!({ "x": true }),
            "GRAPHQL_VALIDATION_FAILED",
        ),
        ("query($x: String!) { me @skip(if: $x) { id } }", json!({ "x": "a" }), "GRAPHQL_VALIDATION_FAILED"),
        ("{ me @skip { id } }", Value::Null, "GRAPHQL_VALIDATION_FAILED"),
        ("{ me @skip(if: null) { id } }", Value::Null, "GRAPHQL_VALIDATION_FAILED"),
        ("{ me @skip(if: true) @skip(if: true) { id } }", Value::Null, "GRAPHQL_VALIDATION_FAILED"),
        ("{ me @unknown { id } }", Value::Null, "GRAPHQL_VALIDATION_FAILED"),
        ("{ me @specifiedBy(url: \"a\") { id } }", Value::Null, "GRAPHQL_VALIDATION_FAILED"),
        ("query @skip(if: true) { me { id } }", Value::Null, "GRAPHQL_VALIDATION_FAILED"),
    ] {
        ada.refused(query, &variables, code).await;
    }
}
