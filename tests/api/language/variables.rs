//! Variables are equivalent to literals; an omitted variable is equivalent to an omitted argument or input field.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Asker;
use crate::support::{Introspected, Owner, PASSWORD, TestApp, rows};

#[tokio::test]
async fn an_omitted_variable_in_an_input_object_keeps_the_field() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    let made = ada.todo("createTodo", json!({ "title": "old", "tags": ["home"], "description": "d" })).await;
    let query = "mutation($id: ID!, $title: String, $tags: [String!], $description: String) {
        updateTodo(input: { id: $id, title: $title, tags: $tags, description: $description })
        { todo { title tags description } } }";
    let answer = ada.ask(query, json!({ "id": made["id"], "title": "new" })).await;
    let expected = json!({ "title": "new", "tags": ["home"], "description": "d" });
    assert_eq!(answer.data("updateTodo")["todo"], expected);
    let answer = ada.ask(query, json!({ "id": made["id"], "tags": null, "description": null })).await;
    let expected = json!({ "title": "new", "tags": [], "description": "" });
    assert_eq!(answer.data("updateTodo")["todo"], expected);
}

#[tokio::test]
async fn the_default_of_a_variable_replaces_only_an_omitted_value() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    for title in ["a", "b", "c"] {
        ada.create(title).await;
    }
    let query = "query($n: Int = 2, $trash: Boolean = false) {
        todos(first: $n, filter: { inTrash: $trash }) { nodes { title } } }";
    let titles = async |variables| {
        let data = ada.answered(query, &variables).await;
        data["todos"]["nodes"].as_array().unwrap().len()
    };
    assert_eq!(titles(json!({})).await, 2);
    assert_eq!(titles(json!({ "n": 1 })).await, 1);
    // Null is a value, so the variable's default does not apply; the field's own default does.
    assert_eq!(titles(json!({ "n": null })).await, 3);
    assert_eq!(titles(json!({ "trash": true })).await, 0);
    ada.refused(query, &json!({ "trash": null }), "BAD_USER_INPUT").await;
    let query = "query($n: Int! = 2) { todos(first: $n) { nodes { title } } }";
    assert_eq!(ada.answered(query, &json!({})).await["todos"]["nodes"].as_array().unwrap().len(), 2);
    ada.refused(query, &json!({ "n": null }), "BAD_USER_INPUT").await;
}

#[tokio::test]
async fn a_nullable_variable_is_allowed_in_a_position_with_a_default() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    ada.create("a").await;
    let query = "query($x: Boolean, $d: OrderDirection) {
        todos(filter: { inTrash: $x }, orderBy: { field: TITLE, direction: $d }) { nodes { title } } }";
    let data = ada.answered(query, &json!({})).await;
    assert_eq!(data["todos"]["nodes"], json!([{ "title": "a" }]));
    let errors = ada.refused(query, &json!({ "x": null }), "BAD_USER_INPUT").await;
    assert_eq!(errors[0]["extensions"]["fields"][0]["path"], json!(["todos", "filter", "inTrash"]));
}

#[tokio::test]
async fn values_are_coerced_by_the_specification() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    ada.todo("createTodo", json!({ "title": "a", "tags": ["x"], "priority": "HIGH" })).await;
    let filter = "query($f: TodoFilter) { todos(filter: $f) { nodes { title } } }";
    let first = "query($n: Int) { todos(first: $n) { nodes { title } } }";
    for (query, variables) in [
        (filter, json!({ "f": { "priority": "HIGH" } })),
        (filter, json!({ "f": { "tags": { "any": "x" } } })),
        (filter, json!({ "f": { "priority": ["HIGH"], "inTrash": false } })),
        (first, json!({ "n": 1 })),
        (first, json!({ "n": 1.0 })),
        (first, json!({ "n": 100, "unused": { "is": "ignored" } })),
    ] {
        let data = ada.answered(query, &variables).await;
        assert_eq!(data["todos"]["nodes"], json!([{ "title": "a" }]), "{variables}");
    }
    let id = "query($id: ID!) { todo(id: $id) { title } }";
    // An integer is a valid ID, though none of a todo.
    assert_eq!(ada.ask(id, json!({ "id": 7 })).await.code(), "NOT_FOUND");
    for (query, variables) in [
        (id, json!({ "id": 1.5 })),
        (id, json!({ "id": true })),
        (first, json!({ "n": "1" })),
        (first, json!({ "n": 1.5 })),
        (first, json!({ "n": true })),
        (first, json!({ "n": 2_147_483_648_i64 })),
        (first, json!({ "n": -2_147_483_649_i64 })),
        (first, json!({ "n": [1] })),
        (filter, json!({ "f": [] })),
        (filter, json!({ "f": "x" })),
        (filter, json!({ "f": { "completed": "true" } })),
        (filter, json!({ "f": { "completed": 1 } })),
        (filter, json!({ "f": { "priority": ["URGENT"] } })),
        (filter, json!({ "f": { "priority": ["high"] } })),
        (filter, json!({ "f": { "priority": [null] } })),
        (filter, json!({ "f": { "priority": [["HIGH"]] } })),
        (filter, json!({ "f": { "priority": 1 } })),
        (filter, json!({ "f": { "search": 1 } })),
        (filter, json!({ "f": { "unknown": 1 } })),
        (filter, json!({ "f": { "tags": { "none": ["x"] } } })),
        (filter, json!({ "f": { "dueBefore": "tomorrow" } })),
        (filter, json!({ "f": { "dueBefore": 1_764_000_000 } })),
    ] {
        ada.refused(query, &variables, "BAD_USER_INPUT").await;
    }
}

#[tokio::test]
async fn an_invalid_variable_executes_nothing() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    let query = "mutation($d: DateTime) { a: createTodo(input: { title: \"A\" }) { todo { id } }
        b: createTodo(input: { title: \"B\", dueAt: $d }) { todo { id } } }";
    let errors = ada.refused(query, &json!({ "d": "tomorrow" }), "BAD_USER_INPUT").await;
    assert_eq!(errors[0]["extensions"]["fields"][0]["path"], json!(["b", "input", "dueAt"]));
    let literal = query.replace("($d: DateTime)", "").replace("$d", "\"tomorrow\"");
    let errors = ada.refused(&literal, &Value::Null, "BAD_USER_INPUT").await;
    assert_eq!(errors[0]["extensions"]["fields"][0]["path"], json!(["b", "input", "dueAt"]));
    assert!(ada.titles("").await.is_empty());
}

/// A position in the arguments of a field.
struct Place {
    path: Vec<String>,
    /// Type in GraphQL's notation.
    ty: String,
    has_default: bool,
}

/// A field with arguments and their default values in these tests.
struct Call<'a> {
    schema: &'a Introspected,
    operation: &'a str,
    field: &'a Value,
}

/// Value at the position under test.
#[derive(Clone, Copy)]
enum Put<'a> {
    Variable,
    Literal(&'a Value),
    Nothing,
}

impl Call<'_> {
    fn name(&self) -> &str {
        self.field["name"].as_str().unwrap()
    }

    fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for argument in self.field["args"].as_array().unwrap() {
            self.add_places(argument, Vec::new(), &mut places);
        }
        places
    }

    fn add_places(&self, input: &Value, mut path: Vec<String>, places: &mut Vec<Place>) {
        path.push(input["name"].as_str().unwrap().to_owned());
        let has_default = !input["defaultValue"].is_null();
        places.push(Place { path: path.clone(), ty: Introspected::written(&input["type"]), has_default });
        let inner = self.schema.find(Introspected::named(&input["type"]));
        for field in inner["inputFields"].as_array().into_iter().flatten() {
            self.add_places(field, path.clone(), places);
        }
    }

    fn value(&self, input: &Value, place: &Place, id: &str) -> Value {
        let mut value = self.schema.value(&input["type"], "", id, &mut BTreeSet::new());
        // `ids` and `todos` exclude each other.
        if let Some(fields) = value.as_object_mut().filter(|fields| fields.contains_key("ids")) {
            fields.remove(if place.path.iter().any(|part| part == "todos") { "ids" } else { "todos" });
        }
        value
    }

    /// Returns the document, with `put` at one position and literals at all others.
    fn document(&self, place: &Place, put: Put<'_>, id: &str) -> String {
        let arguments = self.field["args"].as_array().unwrap().iter();
        let arguments = arguments.filter_map(|argument| {
            // `first` and `last` exclude each other.
            let other = ["last", "before", "after"].contains(&argument["name"].as_str().unwrap());
            if other && place.path[0] != argument["name"].as_str().unwrap() {
                return None;
            }
            let value = self.value(argument, place, id);
            self.literal(argument, &value, place, put, &[])
        });
        let arguments: Vec<_> = arguments.collect();
        let arguments =
            if arguments.is_empty() { String::new() } else { format!("({})", arguments.join(", ")) };
        let declared = match put {
            Put::Variable => format!(
                "($v: {})",
                place.ty.strip_suffix('!').filter(|_| place.has_default).unwrap_or(&place.ty)
            ),
            _ => String::new(),
        };
        let selection = self.schema.selection(Introspected::named(&self.field["type"]), 1);
        format!("{} {declared} {{ {}{arguments} {selection} }}", self.operation, self.name())
    }

    /// Returns `name: value`, or nothing if the value is omitted.
    fn literal(
        &self,
        input: &Value,
        value: &Value,
        place: &Place,
        put: Put<'_>,
        above: &[String],
    ) -> Option<String> {
        let name = input["name"].as_str().unwrap();
        let path = [above, &[name.to_owned()]].concat();
        if path == place.path {
            return match put {
                Put::Variable => Some(format!("{name}: $v")),
                Put::Nothing => None,
                Put::Literal(value) => {
                    Some(format!("{name}: {}", self.write(&input["type"], value, place, put, &path)))
                }
            };
        }
        Some(format!("{name}: {}", self.write(&input["type"], value, place, put, &path)))
    }

    fn write(&self, kind: &Value, value: &Value, place: &Place, put: Put<'_>, path: &[String]) -> String {
        let definition = self.schema.find(Introspected::named(kind));
        match value {
            Value::Array(items) => {
                let items = items.iter().map(|item| self.write(kind, item, place, put, path));
                format!("[{}]", items.collect::<Vec<_>>().join(", "))
            }
            Value::Object(fields) => {
                let inputs = definition["inputFields"].as_array().unwrap();
                let fields = inputs.iter().filter_map(|input| {
                    let value = fields.get(input["name"].as_str().unwrap())?;
                    self.literal(input, value, place, put, path)
                });
                format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
            }
            Value::String(name) if definition["kind"] == "ENUM" => name.clone(),
            value => value.to_string(),
        }
    }

    /// Returns the default value of a position in these tests.
    fn default(&self, place: &Place, id: &str) -> Value {
        let argument =
            self.field["args"].as_array().unwrap().iter().find(|it| it["name"] == place.path[0]).unwrap();
        let mut value = self.value(argument, place, id);
        for name in &place.path[1..] {
            if let Value::Array(items) = value {
                value = items[0].clone();
            }
            value = value[name].clone();
        }
        value
    }
}

/// A user with one todo, the same as that of the other twin.
struct Twin<'a> {
    owner: Owner<'a>,
    email: &'static str,
}

impl Twin<'_> {
    /// Resets the user to one todo and returns its identifier.
    async fn begin(&mut self) -> String {
        if self.owner.app.me(&self.owner.token).await.body.get("errors").is_some() {
            self.owner.token = self.owner.app.login(self.email, PASSWORD).await.token();
        }
        let made = self.owner.create("text").await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Returns the response of an operation and the state afterwards.
    async fn outcome(&self, document: &str, variables: Value) -> Value {
        let answer = self.owner.ask(document, variables).await.body;
        let after = format!(
            "SELECT concat_ws('|', title, description, priority, due_at, tags, version, completed, deleted_at IS NULL,
            name) AS text FROM users LEFT JOIN todos ON users.id = user_id WHERE email = '{}' ORDER BY 1",
            self.email
        );
        let mut outcome = json!({ "answer": answer, "after": rows(self.owner.app, &after).await });
        level(&mut outcome);
        outcome
    }
}

/// Replaces values that differ between any two responses by placeholders.
fn level(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                let random = [
                    "id",
                    "at",
                    "cursor",
                    "startCursor",
                    "endCursor",
                    "accessToken",
                    "refreshToken",
                    "email",
                    "requestId",
                    "locations",
                ];
                if value.is_string()
                    && (random.contains(&name.as_str()) || name.ends_with("At") || name.ends_with("Id"))
                    || name == "locations"
                {
                    *value = json!("random");
                }
                if name == "revokedSessionIds" || name.ends_with("TodoIds") {
                    *value = json!(value.as_array().map(Vec::len));
                }
                level(value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(level),
        _ => {}
    }
}

#[tokio::test]
async fn every_argument_and_input_field_treats_variables_like_literals() {
    let app = TestApp::with(&["--rate-limits=off"]).await;
    let schema = Introspected::of(&app).await;
    let mut twins = [
        Twin { owner: Owner::new(&app, "ada@example.com").await, email: "ada@example.com" },
        Twin { owner: Owner::new(&app, "bob@example.com").await, email: "bob@example.com" },
    ];
    let mut cases = 0;
    for (root, operation) in [("queryType", "query"), ("mutationType", "mutation")] {
        let root = schema.find(schema.0[root]["name"].as_str().unwrap());
        for field in root["fields"].as_array().unwrap() {
            let call = Call { schema: &schema, operation, field };
            // Skipped: hashes a password each time, and has no optional values.
            if ["login", "register", "changePassword", "changeEmail", "deleteAccount"].contains(&call.name())
            {
                assert!(call.places().iter().all(|place| place.ty.ends_with('!')), "{}", call.name());
                continue;
            }
            for place in call.places() {
                let optional = !place.ty.ends_with('!') || place.has_default;
                let null = Value::Null;
                for variant in ["omitted", "null", "value"] {
                    if variant != "value" && !optional || variant == "null" && place.ty.ends_with('!') {
                        continue;
                    }
                    app.database.sql("DELETE FROM todos").await;
                    let ids = [twins[0].begin().await, twins[1].begin().await];
                    let mut variables = Map::new();
                    let value = call.default(&place, &ids[0]);
                    if variant != "omitted" {
                        let value = if variant == "null" { null.clone() } else { value };
                        variables.insert("v".into(), value);
                    }
                    let by_variable = call.document(&place, Put::Variable, &ids[0]);
                    let literal = call.default(&place, &ids[1]);
                    let put = match variant {
                        "omitted" => Put::Nothing,
                        "null" => Put::Literal(&null),
                        _ => Put::Literal(&literal),
                    };
                    let by_literal = call.document(&place, put, &ids[1]);
                    let one = twins[0].outcome(&by_variable, Value::Object(variables)).await;
                    let other = twins[1].outcome(&by_literal, Value::Null).await;
                    assert_eq!(one, other, "{variant}: {by_variable}\n{by_literal}");
                    cases += 1;
                }
            }
        }
    }
    assert!(cases > 150, "only {cases} cases");
}
