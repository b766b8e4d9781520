//! Rules for every route: content types, limits, headers, health, shutdown.

use serde_json::{Value, json};

use crate::support::{Answer, TestApp};

async fn post(app: &TestApp, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
    Answer::of(app.http.post(app.url("/graphql")).header("content-type", content_type).body(body)).await
}

#[tokio::test]
async fn content_types_of_forms_are_refused() {
    let app = TestApp::start().await;
    let body = json!({ "query": "{ __typename }" }).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let answer = post(&app, kind, body.clone()).await;
        assert_eq!((answer.status, answer.code()), (415, "UNSUPPORTED_MEDIA_TYPE"), "{kind}");
    }
    let answer = post(&app, "application/json; charset=utf-8", body).await;
    assert_eq!(answer.data("__typename"), "Query");
}

#[tokio::test]
async fn a_malformed_body_gets_a_graphql_error() {
    let app = TestApp::start().await;
    for body in ["", "{", "nonsense", "[]", "7", "\u{0}", "{\"query\": 7}", "{\"query\": null}"] {
        let answer = post(&app, "application/json", body).await;
        assert_eq!((answer.status, answer.code()), (400, "BAD_REQUEST"), "{body}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let app = TestApp::with(&["--max-body=1KiB"]).await;
    let body = json!({ "query": format!("{{ __typename }} #{}", "x".repeat(2000)) }).to_string();
    let answer = post(&app, "application/json", body.clone()).await;
    assert_eq!((answer.status, answer.code()), (413, "PAYLOAD_TOO_LARGE"));
    // Chunked, without a Content-Length.
    let chunks = body
        .into_bytes()
        .chunks(100)
        .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
        .collect::<Vec<_>>();
    let answer =
        post(&app, "application/json", reqwest::Body::wrap_stream(futures_util::stream::iter(chunks))).await;
    assert_eq!((answer.status, answer.code()), (413, "PAYLOAD_TOO_LARGE"));
}

#[tokio::test]
async fn a_request_id_is_generated_or_kept() {
    let app = TestApp::start().await;
    let given = app.ask("{ __typename }", Value::Null).await;
    assert!(given.headers["x-request-id"].len() == 36);

    let ask = |id: &'static str| app.http.get(app.url("/health/live")).header("x-request-id", id).send();
    assert_eq!(ask("from-the-proxy.1").await.unwrap().headers()["x-request-id"], "from-the-proxy.1");
    assert_ne!(ask("with spaces {}").await.unwrap().headers()["x-request-id"], "with spaces {}");
}

#[tokio::test]
async fn only_configured_origins_may_call_from_a_page() {
    let app = TestApp::with(&["--cors-allowed-origins=https://app.example.com,http://localhost:3000"]).await;
    let preflight = async |origin: &str| {
        let request = app
            .http
            .request(reqwest::Method::OPTIONS, app.url("/graphql"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,authorization");
        request.send().await.unwrap().headers().get("access-control-allow-origin").cloned()
    };
    assert_eq!(preflight("https://app.example.com").await.unwrap(), "https://app.example.com");
    assert_eq!(preflight("http://localhost:3000").await.unwrap(), "http://localhost:3000");
    assert_eq!(preflight("https://evil.example").await, None);

    let app = TestApp::with(&["--cors-allowed-origins=*"]).await;
    let answer =
        app.http.get(app.url("/health/live")).header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn health_and_the_ide_answer() {
    let app = TestApp::start().await;
    for (path, expected) in
        [("/health/live", "live"), ("/health/ready", "ready"), ("/graphiql", "<!DOCTYPE html>")]
    {
        let response = app.http.get(app.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert!(response.text().await.unwrap().contains(expected), "{path}");
    }
    assert!(app.http.get(app.url("/")).send().await.unwrap().url().path() == "/graphiql");
}

#[tokio::test]
async fn a_request_in_progress_is_finished_when_the_service_stops() {
    let app = TestApp::start().await;
    let address = app.address;
    let http = app.http.clone();
    let url = app.url("/graphql");
    let body = json!({ "query": "mutation { login(input: { email: \"nobody@example.com\", password: \"x\" }) { accessToken } }" });
    let request =
        tokio::spawn(async move { http.post(url).json(&body).send().await.unwrap().text().await.unwrap() });
    // A failed login takes half a second; its connection to the database shows that it has begun.
    while app.state.database.status().size == 0 {
        tokio::task::yield_now().await;
    }
    app.stop().await;
    assert!(request.await.unwrap().contains("INVALID_CREDENTIALS"));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
