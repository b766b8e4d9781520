use serde_json::{Value, json};

use super::Asker;
use crate::support::TestApp;

#[tokio::test]
async fn cost_counts_the_fields_that_will_run() {
    let app = TestApp::with(&["--max-complexity=500"]).await;
    let ada = Asker::new(&app).await;
    let variables = "query($n: Int = 10, $h: Int = 5) { todos(first: $n) { nodes { id history(first: $h) { nodes { id } } } } }";
    let literals = "{ todos(first: 10) { nodes { id history(first: 5) { nodes { id } } } } }";
    let expensive = "todos(first: 100) { nodes { id history(first: 100) { nodes { id } } } }";
    for (query, variables, fits) in [
        (literals, json!({}), true),
        (variables, json!({}), true),
        (variables, json!({ "n": 10, "h": 5 }), true),
        (variables, json!({ "n": 100 }), false),
        // Null counts as absent: the field's default applies.
        (variables, json!({ "n": null }), true),
        ("query($n: Int) { todos(first: $n) { nodes { id } } }", json!({}), true),
        (&format!("query A {{ __typename }} query B {{ {expensive} }}"), json!({}), true),
        (
            &format!("query A {{ a: todos @skip(if: true) {{ nodes {{ id }} }} {expensive} }}"),
            json!({}),
            false,
        ),
        (
            &format!("query A($x: Boolean = true) {{ __typename ... @skip(if: $x) {{ {expensive} }} }}"),
            json!({}),
            true,
        ),
        (
            &format!("query A($x: Boolean = true) {{ __typename ... @include(if: $x) {{ {expensive} }} }}"),
            json!({}),
            false,
        ),
        (
            "{ todos(first: 10) { nodes { ...F ...F ...F } } } fragment F on Todo { id history(first: 20) { nodes { id } } }",
            json!({}),
            true,
        ),
    ] {
        let name = query.starts_with("query A").then_some("A");
        let body = json!({ "query": query, "variables": variables, "operationName": name });
        let request = app.http.post(app.url("/graphql")).bearer_auth(&ada.token).json(&body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let code = answer["errors"][0]["extensions"]["code"].as_str();
        assert_eq!(code, (!fits).then_some("OPERATION_TOO_COMPLEX"), "{query}: {variables}");
    }
}

#[tokio::test]
async fn limits_on_fields_and_aliases_ignore_skipped_fields() {
    let app = TestApp::with(&["--max-aliases=1", "--max-root-fields=2"]).await;
    let ada = Asker::new(&app).await;
    for query in [
        "query($x: Boolean = false) { a: __typename b: __typename @include(if: $x) c: __typename @skip(if: true) }",
        "{ a: __typename a: __typename ... { a: __typename } }",
    ] {
        assert_eq!(ada.answered(query, &json!({})).await, json!({ "a": "Query" }), "{query}");
    }
    let both = "query A { a: __typename } query B { a: __typename b: __typename c: __typename }";
    let ask = async |name: &str| {
        let body = json!({ "query": both, "operationName": name });
        let answer = app.http.post(app.url("/graphql")).json(&body).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["errors"][0]["extensions"]["code"].clone()
    };
    assert_eq!(ask("A").await, Value::Null);
    assert_eq!(ask("B").await, "TOO_MANY_ROOT_FIELDS");
}

#[tokio::test]
async fn the_selected_operation_is_too_deep_whether_or_not_the_document_is_cached() {
    let app = TestApp::with(&["--max-depth=1"]).await;
    let both = "query A { __typename } query B { a: __typename me @skip(if: true) { id } }";
    let ask = async |name: Option<&str>| {
        let body = json!({ "query": both, "operationName": name });
        let answer = app.http.post(app.url("/graphql")).json(&body).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["errors"][0]["extensions"]["code"].clone()
    };
    assert_eq!(ask(None).await, "OPERATION_RESOLUTION_FAILURE");
    for _ in 0..2 {
        assert_eq!(ask(Some("B")).await, "OPERATION_TOO_DEEP");
        assert_eq!(ask(Some("A")).await, Value::Null);
        assert_eq!(ask(None).await, "OPERATION_RESOLUTION_FAILURE");
    }
}

#[tokio::test]
async fn a_default_page_with_histories_is_within_the_limit() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    ada.create("a").await;
    let query = "{ todos { totalCount pageInfo { hasNextPage endCursor } edges { cursor node { id title description completed
        completedAt priority dueAt tags version createdAt updatedAt deletedAt
        history { pageInfo { hasNextPage } edges { cursor node { id kind at changes { field before after } } } } } } } }";
    let data = ada.answered(query, &json!({})).await;
    assert_eq!(data["todos"]["edges"][0]["node"]["history"]["edges"][0]["node"]["kind"], "CREATED");
    let query = "{ me { sessions { nodes { id userAgent ipAddress lastSeenAt } } securityEvents { nodes { id kind } } } }";
    ada.answered(query, &json!({})).await;
}

#[tokio::test]
async fn a_payload_costs_as_many_items_as_its_input_has() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    let id = ada.create("a").await["id"].clone();
    let query = "mutation($ids: [ID!]!) { reopenTodos(input: { ids: $ids }) { todos { history(first: 60) { nodes { id kind } } } } }";
    let few = ada.ask(query, json!({ "ids": vec![id.clone(); 10] })).await;
    assert_eq!(few.data("reopenTodos")["todos"].as_array().unwrap().len(), 1);
    let many = ada.ask(query, json!({ "ids": vec![id; 100] })).await;
    assert_eq!(many.code(), "OPERATION_TOO_COMPLEX");
}

#[tokio::test]
async fn responses_have_their_cost_if_the_client_asks_for_it() {
    let app = TestApp::with(&["--max-complexity=500"]).await;
    let ada = Asker::new(&app).await;
    let ask = async |query: Value, header: &'static str| {
        let request = app.http.post(app.url("/graphql")).bearer_auth(&ada.token).json(&query);
        let answer: Value =
            request.header("X-GraphQL-Cost", header).send().await.unwrap().json().await.unwrap();
        answer
    };
    let page = json!({ "query": "{ todos(first: 10) { nodes { id title } pageInfo { hasNextPage } } }" });
    let answer = ask(page.clone(), "1").await;
    // todos, nodes, 10 times two fields, pageInfo and its field.
    assert_eq!(answer["extensions"], json!({ "cost": { "requested": 24, "limit": 500 } }), "{answer:#}");
    assert!(answer["data"]["todos"]["nodes"].is_array());
    assert_eq!(ask(json!({ "query": "{ me { id } }" }), "1").await["extensions"]["cost"]["requested"], 2);

    let expensive = "{ todos(first: 100) { nodes { id history(first: 100) { nodes { id } } } } }";
    let refused = ask(json!({ "query": expensive }), "1").await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "OPERATION_TOO_COMPLEX");
    assert_eq!(
        refused["extensions"],
        json!({ "cost": { "requested": 10_302, "limit": 500 } }),
        "{refused:#}"
    );

    let batch = ask(json!([page.clone(), { "query": "{ nothing }" }]), "1").await;
    assert_eq!(batch[0]["extensions"]["cost"]["requested"], 24);
    assert_eq!(batch[1].get("extensions"), None, "an invalid document has no cost");
    assert_eq!(ask(page, "0").await.get("extensions"), None);
}

#[tokio::test]
async fn nodes_cost_as_many_objects_as_identifiers_are_given() {
    let app = TestApp::with(&["--max-aliases=2"]).await;
    let ada = Asker::new(&app).await;
    let id = ada.create("a").await["id"].clone();
    // Each type counts for itself: an object is of one of them.
    let query = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Todo { a: id b: title history(first: 20) { nodes { id kind } } }
        ... on User { a: id b: name sessions(first: 20) { nodes { id current } } } } }";
    let few = ada.ask(query, json!({ "ids": vec![id.clone(); 100] })).await;
    assert_eq!(few.data("nodes").as_array().unwrap().len(), 100);
    let query = query.replace("20", "30");
    let many = ada.ask(&query, json!({ "ids": vec![id.clone(); 100] })).await;
    assert_eq!(many.code(), "OPERATION_TOO_COMPLEX");
    let few = ada.ask(&query, json!({ "ids": vec![id.clone(); 50] })).await;
    assert_eq!(few.data("nodes").as_array().unwrap().len(), 50);
    let one = ada.ask(
        "query($id: ID!) { node(id: $id) { ... on Todo { a: id b: title } ... on User { a: id b: name } } }",
        json!({ "id": id }),
    );
    assert_eq!(one.await.data("node"), &json!({ "a": id, "b": "a" }));
}
