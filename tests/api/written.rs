//! The fast path for queries: written responses have the same bytes as resolved ones.

use fastrand::Rng;
use serde_json::{Value, json};

use crate::support::{Owner, TestApp};

const DOCUMENTS: usize = 2_000;
/// Flags that lift the limits that random documents exceed.
const UNLIMITED: [&str; 3] = ["--max-aliases=10000", "--max-complexity=1000000", "--max-tokens=100000"];
const FLAG_NAMES: [&str; 2] = ["yes", "no"];

/// Fields by type, each with the type of its selection; empty for a leaf.
const FIELDS: [(&str, &[(&str, &str)]); 5] = [
    (
        "TodoConnection",
        &[
            ("nodes", "Todo"),
            ("edges", "TodoEdge"),
            ("pageInfo", "PageInfo"),
            ("totalCount", ""),
            ("eventId", ""),
        ],
    ),
    ("TodoEdge", &[("node", "Todo"), ("cursor", "")]),
    ("PageInfo", &[("hasNextPage", ""), ("hasPreviousPage", ""), ("startCursor", ""), ("endCursor", "")]),
    (
        "Todo",
        &[
            ("id", ""),
            ("title", ""),
            ("description", ""),
            ("completed", ""),
            ("completedAt", ""),
            ("priority", ""),
            ("dueAt", ""),
            ("tags", ""),
            ("version", ""),
            ("createdAt", ""),
            ("updatedAt", ""),
            ("deletedAt", ""),
        ],
    ),
    ("User", &[("id", ""), ("email", ""), ("name", ""), ("createdAt", ""), ("updatedAt", "")]),
];

/// Generates selections on a type: with aliases, repeated fields, fragments, `@skip` and `@include`.
fn generate_selections(rng: &mut Rng, ty: &str, depth: usize) -> String {
    let (_, fields) = FIELDS.iter().find(|(name, _)| *name == ty).unwrap();
    let mut text = String::new();
    for _ in 0..rng.usize(1..4) {
        let flag = FLAG_NAMES[rng.usize(..2)];
        let directive = match rng.u8(..8) {
            0 => format!(" @skip(if: ${flag})"),
            1 => format!(" @include(if: ${flag})"),
            _ => String::new(),
        };
        if ["Todo", "User"].contains(&ty) && rng.u8(..8) == 0 {
            text.extend([" ... on Node", &directive, " { id a0_id: id ... on ", ty, " { updatedAt } }"]);
            continue;
        }
        if depth > 0 && rng.u8(..4) == 0 {
            let condition = if rng.bool() { format!(" on {ty}") } else { String::new() };
            let inner = generate_selections(rng, ty, depth - 1);
            text.extend([" ...", &condition, &directive, " {", &inner, " }"]);
            continue;
        }
        let (name, inner) =
            if rng.u8(..8) == 0 { ("__typename", "") } else { fields[rng.usize(..fields.len())] };
        // The alias contains the field's name, so that selections never conflict.
        let alias = if rng.u8(..3) == 0 { format!("a{}_{name}: ", rng.u8(..2)) } else { String::new() };
        let inner = if inner.is_empty() {
            String::new()
        } else {
            format!(" {{{} }}", generate_selections(rng, inner, depth))
        };
        text.extend([" ", &alias, name, &directive, &inner]);
    }
    text
}

/// Generates arguments of `todos`; some are refused.
fn generate_arguments(rng: &mut Rng, cursors: &[String]) -> String {
    let mut all = Vec::new();
    match rng.u8(..8) {
        0 => all.push(format!("last: {}", rng.u8(..9))),
        1 => all.push("first: 101".into()),
        2 => all.push("first: 1, last: 1".into()),
        _ => all.push(format!("first: {}", rng.u8(..9))),
    }
    let order = ["CREATED_AT", "UPDATED_AT", "DUE_AT", "PRIORITY", "TITLE"][rng.usize(..5)];
    match rng.u8(..4) {
        0 => all.push(format!("orderBy: {{ field: {order} }}")),
        1 => all.push(format!("orderBy: {{ field: {order}, direction: DESC }}")),
        _ => {}
    }
    for name in ["after", "before"] {
        if rng.u8(..4) == 0 {
            all.push(format!("{name}: \"{}\"", cursors[rng.usize(..cursors.len())]));
        }
    }
    match rng.u8(..8) {
        0 => all.push("filter: { completed: true }".into()),
        1 => all.push("filter: { inTrash: true }".into()),
        2 => all.push("filter: { search: \"milk\", priority: [HIGH, NONE] }".into()),
        3 => all.push("filter: { tags: { any: [\"a\"] }, dueBefore: \"2030-01-01T00:00:00Z\" }".into()),
        4 => all.push("filter: { tags: { any: [\"\"] } }".into()),
        _ => {}
    }
    all.join(", ")
}

fn generate_document(rng: &mut Rng, cursors: &[String]) -> String {
    let alias = if rng.bool() { "page: " } else { "" };
    let field = if rng.u8(..6) == 0 {
        format!("{alias}me {{{} }}", generate_selections(rng, "User", 2))
    } else {
        let arguments = generate_arguments(rng, cursors);
        format!("{alias}todos({arguments}) {{{} }}", generate_selections(rng, "TodoConnection", 2))
    };
    format!(
        "query($yes: Boolean = true, $no: Boolean = false) {{
            {field} __typename @include(if: $no) @skip(if: $yes) }}"
    )
}

/// Creates todos that differ in every field; returns their cursors in the default order.
async fn create_todos(owner: &Owner<'_>) -> Vec<String> {
    let titles =
        ["milk", "Milk \"and\" bread", "back\\slash", "ü\u{301} 中文 🦀", "\u{2028}line", "</script>"];
    for (index, title) in titles.iter().cycle().take(18).enumerate() {
        let mut input = json!({ "title": title, "description": "a\nb\t\"c\"".repeat(index % 3) });
        if index % 2 == 0 {
            input["dueAt"] = json!(format!("20{}-01-31T23:59:59.{index:06}Z", 10 + index));
            input["priority"] = json!(["LOW", "MEDIUM", "HIGH"][index % 3]);
        }
        if index % 3 == 0 {
            input["tags"] = json!(["a", "\"b\"", "ç"]);
        }
        let id = json!({ "id": owner.todo("createTodo", input).await["id"] });
        match index % 6 {
            1 => drop(owner.todo("completeTodo", id).await),
            2 => drop(owner.todo("deleteTodo", id).await),
            _ => {}
        }
    }
    let page = owner.ask("{ todos { edges { cursor } } }", Value::Null).await;
    let edges = page.data("todos")["edges"].as_array().unwrap().clone();
    edges.iter().map(|edge| edge["cursor"].as_str().unwrap().to_owned()).collect()
}

/// Sends a document; returns the status and body of the response.
async fn send(app: &TestApp, token: &str, document: &str) -> (u16, String) {
    let request = app.http.post(app.url("/graphql")).bearer_auth(token);
    let response = request.json(&json!({ "query": document })).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn written_responses_equal_resolved_ones() {
    let app = TestApp::with(&UNLIMITED).await;
    let owner = Owner::new(&app, "ada@example.com").await;
    let cursors = create_todos(&owner).await;
    let resolving = app.resolving_beside(&UNLIMITED).await;
    let mut rng = Rng::with_seed(15);
    let mut succeeded = 0;
    for _ in 0..DOCUMENTS {
        let document = generate_document(&mut rng, &cursors);
        let (written, resolved) =
            tokio::join!(send(&app, &owner.token, &document), send(&resolving, &owner.token, &document));
        assert_eq!(written, resolved, "{document}");
        succeeded += usize::from(!written.1.contains("\"errors\""));
    }
    assert!(succeeded > DOCUMENTS / 2, "{succeeded} of {DOCUMENTS} documents succeeded");
}

#[tokio::test]
async fn written_errors_equal_resolved_ones() {
    let app = TestApp::start().await;
    let resolving = app.resolving_beside(&[]).await;
    for document in ["{ todos { totalCount } }", "{ page: todos { totalCount } }", "{ me { id } }"] {
        for token in ["", "x"] {
            let written = send(&app, token, document).await;
            assert_eq!(written, send(&resolving, token, document).await, "{document}");
        }
    }
}
