//! Streams over HTTP count as sockets, and end with their token, session, client or process.

use std::sync::Arc;
use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::support::{Chunk, Client, HttpStream, Owner, RefusingProxy, TestApp};

const LIMIT: Duration = Duration::from_secs(30);
const MULTIPART: &str = "multipart/mixed;subscriptionSpec=1.0, application/json";
const EVENTS: &str = "text/event-stream";
const FORMATS: [&str; 2] = [MULTIPART, EVENTS];
const CHANGES: &str = "subscription Changes { todoChanged { eventId } }";
const SILENCE: &str = "subscription Silence { silence }";

fn token(app: &TestApp, user: Uuid, lifetime: Duration) -> String {
    let token = app.state.auth.access_tokens().issue(user, user, app.state.clock.now(), lifetime).unwrap().0;
    token.expose_secret().to_owned()
}

/// Opens a stream and waits for its first chunk.
async fn open(app: &TestApp, accept: &str, token: &str) -> HttpStream {
    let mut stream = HttpStream::post(app, accept, token, SILENCE).await;
    assert_eq!(stream.status(), 200, "{}", stream.head);
    stream.data().await;
    stream
}

/// Returns the value of a metric.
fn metric(app: &TestApp, name: &str) -> String {
    let text = app.state.metrics.text(&app.state.database.status(), &[]).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_default().to_owned()
}

async fn wait_for_metric(app: &TestApp, name: &str, value: &str) {
    let reached = timeout(LIMIT, async {
        while metric(app, name) != value {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(reached.await.is_ok(), "{name} is {}", metric(app, name));
}

fn ended(code: &str) -> String {
    format!(r#"todo_api_requests_total{{code="{code}",kind="subscription",operation="Silence"}}"#)
}

/// Reads the last chunk, an error, and the end after it.
async fn read_error(mut stream: HttpStream, accept: &str, reason: &str) {
    let (start, end) = match accept {
        MULTIPART => (
            "\r\ncontent-type: application/json\r\n\r\n{\"payload\":null,\"errors\":[{",
            "}]}\r\n--graphql--\r\n",
        ),
        _ => ("event: next\ndata: {\"errors\":[{", "}]}\n\nevent: complete\ndata:\n\n"),
    };
    let last = stream.data().await;
    assert!(last.starts_with(start) && last.ends_with(end), "{last:?}");
    assert!(last.contains(&format!(r#""code":"UNAUTHENTICATED","reason":"{reason}""#)), "{last:?}");
    assert_eq!(stream.next().await, Chunk::End);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let app = TestApp::with_test_schema(&[]).await;
    for accept in FORMATS {
        let stream = open(&app, accept, &token(&app, Uuid::new_v4(), Duration::from_secs(2))).await;
        read_error(stream, accept, "EXPIRED").await;
    }
    wait_for_metric(&app, &ended("UNAUTHENTICATED"), "2").await;
}

#[tokio::test]
async fn streams_of_an_ended_session_end_in_every_process() {
    let one = TestApp::start().await;
    let other = one.beside(&[]).await;
    let ada = Owner::new(&one, "ada@example.com").await;
    let mut streams = Vec::new();
    for app in [&one, &other] {
        for accept in FORMATS {
            let mut stream = HttpStream::post(app, accept, &ada.token, CHANGES).await;
            stream.data().await;
            streams.push((stream, accept));
        }
    }
    ada.ask("mutation { logout { revokedSessionIds } }", Value::Null).await.data("logout");
    for (stream, accept) in streams {
        read_error(stream, accept, "REVOKED").await;
    }
}

#[tokio::test]
async fn a_shutdown_cuts_streams_off_at_once() {
    // Longer than any test, so that waiting for these limits fails it.
    let app = TestApp::with_test_schema(&["--read-timeout=600s", "--shutdown-timeout=600s"]).await;
    let streams = [open(&app, MULTIPART, "").await, open(&app, EVENTS, "").await];
    timeout(LIMIT, app.stop()).await.expect("streams are not waited for");
    for mut stream in streams {
        assert_eq!(stream.next().await, Chunk::Cut);
    }
}

#[tokio::test]
async fn a_stream_is_refused_by_its_status_while_sessions_cannot_be_checked() {
    let up = TestApp::start().await;
    let ada = Owner::new(&up, "ada@example.com").await;
    let starting = RefusingProxy::refusing("57P03", "the database system is starting up");
    let (server, name) = up.database.url.rsplit_once('/').unwrap();
    let (server, _) = server.rsplit_once(':').unwrap();
    let url = format!("{server}:{}/{name}", starting.address.port());
    let down =
        TestApp::on_shared(&url, &["--database-connect-timeout=100ms"], Arc::clone(&up.database)).await;
    for accept in FORMATS {
        let mut answer = HttpStream::post(&down, accept, &ada.token, CHANGES).await;
        assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")), "{accept}");
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"), "{accept}");
        let body: Value = serde_json::from_str(&answer.body().await).unwrap();
        assert_eq!(body["errors"][0]["extensions"]["code"], "SERVICE_UNAVAILABLE", "{accept}");
    }
    let code =
        r#"todo_api_requests_total{code="SERVICE_UNAVAILABLE",kind="subscription",operation="Changes"}"#;
    assert_eq!(metric(&down, code), "2");
    assert_eq!(metric(&down, "todo_api_sockets"), "0");
}

#[tokio::test]
async fn an_outage_cuts_a_stream_off_so_that_its_client_resumes() {
    let app = TestApp::with(&["--database-work-timeout=200ms"]).await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let mut other = app.database.connect().await;
    // Blocks the first read of a subscription, and nothing before it.
    other.batch_execute("BEGIN; LOCK TABLE todo_event_counters").await.unwrap();
    for accept in FORMATS {
        let mut stream = HttpStream::post(&app, accept, &ada.token, CHANGES).await;
        assert_eq!(stream.status(), 200, "{accept}");
        let end = loop {
            match stream.next().await {
                Chunk::Data(chunk) => assert!(!chunk.contains("errors"), "{chunk:?}"),
                end => break end,
            }
        };
        assert_eq!(end, Chunk::Cut, "{accept}");
    }
    other.batch_execute("ROLLBACK").await.unwrap();
    let code =
        r#"todo_api_requests_total{code="SERVICE_UNAVAILABLE",kind="subscription",operation="Changes"}"#;
    wait_for_metric(&app, code, "2").await;
    wait_for_metric(&app, "todo_api_sockets", "0").await;
}

#[tokio::test]
async fn a_stream_ends_when_its_client_disconnects() {
    let app = TestApp::with_test_schema(&[]).await;
    for (count, accept) in ["1", "2"].into_iter().zip(FORMATS) {
        let stream = open(&app, accept, "").await;
        assert_eq!(metric(&app, "todo_api_sockets"), "1");
        assert_eq!(metric(&app, "todo_api_subscriptions"), "1");
        drop(stream);
        wait_for_metric(&app, "todo_api_sockets", "0").await;
        wait_for_metric(&app, "todo_api_subscriptions", "0").await;
        // Counted, and so logged, once.
        assert_eq!(metric(&app, &ended("OK")), count);
    }
}

#[tokio::test]
async fn a_subscription_that_nobody_reads_needs_no_listener() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let mut stream = HttpStream::post(&app, EVENTS, &ada.token, CHANGES).await;
    stream.data().await;
    wait_for_metric(&app, "todo_api_subscriptions", "1").await;
    assert!(app.state.feed.is_active());
    drop(stream);
    timeout(LIMIT, async {
        while app.state.feed.is_active() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the feed is not listened to");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_back_pressure_and_then_cut_off() {
    let app = TestApp::with_test_schema(&["--read-timeout=1s"]).await;
    for accept in FORMATS {
        // Endless: nothing but a blocked write ends it.
        let query = "subscription { count(to: 2147483647) }";
        let stream = HttpStream::post(&app, accept, "", query).await;
        wait_for_metric(&app, "todo_api_sockets", "0").await;
        drop(stream);
    }
}

#[tokio::test]
async fn a_stream_outlives_the_time_limits_of_requests_and_holds_no_permit() {
    let flags = ["--request-timeout=1s", "--read-timeout=1s", "--max-concurrent-requests=1"];
    let app = TestApp::with_test_schema(&flags).await;
    let mut stream = open(&app, MULTIPART, "").await;
    assert_eq!(app.ask("{ hello }", Value::Null).await.data("hello"), "world");
    // After ten seconds.
    assert_eq!(stream.data().await, "\r\ncontent-type: application/json\r\n\r\n{}\r\n--graphql");
}

#[tokio::test]
async fn streams_and_sockets_count_towards_the_same_limits() {
    let app = TestApp::with_test_schema(&["--max-sockets-per-user=2", "--max-sockets=4"]).await;
    let ada = token(&app, Uuid::new_v4(), Duration::from_hours(1));
    let bob = token(&app, Uuid::new_v4(), Duration::from_hours(1));
    let refused = async |token: &str| {
        let mut answer = HttpStream::post(&app, MULTIPART, token, SILENCE).await;
        assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")));
        let body: Value = serde_json::from_str(&answer.body().await).unwrap();
        let extensions = &body["errors"][0]["extensions"];
        assert_eq!(extensions["code"], "SERVICE_UNAVAILABLE");
        extensions["limit"].as_u64().unwrap()
    };
    let stream = open(&app, MULTIPART, &ada).await;
    let _socket = Client::ready(&app, json!({ "token": ada })).await;
    assert_eq!(refused(&ada).await, 2);
    let mut third = Client::open(&app).await;
    third.send(json!({ "type": "connection_init", "payload": { "token": ada } })).await;
    assert_eq!(third.closed().await.0, 1013);
    drop(third);
    wait_for_metric(&app, "todo_api_sockets", "2").await;

    // Half of the permits are reserved for users: an anonymous stream is refused, a user's is not.
    let _nobody = [open(&app, EVENTS, "").await, open(&app, EVENTS, "").await];
    assert_eq!(refused(&bob).await, 4);
    drop(stream);
    wait_for_metric(&app, "todo_api_sockets", "3").await;
    assert_eq!(refused("").await, 4);
    open(&app, EVENTS, &bob).await;
    assert_eq!(metric(&app, &ended("SERVICE_UNAVAILABLE")), "3");
}
