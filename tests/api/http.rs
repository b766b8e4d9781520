//! Rules for every route: content types, limits, headers, health, shutdown.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Answer, TestApp};

const LIMIT: Duration = Duration::from_secs(30);

/// Sends bytes and reads until the service closes the connection.
async fn raw(app: &TestApp, request: &str) -> String {
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    read_to_end(&mut stream).await
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    timeout(LIMIT, stream.read_to_string(&mut text)).await.expect("the connection ends").unwrap();
    text
}

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
async fn an_announced_body_beyond_the_limit_is_refused_before_it_arrives() {
    let app = TestApp::with(&["--max-body=1KiB", "--read-timeout=600s"]).await;
    let head = "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    for headers in [
        "Content-Length: 1025\r\n",
        "Content-Length: 10485760\r\n",
        "Content-Length: 1025\r\nExpect: 100-continue\r\n",
        "Content-Length: 9223372036854775807\r\n",
    ] {
        let began = Instant::now();
        let answer = raw(&app, &format!("{head}{headers}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{headers}: {answer}");
        assert!(answer.contains("connection: close") && answer.contains("PAYLOAD_TOO_LARGE"), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(5), "{headers}");
    }
    let whole = format!("{:1024}", json!({ "query": "{ __typename }" }).to_string());
    assert_eq!(whole.len(), 1024);
    assert_eq!(post(&app, "application/json", whole).await.status, 200);
    let answer = raw(&app, &format!("{head}Content-Length: 18446744073709551616\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

/// A connection that is closed with unread data is reset, and then the response may be lost.
#[tokio::test]
async fn a_client_that_sends_on_still_reads_the_refusal() {
    let app = TestApp::with(&["--max-body=1KiB"]).await;
    let body = "x".repeat(8 << 20);
    for (headers, status) in [
        (format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len()), "413"),
        (format!("Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len()), "415"),
        (
            format!(
                "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
                body.len()
            ),
            "413",
        ),
    ] {
        let mut stream = TcpStream::connect(app.address).await.unwrap();
        let head = format!("POST /graphql HTTP/1.1\r\nHost: x\r\n{headers}");
        timeout(LIMIT, async {
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(body.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        })
        .await
        .expect("the body is taken");
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn a_response_before_the_body_is_read_says_that_the_connection_closes() {
    let app = TestApp::start().await;
    let json = "Content-Type: application/json\r\n";
    let live = "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for (request, headers, status) in [
        ("POST /graphql", "Content-Type: text/plain\r\n", "415"),
        ("POST /graphql", "Content-Type: application/json\r\nAccept: text/html\r\n", "406"),
        ("DELETE /graphql", json, "405"),
        ("GET /graphql?query=mutation%7B__typename%7D", json, "405"),
        ("GET /health/live", json, "200"),
        ("POST /nowhere", json, "404"),
    ] {
        let head = format!("{request} HTTP/1.1\r\nHost: x\r\n{headers}");
        let answer = raw(&app, &format!("{head}Content-Length: 100000\r\n\r\n{{")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{request}: {answer}");
        // A body that has arrived is discarded, and the connection is kept.
        let answer = raw(&app, &format!("{head}Content-Length: 2\r\n\r\n{{}}{live}")).await;
        assert!(answer.ends_with("\r\n\r\nlive\n"), "{request}: {answer}");
        assert_eq!(answer.matches("connection: close").count(), 1, "{request}: {answer}");
    }
}

#[tokio::test]
async fn a_body_with_another_transfer_coding_than_chunked_is_refused() {
    let app = TestApp::start().await;
    let body = json!({ "query": "{ __typename }" }).to_string();
    let body = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for (lines, status) in [
        ("Transfer-Encoding: chunked\r\n", "200"),
        ("Transfer-Encoding: Chunked\r\n", "200"),
        ("Transfer-Encoding: gzip, chunked\r\n", "501"),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "501"),
        ("Transfer-Encoding: gzip\r\n", "400"),
    ] {
        let head =
            "POST /graphql HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n";
        let answer = raw(&app, &format!("{head}{lines}\r\n{body}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{lines}: {answer}");
    }
}

#[tokio::test]
async fn a_target_has_a_form_of_its_method() {
    let app = TestApp::start().await;
    for (request, status) in [
        ("GET graphql", "400"),
        ("GET x:80", "400"),
        ("GET *", "400"),
        ("POST *", "400"),
        ("OPTIONS graphql", "400"),
        ("OPTIONS *", "200"),
        ("CONNECT example.com:443", "404"),
    ] {
        let answer = raw(&app, &format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert_eq!(answer.contains("BAD_REQUEST"), status == "400", "{request}: {answer}");
    }
}

#[tokio::test]
async fn an_upgrade_is_ignored_in_http_1_0() {
    let app = TestApp::start().await;
    let headers = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let answer = raw(&app, &format!("GET /graphql?query=%7B__typename%7D HTTP/1.0\r\n{headers}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.0 200 ") && answer.contains("\"Query\""), "{answer}");
    let answer = raw(&app, &format!("GET /graphql/ws HTTP/1.0\r\n{headers}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.0 400 "), "{answer}");
}

#[tokio::test]
async fn a_request_has_one_valid_host() {
    let app = TestApp::start().await;
    let close = "Connection: close\r\n\r\n";
    for (request, status) in [
        ("GET /health/live HTTP/1.1\r\nHost: example.com\r\n", 200),
        ("GET /health/live HTTP/1.1\r\nhost: 10.0.0.1:8000\r\n", 200),
        ("GET /health/live HTTP/1.1\r\nHost: [::1]:8000\r\n", 200),
        ("GET /health/live HTTP/1.0\r\n", 200),
        ("GET /health/live HTTP/1.0\r\nHost: example.com\r\n", 200),
        ("GET http://example.com/health/live HTTP/1.1\r\nHost: example.com\r\n", 200),
        ("GET /health/live HTTP/1.1\r\n", 400),
        ("GET /health/live HTTP/1.1\r\nHost: \r\n", 400),
        ("GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
        ("GET /health/live HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
        ("GET /health/live HTTP/1.1\r\nHost: a, b\r\n", 400),
        ("GET /health/live HTTP/1.1\r\nHost: ada@example.com\r\n", 400),
        ("GET /health/live HTTP/1.1\r\nHost: http://example.com\r\n", 400),
        ("GET /health/live HTTP/1.0\r\nHost: a\r\nHost: b\r\n", 400),
        ("GET http://example.com/health/live HTTP/1.1\r\n", 400),
        ("GET /health/ready HTTP/1.1\r\n", 400),
        ("GET /graphql?query=%7B__typename%7D HTTP/1.1\r\n", 400),
        ("OPTIONS /graphql HTTP/1.1\r\nOrigin: https://a.example\r\n", 400),
        ("GET /metrics HTTP/1.1\r\n", 400),
        ("GET /nowhere HTTP/1.1\r\n", 400),
        ("GET /nowhere HTTP/1.1\r\nHost: a\r\n", 404),
    ] {
        let answer = raw(&app, &format!("{request}{close}")).await;
        assert_eq!(answer.get(9..12), Some(status.to_string().as_str()), "{request}: {answer}");
        assert_eq!(answer.contains("BAD_REQUEST"), status == 400, "{answer}");
        assert!(answer.contains("x-request-id"), "{answer}");
    }
    let answer = raw(&app, "GET /health/live HTTP/1.1\r\n\r\n").await;
    assert!(answer.contains("connection: close"), "{answer}");
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
async fn health_and_the_ide_answer() {
    let app = TestApp::start().await;
    for (path, expected) in
        [("/health/live", "live"), ("/health/ready", "ready"), ("/graphiql", "<!DOCTYPE html>")]
    {
        let response = app.http.get(app.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert!(response.text().await.unwrap().contains(expected), "{path}");
    }
}

#[tokio::test]
async fn a_browser_is_led_to_the_ide_and_a_program_is_told_where_things_are() {
    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    let with_ide = TestApp::start().await;
    let without = with_ide.beside(&["--graphiql=off"]).await;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    for (app, accept, path, status, text) in [
        (&with_ide, BROWSER, "/", 307, ""),
        (&with_ide, BROWSER, "/graphql", 303, ""),
        (&with_ide, BROWSER, "/graphql?", 303, ""),
        (&with_ide, BROWSER, "/graphql?utm_source=x", 303, ""),
        (&with_ide, BROWSER, "/graphql?query=%7B__typename%7D", 200, "\"__typename\":\"Query\""),
        (&with_ide, BROWSER, "/graphql?documentId=x", 200, "errors"),
        (&with_ide, "*/*", "/graphql", 400, "BAD_REQUEST"),
        (&with_ide, "application/json", "/graphql", 400, "BAD_REQUEST"),
        (&with_ide, "*/*", "/", 200, "/graphiql "),
        (&without, BROWSER, "/", 200, "/graphql "),
        (&without, BROWSER, "/graphql", 400, "BAD_REQUEST"),
        (&without, "*/*", "/", 200, "/graphql "),
    ] {
        let response = http.get(app.url(path)).header("accept", accept).send().await.unwrap();
        assert_eq!(response.status(), status, "{accept} {path}");
        let location = response.headers().get("location").cloned();
        assert_eq!(location.is_some(), text.is_empty(), "{path}");
        assert!(location.is_none_or(|location| location == "/graphiql"), "{path}");
        assert!(response.headers()["vary"].to_str().unwrap().split(", ").any(|name| name == "accept"));
        assert!(response.text().await.unwrap().contains(text), "{accept} {path}");
    }
    let plain = http.get(without.url("/")).send().await.unwrap();
    assert_eq!(plain.headers()["content-type"], "text/plain; charset=utf-8");
    assert!(!plain.text().await.unwrap().contains("graphiql"));
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
