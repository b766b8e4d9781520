//! Objects of other users are answered like missing ones, for every field that takes an identifier.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::support::{Client, Introspected, Owner, TestApp, rows};

/// Returns the type of object that a place expects an identifier of.
fn kind(place: &str) -> Option<&'static str> {
    Some(match place {
        "Mutation.revokeSession.input.id" => "session",
        "Mutation.undo.input.eventId"
        | "Mutation.undoEvents.input.eventIds"
        | "Subscription.todoChanged.after" => "event",
        "Query.node.id" | "Query.nodes.ids" => "any",
        "Query.todo.id"
        | "Mutation.createTodo.input.id"
        | "Mutation.createTodos.input.todos.id"
        | "Mutation.updateTodo.input.id"
        | "Mutation.updateTodos.input.ids"
        | "Mutation.updateTodos.input.todos.id"
        | "Mutation.completeTodo.input.id"
        | "Mutation.completeTodos.input.ids"
        | "Mutation.completeTodos.input.todos.id"
        | "Mutation.reopenTodo.input.id"
        | "Mutation.reopenTodos.input.ids"
        | "Mutation.reopenTodos.input.todos.id"
        | "Mutation.deleteTodo.input.id"
        | "Mutation.deleteTodos.input.ids"
        | "Mutation.deleteTodos.input.todos.id"
        | "Mutation.restoreTodo.input.id"
        | "Mutation.restoreTodos.input.ids"
        | "Mutation.restoreTodos.input.todos.id"
        | "Mutation.purgeTodo.input.id"
        | "Mutation.purgeTodos.input.ids"
        | "Mutation.purgeTodos.input.todos.id" => "todo",
        _ => return None,
    })
}

/// Generates every operation that takes identifiers, with the places of those.
fn operations(schema: &Introspected, id: &str) -> BTreeMap<String, (String, Value, BTreeSet<String>)> {
    let mut found = BTreeMap::new();
    for (root, operation) in
        [("queryType", "query"), ("mutationType", "mutation"), ("subscriptionType", "subscription")]
    {
        let root = schema.0[root]["name"].as_str().unwrap();
        for field in schema.find(root)["fields"].as_array().unwrap() {
            let name = field["name"].as_str().unwrap();
            let mut places = BTreeSet::new();
            let mut variables = Map::new();
            let mut declared = Vec::new();
            let mut passed = Vec::new();
            for argument in field["args"].as_array().unwrap() {
                let argument_name = argument["name"].as_str().unwrap();
                let place = format!("{root}.{name}.{argument_name}");
                let value = schema.value(&argument["type"], &place, id, &mut places);
                variables.insert(argument_name.to_owned(), value);
                declared.push(format!("${argument_name}: {}", Introspected::written(&argument["type"])));
                passed.push(format!("{argument_name}: ${argument_name}"));
            }
            if places.is_empty() {
                continue;
            }
            let selection = schema.selection(Introspected::named(&field["type"]), 1);
            let query = format!(
                "{operation}({}) {{ {name}({}) {selection} }}",
                declared.join(", "),
                passed.join(", ")
            );
            for variables in alternatives(Value::Object(variables)) {
                let key = format!("{root}.{name} {variables}");
                found.insert(key, (query.clone(), variables, places.clone()));
            }
        }
    }
    found
}

/// Returns variables once with each of two input fields that exclude each other.
fn alternatives(variables: Value) -> Vec<Value> {
    let input = &variables["input"];
    if input["ids"].is_null() || input["todos"].is_null() {
        return vec![variables];
    }
    let without = |name| {
        let mut variables = variables.clone();
        variables["input"].as_object_mut().unwrap().remove(name);
        variables
    };
    vec![without("ids"), without("todos")]
}

async fn answer(owner: &Owner<'_>, query: &str, variables: &Value) -> String {
    if !query.starts_with("subscription") {
        return owner.ask(query, variables.clone()).await.body.to_string();
    }
    let mut client =
        Client::ready(owner.app, json!({ "Authorization": format!("Bearer {}", owner.token) })).await;
    let payload = json!({ "query": query, "variables": variables });
    client.send(json!({ "id": "1", "type": "subscribe", "payload": payload })).await;
    client.receive().await.to_string()
}

/// Removes from a response what differs between any two: times, events and the identifier itself.
fn comparable(answer: &str, id: &str) -> String {
    let mut parsed: Value = serde_json::from_str(&answer.replace(id, "the identifier")).unwrap();
    level(&mut parsed);
    parsed.to_string()
}

fn level(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| {
            if name.ends_with("At") && value.is_string() && name != "dueAt" {
                *value = json!("a time");
            }
            if ["eventId", "event", "events"].contains(&name.as_str()) {
                *value = json!("an event");
            }
            level(value);
        }),
        Value::Array(items) => items.iter_mut().for_each(level),
        _ => {}
    }
}

#[tokio::test]
async fn objects_of_other_users_are_answered_like_missing_ones() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let bob = Owner::new(&app, "bob@example.com").await;
    let schema = Introspected::of(&app).await;
    let todo = bob.create("text").await["id"].as_str().unwrap().to_owned();
    let of_bob = async |column: &str, table: &str| {
        let sql = format!(
            "SELECT {column}::text AS text FROM users LEFT JOIN {table} ON users.id = user_id WHERE email LIKE 'bob%'"
        );
        rows(&app, &sql).await.remove(0)
    };
    let strangers = [
        ("todo", todo),
        ("event", of_bob("todo_events.id", "todo_events").await),
        ("session", of_bob("sessions.id", "sessions").await),
        ("security event", of_bob("security_events.id", "security_events").await),
        ("user", of_bob("users.id", "sessions").await),
    ];
    let contents = "SELECT (todos, (SELECT count(*) FROM sessions))::text AS text FROM todos JOIN users ON users.id = user_id
        WHERE email LIKE 'bob%'";
    let before = rows(&app, contents).await;

    let random = "0192c0de-0000-7000-8000-00000000abcd";
    let mut covered = 0;
    for (name, (query, variables, places)) in operations(&schema, random) {
        let kinds: BTreeSet<_> = places
            .iter()
            .map(|place| {
                kind(place).unwrap_or_else(|| panic!("say in kind() which identifiers {place} takes"))
            })
            .collect();
        assert_eq!(kinds.len(), 1, "{name}");
        let not_there = answer(&ada, &query, &variables).await;
        for (_, strangers) in
            strangers.iter().filter(|(kind, _)| kinds.contains(kind) || kinds.contains("any"))
        {
            let variables: Value =
                serde_json::from_str(&variables.to_string().replace(random, strangers)).unwrap();
            let not_hers = answer(&ada, &query, &variables).await;
            assert_eq!(comparable(&not_hers, strangers), comparable(&not_there, random), "{name}");
        }
        let created = name.contains("create");
        let is_refused = !created && !kinds.contains("any");
        assert_eq!(not_there.contains("NOT_FOUND"), is_refused, "{name}: {not_there}");
        assert!(is_refused || !not_there.contains("\"errors\""), "{name}: {not_there}");
        if created {
            // Ada's own creations would be found from here on.
            app.database
                .sql("DELETE FROM todos USING users WHERE users.id = user_id AND email LIKE 'ada%'")
                .await;
        }
        covered += 1;
    }
    assert_eq!(covered, 27);
    assert_eq!(rows(&app, contents).await, before);
}
