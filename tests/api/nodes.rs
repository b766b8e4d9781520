//! Objects by their identifiers: `node` and `nodes`.

use serde_json::{Value, json};

use crate::support::{Owner, TestApp, rows};

const NODES: &str = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Todo { title }
    ... on TodoEvent { kind } ... on SecurityEvent { type: kind } ... on Session { current } ... on User { email } } }";

async fn nodes(owner: &Owner<'_>, ids: &[&str]) -> Value {
    owner.ask(NODES, json!({ "ids": ids })).await.data("nodes").clone()
}

/// Returns the only identifier that a statement finds.
async fn id(app: &TestApp, sql: &str) -> String {
    let mut found = rows(app, sql).await;
    assert_eq!(found.len(), 1, "{sql}");
    found.remove(0)
}

#[tokio::test]
async fn every_kind_of_object_is_found_by_its_identifier() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let todo = ada.create("a").await["id"].as_str().unwrap().to_owned();
    ada.todo("deleteTodo", json!({ "id": todo })).await;
    let user = id(&app, "SELECT id::text AS text FROM users").await;
    let event = id(&app, "SELECT id::text AS text FROM todo_events WHERE kind = 'DELETED'").await;
    let session = id(&app, "SELECT id::text AS text FROM sessions").await;
    let security_event = id(&app, "SELECT id::text AS text FROM security_events").await;
    let expected = [
        json!({ "__typename": "Todo", "id": todo, "title": "a" }),
        json!({ "__typename": "TodoEvent", "id": event, "kind": "DELETED" }),
        json!({ "__typename": "Session", "id": session, "current": true }),
        json!({ "__typename": "SecurityEvent", "id": security_event, "type": "REGISTERED" }),
        json!({ "__typename": "User", "id": user, "email": "ada@example.com" }),
    ];
    let ids = [&*todo, &event, &session, &security_event, &user];
    assert_eq!(nodes(&ada, &ids).await, json!(expected));
    for (id, expected) in ids.iter().zip(expected) {
        let one = NODES.replace("$ids: [ID!]!", "$id: ID!").replace("nodes(ids: $ids)", "node(id: $id)");
        for id in [(*id).to_owned(), id.to_uppercase()] {
            assert_eq!(*ada.ask(&one, json!({ "id": id })).await.data("node"), expected);
        }
    }
}

#[tokio::test]
async fn nodes_keep_order_and_repetitions_with_null_for_unknown_identifiers() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let a = ada.create("a").await["id"].as_str().unwrap().to_owned();
    let b = ada.create("b").await["id"].as_str().unwrap().to_owned();
    let unknown = "0192c0de-0000-7000-8000-00000000abcd";
    let found = nodes(&ada, &[&b, unknown, &a, "", "7", &b]).await;
    let titles: Vec<_> = found.as_array().unwrap().iter().map(|node| node["title"].as_str()).collect();
    assert_eq!(titles, [Some("b"), None, Some("a"), None, None, Some("b")]);
    assert_eq!(nodes(&ada, &[]).await, json!([]));
    let answer = ada.ask(NODES, json!({ "ids": vec![a; 101] })).await;
    assert_eq!(answer.code(), "BAD_USER_INPUT");
    assert_eq!(answer.error()["extensions"]["fields"][0]["path"], json!(["ids"]));
    let missing = ada.ask("{ node(id: \"x\") { id } }", Value::Null).await;
    assert_eq!(missing.body, json!({ "data": { "node": null } }));
}

#[tokio::test]
async fn only_active_sessions_are_found_and_one_is_current() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let first = id(&app, "SELECT id::text AS text FROM sessions").await;
    let second = app.login("ada@example.com", crate::support::PASSWORD).await.token();
    let second = Owner { app: &app, token: second };
    let other = format!("SELECT id::text AS text FROM sessions WHERE id <> '{first}'");
    let other = id(&app, &other).await;
    let found = nodes(&second, &[&first, &other]).await;
    assert_eq!((&found[0]["current"], &found[1]["current"]), (&json!(false), &json!(true)));
    app.database.sql(&format!("UPDATE sessions SET expires_at = now() WHERE id = '{other}'")).await;
    assert_eq!(nodes(&ada, &[&other, &first]).await[0], Value::Null);
    app.database.sql(&format!("DELETE FROM sessions WHERE id = '{other}'")).await;
    assert_eq!(nodes(&ada, &[&other]).await[0], Value::Null);
}

#[tokio::test]
async fn nodes_need_a_token() {
    let app = TestApp::start().await;
    for query in ["{ node(id: \"x\") { id } }", "{ nodes(ids: []) { id } }"] {
        let answer = app.ask(query, Value::Null).await;
        assert_eq!(answer.code(), "UNAUTHENTICATED", "{query}");
        assert_eq!(answer.error()["extensions"]["reason"], "MISSING");
    }
}

#[tokio::test]
async fn fields_are_selected_by_interface_in_every_list() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let made = ada.create("a").await;
    let query =
        "query { todos { nodes { ...N title ... on Node { ... on User { email } ... on Todo { version } } } }
        me { ...N } } fragment N on Node { __typename id }";
    let answer = ada.ask(query, Value::Null).await;
    let todo = json!({ "__typename": "Todo", "id": made["id"], "title": "a", "version": 1 });
    assert_eq!(answer.data("todos")["nodes"], json!([todo]));
    assert_eq!(answer.data("me")["__typename"], "User");
}
