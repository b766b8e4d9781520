//! `pageInfo` of every connection, by Relay's specification.

use serde_json::{Value, json};

use crate::support::{Owner, PASSWORD, TestApp, rows};

/// Pages through a list from both ends of each page, and checks both flags against what the list holds.
async fn walk(owner: &Owner<'_>, list: &str, size: usize, total: usize) {
    let mut after = Value::Null;
    let mut seen = 0;
    loop {
        let query = list.replace('(', &format!("(first: {size}, after: {after}, ")).replace(
            "FIELDS",
            "edges { cursor } pageInfo { hasPreviousPage hasNextPage startCursor endCursor }",
        );
        let answer = owner.ask(&query, Value::Null).await;
        let page = find(&answer.body["data"]).unwrap_or_else(|| panic!("{query}: {:#}", answer.body));
        assert_eq!(page["pageInfo"]["hasPreviousPage"], seen > 0, "{query}");
        seen += page["edges"].as_array().unwrap().len();
        assert_eq!(page["pageInfo"]["hasNextPage"], seen < total, "{query}");
        if seen >= total {
            break;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
    assert_eq!(seen, total, "{list}");
}

/// Returns the connection within a response.
fn find(value: &Value) -> Option<&Value> {
    match value {
        Value::Object(fields) if fields.contains_key("pageInfo") => Some(value),
        Value::Object(fields) => fields.values().find_map(find),
        _ => None,
    }
}

#[tokio::test]
async fn every_connection_says_what_is_before_and_after_a_page() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let bob = Owner::new(&app, "bob@example.com").await;
    for _ in 0..4 {
        app.login("ada@example.com", PASSWORD).await;
        app.login("bob@example.com", PASSWORD).await;
        bob.create("strangers").await;
    }
    let mut id = Value::Null;
    for n in 0..5 {
        id = ada.create(&n.to_string()).await["id"].clone();
    }
    for n in 0..4 {
        ada.todo("updateTodo", json!({ "id": id, "title": format!("title {n}") })).await;
    }
    for size in 1..=6 {
        walk(&ada, "{ me { sessions() { FIELDS } } }", size, 5).await;
        walk(&ada, "{ me { securityEvents() { FIELDS } } }", size, 5).await;
        walk(&ada, "{ todos() { FIELDS } }", size, 5).await;
        walk(&ada, "{ todos(orderBy: { field: TITLE }) { FIELDS } }", size, 5).await;
        walk(&ada, "{ todos(filter: { search: \"title\" }) { FIELDS } }", size, 1).await;
    }
    let history = async |arguments: &str| {
        let query = format!(
            "query($id: ID!) {{ todo(id: $id) {{ history({arguments}) {{ pageInfo {{ hasPreviousPage hasNextPage endCursor }} }} }} }}"
        );
        ada.ask(&query, json!({ "id": id })).await.data("todo")["history"]["pageInfo"].clone()
    };
    let first = history("first: 2").await;
    assert_eq!((&first["hasPreviousPage"], &first["hasNextPage"]), (&json!(false), &json!(true)));
    let second = history(&format!("first: 5, after: {}", first["endCursor"])).await;
    assert_eq!((&second["hasPreviousPage"], &second["hasNextPage"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn nothing_is_before_a_page_once_the_items_before_it_are_gone() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let bob = Owner::new(&app, "bob@example.com").await;
    for title in ["a", "b", "c"] {
        ada.create(title).await;
        bob.create(title).await;
    }
    for field in ["CREATED_AT", "UPDATED_AT", "DUE_AT", "PRIORITY", "TITLE"] {
        for direction in ["ASC", "DESC"] {
            let order = format!("orderBy: {{ field: {field}, direction: {direction} }}");
            let page = async |arguments: &str| {
                let query = format!(
                    "{{ todos({arguments}, {order}) {{ nodes {{ id }} pageInfo {{ hasPreviousPage hasNextPage startCursor endCursor }} }} }}"
                );
                ada.ask(&query, Value::Null).await.data("todos").clone()
            };
            let flags = |page: &Value| {
                (page["pageInfo"]["hasPreviousPage"].clone(), page["pageInfo"]["hasNextPage"].clone())
            };
            let first = page("first: 1").await;
            let start = first["pageInfo"]["endCursor"].clone();
            let last = page("last: 1").await;
            let end = last["pageInfo"]["startCursor"].clone();
            assert_eq!(flags(&first), (json!(false), json!(true)), "{order}");
            assert_eq!(flags(&last), (json!(true), json!(false)), "{order}");
            assert_eq!(
                flags(&page(&format!("first: 9, after: {start}")).await),
                (json!(true), json!(false)),
                "{order}"
            );
            assert_eq!(
                flags(&page(&format!("last: 9, before: {end}")).await),
                (json!(false), json!(true)),
                "{order}"
            );
            let middle = page(&format!("first: 1, after: {start}, before: {end}")).await;
            assert_eq!(flags(&middle), (json!(true), json!(false)), "{order}");

            for todo in [&first, &last] {
                ada.todo("deleteTodo", json!({ "id": todo["nodes"][0]["id"] })).await;
            }
            assert_eq!(
                flags(&page(&format!("first: 9, after: {start}")).await),
                (json!(false), json!(false)),
                "{order}"
            );
            assert_eq!(
                flags(&page(&format!("last: 9, before: {end}")).await),
                (json!(false), json!(false)),
                "{order}"
            );
            for todo in [&first, &last] {
                let id = todo["nodes"][0]["id"].as_str().unwrap();
                app.database.sql(&format!("UPDATE todos SET deleted_at = NULL WHERE id = '{id}'")).await;
            }
        }
    }
    assert_eq!(rows(&app, "SELECT count(*)::text AS text FROM todos").await, ["6"]);
}
