//! Bugs of libraries that the engine works around (docs/graphql.md). A failing test means that a workaround is no longer
//! needed.

use apollo_compiler::{ExecutableDocument, Schema};
use async_graphql::{Request, Variables};
use serde_json::json;

use crate::support::strict_schema;

#[tokio::test]
async fn async_graphql_deviates_from_the_specification() {
    let schema = strict_schema();
    let nested = "{ items(first: 1) { a: id } items(first: 1) { a: __typename } }";
    for (query, variables, faulty) in [
        // An absent variable is null in an input object.
        ("query($d: Int) { echo(everything: { required: 1, defaulted: $d }) }", json!({}), "null"),
        // @skip and @include ignore the defaults of variables; on __typename they are not validated.
        ("query($x: Boolean = true) { hello @skip(if: $x) }", json!({}), r#"{"hello":"world"}"#),
        ("{ __typename @skip(if: $undefined) }", json!({}), r#"{"__typename":"Query"}"#),
        // Invalid documents are executed.
        (nested, json!({}), r#"{"items":[{"a":1}]}"#),
        (
            "{ echo(everything: { required: 1, required: 2 }) }",
            json!({}),
            r#"{"echo":{"colors":null,"everything":{"color":null,"defaulted":7,"float":null,"id":null,"inner":null,"matrix":null,"numbers":null,"required":2,"text":null},"flag":true,"ids":null}}"#,
        ),
        (
            "query($x: Int) { echo(everything: { required: $x }) }",
            json!({ "x": 3 }),
            r#"{"echo":{"colors":null,"everything":{"color":null,"defaulted":7,"float":null,"id":null,"inner":null,"matrix":null,"numbers":null,"required":3,"text":null},"flag":true,"ids":null}}"#,
        ),
        (
            "{ echo(colors: [\"RED\"]) }",
            json!({}),
            r#"{"echo":{"colors":["RED"],"everything":null,"flag":true,"ids":null}}"#,
        ),
        // Fields have the order of their resolution, empty objects are null, failed fields are missing.
        ("{ late hello }", json!({}), r#"{"hello":"world","late":"late"}"#),
        ("{ named { name @skip(if: true) } }", json!({}), r#"{"named":null}"#),
        ("{ hello failure }", json!({}), r#"{"hello":"world"}"#),
        // Introspection describes the type `__Schema` as the schema, and interfaces implement null.
        (
            "{ __schema { description } }",
            json!({}),
            r#"{"__schema":{"description":"A GraphQL Schema defines the capabilities of a GraphQL server. It exposes all available types and directives on the server, as well as the entry points for query, mutation, and subscription operations."}}"#,
        ),
        (
            "{ __type(name: \"Named\") { interfaces { name } } }",
            json!({}),
            r#"{"__type":{"interfaces":null}}"#,
        ),
        // Valid documents are refused.
        ("{ echo(ids: [\"\\ud83c\\udf89\"]) }", json!({}), "null"),
        ("{ echo(ids: [\"\\u{1F389}\"]) }", json!({}), "null"),
        ("\"Says hello.\" query Hello { hello }", json!({}), "null"),
    ] {
        let request = Request::new(query).variables(Variables::from_json(variables));
        let data = schema.execute(request).await.data;
        assert_eq!(serde_json::to_string(&data).unwrap(), faulty, "{query}");
    }
}

#[test]
fn apollo_compiler_accepts_invalid_and_refuses_valid_documents() {
    let schema = strict_schema().sdl();
    let schema = Schema::parse_and_validate(schema, "schema.graphql").unwrap();
    for (query, accepted) in [
        ("{ echo(everything: { required: 1, required: 2 }) }", true),
        ("query($x: Int) { echo(everything: { required: $x }) }", true),
        ("query($x: Int) { echo(everything: { required: 1, matrix: [[$x]] }) }", true),
        ("query($x: Int = null) { items(first: $x) { id } }", true),
        ("{ a: echo(colors: [RED]) a: echo(colors: [RED, GREEN]) }", true),
        ("{ items(first last: 1) { id } }", true),
        ("{ echo(everything: { text required: 1 }) }", true),
        ("subscription { silence silence }", false),
        ("\"Says hello.\" query Hello { hello }", false),
        ("{ __type(name: \"A\") { isOneOf } }", false),
        ("{ ..., on Query { hello } }", false),
        ("{ a,: hello }", false),
    ] {
        let document = ExecutableDocument::parse_and_validate(&schema, query, "document");
        assert_eq!(document.is_ok(), accepted, "{query}");
    }
}
