//! The cost of requests in a small and in a large database: `cargo bench --bench growth`. Takes some minutes and 3 GB.
//!
//! Buffers are the 8 KiB pages that PostgreSQL touched, hit or read: a measure without noise. Times are the least of [`RUNS`].

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program to be read by its author"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use serde_json::{Value, json};
use support::{Explained, Owner, PASSWORD, texts};

const RUNS: usize = 30;

/// Numbers of users and of the queried user's todos. As many other users have one todo each.
#[derive(Clone, Copy)]
struct Size {
    users: usize,
    todos: usize,
}

const SMALL: Size = Size { users: 1_000, todos: 1_000 };
const LARGE: Size = Size { users: 1_000_000, todos: 100_000 };

/// The cost of a request; times are in milliseconds.
struct Cost {
    buffers: u64,
    database: f64,
    request: f64,
}

impl Cost {
    const MAX: Self = Self { buffers: u64::MAX, database: f64::MAX, request: f64::MAX };

    fn least(&self, other: &Self) -> Self {
        Self {
            buffers: self.buffers.min(other.buffers),
            database: self.database.min(other.database),
            request: self.request.min(other.request),
        }
    }
}

#[tokio::main]
async fn main() {
    let small = Explained::with_nested().await;
    let large = Explained::with_nested().await;
    let owners =
        [Owner::new(&small.app, "ada@example.com").await, Owner::new(&large.app, "ada@example.com").await];
    fill(&small, SMALL).await;
    fill(&large, LARGE).await;
    let requests = [build_requests(&owners[0], SMALL).await, build_requests(&owners[1], LARGE).await];
    println!(
        "| request | buffers | | in the database, ms | | in all, ms | |\n| --- | --- | --- | --- | --- | --- | --- |"
    );
    for (index, (name, _)) in requests[0].iter().enumerate() {
        let mut costs = [Cost::MAX, Cost::MAX];
        // Interleaved, so that both see the same noise.
        for _ in 0..RUNS {
            for (which, explained) in [&small, &large].into_iter().enumerate() {
                let cost = measure(explained, &owners[which], &requests[which][index].1).await;
                costs[which] = costs[which].least(&cost);
            }
        }
        let [small, large] = costs;
        println!(
            "| {name} | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} |",
            small.buffers, large.buffers, small.database, large.database, small.request, large.request
        );
    }
    print_sizes(&large).await;
}

/// Inserts rows without triggers, which take a millisecond per todo, and the rows that these would have produced.
async fn fill(explained: &Explained, size: Size) {
    let Size { users, todos } = size;
    let sql = format!(
        "BEGIN;
         SET LOCAL session_replication_role = replica;
         SET LOCAL synchronous_commit = off;
         SET LOCAL auto_explain.log_min_duration = -1;
         CREATE TEMPORARY TABLE new_users AS
             SELECT n, gen_random_uuid() AS id, gen_random_uuid() AS session_id FROM generate_series(1, {users}) AS n;
         INSERT INTO users (id, email, name, hashed_password)
             SELECT id, 'user' || n || '@example.com', 'User ' || n,
                 '$argon2id$v=19$m=19456,t=2,p=1$' || repeat('s', 22) || '$' || repeat('h', 43) FROM new_users;
         INSERT INTO sessions (id, user_id, expires_at, user_agent, ip_address)
             SELECT session_id, id, now() + interval '30 days',
                 'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0', '192.0.2.1' FROM new_users;
         INSERT INTO refresh_tokens (token_hash, session_id) SELECT sha256(id::text::bytea), session_id FROM new_users;
         INSERT INTO security_events (user_id, kind, ip_address, user_agent, session_id, request_id)
             SELECT id, 'REGISTERED', '192.0.2.1', 'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0',
                 session_id, id::text FROM new_users;
         CREATE TEMPORARY TABLE new_todos AS
             SELECT n, CASE WHEN own THEN (SELECT id FROM users WHERE email = 'ada@example.com') ELSE new_users.id END AS user_id, own,
                 gen_random_uuid() AS id
             FROM generate_series(1, {todos}) AS n JOIN new_users USING (n), unnest('{{true, false}}'::boolean[]) AS own;
         INSERT INTO todos (user_id, id, title, description, priority, tags, created_at, updated_at)
             SELECT user_id, id, 'Todo ' || n, 'Something that has to be done before the end of the week, n' || lpad(n::text, 7, '0'),
                 (ARRAY['NONE', 'NONE', 'LOW', 'HIGH'])[1 + n % 4], ARRAY['tag' || n % 10],
                 timestamptz '2026-01-01' + n * interval '1 second', timestamptz '2026-01-01' + n * interval '1 second'
             FROM new_todos;
         INSERT INTO todo_events (user_id, number, id, todo_id, kind, actor_id, request_id, after)
             SELECT user_id, CASE WHEN own THEN n ELSE 1 END,
                 gen_random_uuid(), new_todos.id, 'CREATED', user_id, id::text,
                 jsonb_build_object('title', title, 'description', description, 'priority', priority, 'tags', tags)
             FROM new_todos JOIN todos USING (user_id, id);
         INSERT INTO todo_event_counters (user_id, last_number)
             SELECT user_id, max(number) FROM todo_events GROUP BY user_id;
         DROP TABLE new_users, new_todos;
         COMMIT;"
    );
    explained.server.sql(&sql).await;
    explained.server.sql("VACUUM ANALYZE").await;
    explained.server.sql("CHECKPOINT").await;
}

/// Returns the names and documents of the requests.
async fn build_requests(ada: &Owner<'_>, size: Size) -> [(&'static str, String); 7] {
    let nodes = "nodes { id title description completed createdAt }";
    let middle =
        format!("{{ todos(filter: {{ search: \"n{:07}\" }}) {{ edges {{ cursor }} }} }}", size.todos / 2);
    let middle = ada.ask(&middle, Value::Null).await.data("todos")["edges"][0]["cursor"].clone();
    let login = format!(
        "mutation {{ login(input: {{ email: \"ada@example.com\", password: \"{PASSWORD}\" }}) {{ accessToken }} }}"
    );
    [
        ("`me`", "{ me { id email name createdAt updatedAt } }".to_owned()),
        ("first page of 50", format!("{{ todos(first: 50) {{ {nodes} }} }}")),
        ("page of 50 in the middle", format!("{{ todos(first: 50, after: {middle}) {{ {nodes} }} }}")),
        (
            "page of 50, filtered",
            format!("{{ todos(first: 50, filter: {{ priority: HIGH, completed: false }}) {{ {nodes} }} }}"),
        ),
        (
            "search, 1 todo found",
            format!("{{ todos(filter: {{ search: \"week n0000777\" }}) {{ {nodes} }} }}"),
        ),
        ("`login`", login),
        (
            "`createTodo`",
            "mutation { createTodo(input: { title: \"Buy milk\" }) { todo { id } } }".to_owned(),
        ),
    ]
}

async fn measure(explained: &Explained, ada: &Owner<'_>, query: &str) -> Cost {
    let mark = explained.mark();
    let began = Instant::now();
    let answer = ada.ask(query, json!({})).await;
    let request = began.elapsed().as_secs_f64() * 1000.0;
    assert!(answer.body.get("errors").is_none(), "{:#}", answer.body);
    let plans = explained.plans_since(mark);
    let number = |plan: &Value, name: &str| plan["Plan"][name].as_u64().unwrap_or(0);
    let buffers =
        plans.iter().map(|plan| number(plan, "Shared Hit Blocks") + number(plan, "Shared Read Blocks"));
    let times = plans.iter().filter_map(|plan| plan["Plan"]["Actual Total Time"].as_f64());
    Cost { buffers: buffers.sum(), database: times.sum(), request }
}

/// Prints the bytes per row of each table with its indexes.
async fn print_sizes(explained: &Explained) {
    println!("\n| table | rows | bytes per row | of these indexes |\n| --- | --- | --- | --- |");
    let sql = "SELECT format('| `%s` | %s | %s | %s |', relname, reltuples::bigint,
            round(pg_total_relation_size(oid) / reltuples::numeric), round(pg_indexes_size(oid) / reltuples::numeric)) AS text
        FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples > 1000 ORDER BY relname";
    texts(&explained.server.url(), sql).await.iter().for_each(|line| println!("{line}"));
}
