//! Lists of todos: orders, filters, pages.

use serde_json::{Value, json};

use crate::support::{Owner, TestApp, rows};

const FIELDS: [&str; 5] = ["CREATED_AT", "UPDATED_AT", "DUE_AT", "PRIORITY", "TITLE"];

/// Todos with many equal values; written by SQL, as only their places matter.
async fn fill(app: &TestApp, count: usize) {
    app.database
        .sql(&format!(
            "INSERT INTO todos (user_id, id, title, priority, due_at, created_at, updated_at)
             SELECT users.id, gen_random_uuid(), (ARRAY['Apple', 'apple', 'Éclair', 'zebra'])[1 + n % 4] || n % 7,
                 (ARRAY['NONE', 'LOW', 'MEDIUM', 'HIGH'])[1 + n % 4],
                 CASE WHEN n % 3 > 0 THEN timestamptz '2030-01-01' + n % 5 * interval '1 day' END,
                 timestamptz '2026-01-01' + n % 11 * interval '1 second',
                 timestamptz '2026-01-01' + n % 13 * interval '1 second'
             FROM users, generate_series(1, {count}) AS n"
        ))
        .await;
}

/// Walks through a list page by page, in one of both directions; returns the identifiers in the list's order.
async fn walk(owner: &Owner<'_>, order: &str, backward: bool, size: usize) -> Vec<Value> {
    let (count, place, more, cursor) = if backward {
        ("last", "before", "hasPreviousPage", "startCursor")
    } else {
        ("first", "after", "hasNextPage", "endCursor")
    };
    let query = format!(
        "query($cursor: String) {{ todos({count}: {size}, {place}: $cursor, orderBy: {order}) {{
            nodes {{ id }} edges {{ cursor node {{ id }} }}
            pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
    );
    let (mut ids, mut position) = (Vec::new(), Value::Null);
    loop {
        let answer = owner.ask(&query, json!({ "cursor": position })).await;
        let page = answer.data("todos");
        let mut nodes: Vec<_> =
            page["nodes"].as_array().unwrap().iter().map(|node| node["id"].clone()).collect();
        assert_eq!(page["edges"].as_array().unwrap().len(), nodes.len());
        if backward {
            nodes.extend(ids);
            ids = nodes;
        } else {
            ids.extend(nodes);
        }
        if page["pageInfo"][more] == false {
            return ids;
        }
        position = page["pageInfo"][cursor].clone();
    }
}

#[tokio::test]
async fn every_order_can_be_walked_through_in_both_directions() {
    let app = TestApp::start().await;
    let (ada, _) = (Owner::new(&app, "ada@example.com").await, app.register("bob@example.com").await);
    fill(&app, 60).await;
    for field in FIELDS {
        for direction in ["ASC", "DESC"] {
            let column = match field {
                "CREATED_AT" => "created_at",
                "UPDATED_AT" => "updated_at",
                "DUE_AT" => "due_at",
                "PRIORITY" => "array_position(ARRAY['NONE', 'LOW', 'MEDIUM', 'HIGH'], priority)",
                _ => "lower(title) COLLATE \"C\"",
            };
            let sorted = format!(
                "SELECT id::text AS text FROM todos WHERE user_id = (SELECT id FROM users WHERE email LIKE 'ada%')
                 ORDER BY {column} {direction} NULLS LAST, id {direction}"
            );
            let expected: Vec<_> = rows(&app, &sorted).await.into_iter().map(Value::from).collect();
            let order = format!("{{ field: {field}, direction: {direction} }}");
            assert_eq!(walk(&ada, &order, false, 7).await, expected, "{order} forward");
            assert_eq!(walk(&ada, &order, true, 13).await, expected, "{order} backward");
        }
    }
}

#[tokio::test]
async fn pages_stay_stable_while_todos_come_and_go() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    for n in 0..6 {
        ada.create(&n.to_string()).await;
    }
    let query = "{ todos(first: 3) { nodes { title } pageInfo { endCursor } } }";
    let cursor =
        ada.ask(query, Value::Null).await.data("todos")["pageInfo"]["endCursor"].as_str().unwrap().to_owned();
    ada.create("new").await;
    let last_seen =
        ada.ask("{ todos(first: 4, filter: { search: \"3\" }) { nodes { id } } }", Value::Null).await;
    ada.todo("deleteTodo", json!({ "id": last_seen.data("todos")["nodes"][0]["id"] })).await;
    assert_eq!(ada.titles(&format!("(first: 3, after: \"{cursor}\")")).await, ["2", "1", "0"]);
    assert_eq!(ada.titles(&format!("(last: 3, before: \"{cursor}\")")).await, ["new", "5", "4"]);
}

#[tokio::test]
async fn filters_find_what_they_say() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let due = |day| format!("2030-01-0{day}T00:00:00Z");
    for input in [
        json!({ "title": "milk", "description": "from the Café's back-room", "priority": "HIGH", "tags": ["home", "o'shop"] }),
        json!({ "title": "write to ada@example.org", "dueAt": due(1), "tags": ["work"] }),
        json!({ "title": "Über-wichtig", "dueAt": due(2), "tags": ["home", "work"], "priority": "LOW" }),
    ] {
        ada.todo("createTodo", input).await;
    }
    let done = ada.create("done").await;
    ada.todo("completeTodo", json!({ "id": done["id"] })).await;
    for (filter, expected) in [
        ("completed: true", &["done"][..]),
        ("completed: false, priority: NONE", &["write to ada@example.org"]),
        ("priority: [HIGH, LOW]", &["milk", "Über-wichtig"]),
        ("priority: [], completed: true", &["done"]),
        ("priority: null, completed: true", &["done"]),
        ("priority: [], tags: { any: [] }", &["milk", "write to ada@example.org", "Über-wichtig", "done"]),
        ("priority: [], tags: { any: [\"home\"] }", &["milk", "Über-wichtig"]),
        ("dueBefore: \"2030-01-02T00:00:00Z\"", &["write to ada@example.org"]),
        ("dueAfter: \"2030-01-02T00:00:00Z\"", &["Über-wichtig"]),
        ("tags: { any: [\"work\", \"o'shop\"] }", &["milk", "write to ada@example.org", "Über-wichtig"]),
        ("tags: { all: [\"work\", \"home\"] }", &["Über-wichtig"]),
        ("tags: { any: [], all: [] }, completed: true", &["done"]),
        ("tags: { all: [\"hom\"] }", &[]),
        ("search: \"CAFÉ mil\"", &["milk"]),
        ("search: \"back-ro\"", &["milk"]),
        ("search: \"mil café\"", &[]),
        ("search: \"ada@example.o\"", &["write to ada@example.org"]),
        ("search: \"über\"", &["Über-wichtig"]),
        ("search: \"!!!\"", &[]),
        ("search: \"' | & :* ( \\\\\\\\ home\"", &[]),
        ("search: \"  \", completed: true", &["done"]),
    ] {
        let list = format!("(orderBy: {{ field: CREATED_AT }}, filter: {{ {filter} }})");
        assert_eq!(ada.titles(&list).await, expected, "{filter}");
        let query = format!("{{ todos(first: 0, filter: {{ {filter} }}) {{ totalCount nodes {{ id }} }} }}");
        let answer = ada.ask(&query, Value::Null).await;
        assert_eq!(answer.data("todos"), &json!({ "totalCount": expected.len(), "nodes": [] }), "{filter}");
    }
}

#[tokio::test]
async fn tampered_cursors_are_refused_and_break_nothing() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    ada.todo("createTodo", json!({ "title": "a", "dueAt": "2030-01-01T00:00:00Z" })).await;
    for field in FIELDS {
        let query = format!("{{ todos(orderBy: {{ field: {field} }}) {{ pageInfo {{ endCursor }} }} }}");
        let cursor = ada.ask(&query, Value::Null).await.data("todos")["pageInfo"]["endCursor"].clone();
        let cursor = URL_SAFE_NO_PAD.decode(cursor.as_str().unwrap()).unwrap();
        let query = format!(
            "query($c: String) {{ todos(after: $c, orderBy: {{ field: {field} }}) {{ nodes {{ id }} }} }}"
        );
        for index in 0..cursor.len() {
            for byte in [0, 0x7f, 0x80, 0xff] {
                let mut bytes = cursor.clone();
                bytes[index] = byte;
                let answer = ada.ask(&query, json!({ "c": URL_SAFE_NO_PAD.encode(&bytes) })).await;
                if answer.body.get("errors").is_some() {
                    assert_eq!(answer.code(), "BAD_USER_INPUT", "{field} {index} {byte}");
                }
            }
        }
        for broken in
            ["", "x", "====", &URL_SAFE_NO_PAD.encode(&cursor[..cursor.len() - 1]), &"A".repeat(5000)]
        {
            let answer = ada.ask(&query, json!({ "c": broken })).await;
            let title_still = field == "TITLE" && answer.body.get("errors").is_none();
            assert!(title_still || answer.code() == "BAD_USER_INPUT", "{field} {broken}");
        }
    }
}
