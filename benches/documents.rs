//! Time to prepare an attacker's documents, uncached and cached: `cargo bench --bench documents`.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a program to be read by its author")]

#[path = "../tests/support/documents.rs"]
mod documents;
#[path = "support/mod.rs"]
mod fixture;

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use fixture::Fixture;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use todo_api::graphql::{Engine, GraphqlRequest, Schema};

/// Measurement time per document.
const TIME: Duration = Duration::from_millis(300);
/// Number of random documents.
const RANDOM: usize = 50_000;

#[tokio::main]
async fn main() {
    let Fixture { engine, .. } = Fixture::new(fixture::NOWHERE, &[]);
    let bomb = (0..40).fold("{ me { ...F0 } }".to_owned(), |mut text, n| {
        let _ = write!(text, " fragment F{n} on User {{ ...F{0} ...F{0} }}", n + 1);
        text
    }) + " fragment F40 on User { id }";
    let repeat = |count: usize, part: &dyn Fn(usize) -> String| (0..count).map(part).collect::<String>();
    let pyramid = repeat(19, &|n| {
        format!(
            "fragment F{n} on TodoConnection {{ nodes {{ history {{ nodes {{ id }} }} }} ...F{} }} ",
            n + 1
        )
    });
    for (what, document) in [
        ("60,000 nested braces", "{".repeat(60_000)),
        ("50,000 nested brackets", format!("{{ a(b: {}", "[".repeat(50_000))),
        ("10,000 tokens", format!("{{ {} }}", "id ".repeat(10_000))),
        ("2^40 fields in fragments", bomb),
        ("a fragment that contains itself", "{ me { ...A } } fragment A on User { ...A }".to_owned()),
        ("60,000 braces after an open string", format!("{{ a(b: \"\n{}", "{".repeat(60_000))),
        ("60,000 errors of the lexer", format!("{{ {} }}", "%".repeat(60_000))),
        ("60,000 commas", format!("{{ {} __typename }}", ",".repeat(60_000))),
        ("1,900 unknown fields", format!("{{ {} }}", repeat(1_900, &|n| format!("f{n} ")))),
        ("1,900 repetitions of a field", format!("{{ {} }}", "__typename ".repeat(1_900))),
        (
            "600 conflicting aliases",
            format!(
                "{{ me {{ {} }} }}",
                repeat(600, &|n| format!("a: {} ", if n % 2 == 0 { "id" } else { "name" }))
            ),
        ),
        (
            "250 operations",
            repeat(250, &|n| format!("query Q{n} {{ ...F }} "))
                + "fragment F on Query { __typename me { id } }",
        ),
        (
            "100 operations with 300 fields each",
            repeat(100, &|n| format!("query Q{n} {{ ...F }} "))
                + &format!("fragment F on Query {{ {} }}", repeat(300, &|n| format!("a{n}: __typename "))),
        ),
        (
            "300 variables",
            format!(
                "query({}) {{ {} }}",
                repeat(300, &|n| format!("$v{n}: ID ")),
                repeat(300, &|n| format!("a{n}: __typename "))
            ),
        ),
        (
            "900 values in a list",
            format!(
                "{{ todos(filter: {{ tags: {{ any: [{}] }} }}) {{ nodes {{ id }} }} }}",
                "\"a\" ".repeat(900)
            ),
        ),
        (
            "a pyramid of fragments",
            format!(
                "{{ {} }} {pyramid} fragment F19 on TodoConnection {{ nodes {{ id }} }}",
                repeat(10, &|n| format!("a{n}: todos {{ ...F0 }} "))
            ),
        ),
        ("160 fragments that spread each other", {
            let spreads = |n: usize| repeat(n.min(5), &|m| format!("...F{} ", n - m - 1));
            let fragments = repeat(120, &|n| format!("fragment F{n} on User {{ id {} }} ", spreads(n)));
            format!("{{ me {{ ...F119 }} }} {fragments}")
        }),
        (
            "a description of 60,000 bytes",
            format!("\"\"\"{}\"\"\" query {{ __typename }}", "ä\n".repeat(20_000)),
        ),
        ("introspection", documents::INTROSPECTION.to_owned()),
    ] {
        // A different comment makes it a different document.
        let (cold, outcome) = measure(&engine, |n| format!("{document}\n#{n}"));
        let (warm, _) = measure(&engine, |_| document.clone());
        println!("{what:<36} {:>6} bytes  {cold:>10.1?} {warm:>10.1?}  {outcome}", document.len());
    }
    random(&engine);
}

/// Returns the average time to prepare a document, and the outcome.
fn measure(engine: &Engine<Schema>, document: impl Fn(u32) -> String) -> (Duration, String) {
    let mut times = 0_u32;
    let mut took = Duration::ZERO;
    let mut outcome = "accepted".to_owned();
    while took < TIME {
        times += 1;
        let request = GraphqlRequest { query: Some(document(times).into()), ..GraphqlRequest::default() };
        let began = Instant::now();
        if let Err(invalid) = black_box(engine.prepare(request)) {
            let first = invalid.errors.first().map(|error| error.message.chars().take(60).collect());
            outcome = first.unwrap_or_default();
        }
        took += began.elapsed();
    }
    (took / times, outcome)
}

/// Prints the longest time to prepare any of many random documents with random variables.
fn random(engine: &Engine<Schema>) {
    let mut runner = TestRunner::deterministic();
    let strategy = (documents::document(), documents::variables());
    let mut longest = Duration::ZERO;
    let mut slowest = String::new();
    for _ in 0..RANDOM {
        let Ok(tree) = strategy.new_tree(&mut runner) else { continue };
        let (document, variables) = tree.current();
        let variables = async_graphql::Variables::from_json(variables);
        let request =
            GraphqlRequest { query: Some(document.as_str().into()), variables, ..GraphqlRequest::default() };
        let began = Instant::now();
        let _ = black_box(engine.prepare(request));
        if began.elapsed() > longest {
            (longest, slowest) = (began.elapsed(), document);
        }
    }
    println!("\nthe slowest of {RANDOM} random documents: {longest:.1?}\n{slowest:.200}");
}
