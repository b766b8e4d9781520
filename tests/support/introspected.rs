use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::TestApp;

const SCHEMA: &str = "{ __schema {
    queryType { name } mutationType { name } subscriptionType { name }
    types { name kind fields { name args { ...Input } type { ...Type } } inputFields { ...Input } enumValues { name } }
} }
fragment Input on __InputValue { name defaultValue type { ...Type } }
fragment Type on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

/// A schema as introspection describes it.
pub(crate) struct Introspected(pub(crate) Value);

impl Introspected {
    pub(crate) async fn of(app: &TestApp) -> Self {
        Self(app.ask(SCHEMA, Value::Null).await.data("__schema").clone())
    }

    pub(crate) fn find(&self, name: &str) -> &Value {
        let types = self.0["types"].as_array().unwrap();
        types.iter().find(|kind| kind["name"] == name).unwrap()
    }

    /// Returns the named type below lists and non-null.
    pub(crate) fn named(mut kind: &Value) -> &str {
        while kind["ofType"].is_object() {
            kind = &kind["ofType"];
        }
        kind["name"].as_str().unwrap()
    }

    /// Formats a type in GraphQL's syntax.
    pub(crate) fn written(kind: &Value) -> String {
        match kind["kind"].as_str().unwrap() {
            "NON_NULL" => format!("{}!", Self::written(&kind["ofType"])),
            "LIST" => format!("[{}]", Self::written(&kind["ofType"])),
            _ => kind["name"].as_str().unwrap().to_owned(),
        }
    }

    /// Generates a value of a type, with `id` for identifiers, and records the places of those.
    pub(crate) fn value(&self, kind: &Value, place: &str, id: &str, places: &mut BTreeSet<String>) -> Value {
        match kind["kind"].as_str().unwrap() {
            "NON_NULL" => return self.value(&kind["ofType"], place, id, places),
            "LIST" => return json!([self.value(&kind["ofType"], place, id, places)]),
            _ => {}
        }
        let name = kind["name"].as_str().unwrap();
        let definition = self.find(name);
        match (name, definition["kind"].as_str().unwrap()) {
            ("ID", _) => {
                places.insert(place.to_owned());
                json!(id)
            }
            ("String", _) => json!("text"),
            // Version of the other user's todo.
            ("Int", _) => json!(1),
            ("Boolean", _) => json!(true),
            ("DateTime", _) => json!("2030-01-01T00:00:00Z"),
            (_, "ENUM") => definition["enumValues"][0]["name"].clone(),
            (_, "INPUT_OBJECT") => {
                let fields = definition["inputFields"].as_array().unwrap().iter().map(|field| {
                    let name = field["name"].as_str().unwrap();
                    (name.to_owned(), self.value(&field["type"], &format!("{place}.{name}"), id, places))
                });
                Value::Object(fields.collect::<Map<_, _>>())
            }
            other => panic!("no value for {other:?}"),
        }
    }

    /// Generates a selection of the fields of a type, some levels deep.
    pub(crate) fn selection(&self, name: &str, depth: usize) -> String {
        let Some(fields) = self.find(name)["fields"].as_array() else { return String::new() };
        let fields = fields.iter().filter_map(|field| {
            let below = Self::named(&field["type"]);
            let leaf = self.find(below)["fields"].is_null();
            (leaf || depth > 0).then(|| {
                let selection = if leaf { String::new() } else { self.selection(below, depth - 1) };
                format!("{} {selection}", field["name"].as_str().unwrap())
            })
        });
        format!("{{ {} }}", fields.collect::<Vec<_>>().join(" "))
    }
}
