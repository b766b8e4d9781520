//! Random operations do to the service what they do to a model of its rules.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::support::{Owner, TestApp};

/// What the model knows of a todo.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    created: (String, String),
    title: String,
    priority: String,
    done: bool,
    trashed: bool,
    version: i64,
    /// The states before each change, for undo.
    past: Vec<(String, String, bool, bool)>,
}

impl Model {
    fn content(&self) -> (String, String, bool, bool) {
        (self.title.clone(), self.priority.clone(), self.done, self.trashed)
    }

    fn change(&mut self, change: impl FnOnce(&mut Self)) {
        let before = self.content();
        change(self);
        if self.content() != before {
            self.version += 1;
            self.past.push(before);
        }
    }

    /// Does what a mutation does; `fields` are those that an update changes.
    fn apply(&mut self, mutation: &str, fields: u8, title: &str, priority: &str) {
        self.change(|todo| match mutation {
            "updateTodo" => {
                if fields & 1 > 0 {
                    todo.title = title.into();
                }
                if fields & 2 > 0 {
                    todo.priority = priority.into();
                }
            }
            "completeTodo" => todo.done = true,
            "reopenTodo" => todo.done = false,
            "deleteTodo" => todo.trashed = true,
            "restoreTodo" => todo.trashed = false,
            _ => match todo.past.last().cloned() {
                Some((title, priority, done, trashed)) => {
                    (todo.title, todo.priority, todo.done, todo.trashed) = (title, priority, done, trashed);
                }
                // Undoing the creation.
                None => todo.trashed = true,
            },
        });
    }

    fn check(&self, todo: &Value) {
        let seen = (&todo["title"], &todo["priority"], &todo["completed"], &todo["version"]);
        assert_eq!(
            seen,
            (&json!(self.title), &json!(self.priority), &json!(self.done), &json!(self.version))
        );
        assert_eq!(todo["deletedAt"].is_string(), self.trashed);
    }
}

fn pick<'a>(random: &mut fastrand::Rng, of: &[&'a str]) -> &'a str {
    random.choice(of).unwrap()
}

async fn purge(owner: &Owner<'_>, input: &Value, known: Option<&Model>, gone: bool) {
    let query = "mutation($input: TodoInput!) { purgeTodo(input: $input) { purgedTodoId } }";
    let answer = owner.ask(query, json!({ "input": input })).await;
    match known {
        _ if gone => assert_eq!(answer.data("purgeTodo")["purgedTodoId"], input["id"]),
        Some(_) => assert_eq!(answer.code(), "CONFLICT"),
        None => assert_eq!(answer.code(), "NOT_FOUND"),
    }
}

async fn create(
    owner: &Owner<'_>,
    model: &mut HashMap<String, Model>,
    id: String,
    title: &str,
    priority: &str,
) {
    let input = json!({ "id": id, "title": title, "priority": priority });
    let answer = owner.call("createTodo", input).await;
    let created = (title.to_owned(), priority.to_owned());
    let (title, priority) = created.clone();
    let fresh = Model {
        created: created.clone(),
        title,
        priority,
        done: false,
        trashed: false,
        version: 1,
        past: Vec::new(),
    };
    let todo = model.entry(id).or_insert(fresh);
    if todo.created == created {
        todo.check(&answer.data("createTodo")["todo"]);
    } else {
        assert_eq!(answer.code(), "CONFLICT");
        todo.check(&answer.error()["extensions"]["todo"]);
    }
}

async fn play(owner: &Owner<'_>, model: &mut HashMap<String, Model>, random: &mut fastrand::Rng) {
    let id = format!("00000000-0000-4000-8000-00000000000{}", random.u8(0..6));
    let known = model.get_mut(&id);
    let expected =
        known.as_ref().filter(|_| random.u8(0..3) == 0).map(|todo| todo.version - i64::from(random.bool()));
    let mutation = pick(
        random,
        &[
            "createTodo",
            "createTodo",
            "updateTodo",
            "updateTodo",
            "completeTodo",
            "reopenTodo",
            "deleteTodo",
            "restoreTodo",
            "purgeTodo",
            "undo",
        ],
    );
    let (title, priority) = (pick(random, &["a", "b", "c"]), pick(random, &["NONE", "HIGH"]));
    let mut input = json!({ "id": id, "expectedVersion": expected });
    if mutation == "purgeTodo" {
        let gone = known.as_ref().is_some_and(|todo| expected.is_none_or(|version| version == todo.version));
        purge(owner, &input, known.as_deref(), gone).await;
        if gone {
            model.remove(&id);
        }
        return;
    }
    if mutation == "createTodo" {
        create(owner, model, id, title, priority).await;
        return;
    }
    let event = if mutation == "undo" {
        let query = "query($id: ID!) { todo(id: $id) { history(first: 1) { nodes { id kind } } } }";
        let answer = owner.ask(query, json!({ "id": id })).await;
        // The last event can always be undone.
        let Some(event) = answer.body["data"]["todo"]["history"]["nodes"].get(0).cloned() else { return };
        input = json!({ "eventId": event["id"] });
        Some(event)
    } else {
        None
    };
    let fields = random.u8(0..4);
    if mutation == "updateTodo" && fields & 1 > 0 {
        input["title"] = title.into();
    }
    if mutation == "updateTodo" && fields & 2 > 0 {
        input["priority"] = if priority == "NONE" { Value::Null } else { priority.into() };
    }
    let has_event = random.bool();
    let answer = if has_event {
        owner.call_with_event(mutation, input).await
    } else {
        owner.call(mutation, input).await
    };
    let Some(todo) = known else {
        assert_eq!(answer.code(), "NOT_FOUND");
        return;
    };
    let is_as_asked = match mutation {
        "updateTodo" => {
            fields > 0
                && (fields & 1 == 0 || todo.title == title)
                && (fields & 2 == 0 || todo.priority == priority)
        }
        "completeTodo" => todo.done,
        "reopenTodo" => !todo.done,
        "deleteTodo" => todo.trashed,
        "restoreTodo" => !todo.trashed,
        _ => false,
    };
    if let Some(expected) = expected.filter(|version| event.is_none() && *version != todo.version) {
        if is_as_asked && expected >= 1 {
            // The answer to a request that is repeated.
            todo.check(&answer.data(mutation)["todo"]);
            if has_event {
                check_event(owner, &id, &answer.data(mutation)["event"]).await;
            }
            return;
        }
        assert_eq!(answer.code(), "CONFLICT");
        todo.check(&answer.error()["extensions"]["todo"]);
        return;
    }
    let version = todo.version;
    todo.apply(mutation, fields, title, priority);
    todo.check(&answer.data(mutation)["todo"]);
    let event = &answer.data(mutation)["event"];
    if has_event && todo.version > version {
        check_event(owner, &id, event).await;
    } else {
        assert!(event.is_null(), "{event}");
    }
}

/// Checks that an event is the last one of a todo.
async fn check_event(owner: &Owner<'_>, id: &str, event: &Value) {
    assert_eq!(event["id"], owner.last_event(&json!(id)).await);
}

#[tokio::test]
async fn random_operations_do_what_the_rules_say() {
    let app = TestApp::start().await;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let owners = [Owner::new(&app, "ada@example.com").await, Owner::new(&app, "bob@example.com").await];
    let mut models = [HashMap::new(), HashMap::new()];
    for _ in 0..600 {
        let index = random.usize(0..2);
        play(&owners[index], &mut models[index], &mut random).await;
    }
    for (owner, model) in owners.iter().zip(&models) {
        for trash in [false, true] {
            let mut expected: Vec<_> =
                model.values().filter(|todo| todo.trashed == trash).map(|todo| todo.title.clone()).collect();
            expected.sort();
            let list = format!("(orderBy: {{ field: TITLE }}, filter: {{ inTrash: {trash} }})");
            assert_eq!(owner.titles(&list).await, expected);
        }
    }
}
