//! Subscriptions over HTTP by their raw bytes: Apollo's multipart protocol, and GraphQL over Server-Sent Events.

use serde_json::{Value, json};

use crate::support::{Chunk, HttpStream, Owner, TestApp};

/// Headers `Accept` of Apollo Client, graphql-sse and EventSource.
const MULTIPART: &str = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9";
const EVENTS: &str = "text/event-stream";
const CHANGES: &str = "subscription { todoChanged { eventId todo { title } } }";
const PART: &str = "\r\ncontent-type: application/json\r\n\r\n";

fn data(text: impl Into<String>) -> Chunk {
    Chunk::Data(text.into())
}

/// Subscribes to the changes after those so far.
async fn subscribe(owner: &Owner<'_>, accept: &str) -> HttpStream {
    let list = owner.ask("{ todos { eventId } }", Value::Null).await;
    let after = &list.data("todos")["eventId"];
    let query = CHANGES.replace("todoChanged", &format!("todoChanged(after: {after})"));
    HttpStream::post(owner.app, accept, &owner.token, &query).await
}

#[tokio::test]
async fn a_part_arrives_with_the_boundary_behind_it_before_the_next_event_is_made() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let mut stream = subscribe(&ada, MULTIPART).await;
    assert_eq!(stream.status(), 200);
    assert_eq!(
        stream.header("content-type"),
        Some(r#"multipart/mixed;boundary="graphql";subscriptionSpec=1.0"#)
    );
    assert_eq!(stream.next().await, data("\r\n--graphql"));
    for title in ["a", "b", "c"] {
        ada.create(title).await;
        let part = stream.data().await;
        let before = format!("{PART}{{\"payload\":{{\"data\":{{\"todoChanged\":{{\"eventId\":\"");
        let after = format!("\"todo\":{{\"title\":\"{title}\"}}}}}}}}}}\r\n--graphql");
        assert!(part.starts_with(&before) && part.ends_with(&after), "{part:?}");
    }
}

#[tokio::test]
async fn an_event_arrives_before_the_next_one_is_made() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let mut stream = subscribe(&ada, EVENTS).await;
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(stream.next().await, data(":\n\n"));
    for title in ["a", "b", "c"] {
        ada.create(title).await;
        let event = stream.data().await;
        let after = format!("\"todo\":{{\"title\":\"{title}\"}}}}}}}}\n\n");
        assert!(
            event.starts_with("event: next\ndata: {\"data\":{\"todoChanged\":{\"eventId\":\""),
            "{event:?}"
        );
        assert!(event.ends_with(&after), "{event:?}");
    }
}

#[tokio::test]
async fn a_subscription_that_ends_completes_the_response() {
    let app = TestApp::with_test_schema(&[]).await;
    let count = "subscription { count(to: 2) }";
    let mut stream = HttpStream::post(&app, MULTIPART, "", count).await;
    for expected in [
        data("\r\n--graphql"),
        data(format!("{PART}{{\"payload\":{{\"data\":{{\"count\":1}}}}}}\r\n--graphql")),
        data(format!("{PART}{{\"payload\":{{\"data\":{{\"count\":2}}}}}}\r\n--graphql")),
        data("--\r\n"),
        Chunk::End,
    ] {
        assert_eq!(stream.next().await, expected);
    }
    let events = [
        data(":\n\n"),
        data("event: next\ndata: {\"data\":{\"count\":1}}\n\n"),
        data("event: next\ndata: {\"data\":{\"count\":2}}\n\n"),
        data("event: complete\ndata:\n\n"),
        Chunk::End,
    ];
    let accept = [format!("Accept: {EVENTS}")];
    let target = "GET /graphql?query=subscription%20%7B%20count(to%3A%202)%20%7D";
    for mut stream in
        [HttpStream::post(&app, EVENTS, "", count).await, HttpStream::send(&app, target, &accept, "").await]
    {
        for expected in &events {
            assert_eq!(stream.next().await, *expected);
        }
    }
}

#[tokio::test]
async fn the_first_response_of_a_stream_has_the_cost_if_the_client_asks_for_it() {
    let app = TestApp::with_test_schema(&["--max-complexity=500"]).await;
    let body = json!({ "query": "subscription { count(to: 2) }" }).to_string();
    for accept in [MULTIPART, EVENTS] {
        for (header, cost) in [("1", json!({ "requested": 1, "limit": 500 })), ("0", Value::Null)] {
            let headers = [
                format!("Accept: {accept}"),
                "Content-Type: application/json".to_owned(),
                format!("X-GraphQL-Cost: {header}"),
            ];
            let mut stream = HttpStream::send(&app, "POST /graphql", &headers, &body).await;
            for (n, cost) in [(1, cost), (2, Value::Null)] {
                let message = stream.json().await;
                let response = message.get("payload").unwrap_or(&message);
                assert_eq!(response["data"]["count"], n, "{accept}");
                assert_eq!(response["extensions"]["cost"], cost, "{accept}");
            }
        }
    }
}

#[tokio::test]
async fn streams_are_not_held_back_by_proxies_or_compression() {
    let app = TestApp::with_test_schema(&[]).await;
    let body = json!({ "query": "subscription { silence }" }).to_string();
    for accept in [MULTIPART, EVENTS] {
        let headers = [
            format!("Accept: {accept}"),
            "Content-Type: application/json".to_owned(),
            "Accept-Encoding: gzip, br".to_owned(),
        ];
        let stream = HttpStream::send(&app, "POST /graphql", &headers, &body).await;
        assert_eq!(stream.header("content-encoding"), None, "{accept}");
        assert_eq!(stream.header("transfer-encoding"), Some("chunked"), "{accept}");
        assert_eq!(stream.header("cache-control"), Some("no-store, no-transform"), "{accept}");
        assert_eq!(stream.header("x-accel-buffering"), Some("no"), "{accept}");
    }
}

#[tokio::test]
async fn queries_and_mutations_are_streamed_only_to_clients_that_do_not_accept_json() {
    let app = TestApp::with_test_schema(&[]).await;
    for (query, result) in [
        ("{ hello }", r#"{"data":{"hello":"world"}}"#),
        ("mutation { add(a: 1, b: 2) }", r#"{"data":{"add":3}}"#),
    ] {
        for accept in
            [MULTIPART, "multipart/mixed;subscriptionSpec=1.0", "application/json, text/event-stream"]
        {
            let mut json = HttpStream::post(&app, accept, "", query).await;
            assert!(json.header("content-type").unwrap().starts_with("application/"), "{accept}");
            assert_eq!((json.status(), json.body().await.as_str()), (200, result), "{accept}");
        }
        let mut events = HttpStream::post(&app, EVENTS, "", query).await;
        assert_eq!(events.header("content-type"), Some("text/event-stream; charset=utf-8"));
        let expected = format!("event: next\ndata: {result}\n\nevent: complete\ndata:\n\n");
        assert_eq!((events.status(), events.body().await), (200, expected));
    }
    let accept = [format!("Accept: {EVENTS}")];
    let mut query = HttpStream::send(&app, "GET /graphql?query=%7Bhello%7D", &accept, "").await;
    assert!(query.body().await.starts_with("event: next\ndata: {\"data\":{\"hello\":\"world\"}}\n\n"));
    let target = "GET /graphql?query=mutation%7Badd(a%3A1%2Cb%3A2)%7D";
    let mut mutation = HttpStream::send(&app, target, &accept, "").await;
    assert_eq!((mutation.status(), mutation.header("allow")), (405, Some("POST")));
    assert!(mutation.body().await.contains("METHOD_NOT_ALLOWED"));
}

#[tokio::test]
async fn an_invalid_request_is_answered_as_json_or_by_an_event() {
    let app = TestApp::with_test_schema(&["--max-depth=2"]).await;
    let invalid = [
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription($to: Int!) { count(to: $to) }", "BAD_USER_INPUT"),
        ("{ items { items { items { id } } } }", "OPERATION_TOO_DEEP"),
    ];
    for (query, code) in invalid {
        for (accept, status) in [
            (MULTIPART, 400),
            ("multipart/mixed;subscriptionSpec=1.0, application/json", 200),
            ("multipart/mixed;subscriptionSpec=1.0", 200),
            ("text/event-stream, application/json", 200),
        ] {
            let mut json = HttpStream::post(&app, accept, "", query).await;
            assert_eq!(json.status(), status, "{query}: {accept}");
            let body: Value = serde_json::from_str(&json.body().await).unwrap();
            assert_eq!(body["errors"][0]["extensions"]["code"], code, "{query}: {accept}");
        }
        // A status other than 200 would hide the error from EventSource, and make graphql-sse retry.
        let mut events = HttpStream::post(&app, EVENTS, "", query).await;
        let body = events.body().await;
        assert_eq!(events.status(), 200, "{query}");
        assert!(body.starts_with("event: next\ndata: {\"errors\":[") && body.contains(code), "{body}");
        assert!(body.ends_with("]}\n\nevent: complete\ndata:\n\n"), "{body}");
    }
    let json = ["Accept: text/event-stream".to_owned()];
    let refused = HttpStream::send(&app, "POST /graphql", &json, "{}").await;
    assert_eq!(refused.status(), 415);
    assert_eq!(refused.header("content-type"), Some("application/json; charset=utf-8"));
}

#[tokio::test]
async fn errors_of_the_field_are_part_of_the_stream() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let unknown = CHANGES.replace("todoChanged", "todoChanged(after: \"0\")");
    for (token, query, code) in [
        ("", CHANGES, "UNAUTHENTICATED"),
        ("bad", CHANGES, "UNAUTHENTICATED"),
        (&ada.token, &unknown, "NOT_FOUND"),
    ] {
        let mut multipart = HttpStream::post(&app, MULTIPART, token, query).await;
        let part = multipart.json().await;
        assert_eq!(part["payload"]["errors"][0]["extensions"]["code"], code, "{part:#}");
        assert_eq!(multipart.next().await, data("--\r\n"));
        assert_eq!(multipart.next().await, Chunk::End);
        let mut events = HttpStream::post(&app, EVENTS, token, query).await;
        assert_eq!(events.json().await["errors"][0]["extensions"]["code"], code);
        assert_eq!(events.next().await, data("event: complete\ndata:\n\n"));
        assert_eq!(events.next().await, Chunk::End);
    }
}

#[tokio::test]
async fn a_panic_ends_the_stream_with_an_error() {
    let app = TestApp::with_test_schema(&[]).await;
    let mut stream = HttpStream::post(&app, MULTIPART, "", "subscription { panic }").await;
    assert_eq!(stream.json().await["payload"]["data"]["panic"], 0);
    let last = stream.data().await;
    assert!(last.contains("INTERNAL_SERVER_ERROR") && last.ends_with("\r\n--graphql--\r\n"), "{last:?}");
    assert_eq!(stream.next().await, Chunk::End);
}

#[tokio::test]
async fn batches_never_stream() {
    let app = TestApp::with_test_schema(&[]).await;
    let batch = json!([{ "query": "subscription { count(to: 1) }" }, { "query": "{ hello }" }]);
    for accept in [MULTIPART, EVENTS] {
        let mut answer = HttpStream::post_json(&app, accept, "", &batch).await;
        let body: Value = serde_json::from_str(&answer.body().await).unwrap();
        assert_eq!(body[0]["errors"][0]["extensions"]["code"], "SUBSCRIPTION_OVER_HTTP", "{accept}");
        assert_eq!(body[1]["data"]["hello"], "world", "{accept}");
    }
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_event() {
    let app = TestApp::start().await;
    let ada = Owner::new(&app, "ada@example.com").await;
    let mut stream = subscribe(&ada, MULTIPART).await;
    ada.create("a").await;
    let event = stream.json().await["payload"]["data"]["todoChanged"]["eventId"].clone();
    drop(stream);
    ada.create("b").await;
    let query = CHANGES.replace("todoChanged", &format!("todoChanged(after: {event})"));
    let mut stream = HttpStream::post(&app, EVENTS, &ada.token, &query).await;
    assert_eq!(stream.json().await["data"]["todoChanged"]["todo"]["title"], "b");
}
