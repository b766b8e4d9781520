//! Benchmarks of the costliest steps of a request: `cargo bench --bench requests`.

#![expect(clippy::expect_used, reason = "a program to be read by its author")]

#[path = "support/mod.rs"]
mod fixture;
#[path = "../tests/support/mod.rs"]
#[expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]
mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Variables;
use chrono::{DateTime, Utc};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fixture::Fixture;
use secrecy::ExposeSecret;
use serde_json::json;
use support::TestDatabase;
use todo_api::auth::{BearerToken, Client};
use todo_api::graphql::{Caller, Cursors, GraphqlRequest, Operation, RefreshCookie, RequestId};
use todo_api::models::{TodoOrder, TodoPosition, TodoSortKey, TodoSortValue};
use tokio::runtime::Runtime;
use uuid::Uuid;

const ME: &str = "query Me { me { id email name createdAt updatedAt } }";
const TODOS: &str = "query Todos($first: Int!) { todos(first: $first) { nodes { id title description completed createdAt } } }";
const PAGE: usize = 50;

fn request(query: &str, variables: Variables) -> GraphqlRequest {
    GraphqlRequest { query: Some(query.into()), variables, ..GraphqlRequest::default() }
}

fn page_variables() -> Variables {
    Variables::from_json(json!({ "first": PAGE }))
}

/// Prepares new and cached documents; for a cached one only the work that depends on the request is left.
fn documents(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let _guard = runtime.enter();
    let Fixture { engine, config, .. } = Fixture::new(fixture::NOWHERE, &[]);
    let prepare = |request| engine.prepare(request).map_err(|_| ()).expect("the document is valid");
    let mut bench = |name: &str, make: &mut dyn FnMut() -> GraphqlRequest| {
        criterion
            .bench_function(name, |bencher| bencher.iter_batched(&mut *make, prepare, BatchSize::SmallInput));
    };
    let mut number = 0;
    let mut new = |query: &str, variables| {
        number += 1;
        // A different comment makes it a different document.
        request(&format!("{query} # {number}"), variables)
    };
    bench("prepare me, new", &mut || new(ME, Variables::default()));
    bench("prepare todos, new", &mut || new(TODOS, page_variables()));
    bench("prepare me, known", &mut || request(ME, Variables::default()));
    bench("prepare todos, known", &mut || request(TODOS, page_variables()));
    let mutation = "mutation Create($input: CreateTodoInput!) { createTodo(input: $input) { todo { id } } }";
    let input = json!({ "input": { "title": "Buy milk", "priority": "HIGH", "tags": ["home", "shop"],
        "dueAt": "2030-01-01T09:00:00Z", "description": "two litres" } });
    bench("coerce variables of createTodo", &mut || request(mutation, Variables::from_json(input.clone())));
    let body =
        json!({ "query": TODOS, "operationName": "Todos", "variables": { "first": PAGE } }).to_string();
    criterion.bench_function("parse a request's JSON", |bencher| {
        bencher.iter(|| GraphqlRequest::from_json(black_box(&body), &config.limits));
    });
}

/// Verifies a cached and a new access token.
fn tokens(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let _guard = runtime.enter();
    let Fixture { state, .. } = Fixture::new(fixture::NOWHERE, &[]);
    let tokens = state.auth.access_tokens();
    let now = state.clock.now();
    let issue = || {
        let issued = tokens.issue(Uuid::new_v4(), Uuid::new_v4(), now, Duration::from_hours(1));
        issued.expect("it can be signed").0
    };
    let known = issue();
    criterion.bench_function("verify a known access token", |bencher| {
        bencher.iter(|| tokens.verify(black_box(known.expose_secret().as_bytes()), now));
    });
    criterion.bench_function("verify a new access token", |bencher| {
        bencher.iter_batched(
            issue,
            |token| tokens.verify(token.expose_secret().as_bytes(), now),
            BatchSize::SmallInput,
        );
    });
}

fn cursors(criterion: &mut Criterion) {
    let order = TodoOrder { key: TodoSortKey::CreatedAt, descending: false };
    let time: Option<DateTime<Utc>> = DateTime::from_timestamp_micros(1_764_000_000_123_456);
    let position = TodoPosition { value: TodoSortValue::Time(time), id: Uuid::from_u128(7) };
    criterion
        .bench_function("encode a cursor", |bencher| bencher.iter(|| order.encode(black_box(&position))));
    let cursor = order.encode(&position);
    criterion.bench_function("decode a cursor", |bencher| bencher.iter(|| order.decode(black_box(&cursor))));
}

/// Executes operations with the database on the same machine.
fn operations(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let _guard = runtime.enter();
    let database = runtime.block_on(TestDatabase::new());
    let Fixture { state, engine, .. } = Fixture::new(&database.url, &[]);
    let user_id = Uuid::from_u128(7);
    runtime.block_on(database.sql(&format!(
        "INSERT INTO users (id, email, name, hashed_password) VALUES ('{user_id}', 'ada@example.com', 'Ada', '$argon2id$');
         INSERT INTO todos (user_id, title, description) SELECT '{user_id}', 'Todo ' || n, 'Something that has to be done, number ' || n
             FROM generate_series(1, {PAGE}) AS n"
    )));
    let issued =
        state.auth.access_tokens().issue(user_id, Uuid::new_v4(), state.clock.now(), Duration::from_hours(1));
    let token = issued.expect("it can be signed").0;
    let requester =
        runtime.block_on(state.auth.authenticate(BearerToken::Present(token.expose_secret().as_bytes())));
    let caller = Caller { requester, client: Arc::new(Client::operator()), cookie: RefreshCookie::Off };
    let request_id = RequestId("bench".into());
    let run = async |operation: Operation| {
        let response = engine.execute(operation, caller.clone(), &request_id).await;
        serde_json::to_vec(&response).expect("it is JSON")
    };
    for (name, query) in
        [("me, from the database to JSON", ME), ("a page of 50 todos, from the database to JSON", TODOS)]
    {
        let prepare = || {
            let variables = if query == TODOS { page_variables() } else { Variables::default() };
            engine.prepare(request(query, variables)).map_err(|_| ()).expect("the document is valid")
        };
        criterion.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter_batched(prepare, &run, BatchSize::SmallInput);
        });
    }
}

fn settings() -> Criterion {
    Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = settings(); targets = documents, tokens, cursors, operations }
criterion_main!(benches);
