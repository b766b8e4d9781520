//! The introspection documents of tools, and their answers.

use std::collections::BTreeSet;

use apollo_compiler::ast::InputValueDefinition;
use apollo_compiler::schema::{Component, ExtendedType, FieldDefinition};
use apollo_compiler::{Node, Schema};
use serde_json::{Value, json};

use crate::support::{Introspected, TestApp};

/// A document that tools send.
struct Tool {
    name: &'static str,
    text: &'static str,
    expected: Expected,
}

enum Expected {
    /// The types with all their fields, arguments and values.
    Complete,
    /// Names of features; the tool's next document uses those that it finds.
    Features(&'static [&'static str]),
    /// `GRAPHQL_VALIDATION_FAILED`: no specification has what the tool asks for.
    Invalid,
}

use Expected::{Complete, Features, Invalid};

macro_rules! tool {
    ($name:literal, $file:literal) => {
        tool!($name, $file, Complete)
    };
    ($name:literal, $file:literal, $expected:expr) => {
        Tool {
            name: $name,
            text: include_str!(concat!("introspection/", $file, ".graphql")),
            expected: $expected,
        }
    };
}

/// Features of the specifications of October 2021 and September 2025.
const FEATURES: &[&str] = &["includeDeprecated", "isRepeatable", "isDeprecated", "specifiedByURL", "isOneOf"];

/// Documents as the tools' packages make them, without trailing blanks, by default or with all that the specification
/// knows. Those marked "equivalent" are written anew with the same selections.
const TOOLS: &[Tool] = &[
    // The default of many: Altair 8.5, Apollo iOS 1, get-graphql-schema 2.1, graphql-ruby 2, GraphQL Playground 1.7,
    // graphqurl 2.0, gqlclient (Go), Hasura 2.
    tool!("graphql-js 14.7", "graphql-js-14"),
    tool!("graphql-js 15.11, all options but specifiedByUrl", "graphql-js-15"),
    tool!("graphql-js 16.15, all options", "graphql-js-16"),
    // Also the default of 16, and so of Bruno, genql 6.3, GraphiQL 5, GraphQL Code Generator 7, GraphQL Zeus 7,
    // Hoppscotch, Insomnia, Voyager 2.
    tool!("graphql-js 17.1", "graphql-js-17"),
    tool!("graphql-js 17.1, all options and typeDepth: 50", "graphql-js-17-depth-50"),
    tool!("gql.tada 1.11, first", "gql-tada-probe", Features(FEATURES)),
    tool!("gql.tada 1.11", "gql-tada"),
    tool!("Apollo Rover (introspector-gadget 0.2)", "rover"),
    tool!("Apollo iOS 1 with deprecated input values (equivalent)", "apollo-ios"),
    tool!("Apollo Kotlin 3, first (equivalent)", "apollo-kotlin-3-probe", Features(FEATURES)),
    tool!("Apollo Kotlin 4, first (equivalent)", "apollo-kotlin-4-probe", Features(FEATURES)),
    tool!("Apollo Kotlin 4 (equivalent)", "apollo-kotlin-4"),
    tool!("graphql-java 22, Apollo Kotlin 3 (equivalent)", "graphql-java"),
    tool!("IntelliJ, first (equivalent)", "intellij-probe", Features(FEATURES)),
    tool!("IntelliJ (equivalent)", "intellij"),
    tool!(
        "HotChocolate 15, first (equivalent)",
        "hot-chocolate-probe-arguments",
        Features(&["includeDeprecated"])
    ),
    tool!(
        "HotChocolate 15, second (equivalent)",
        "hot-chocolate-probe-directive-type",
        Features(&["isRepeatable"])
    ),
    tool!("HotChocolate 15, third (equivalent)", "hot-chocolate-probe-directives", Features(&["deprecated"])),
    tool!(
        "HotChocolate 15, fourth (equivalent)",
        "hot-chocolate-probe-schema",
        Features(&["subscriptionType"])
    ),
    tool!("HotChocolate 15, Strawberry Shake (equivalent)", "hot-chocolate"),
    tool!("graphql-ruby 2, all options (equivalent)", "graphql-ruby"),
    tool!("graphql-core 3.2, all options", "graphql-core"),
    tool!("gql 4.0 (Python)", "gql-python"),
    tool!("Ariadne Codegen 0.19", "ariadne-codegen"),
    tool!("sgqlc 18", "sgqlc"),
    tool!("graphql-client 0.16 (Rust)", "graphql-client-rust"),
    tool!("cynic 3.14, first", "cynic-probe", Features(&["isDeprecated", "specifiedByURL", "isOneOf"])),
    tool!("cynic 3.14", "cynic"),
    tool!("elm-graphql 4.3", "elm-graphql"),
    tool!("SwiftGraphQL (equivalent)", "swift-graphql"),
    // Off by default; 16 renamed it.
    tool!("graphql-js 15.11, specifiedByUrl", "graphql-js-15-specified-by-url", Invalid),
    // Off by default; a proposal.
    tool!(
        "graphql-js 17.1, experimentalDirectiveDeprecation",
        "graphql-js-17-directive-deprecation",
        Invalid
    ),
];

impl Tool {
    /// Returns the variables that sgqlc and elm-graphql send.
    fn variables(&self) -> Value {
        let declares = |name: &&str| self.text.contains(&format!("${name}: Boolean!"));
        let names = ["includeDescription", "includeDeprecated"].into_iter().filter(declares);
        names.map(|name| (name.to_owned(), json!(true))).collect::<serde_json::Map<_, _>>().into()
    }
}

#[tokio::test]
async fn every_tool_gets_the_whole_schema() {
    let app = TestApp::start().await;
    let schema = describe_schema();
    for tool in TOOLS {
        let answer = app.ask(tool.text, tool.variables()).await;
        match tool.expected {
            Complete => assert_eq!(describe(answer.data("__schema")), schema, "{}", tool.name),
            Features(names) => {
                assert!(answer.body.get("errors").is_none(), "{}: {:#}", tool.name, answer.body);
                let text = answer.body.to_string();
                let found = |name: &&&str| text.contains(&format!("\"name\":\"{name}\""));
                let missing: Vec<_> = names.iter().filter(|name| !found(name)).collect();
                assert!(missing.is_empty(), "{} does not find {missing:?}", tool.name);
            }
            Invalid => {
                let code = &answer.body["errors"][0]["extensions"]["code"];
                assert_eq!(code, "GRAPHQL_VALIDATION_FAILED", "{}", tool.name);
            }
        }
    }
}

#[tokio::test]
async fn the_schema_has_no_description() {
    let app = TestApp::start().await;
    for (query, schema) in [
        ("{ __schema { description } }", json!({ "description": null })),
        (
            "{ __schema { d: description queryType { name } } }",
            json!({ "d": null, "queryType": { "name": "Query" } }),
        ),
    ] {
        assert_eq!(app.ask(query, Value::Null).await.data("__schema"), &schema, "{query}");
    }
}

#[tokio::test]
async fn production_refuses_introspection_by_every_tool() {
    let app = TestApp::with(&["--app-env=production"]).await;
    for tool in TOOLS.iter().filter(|tool| !matches!(tool.expected, Invalid)) {
        let answer = app.ask(tool.text, tool.variables()).await;
        assert_eq!(answer.code(), "INTROSPECTION_DISABLED", "{}", tool.name);
    }
}

#[tokio::test]
async fn fields_of_introspection_count_if_they_run_for_each_item_of_a_list() {
    let app = TestApp::start().await;
    let wide = |field: &str| (0..19).map(|n| format!("a{n}: {field} ")).collect::<String>();
    // Seven fields for each wrapper, and six.
    let ty = |wrappers| {
        let fields = "kind name description specifiedByURL isOneOf __typename";
        format!("{}{fields}{}", format!("{fields} ofType {{ ").repeat(wrappers), " }".repeat(wrappers))
    };
    for accepted in [
        format!("{{ {} }}", wide(&format!("__type(name: \"Todo\") {{ {} }}", ty(5)))),
        format!("{{ __schema {{ types {{ fields {{ type {{ {} }} }} }} }} }}", ty(50)),
    ] {
        let answer = app.ask(&accepted, Value::Null).await;
        assert!(answer.body.get("errors").is_none(), "{:#}", answer.body);
    }
    let types = wide(&format!("type {{ {} }}", ty(3)));
    let fields = wide(&format!("fields {{ name description isDeprecated __typename type {{ {} }} }}", ty(3)));
    for refused in [
        format!("{{ __schema {{ types {{ fields {{ {types} }} }} }} }}"),
        format!("{{ __schema {{ types {{ fields {{ type {{ ofType {{ {fields} }} }} }} }} }} }}"),
    ] {
        let answer = app.ask(&refused, Value::Null).await;
        let limit = &answer.error()["extensions"]["limit"];
        assert_eq!((answer.code(), limit), ("OPERATION_TOO_COMPLEX", &json!(500)), "{refused}");
    }
}

#[tokio::test]
async fn no_type_has_more_wrappers_than_the_limit_counts() {
    let app = TestApp::start().await;
    let query = "{ __schema { types { fields { type { ...Type } args { type { ...Type } } } inputFields { type { ...Type } } } } }
        fragment Type on __Type { ofType { ofType { ofType { ofType { kind } } } } }";
    let types = app.ask(query, Value::Null).await.data("__schema").to_string();
    assert!(types.contains(r#"{"ofType":{"ofType":{"ofType":{"ofType":null}}}}"#), "no type has three");
    assert!(!types.contains("kind"), "a type has four");
}

/// Describes the schema of the service: a line for each field, argument and value.
fn describe_schema() -> BTreeSet<String> {
    let schema = Schema::parse_and_validate(todo_api::graphql::sdl(), "schema.graphql").unwrap();
    let types = schema.types.iter().filter(|(_, ty)| !ty.is_built_in());
    types.flat_map(|(name, ty)| describe_type(name, ty)).collect()
}

fn describe_type(name: &str, ty: &ExtendedType) -> Vec<String> {
    let field = |field: &Component<FieldDefinition>| {
        let argument = |argument: &Node<InputValueDefinition>| {
            format!("{name}.{}({}): {}", field.name, argument.name, argument.ty)
        };
        let arguments = field.arguments.iter().map(argument);
        arguments.chain([format!("{name}.{}: {}", field.name, field.ty)]).collect::<Vec<_>>()
    };
    match ty {
        ExtendedType::Object(ty) => ty.fields.values().flat_map(field).collect(),
        ExtendedType::Interface(ty) => ty.fields.values().flat_map(field).collect(),
        ExtendedType::InputObject(ty) => {
            ty.fields.values().map(|field| format!("{name}.{}: {}", field.name, field.ty)).collect()
        }
        ExtendedType::Enum(ty) => ty.values.keys().map(|value| format!("{name}.{value}")).collect(),
        ExtendedType::Scalar(_) | ExtendedType::Union(_) => vec![name.to_owned()],
    }
}

/// Describes a schema as introspection returned it.
fn describe(schema: &Value) -> BTreeSet<String> {
    let types = list(&schema["types"]).filter(|ty| !is_built_in(name(ty)));
    types.flat_map(describe_introspected).collect()
}

fn describe_introspected(ty: &Value) -> Vec<String> {
    let typed = |value: &Value| format!("{}: {}", name(value), Introspected::written(&value["type"]));
    let mut lines: Vec<_> =
        ["fields", "inputFields"].iter().flat_map(|key| list(&ty[key])).map(typed).collect();
    for field in list(&ty["fields"]) {
        let argument = |argument: &Value| {
            format!("{}({}): {}", name(field), name(argument), Introspected::written(&argument["type"]))
        };
        lines.extend(list(&field["args"]).map(argument));
    }
    lines.extend(list(&ty["enumValues"]).map(|value| name(value).to_owned()));
    if lines.is_empty() {
        return vec![name(ty).to_owned()];
    }
    lines.iter().map(|line| format!("{}.{line}", name(ty))).collect()
}

fn is_built_in(name: &str) -> bool {
    name.starts_with("__") || ["Int", "Float", "String", "Boolean", "ID"].contains(&name)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap()
}
