//! Metrics as Prometheus scrapes them.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use crate::support::{Answer, Client, PASSWORD, SECRET, Service, TestApp, TestDatabase};

/// Returns the series by name and labels; values are truncated to integers.
async fn scrape(app: &TestApp) -> HashMap<String, u64> {
    let response = app.http.get(app.url("/metrics")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4");
    let text = response.text().await.unwrap();
    let series = text.lines().filter(|line| !line.starts_with('#'));
    series
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.split('.').next().unwrap().parse().unwrap()))
        .collect()
}

fn requests(operation: &str, kind: &str, code: &str) -> String {
    format!(r#"todo_api_requests_total{{code="{code}",kind="{kind}",operation="{operation}"}}"#)
}

/// A replica that never answers: without one, its metrics are absent.
const REPLICA: &str = "--database-replica-urls=postgresql://nobody@127.0.0.1:1/nothing";

/// Returns the name and type of each metric.
async fn families(app: &TestApp) -> Vec<(String, String)> {
    let text = app.http.get(app.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split_once(' ').unwrap()).map(|(name, kind)| (name.into(), kind.into())).collect()
}

#[tokio::test]
async fn names_follow_the_rules_of_prometheus() {
    let app = TestApp::with(&[REPLICA]).await;
    let families = families(&app).await;
    assert!(families.len() >= 20, "{families:?}");
    for (name, kind) in families {
        assert!(name.starts_with("todo_api_"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        if kind == "histogram" {
            assert!(name.ends_with("_seconds"), "base units: {name}");
        }
        for word in ["_ms", "_milliseconds", "_minutes", "_counter", "_gauge", "_histogram", "_count", "_sum"]
        {
            assert!(!name.ends_with(word), "{name}");
        }
    }
}

#[tokio::test]
async fn operations_are_counted_by_name_kind_and_code_over_every_transport() {
    let app = TestApp::start().await;
    let token = app.register("ada@example.com").await.token();
    app.ask_as(&token, "query Me { me { id } }", Value::Null).await;
    app.ask_as("nonsense", "query Me { me { id } }", Value::Null).await;
    app.ask("{ me { id } }", Value::Null).await;
    app.ask("{ nonsense }", Value::Null).await;
    app.ask("{", Value::Null).await;
    let batch = json!([{ "query": "query Me { me { id } }" }, { "query": "query Other { __typename }" }, 7]);
    app.http.post(app.url("/graphql")).json(&batch).send().await.unwrap();
    Answer::of(app.http.post(app.url("/graphql")).body("text")).await;
    Answer::of(app.http.get(app.url("/graphql?query=mutation%20M%20%7B%20logout%20%7D"))).await;

    let series = scrape(&app).await;
    for (name, kind, code, number) in [
        ("Register", "mutation", "OK", 1),
        ("Me", "query", "OK", 2),
        ("Me", "query", "UNAUTHENTICATED", 1),
        ("anonymous", "query", "OK", 1),
        ("anonymous", "query", "GRAPHQL_VALIDATION_FAILED", 1),
        ("anonymous", "unknown", "GRAPHQL_PARSE_FAILED", 1),
        ("Other", "query", "OK", 1),
        ("anonymous", "unknown", "BAD_REQUEST", 1),
        ("anonymous", "unknown", "UNSUPPORTED_MEDIA_TYPE", 1),
    ] {
        let name = requests(name, kind, code);
        assert_eq!(series.get(&name), Some(&number), "{name}");
    }
    let refused = series.keys().filter(|name| name.contains("METHOD_NOT_ALLOWED")).count();
    assert_eq!(refused, 1);
    let timed = r#"todo_api_request_duration_seconds_count{kind="query",operation="Me"}"#;
    assert_eq!(series[timed], 3);
    let connections = r#"todo_api_database_connections{pool="primary"}"#;
    assert!(series[connections] >= 1);
    assert!(series[r#"todo_api_password_work_seconds_count{work="hash"}"#] >= 1);
}

#[tokio::test]
async fn invented_names_do_not_create_more_series() {
    let app = TestApp::start().await;
    let ask = async |numbers: std::ops::Range<usize>| {
        for number in numbers.step_by(10) {
            let batch: Vec<_> = (number..number + 10)
                .map(|number| json!({ "query": format!("query Name{number} {{ __typename }}") }))
                .collect();
            let response = app.http.post(app.url("/graphql")).json(&batch).send().await.unwrap();
            assert_eq!(response.status(), 200);
        }
    };
    ask(0..200).await;
    let before = scrape(&app).await.len();
    ask(200..10_000).await;
    app.ask(&format!("query {} {{ __typename }}", "x".repeat(65)), Value::Null).await;
    app.ask("query Unknown { nonsense }", Value::Null).await;
    let body = json!({ "query": "{ __typename }", "operationName": "a\"b\n{}" });
    Answer::of(app.http.post(app.url("/graphql")).json(&body)).await;
    let series = scrape(&app).await;
    // The last two failed with codes that had no series before.
    assert!(series.len() <= before + 3, "{before} {}", series.len());
    let names: BTreeSet<_> =
        series.keys().filter_map(|name| name.split_once("operation=\"")?.1.split('"').next()).collect();
    assert_eq!(names.len(), 102, "{names:?}");
    assert_eq!(series[&requests("other", "query", "OK")], 9_901);
}

#[tokio::test]
async fn logins_and_throttling_are_counted() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await;
    app.login("ada@example.com", PASSWORD).await;
    for _ in 0..6 {
        app.login("ada@example.com", "wrong").await;
    }
    let series = scrape(&app).await;
    for (name, number) in [
        (r#"todo_api_logins_total{outcome="succeeded"}"#, 1),
        (r#"todo_api_logins_total{outcome="failed"}"#, 5),
        (r#"todo_api_logins_total{outcome="throttled"}"#, 1),
        (r#"todo_api_throttled_total{kind="login"}"#, 1),
        (r#"todo_api_throttled_total{kind="register"}"#, 0),
        (r#"todo_api_password_work_seconds_count{work="verify"}"#, 6),
        ("todo_api_password_waiting", 0),
    ] {
        assert_eq!(series.get(name), Some(&number), "{name}");
    }
}

#[tokio::test]
async fn a_registration_is_one_piece_of_password_work_and_an_invalid_one_hashes_nothing() {
    let app = TestApp::start().await;
    let work = async |kind: &str| {
        let name = format!(r#"todo_api_password_work_seconds_count{{work="{kind}"}}"#);
        scrape(&app).await.get(&name).copied().unwrap_or_default()
    };
    app.register("ada@example.com").await.data("register");
    assert_eq!((work("judge").await, work("hash").await), (0, 1));
    let refused = app.register_with("no address", "password", "Ada").await;
    let fields: Vec<_> =
        refused.error()["extensions"]["fields"].as_array().unwrap().iter().map(|f| &f["code"]).collect();
    assert_eq!(fields.len(), 2, "{fields:?}");
    assert_eq!((work("judge").await, work("hash").await), (1, 1));
}

#[tokio::test]
async fn a_scrape_does_not_query_the_database() {
    let app = TestApp::start().await;
    for _ in 0..3 {
        let series = scrape(&app).await;
        assert_eq!(series[r#"todo_api_database_connections{pool="primary"}"#], 0);
    }
    assert_eq!(app.state.database.status().size, 0);
}

#[tokio::test]
async fn metrics_can_be_disabled() {
    let app = TestApp::with(&["--metrics=off"]).await;
    assert_eq!(app.http.get(app.url("/metrics")).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn metrics_can_have_a_port_of_their_own() {
    let database = TestDatabase::new().await;
    let mut command = Service::command();
    command.env("DATABASE_URL", &database.url).env("JWT_SECRET", SECRET).env("METRICS_PORT", "0");
    let service = Service::start_command(&mut command);
    let line = service.next_line();
    let (_, url) = line.split_once("metrics are at ").unwrap_or_else(|| panic!("{line}"));
    let text = reqwest::get(url.trim()).await.unwrap().text().await.unwrap();
    assert!(text.contains("todo_api_build_info"), "{text}");
    let beside = reqwest::get(format!("http://{}/metrics", service.address)).await.unwrap();
    assert_eq!(beside.status(), 404);
    let api = reqwest::get(url.trim().replace("/metrics", "/graphql")).await.unwrap();
    assert_eq!(api.status(), 404);
    service.stop();
}

#[tokio::test]
async fn the_dashboard_uses_only_metrics_that_exist() {
    let app = TestApp::with(&[REPLICA]).await;
    let exposed: BTreeSet<_> = families(&app).await.into_iter().map(|(name, _)| name).collect();
    let dashboard: Value = serde_json::from_str(include_str!("../../docs/grafana.json")).unwrap();
    let mut used = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            used.extend(metric_names(target["expr"].as_str().unwrap()));
        }
    }
    assert_eq!(used.difference(&exposed).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(
        exposed.difference(&used).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "metrics missing from the dashboard"
    );
}

fn metric_names(expression: &str) -> impl Iterator<Item = String> {
    let words = expression.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    words.filter(|word| word.starts_with("todo_api_")).map(|word| {
        let parts = ["_bucket", "_count", "_sum"];
        parts.iter().find_map(|part| word.strip_suffix(part)).unwrap_or(word).to_owned()
    })
}

#[tokio::test]
async fn sockets_and_subscriptions_are_counted_while_they_are_open() {
    let app = TestApp::with_test_schema(&[]).await;
    let mut client = Client::ready(&app, json!({})).await;
    client.subscribe("1", "subscription Quiet { silence }").await;
    client.subscribe("2", "query Hello { hello }").await;
    assert_eq!(client.next().await["hello"], "world");
    until(&app, |series| series["todo_api_subscriptions"] == 1).await;
    let series = scrape(&app).await;
    assert_eq!(series["todo_api_sockets"], 1);
    assert_eq!(series[&requests("Hello", "query", "OK")], 1);

    client.send(json!({ "id": "1", "type": "complete" })).await;
    let ended = requests("Quiet", "subscription", "OK");
    until(&app, |series| series.get(&ended) == Some(&1)).await;
    let series = scrape(&app).await;
    assert_eq!((series["todo_api_subscriptions"], series["todo_api_socket_operations"]), (0, 0));
    drop(client);
    until(&app, |series| series["todo_api_sockets"] == 0).await;
}

/// Scrapes until the metrics satisfy a condition.
async fn until(app: &TestApp, expected: impl Fn(&HashMap<String, u64>) -> bool) {
    while !expected(&scrape(app).await) {
        tokio::task::yield_now().await;
    }
}
