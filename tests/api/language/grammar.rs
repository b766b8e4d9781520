use serde_json::{Value, json};

use super::Asker;
use crate::support::{Owner, TestApp};

/// Creates a todo with a literal title and returns the title.
async fn title(owner: &Owner<'_>, literal: &str) -> Value {
    let query = format!(
        "mutation {{ createTodo(input: {{ title: \"t\", description: {literal} }}) {{ todo {{ description }} }} }}"
    );
    owner.ask(&query, Value::Null).await.data("createTodo")["todo"]["description"].clone()
}

#[tokio::test]
async fn escapes_in_strings_are_decoded() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    for (literal, expected) in [
        (r#""plain""#, "plain"),
        (r#""""#, ""),
        (r#""a\"b\\c\/d\n""#, "a\"b\\c/d\n"),
        (r#""\u00e9\u{1F389}\u{e9}""#, "é🎉é"),
        (r#""\ud83c\udf89""#, "🎉"),
        (r#""\uD83C\uDF89!""#, "🎉!"),
        ("\"🎉\"", "🎉"),
        ("\"# no comment\"", "# no comment"),
        (r#""""block""""#, "block"),
        (r#""""say \""" twice""""#, r#"say """ twice"#),
        (r#""""back\slash and \n""""#, r"back\slash and \n"),
        ("\"\"\"\n    two\n      lines\n    here\n  \"\"\"", "two\n  lines\nhere"),
        ("\"\"\"\r\n  a\r\n\r\n  b\r\n\"\"\"", "a\n\nb"),
        (r#""""quotes " and "" inside""""#, r#"quotes " and "" inside"#),
    ] {
        assert_eq!(title(&ada, literal).await, expected, "{literal}");
    }
    for literal in [
        r#""\ud83c""#,
        r#""\udf89""#,
        r#""\ud83c\u0041""#,
        r#""\u{110000}""#,
        r#""\u{D83C}""#,
        r#""\u{}""#,
        r#""\u12""#,
        r#""\q""#,
        "\"line\nbreak\"",
        "\"open",
        "\"\"\"open",
    ] {
        let query = format!("mutation {{ createTodo(input: {{ title: {literal} }}) {{ todo {{ id }} }} }}");
        ada.refused(&query, &Value::Null, "GRAPHQL_PARSE_FAILED").await;
    }
}

#[tokio::test]
async fn ignored_tokens_are_ignored() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    for query in [
        "\u{feff}{ __typename }",
        "{ __typename }\u{feff}",
        "{,,__typename,,}",
        "{,__typename,:,__typename,}",
        "{ ...,on Query { __typename } }",
        "{ ...,{ __typename } }",
        "{ ...,@include(if: true) { __typename } }",
        "{ ...,F, } fragment,F,on,Query { __typename }",
        "\u{feff}\"d\"\u{feff}query\u{feff}Q { __typename }",
        "# a comment with { ( [ \" and 🎉\n{ __typename # another\n}",
        "{\t__typename\r\n}",
        "{ __typename } # at the end",
    ] {
        assert_eq!(ada.answered(query, &json!({})).await, json!({ "__typename": "Query" }), "{query:?}");
    }
    let query = "query(\u{feff}\"d\"\u{feff}$n: Int = 1) { todos(first: $n) { nodes { id } } }";
    assert_eq!(ada.answered(query, &json!({})).await, json!({ "todos": { "nodes": [] } }));
    let query = "{,todos(,first:,1,,filter:{,priority:[,HIGH,,LOW,],},),{,nodes,{,id,},},}";
    assert_eq!(ada.answered(query, &json!({})).await, json!({ "todos": { "nodes": [] } }));
}

#[tokio::test]
async fn descriptions_are_accepted_before_operations_fragments_and_variables() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    let query = "\"\"\"\nCounts.\n\"\"\"\nquery Count(\"How many\" $n: Int = 1 \"\"\"Which\"\"\" $s: String = \"x\") {
        todos(first: $n, filter: { search: $s }) { ...F } }
        \"A fragment\" fragment F on TodoConnection { totalCount }";
    assert_eq!(ada.answered(query, &json!({})).await, json!({ "todos": { "totalCount": 0 } }));
    for query in [
        "query \"not here\" mutation { __typename }",
        "fragment F on \"not here\" Query { __typename } { ...F }",
        "query(\"two\" \"of them\" $n: Int) { todos(first: $n) { totalCount } }",
        "\"bad \\q\" query { __typename }",
        "\"the short form has none\" { __typename }",
        "\"two\" \"of them\" query { __typename }",
        "query { \"not here\" __typename }",
        "query { __typename } \"nothing follows\"",
    ] {
        ada.refused(query, &Value::Null, "GRAPHQL_PARSE_FAILED").await;
    }
}

#[tokio::test]
async fn numbers_and_directives_on_variables_are_parsed() {
    let app = TestApp::start().await;
    let ada = Asker::new(&app).await;
    ada.create("a").await;
    let data = ada.answered("{ todos(first: -0) { nodes { id } } }", &json!({})).await;
    assert_eq!(data, json!({ "todos": { "nodes": [] } }));
    // Two values: the sign starts the second one.
    let query = "{ todos(filter: { tags: { any: [1-2] } }) { nodes { id } } }";
    ada.refused(query, &Value::Null, "GRAPHQL_VALIDATION_FAILED").await;
    for (query, code) in [
        ("{ todos(first last: 1) { nodes { id } } }", "GRAPHQL_PARSE_FAILED"),
        ("{ todos(filter: { search inTrash: true }) { nodes { id } } }", "GRAPHQL_PARSE_FAILED"),
        ("{ __typename @skip(if true) }", "GRAPHQL_PARSE_FAILED"),
        ("{ todos(first: 00) { nodes { id } } }", "GRAPHQL_PARSE_FAILED"),
        ("{ todos(first: 1a) { nodes { id } } }", "GRAPHQL_PARSE_FAILED"),
        ("{ todos(first: +1) { nodes { id } } }", "GRAPHQL_PARSE_FAILED"),
        ("{ todos(first: 1.) { nodes { id } } }", "GRAPHQL_PARSE_FAILED"),
        ("{ todos(first: 1.0) { nodes { id } } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ todos(first: 2147483648) { nodes { id } } }", "GRAPHQL_VALIDATION_FAILED"),
        ("query($n: Int @unknown) { todos(first: $n) { nodes { id } } }", "GRAPHQL_VALIDATION_FAILED"),
        ("query($n: Int @skip(if: true)) { todos(first: $n) { nodes { id } } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ }", "GRAPHQL_PARSE_FAILED"),
        ("{ todos() { nodes { id } } }", "GRAPHQL_PARSE_FAILED"),
        ("query() { __typename }", "GRAPHQL_PARSE_FAILED"),
        ("fragment on on Query { __typename } { __typename }", "GRAPHQL_PARSE_FAILED"),
        ("{ __typename } type A { b: Int }", "GRAPHQL_VALIDATION_FAILED"),
        ("# nothing", "GRAPHQL_PARSE_FAILED"),
        ("{ a: }", "GRAPHQL_PARSE_FAILED"),
        ("{ me { id }", "GRAPHQL_PARSE_FAILED"),
        ("{ me { id } } }", "GRAPHQL_PARSE_FAILED"),
        ("{ ...on }", "GRAPHQL_PARSE_FAILED"),
        ("{ m\u{e9} }", "GRAPHQL_PARSE_FAILED"),
        ("{ __typename ? }", "GRAPHQL_PARSE_FAILED"),
    ] {
        ada.refused(query, &Value::Null, code).await;
    }
}
