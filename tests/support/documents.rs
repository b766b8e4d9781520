//! Generators of documents and variables, as an attacker or a broken program would send them.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value};

/// The introspection query of GraphQL clients.
pub(crate) const INTROSPECTION: &str = "query IntrospectionQuery { __schema { description queryType { name } mutationType { name }
    subscriptionType { name } types { ...FullType } directives { name description isRepeatable locations
    args(includeDeprecated: true) { ...InputValue } } } }
    fragment FullType on __Type { kind name description specifiedByURL isOneOf
        fields(includeDeprecated: true) { name description args(includeDeprecated: true) { ...InputValue }
            type { ...TypeRef } isDeprecated deprecationReason }
        inputFields(includeDeprecated: true) { ...InputValue } interfaces { ...TypeRef }
        enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
        possibleTypes { ...TypeRef } }
    fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue isDeprecated deprecationReason }
    fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
        ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } } } }";

/// Valid documents that use most of the language.
const VALID: [&str; 7] = [
    "query Me { me { id email name createdAt updatedAt } }",
    "query Todos($first: Int!, $after: String, $filter: TodoFilter = { inTrash: false }) { todos(first: $first, after: $after, \
     filter: $filter, orderBy: { field: TITLE, direction: DESC }) { edges { cursor node { ...T } } pageInfo { hasNextPage } } } \
     fragment T on Todo { id title tags ... @include(if: true) { dueAt } }",
    "mutation($id: ID!, $title: String, $tags: [String!]) { updateTodo(input: { id: $id, title: $title, tags: $tags }) { todo { title } } }",
    "mutation { a: createTodo(input: { title: \"a\", tags: [\"b\", \"c\"], priority: HIGH, dueAt: \"2030-01-01T00:00:00Z\" }) \
     { todo { id } } b: createTodo(input: { title: \"\"\"block\"\"\" }) { todo { history(first: 1) { nodes { kind } } } } }",
    "query($x: Boolean = true, $n: Int) { a: me @skip(if: $x) { name } ...F ...F todos(first: $n) { totalCount } } \
     fragment F on Query { __typename b: me { ...G } } fragment G on User { sessions(first: 1) { nodes { id current } } }",
    "subscription($after: ID) { todoChanged(after: $after) { eventId kind todo { title } } }",
    "{ __schema { queryType { name } types { name fields(includeDeprecated: true) { name type { ofType { name } } } } } }",
];

const TOKENS: [&str; 58] = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "=",
    "!",
    "|",
    "&",
    "@",
    "$",
    "...",
    ",",
    "#",
    "\n",
    "\u{feff}",
    "query",
    "mutation",
    "subscription",
    "fragment",
    "on",
    "true",
    "false",
    "null",
    "F",
    "G",
    "Query",
    "User",
    "Todo",
    "TodoFilter",
    "Int",
    "ID",
    "me",
    "todos",
    "nodes",
    "id",
    "title",
    "first",
    "filter",
    "input",
    "$x",
    "$n",
    "@skip",
    "@include",
    "if",
    "__typename",
    "__schema",
    "0",
    "-1",
    "1.5e3",
    "99999999999",
    "\"text\"",
    "\"",
    "\"\"\"",
    "\\u",
    "🎉",
];

/// Names of variables in the documents above.
const VARIABLES: [&str; 9] = ["first", "after", "filter", "id", "title", "tags", "x", "n", "input"];

/// Generates valid, nearly valid and random documents.
pub(crate) fn document() -> impl Strategy<Value = String> {
    let edit = (any::<Index>(), 0..4_u8, select(&TOKENS[..]));
    let edited = (select(&VALID[..]), prop::collection::vec(edit, 0..6)).prop_map(|(valid, edits)| {
        let mut words: Vec<String> = words(valid);
        for (at, kind, token) in edits {
            let at = at.index(words.len() + 1);
            let end = (at + 1).min(words.len());
            let found = words.get(at).cloned();
            match kind {
                0 => drop(words.splice(at..end, [])),
                1 => drop(words.splice(at..end, [token.to_owned()])),
                2 => drop(words.splice(at..at, found)),
                _ => words.insert(at, token.to_owned()),
            }
        }
        words.join(" ")
    });
    let soup = prop::collection::vec(select(&TOKENS[..]), 0..300).prop_map(|tokens| tokens.join(" "));
    let repeated = (select(&TOKENS[..]), select(&TOKENS[..]), 0..1_500_usize)
        .prop_map(|(one, other, times)| format!("{{ {} }}", format!("{one} {other} ").repeat(times)));
    prop_oneof![6 => edited, 2 => soup, 1 => repeated, 1 => any::<String>()]
}

fn words(text: &str) -> Vec<String> {
    let spaced = ["{", "}", "(", ")", "[", "]", ":", "!", "=", ","];
    let spaced = spaced.iter().fold(text.to_owned(), |text, mark| text.replace(mark, &format!(" {mark} ")));
    spaced.split_whitespace().map(str::to_owned).collect()
}

/// Generates JSON objects of any shape, often with names and values that the documents expect.
pub(crate) fn variables() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0..30_i64).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        select(vec!["HIGH", "TITLE", "2030-01-01T00:00:00Z", "0192c0de-0000-7000-8000-00000000abcd", ""])
            .prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 40, 6, |inner| {
        let names = select(vec!["inTrash", "tags", "any", "priority", "title", "field", "x", "todos"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..6).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    });
    prop::collection::vec((select(&VARIABLES[..]), value), 0..6).prop_map(|given| {
        Value::Object(given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
    })
}
