//! Documents by hash: Apollo's automatic persisted queries, and lists of trusted documents.

use std::fmt::Write;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Answer, TestApp};

fn hash(query: &str) -> String {
    todo_api::crypto::sha256(query.as_bytes()).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

async fn post(app: &TestApp, query: Option<&str>, hash: &str) -> Answer {
    let mut body = json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": hash } } });
    if let Some(query) = query {
        body["query"] = json!(query);
    }
    Answer::of(app.http.post(app.url("/graphql")).json(&body)).await
}

#[tokio::test]
async fn a_document_is_found_by_its_hash_once_it_was_sent() {
    let app = TestApp::start().await;
    let query = "query Known { __typename }";
    let answer = post(&app, None, &hash(query)).await;
    assert_eq!((answer.status, answer.code()), (200, "PERSISTED_QUERY_NOT_FOUND"));
    assert_eq!(answer.error()["message"], "PersistedQueryNotFound");

    assert_eq!(post(&app, Some(query), &hash(query)).await.data("__typename"), "Query");
    assert_eq!(post(&app, None, &hash(query)).await.data("__typename"), "Query");
    assert_eq!(post(&app, None, &hash(query).to_uppercase()).await.data("__typename"), "Query");

    let extensions = json!({ "persistedQuery": { "version": 1, "sha256Hash": hash(query) } }).to_string();
    let request = app.http.get(app.url("/graphql")).query(&[("extensions", extensions)]);
    assert_eq!(Answer::of(request).await.data("__typename"), "Query");
    let request =
        app.http.get(app.url("/graphql")).query(&[("documentId", format!("sha256:{}", hash(query)))]);
    assert_eq!(Answer::of(request).await.data("__typename"), "Query");
}

#[tokio::test]
async fn a_hash_of_another_document_is_refused() {
    let app = TestApp::start().await;
    let answer = post(&app, Some("{ __typename }"), &hash("{ me { id } }")).await;
    assert_eq!(answer.code(), "BAD_REQUEST");
    assert_eq!(post(&app, Some("{ nothing }"), &hash("{ me { id } }")).await.code(), "BAD_REQUEST");
    for wrong in ["", "x", &"g".repeat(64), &"é".repeat(32)] {
        assert_eq!(post(&app, None, wrong).await.code(), "PERSISTED_QUERY_NOT_FOUND", "{wrong}");
    }
    for persisted in [
        json!({ "version": 2, "sha256Hash": "" }),
        json!({ "version": 1 }),
        json!([1, hash("{ __typename }")]),
        json!("x"),
    ] {
        let body = json!({ "query": "{ __typename }", "extensions": { "persistedQuery": persisted } });
        let answer = Answer::of(app.http.post(app.url("/graphql")).json(&body)).await;
        assert_eq!((answer.status, answer.code()), (400, "BAD_REQUEST"), "{persisted}");
    }
    let null = json!({ "query": "{ __typename }", "extensions": { "persistedQuery": null } });
    assert_eq!(Answer::of(app.http.post(app.url("/graphql")).json(&null)).await.data("__typename"), "Query");
}

#[tokio::test]
async fn a_document_sent_without_its_hash_is_not_found_by_it() {
    let app = TestApp::start().await;
    let query = "query Anonymous { __typename }";
    assert_eq!(app.ask(query, Value::Null).await.data("__typename"), "Query");
    assert_eq!(post(&app, None, &hash(query)).await.code(), "PERSISTED_QUERY_NOT_FOUND");
}

#[tokio::test]
async fn an_invalid_document_is_not_kept() {
    let app = TestApp::start().await;
    for query in ["{ nothing }", "{ __typename", "query($x: Int) { __typename }"] {
        assert!(post(&app, Some(query), &hash(query)).await.body.get("errors").is_some(), "{query}");
        assert_eq!(post(&app, None, &hash(query)).await.code(), "PERSISTED_QUERY_NOT_FOUND", "{query}");
    }
}

#[tokio::test]
async fn variables_and_limits_are_checked_for_known_documents_too() {
    let app = TestApp::start().await;
    let query = "mutation($input: LoginInput!) { login(input: $input) { accessToken } }";
    for _ in 0..2 {
        let right = json!({ "input": { "email": "a@example.com", "password": "x" } });
        assert_eq!(app.ask(query, right).await.code(), "INVALID_CREDENTIALS");
        assert_eq!(app.ask(query, json!({ "input": { "email": 7 } })).await.code(), "BAD_USER_INPUT");
        assert_eq!(app.ask(query, Value::Null).await.code(), "BAD_USER_INPUT");
    }
    for _ in 0..3 {
        assert_eq!(app.ask("{ me { id } }", Value::Null).await.data("me"), &Value::Null);
    }
}

#[tokio::test]
async fn with_a_manifest_only_listed_documents_run() {
    let listed = "query Listed { __typename }";
    let apollo = json!({ "format": "apollo-persisted-query-manifest", "version": 1, "operations": [
        { "id": hash(listed), "name": "Listed", "type": "query", "body": listed },
    ] });
    let codegen = json!({ (hash(listed)): listed });
    for manifest in [apollo, codegen] {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("manifest.json");
        std::fs::write(&path, manifest.to_string()).unwrap();
        let app = TestApp::with(&[&format!("--trusted-documents={}", path.display())]).await;

        assert_eq!(post(&app, None, &hash(listed)).await.data("__typename"), "Query");
        assert_eq!(app.ask(listed, Value::Null).await.data("__typename"), "Query");
        let by_id = json!({ "documentId": hash(listed) });
        assert_eq!(
            Answer::of(app.http.post(app.url("/graphql")).json(&by_id)).await.data("__typename"),
            "Query"
        );

        assert_eq!(app.ask("{ __typename }", Value::Null).await.code(), "QUERY_NOT_IN_SAFELIST");
        let other = "{ other: __typename }";
        assert_eq!(post(&app, Some(other), &hash(other)).await.code(), "QUERY_NOT_IN_SAFELIST");
        assert_eq!(post(&app, Some(other), &hash(listed)).await.code(), "QUERY_NOT_IN_SAFELIST");
        assert_eq!(post(&app, None, &hash(other)).await.code(), "PERSISTED_QUERY_NOT_IN_LIST");
    }
}

#[tokio::test]
async fn identifiers_of_a_manifest_are_found_by_both_parameters() {
    let (named, hashed, upper) =
        ("query Named { __typename }", "query Hashed { a: __typename }", "{ b: __typename }");
    let prefixed = format!("sha256:{}", hash(hashed));
    let manifest =
        json!({ "GetMe": named, (prefixed.as_str()): hashed, (hash(upper).to_uppercase()): upper });
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("manifest.json");
    std::fs::write(&path, manifest.to_string()).unwrap();
    let app = TestApp::with(&[&format!("--trusted-documents={}", path.display())]).await;
    let ids = ["GetMe", &prefixed, &hash(hashed), &hash(hashed).to_uppercase(), &hash(upper)];
    for id in ids {
        let by_id = Answer::of(app.http.post(app.url("/graphql")).json(&json!({ "documentId": id }))).await;
        for answer in [by_id, post(&app, None, id).await] {
            assert!(answer.body.get("errors").is_none(), "{id}: {:#}", answer.body);
        }
    }
    assert_eq!(post(&app, None, "getme").await.code(), "PERSISTED_QUERY_NOT_IN_LIST");
}
