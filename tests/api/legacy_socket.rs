//! GraphQL over WebSocket by the older protocol `graphql-ws`, of the package subscriptions-transport-ws.

use serde_json::{Value, json};

use crate::support::{Client, TestApp};

const SILENCE: &str = "subscription { silence }";

#[tokio::test]
async fn queries_mutations_and_subscriptions_are_served() {
    let app = TestApp::with_test_schema(&[]).await;
    let mut client = Client::ready_legacy(&app, json!({})).await;
    client.start("q", "{ hello }").await;
    let data = json!({ "id": "q", "type": "data", "payload": { "data": { "hello": "world" } } });
    assert_eq!(client.receive().await, data);
    assert_eq!(client.receive().await, json!({ "id": "q", "type": "complete" }));

    let payload = json!({ "query": "mutation A($a: Int!) { add(a: $a, b: 2) }", "variables": { "a": 1 }, "operationName": "A" });
    client.send(json!({ "id": "m", "type": "start", "payload": payload })).await;
    assert_eq!(client.receive().await["payload"]["data"]["add"], 3);
    assert_eq!(client.receive().await, json!({ "id": "m", "type": "complete" }));

    client.start("s", "subscription { count(to: 100) }").await;
    for n in 1..=100 {
        let data = json!({ "id": "s", "type": "data", "payload": { "data": { "count": n } } });
        assert_eq!(client.receive().await, data);
    }
    assert_eq!(client.receive().await, json!({ "id": "s", "type": "complete" }));
}

#[tokio::test]
async fn an_invalid_operation_is_answered_by_one_error_object() {
    let app = TestApp::with_test_schema(&[]).await;
    let mut client = Client::ready_legacy(&app, Value::Null).await;
    for (query, code) in [("{", "GRAPHQL_PARSE_FAILED"), ("{ nothing nowhere }", "GRAPHQL_VALIDATION_FAILED")]
    {
        client.start("1", query).await;
        let message = client.receive().await;
        assert_eq!((&message["id"], &message["type"]), (&json!("1"), &json!("error")));
        assert!(message["payload"]["message"].is_string(), "{message:#}");
        assert_eq!(message["payload"]["extensions"]["code"], code);
    }
    // Nothing follows an error.
    client.start("2", "{ hello }").await;
    assert_eq!(client.receive().await["id"], "2");
}

#[tokio::test]
async fn a_stopped_subscription_is_completed_and_sends_nothing_more() {
    let app = TestApp::with_test_schema(&[]).await;
    let mut client = Client::ready_legacy(&app, json!({})).await;
    client.start("s", SILENCE).await;
    client.send(json!({ "id": "s", "type": "stop" })).await;
    assert_eq!(client.receive().await, json!({ "id": "s", "type": "complete" }));
    client.send(json!({ "id": "s", "type": "stop" })).await;
    client.send(json!({ "id": "unknown", "type": "stop" })).await;
    client.start("q", "{ hello }").await;
    assert_eq!(client.receive().await["type"], "data");
}

#[tokio::test]
async fn an_operation_replaces_the_one_with_its_identifier() {
    let app = TestApp::with_test_schema(&[]).await;
    let mut client = Client::ready_legacy(&app, json!({})).await;
    for id in 0..50 {
        client.start(&id.to_string(), SILENCE).await;
    }
    client.start("50", "{ hello }").await;
    assert_eq!(client.receive().await["payload"]["extensions"]["code"], "TOO_MANY_OPERATIONS");
    client.start("7", "{ hello }").await;
    assert_eq!(client.receive().await["payload"]["data"]["hello"], "world");
    assert_eq!(client.receive().await, json!({ "id": "7", "type": "complete" }));
}

#[tokio::test]
async fn operations_before_the_initialization_run_with_its_token() {
    let app = TestApp::start().await;
    let token = app.register("ada@example.com").await.token();
    let mut client = Client::open_legacy(&app).await;
    client.start("1", "{ me { name } }").await;
    client.send(json!({ "type": "connection_init", "payload": { "authToken": token } })).await;
    assert_eq!(client.receive().await, json!({ "type": "connection_ack" }));
    assert_eq!(client.receive().await, json!({ "type": "ka" }));
    assert_eq!(client.receive().await["payload"]["data"]["me"]["name"], "Ada Lovelace");
}

#[tokio::test]
async fn operations_before_the_initialization_can_be_stopped() {
    let app = TestApp::with_test_schema(&[]).await;
    let mut client = Client::open_legacy(&app).await;
    client.start("1", SILENCE).await;
    client.send(json!({ "id": "1", "type": "stop" })).await;
    client.send(json!({ "type": "connection_init" })).await;
    assert_eq!(client.receive().await, json!({ "type": "connection_ack" }));
    assert_eq!(client.receive().await, json!({ "type": "ka" }));
    assert_eq!(client.receive().await, json!({ "id": "1", "type": "complete" }));
}

#[tokio::test]
async fn operations_before_the_initialization_are_bounded_in_number_and_size() {
    let app = TestApp::with_test_schema(&["--max-body=4KiB"]).await;
    let large = format!("{{ hello }} #{}", "x".repeat(1500));
    for (query, accepted) in [("{ hello }", 50), (&large, 2)] {
        let mut client = Client::open_legacy(&app).await;
        for id in 0..=accepted {
            client.start(&id.to_string(), query).await;
        }
        let reason = json!({ "message": "Too many messages before connection_init" });
        assert_eq!(client.receive().await["payload"], reason);
        assert_eq!(client.closed().await.0, 4400);
    }
}

#[tokio::test]
async fn a_message_says_why_the_socket_is_closed() {
    let app = TestApp::with_test_schema(&[]).await;
    let init = json!({ "type": "connection_init" }).to_string();
    let bad_token = json!({ "type": "connection_init", "payload": { "token": "nonsense" } }).to_string();
    let subscribe =
        json!({ "id": "1", "type": "subscribe", "payload": { "query": "{ hello }" } }).to_string();
    let no_payload = json!({ "id": "1", "type": "start" }).to_string();
    let no_id = json!({ "type": "start", "payload": { "query": "{ hello }" } }).to_string();
    for (messages, code, reason) in [
        (vec!["nonsense"], 4400, "The message is not a JSON object with a type"),
        (vec!["[\"connection_init\"]"], 4400, "The message is not a JSON object with a type"),
        (vec![&bad_token], 4403, "Forbidden"),
        (vec![&init, &init], 4429, "Too many initialisation requests"),
        (vec![&init, &subscribe], 4400, "The message has an unknown type"),
        (vec![&init, "{\"type\": \"ping\"}"], 4400, "The message has an unknown type"),
        (vec![&init, &no_payload], 4400, "The message must have a payload"),
        (vec![&no_id], 4400, "The message must have an id of 1 to 128 bytes"),
    ] {
        let mut client = Client::open_legacy(&app).await;
        for message in &messages {
            client.send_text(message).await;
        }
        let mut last = client.receive().await;
        while last["type"] != "connection_error" {
            last = client.receive().await;
        }
        assert_eq!(last["payload"], json!({ "message": reason }), "{messages:?}");
        assert_eq!(client.closed().await, (code, reason.to_owned()));
    }
}

#[tokio::test]
async fn a_client_can_terminate_the_connection() {
    let app = TestApp::with_test_schema(&[]).await;
    let mut client = Client::ready_legacy(&app, json!({})).await;
    client.start("s", SILENCE).await;
    client.send(json!({ "type": "connection_terminate", "payload": null })).await;
    assert_eq!(client.closed().await, (1000, String::new()));
}

#[tokio::test]
async fn a_client_that_offers_both_protocols_gets_the_newer_one() {
    let app = TestApp::with_test_schema(&[]).await;
    for path in ["/graphql", "/graphql/ws"] {
        for offer in ["graphql-transport-ws, graphql-ws", "graphql-ws, graphql-transport-ws"] {
            let headers = [("sec-websocket-protocol", offer)];
            let mut client = Client::try_open_at(&app, path, &headers).await.unwrap();
            client.send(json!({ "type": "connection_init" })).await;
            assert_eq!(client.receive().await, json!({ "type": "connection_ack" }));
            client.subscribe("1", "{ hello }").await;
            assert_eq!(client.receive().await["type"], "next", "{path}: {offer}");
        }
    }
}
