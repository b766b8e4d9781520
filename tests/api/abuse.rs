//! Limits: excessive requests are refused before anything is executed, and harm no other request.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Answer, TestApp};

fn repeat(count: usize, part: impl Fn(usize) -> String) -> String {
    (0..count).map(part).collect::<Vec<_>>().join(" ")
}

/// Fragments that each spread the next one twice, so that the last one is expanded 2^`count` times.
fn fragment_bomb(count: usize, last: &str) -> String {
    let mut query = String::from("{ me { ...F0 } }");
    for n in 0..count {
        write!(query, " fragment F{n} on User {{ ...F{0} ...F{0} }}", n + 1).unwrap();
    }
    write!(query, " fragment F{count} on User {{ {last} }}").unwrap();
    query
}

async fn still_answers(app: &TestApp) {
    assert_eq!(app.ask("{ __typename }", Value::Null).await.data("__typename"), "Query");
    assert_eq!(app.http.get(app.url("/health/live")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn each_limit_has_its_own_code_and_names_its_value() {
    let app = TestApp::with(&["--max-body=1MiB"]).await;
    let list = "types { fields { type { fields { type { fields { name } } } } } }";
    let cases = [
        ("100,000 braces", "{".repeat(100_000), "DOCUMENT_TOO_LARGE", 65_536),
        ("60,000 braces", "{".repeat(60_000), "OPERATION_TOO_DEEP", 60),
        ("50,000 brackets", format!("{{ a(b: {}", "[".repeat(50_000)), "OPERATION_TOO_DEEP", 60),
        (
            "a long document",
            format!("{{ me {{ id }} }} #{}", "x".repeat(70_000)),
            "DOCUMENT_TOO_LARGE",
            65_536,
        ),
        ("many tokens", format!("{{ {} }}", "id ".repeat(2_000)), "TOO_MANY_TOKENS", 2_000),
        ("a deep query", format!("{} id {}", "{ me".repeat(13), "}".repeat(13)), "OPERATION_TOO_DEEP", 12),
        (
            "many aliases",
            format!("{{ me {{ {} }} }}", repeat(31, |n| format!("a{n}: id"))),
            "TOO_MANY_ALIASES",
            30,
        ),
        (
            "many logins",
            format!(
                "mutation {{ {} }}",
                repeat(21, |n| format!(
                    "a{n}: login(input: {{ email: \"\", password: \"\" }}) {{ accessToken }}"
                ))
            ),
            "TOO_MANY_ROOT_FIELDS",
            20,
        ),
        (
            "many directives",
            format!("{{ me {{ id {} }} }}", "@include(if: true) ".repeat(51)),
            "TOO_MANY_DIRECTIVES",
            50,
        ),
        ("one field often", format!("{{ me {{ {} }} }}", "id ".repeat(11)), "TOO_MANY_DUPLICATE_FIELDS", 10),
        (
            "one field often, in fragments",
            format!("{{ me {{ {} }} }}", "... { id } ".repeat(11)),
            "TOO_MANY_DUPLICATE_FIELDS",
            10,
        ),
        ("deep introspection", format!("{{ __schema {{ {list} }} }}"), "INTROSPECTION_TOO_DEEP", 3),
        (
            "wide introspection",
            format!(
                "{{ __schema {{ types {{ {} }} }} }} fragment F on __Field {{ name description isDeprecated
                 deprecationReason __typename type {{ kind name description specifiedByURL isOneOf __typename
                 ofType {{ kind name description specifiedByURL isOneOf }} }} args {{ name description }} }}",
                repeat(29, |n| format!("a{n}: fields {{ ...F }}")),
            ),
            "OPERATION_TOO_COMPLEX",
            500,
        ),
        ("a fragment bomb", fragment_bomb(40, "id"), "OPERATION_TOO_COMPLEX", 5_000),
        (
            "many operations that share a fragment",
            format!(
                "{} fragment F on Query {{ {} }}",
                repeat(100, |n| format!("query Q{n} {{ ...F }}")),
                repeat(300, |n| format!("a{n}: __typename"))
            ),
            "OPERATION_TOO_COMPLEX",
            5_000,
        ),
        (
            "a chain of fragments",
            format!(
                "{{ me {{ ...F0 }} }} {} fragment F200 on User {{ id }}",
                repeat(200, |n| format!("fragment F{n} on User {{ ...F{} }}", n + 1))
            ),
            "OPERATION_TOO_DEEP",
            60,
        ),
    ];
    for (what, query, code, limit) in cases {
        let began = std::time::Instant::now();
        let answer = app.ask(&query, Value::Null).await;
        println!("{what}: {} bytes, {code}, limit {limit}, answered in {:?}", query.len(), began.elapsed());
        assert_eq!((answer.code(), &answer.error()["extensions"]["limit"]), (code, &json!(limit)), "{what}");
        still_answers(&app).await;
        assert!(answer.body.get("data").is_none(), "{what} was executed");
    }
    still_answers(&app).await;
}

#[tokio::test]
async fn fragments_that_contain_themselves_are_refused() {
    let app = TestApp::start().await;
    for query in [
        "{ me { ...A } } fragment A on User { ...A }",
        "{ me { ...A } } fragment A on User { ...B } fragment B on User { id ...A }",
        "{ __typename } fragment A on User { ...B } fragment B on User { ...A }",
        // A missing fragment must not exempt the others.
        &fragment_bomb(40, "...Missing"),
    ] {
        assert_eq!(app.ask(query, Value::Null).await.code(), "GRAPHQL_VALIDATION_FAILED", "{query}");
    }
    still_answers(&app).await;
}

#[tokio::test]
async fn limits_can_be_set() {
    let app = TestApp::with(&["--max-aliases=1", "--max-depth=1", "--max-variables=64B"]).await;
    assert_eq!(app.ask("{ a: __typename b: __typename }", Value::Null).await.code(), "TOO_MANY_ALIASES");
    assert_eq!(app.ask("{ me { id } }", Value::Null).await.code(), "OPERATION_TOO_DEEP");
    let answer = app.ask("{ __typename }", json!({ "x": "x".repeat(64) })).await;
    assert_eq!((answer.code(), &answer.error()["extensions"]["limit"]), ("VARIABLES_TOO_LARGE", &json!(64)));
}

#[tokio::test]
async fn requests_beyond_the_concurrency_limit_are_refused() {
    let app = TestApp::with(&["--max-concurrent-requests=1"]).await;
    // A failed login takes half a second.
    let body = json!({ "query": "mutation { login(input: { email: \"a@example.com\", password: \"x\" }) { accessToken } }" });
    let first = tokio::spawn(app.http.post(app.url("/graphql")).json(&body).send());
    while app.state.database.status().size == 0 {
        tokio::task::yield_now().await;
    }
    let answer = app.ask("{ __typename }", Value::Null).await;
    assert_eq!((answer.status, answer.code()), (503, "SERVICE_UNAVAILABLE"));
    assert_eq!(answer.error()["extensions"]["limit"], 1);
    assert_eq!(
        (&answer.headers["retry-after"], &answer.error()["extensions"]["retryAfter"]),
        (&"1".parse().unwrap(), &json!(1))
    );
    assert_eq!(app.http.get(app.url("/health/live")).send().await.unwrap().status(), 200);
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    still_answers(&app).await;
}

#[tokio::test]
async fn a_request_that_times_out_is_answered() {
    let app =
        TestApp::with(&["--request-timeout=1s", "--database-pool-size=1", "--database-pool-overflow=0"])
            .await;
    let token = app.register("ada@example.com").await.token();
    let database = app.state.database.clone();
    let release = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let held = std::sync::Arc::clone(&release);
    let holder = tokio::spawn(async move {
        let work = database.write(async |_| {
            let _ = held.acquire().await;
            Ok(())
        });
        work.await
    });
    while app.state.database.status().available > 0 {
        tokio::task::yield_now().await;
    }
    let answer = app.me(&token).await;
    assert_eq!((answer.status, answer.code()), (504, "REQUEST_TIMEOUT"));
    release.add_permits(1);
    holder.await.unwrap().unwrap();
    still_answers(&app).await;
}

#[tokio::test]
async fn clients_that_send_slowly_are_disconnected() {
    let app = TestApp::with(&["--read-timeout=200ms"]).await;
    for (what, beginning, answer) in [
        ("nothing", "", ""),
        ("half a head", "POST /graphql HTTP/1.1\r\nhost: x\r\n", ""),
        (
            "half a body",
            "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
            "REQUEST_TIMEOUT",
        ),
    ] {
        let mut socket = TcpStream::connect(app.address).await.unwrap();
        socket.write_all(beginning.as_bytes()).await.unwrap();
        let mut received = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut received)).await;
        assert!(ended.is_ok(), "{what} was waited for");
        assert!(String::from_utf8_lossy(&received).contains(answer), "{what}");
    }
    still_answers(&app).await;
}

#[tokio::test]
async fn clients_that_do_not_read_responses_are_disconnected_and_connections_are_bounded() {
    let app = TestApp::with(&["--read-timeout=500ms", "--max-connections=2"]).await;
    let body = json!({ "query": "{ __schema { types { name description fields { name description } } } }" })
        .to_string();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len(),
    );
    // Requests some megabytes of responses and reads none of them.
    let mut greedy = Vec::new();
    for _ in 0..2 {
        let socket = TcpStream::connect(app.address).await.unwrap();
        let (read, mut write) = socket.into_split();
        let requests = format!("{head}{body}").repeat(2_000);
        greedy.push((read, tokio::spawn(async move { write.write_all(requests.as_bytes()).await })));
    }
    // Another connection is accepted only once these have been closed.
    still_answers(&app).await;
    for (_, writer) in greedy {
        writer.abort();
    }
}

#[tokio::test]
async fn large_heads_are_refused() {
    let app = TestApp::start().await;
    let large = app.http.get(app.url("/health/live")).header("x-large", "x".repeat(100_000)).send().await;
    assert!(large.is_err() || large.unwrap().status().is_client_error());
    let mut many = app.http.get(app.url("/health/live"));
    for n in 0..200 {
        many = many.header(format!("x-{n}"), "x");
    }
    assert_eq!(many.send().await.unwrap().status(), 431);
    still_answers(&app).await;
}

#[tokio::test]
async fn errors_reveal_no_internals() {
    let app = TestApp::start().await;
    let token = app.register("ada@example.com").await.token();
    app.database.sql("ALTER TABLE users RENAME COLUMN name TO title").await;
    let answer = app.me(&token).await;
    assert_eq!(answer.code(), "INTERNAL_SERVER_ERROR");
    assert_eq!(answer.error()["extensions"]["requestId"], answer.headers["x-request-id"].to_str().unwrap());
    let message = answer.error()["message"].as_str().unwrap();
    for inside in ["column", "users", "SELECT", "diesel", "src/", "::"] {
        assert!(!message.contains(inside), "{inside}: {:#}", answer.body);
    }
}

#[tokio::test]
async fn nesting_of_json_is_bounded() {
    let app = TestApp::start().await;
    let deep = format!(
        "{{\"query\": \"{{ __typename }}\", \"variables\": {{\"a\": {}1{} }}}}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    let request = app.http.post(app.url("/graphql")).header("content-type", "application/json").body(deep);
    assert_eq!(Answer::of(request).await.status, 400);
    still_answers(&app).await;
}

#[tokio::test]
async fn a_panic_in_a_resolver_is_a_coded_error_and_the_next_request_works() {
    let app = TestApp::with_test_schema(&[]).await;
    for _ in 0..3 {
        let answer = app.ask("{ panic }", Value::Null).await;
        assert_eq!((answer.status, answer.code()), (500, "INTERNAL_SERVER_ERROR"));
        assert_eq!(
            answer.error()["extensions"]["requestId"],
            answer.headers["x-request-id"].to_str().unwrap()
        );
        assert!(!answer.body.to_string().contains("resolver"));
        assert_eq!(app.ask("{ hello }", Value::Null).await.data("hello"), "world");
    }
}

#[tokio::test]
async fn a_list_costs_its_page_times_its_children() {
    let app = TestApp::with_test_schema(&["--max-complexity=1000"]).await;
    for (query, variables, fits) in [
        ("{ items(first: 100) { id } }", json!({}), true),
        ("{ items(first: 100) { a: id b: id c: id d: id e: id f: id g: id h: id i: id } }", json!({}), true),
        ("{ items(first: 30) { items(first: 30) { id } } }", json!({}), true),
        ("{ items(first: 40) { items(first: 30) { id } } }", json!({}), false),
        ("query($n: Int!) { items(first: $n) { items(first: $n) { id } } }", json!({ "n": 10 }), true),
        ("query($n: Int!) { items(first: $n) { items(first: $n) { id } } }", json!({ "n": 40 }), false),
        ("query($n: Int = 90) { items(first: $n) { items(first: 90) { id } } }", json!({}), false),
        ("{ items { items { items { id } } } }", json!({}), false),
        ("{ items(last: 100) { items(first: 100) { id } } }", json!({}), false),
        (
            &fragment_bomb(40, "id").replace("me {", "items(first: 0) {").replace("User", "Item"),
            json!({}),
            false,
        ),
        ("{ items(first: 100) { ...F } } fragment F on Item { items(first: 100) { id } }", json!({}), false),
    ] {
        let answer = app.ask(query, variables).await;
        if fits {
            assert!(answer.body.get("errors").is_none(), "{query}: {:#}", answer.body);
        } else {
            assert_eq!(answer.code(), "OPERATION_TOO_COMPLEX", "{query}");
        }
    }
}
