//! GraphQL over WebSocket by the protocol `graphql-transport-ws`.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::support::{Client, HttpStream, PASSWORD, SECRET, TestApp};

#[tokio::test]
async fn queries_mutations_and_subscriptions_are_served() {
    let app = TestApp::with_test_schema(&[]).await;
    let mut client = Client::ready(&app, json!({})).await;
    client.subscribe("q", "{ hello }").await;
    assert_eq!(
        client.receive().await,
        json!({ "id": "q", "type": "next", "payload": { "data": { "hello": "world" } } })
    );
    assert_eq!(client.receive().await, json!({ "id": "q", "type": "complete" }));

    let payload = json!({ "query": "mutation A($a: Int!) { add(a: $a, b: 2) }", "variables": { "a": 1 }, "operationName": "A" });
    client.send(json!({ "id": "m", "type": "subscribe", "payload": payload })).await;
    assert_eq!(client.receive().await["payload"]["data"]["add"], 3);
    assert_eq!(client.receive().await, json!({ "id": "m", "type": "complete" }));

    client.subscribe("s", "subscription { count(to: 100) }").await;
    for n in 1..=100 {
        assert_eq!(
            client.receive().await,
            json!({ "id": "s", "type": "next", "payload": { "data": { "count": n } } })
        );
    }
    assert_eq!(client.receive().await, json!({ "id": "s", "type": "complete" }));
    // The id of a finished operation can be used again.
    client.subscribe("s", "{ hello }").await;
    assert_eq!(client.receive().await["type"], "next");
}

#[tokio::test]
async fn invalid_operations_are_answered_by_an_error_message() {
    let app = TestApp::with_test_schema(&["--max-depth=2"]).await;
    let mut client = Client::ready(&app, Value::Null).await;
    for (query, code) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ items { items { items { id } } } }", "OPERATION_TOO_DEEP"),
    ] {
        client.subscribe("1", query).await;
        let message = client.receive().await;
        assert_eq!(
            (&message["type"], &message["payload"][0]["extensions"]["code"]),
            (&json!("error"), &json!(code))
        );
    }
    client.subscribe("1", "{ hello }").await;
    assert_eq!(client.receive().await["type"], "next");
}

#[tokio::test]
async fn a_panic_ends_only_its_own_operation() {
    let app = TestApp::with_test_schema(&[]).await;
    let mut client = Client::ready(&app, json!({})).await;
    for query in ["{ panic }", "subscription { panic }"] {
        client.subscribe("p", query).await;
        let mut message = client.receive().await;
        if message["type"] == "next" {
            message = client.receive().await;
        }
        assert_eq!(message["payload"][0]["extensions"]["code"], "INTERNAL_SERVER_ERROR", "{message:#}");
    }
    client.subscribe("q", "{ hello }").await;
    assert_eq!(client.receive().await["type"], "next");
}

#[tokio::test]
async fn a_completed_subscription_sends_nothing_more() {
    let app = TestApp::with_test_schema(&[]).await;
    let mut client = Client::ready(&app, json!({})).await;
    client.subscribe("s", "subscription { silence }").await;
    client.send(json!({ "id": "s", "type": "complete" })).await;
    client.subscribe("s", "{ hello }").await;
    assert_eq!(client.receive().await["payload"]["data"]["hello"], "world");
    client.send(json!({ "id": "unknown", "type": "complete" })).await;
    client.send(json!({ "type": "ping", "payload": { "a": 1 } })).await;
    assert_eq!(client.receive().await["type"], "complete");
    assert_eq!(client.receive().await, json!({ "type": "pong" }));
}

#[tokio::test]
async fn an_identifier_can_be_used_again_at_once() {
    let app = TestApp::with_test_schema(&[]).await;
    for n in 0..50 {
        let mut client = Client::ready(&app, json!({})).await;
        client.subscribe("1", "{ hello }").await;
        client.send(json!({ "id": "1", "type": "complete" })).await;
        client.subscribe("1", &format!("mutation {{ add(a: {n}, b: 0) }}")).await;
        // The first operation may have answered before it was completed; the second one always does.
        loop {
            let message = client.receive().await;
            if message["payload"]["data"]["add"] == n {
                break;
            }
        }
        assert_eq!(client.receive().await, json!({ "id": "1", "type": "complete" }));
    }
}

#[tokio::test]
async fn the_close_codes_are_those_of_the_protocol() {
    let app = TestApp::with_test_schema(&[]).await;
    let init = json!({ "type": "connection_init" }).to_string();
    let subscribe =
        json!({ "id": "1", "type": "subscribe", "payload": { "query": "subscription { silence }" } })
            .to_string();
    let no_payload = json!({ "id": "1", "type": "subscribe" }).to_string();
    let no_id = json!({ "type": "subscribe", "payload": { "query": "{ hello }" } }).to_string();
    let empty_id = json!({ "id": "", "type": "subscribe", "payload": { "query": "{ hello }" } }).to_string();
    let odd_payload = json!({ "id": "1", "type": "subscribe", "payload": "{ hello }" }).to_string();
    let odd_query = json!({ "id": "1", "type": "subscribe", "payload": { "query": 5 } }).to_string();
    let long_id = json!({ "id": "x".repeat(129), "type": "complete" }).to_string();
    for (messages, code) in [
        (vec!["nonsense"], 4400),
        (vec!["[]"], 4400),
        (vec!["{}"], 4400),
        (vec!["[\"ping\"]"], 4400),
        (vec!["[\"connection_init\", null, {}]"], 4400),
        (vec![&init, "[\"subscribe\", \"1\", {\"query\": \"{ hello }\"}]"], 4400),
        (vec!["{\"type\": \"unknown\"}"], 4400),
        (vec!["{\"type\": \"connection_init\", \"payload\": 7}"], 4400),
        (vec![&init, &no_payload], 4400),
        (vec![&init, &no_id], 4400),
        (vec![&init, &empty_id], 4400),
        (vec![&init, &odd_payload], 4400),
        (vec![&init, &odd_query], 4400),
        (vec![&init, &long_id], 4400),
        (vec![&subscribe], 4401),
        (vec![&init, &init], 4429),
        (vec![&init, &subscribe, &subscribe], 4409),
    ] {
        let mut client = Client::open(&app).await;
        for message in &messages {
            client.send_text(message).await;
        }
        assert_eq!(client.closed().await.0, code, "{messages:?}");
    }
    let mut client = Client::ready(&app, json!({})).await;
    client.0.send(Message::Binary(vec![1, 2, 3].into())).await.unwrap();
    assert_eq!(client.closed().await.0, 4400);
}

#[tokio::test]
async fn frames_that_violate_the_websocket_protocol_are_answered_by_its_close_codes() {
    let app = TestApp::with_test_schema(&[]).await;
    let frame = |payload: &'static [u8], opcode| Frame::message(payload, opcode, true);
    for (frame, code) in [
        (frame(b"{\"type\":\"\xff\"}", OpCode::Data(Data::Text)), 1007),
        (frame(b"", OpCode::Data(Data::Continue)), 1002),
    ] {
        let mut client = Client::ready(&app, json!({})).await;
        client.0.send(Message::Frame(frame)).await.unwrap();
        assert_eq!(client.closed().await.0, code);
    }
}

#[tokio::test]
async fn other_protocols_are_not_accepted() {
    let app = TestApp::with_test_schema(&[]).await;
    // The client library insists that an offered protocol is chosen, so this offers none.
    let mut client = Client::try_open(&app, &[]).await.unwrap();
    assert_eq!(client.closed().await, (4406, "Subprotocol not acceptable".to_owned()));
}

#[tokio::test]
async fn a_client_that_does_not_initialise_is_disconnected() {
    let app = TestApp::with_test_schema(&[]).await;
    let mut client = Client::open(&app).await;
    assert_eq!(client.closed().await, (4408, "Connection initialisation timeout".to_owned()));
}

#[tokio::test]
async fn the_token_is_read_from_payload_or_header() {
    let app = TestApp::start().await;
    let token = app.register("ada@example.com").await.token();
    let bearer = format!("Bearer {token}");
    for payload in [
        json!({ "Authorization": bearer }),
        json!({ "authorization": bearer }),
        json!({ "token": token }),
        json!({ "token": bearer }),
        json!({ "authToken": token }),
        json!({ "accessToken": bearer }),
        json!({ "headers": { "Authorization": bearer } }),
        json!({ "headers": { "AUTHORIZATION": bearer, "x-retries": 3 } }),
        json!({ "headers": { "Token": token } }),
        json!({ "headers": { "authtoken": token }, "token": "" }),
        json!({ "headers": { "ACCESSTOKEN": token }, "authorization": null }),
        json!({ "token": token, "headers": { "Authorization": "Bearer nonsense" } }),
        json!({ "headers": { "Authorization": "", "authorization": bearer } }),
        json!({ "headers": { "TOKEN": " ", "Token": null, "token": token } }),
    ] {
        let mut client = Client::ready(&app, payload.clone()).await;
        client.subscribe("1", "{ me { name } }").await;
        assert_eq!(client.receive().await["payload"]["data"]["me"]["name"], "Ada Lovelace", "{payload}");
    }
    let headers = [("sec-websocket-protocol", "graphql-transport-ws"), ("authorization", &bearer)];
    let mut client = Client::try_open(&app, &headers).await.unwrap();
    client.send(json!({ "type": "connection_init" })).await;
    client.receive().await;
    client.subscribe("1", "{ me { name } }").await;
    assert_eq!(client.receive().await["payload"]["data"]["me"]["name"], "Ada Lovelace");

    // As Apollo's recipe for sockets sends it before a login; and with a token under another name.
    for (payload, name) in [
        (json!({}), Value::Null),
        (json!({ "authorization": "" }), Value::Null),
        (json!({ "Authorization": " " }), Value::Null),
        (json!({ "token": "" }), Value::Null),
        (json!({ "token": null, "authorization": null, "headers": null }), Value::Null),
        (json!({ "headers": { "Authorization": " " } }), Value::Null),
        (json!({ "headers": { "tenant": "a", "authorization": [bearer] } }), Value::Null),
        (json!({ "authorization": "", "token": token }), json!("Ada Lovelace")),
        (json!({ "Authorization": "", "authorization": bearer }), json!("Ada Lovelace")),
    ] {
        let mut client = Client::ready(&app, payload.clone()).await;
        client.subscribe("1", "{ me { name } }").await;
        let me = client.receive().await["payload"]["data"]["me"].clone();
        assert_eq!(me.get("name").cloned().unwrap_or_default(), name, "{payload}");
    }
    // What the payload says takes precedence over the header.
    let mut client = Client::try_open(&app, &headers).await.unwrap();
    client.send(json!({ "type": "connection_init", "payload": { "authorization": "" } })).await;
    client.receive().await;
    client.subscribe("1", "{ me { name } }").await;
    assert_eq!(client.receive().await["payload"]["data"]["me"], Value::Null);

    for payload in [
        json!({ "authorization": "nonsense" }),
        json!({ "token": "nonsense" }),
        json!({ "token": "a\nb" }),
        json!({ "headers": { "token": "nonsense" } }),
    ] {
        let mut client = Client::open(&app).await;
        client.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(client.closed().await.0, 4403, "{payload}");
    }
}

#[tokio::test]
async fn a_socket_ends_when_its_token_expires() {
    use jsonwebtoken::{EncodingKey, Header, encode};

    let app = TestApp::with_test_schema(&[]).await;
    let now = app.state.clock.now().timestamp();
    let id = "6f3c1d9e-7f0e-4c1e-9d0a-0d6f5d0c7a11";
    let claims = json!({ "sub": id, "sid": id, "iss": "todo-api", "aud": "todo-api", "iat": now, "exp": now + 2, "jti": id });
    let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    let mut client = Client::ready(&app, json!({ "token": token })).await;
    client.subscribe("1", "subscription { silence }").await;
    assert_eq!(client.closed().await.0, 4403);
}

#[tokio::test]
async fn operations_sockets_and_messages_are_bounded() {
    let flags = ["--max-sockets-per-user=2", "--max-sockets=3", "--max-body=1KiB"];
    let app = TestApp::with_test_schema(&flags).await;
    let now = app.state.clock.now();
    let id = uuid::Uuid::new_v4();
    let token =
        app.state.auth.access_tokens().issue(id, id, now, std::time::Duration::from_hours(1)).unwrap().0;
    let payload = json!({ "token": secrecy::ExposeSecret::expose_secret(&token) });

    let mut first = Client::ready(&app, payload.clone()).await;
    for id in 0..=50 {
        first.subscribe(&id.to_string(), "subscription { silence }").await;
    }
    let refused = &first.receive().await["payload"][0]["extensions"];
    assert_eq!((&refused["code"], &refused["limit"]), (&json!("TOO_MANY_OPERATIONS"), &json!(50)));

    let second = Client::ready(&app, payload.clone()).await;
    let mut third = Client::open(&app).await;
    third.send(json!({ "type": "connection_init", "payload": payload })).await;
    assert_eq!(third.closed().await.0, 1013);
    drop(third);

    let _anonymous = Client::ready(&app, json!({})).await;
    let headers = [("sec-websocket-protocol", "graphql-transport-ws")];
    match Client::try_open(&app, &headers).await {
        Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 503),
        other => panic!("{:?}", other.map(|_| ())),
    }
    drop(second);
    // Another socket is accepted once the service has noticed the close.
    let mut again = loop {
        match Client::try_open(&app, &headers).await {
            Ok(client) => break client,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    again.send(json!({ "type": "ping", "payload": { "a": "x".repeat(2000) } })).await;
    assert_eq!(again.closed().await.0, 1009);
}

#[tokio::test]
async fn the_server_pings_and_drops_clients_that_do_not_answer() {
    let app = TestApp::with_test_schema(&["--socket-ping-interval=50ms"]).await;
    let mut client = Client::ready(&app, json!({})).await;
    for _ in 0..3 {
        assert_eq!(client.0.next().await.unwrap().unwrap(), Message::text("{\"type\":\"ping\"}"));
        client.send(json!({ "type": "pong" })).await;
    }
    while let Some(Ok(message)) = client.0.next().await {
        assert_eq!(message, Message::text("{\"type\":\"ping\"}"));
    }
}

#[tokio::test]
async fn a_shutdown_closes_sockets_and_finishes_writes() {
    let app = TestApp::with_test_schema(&[]).await;
    let mut client = Client::ready(&app, json!({})).await;
    client.subscribe("s", "subscription { silence }").await;
    client.subscribe("m", "mutation { slow(milliseconds: 300) }").await;
    client.subscribe("q", "{ hello }").await;
    client.receive().await;
    let began = Instant::now();
    app.ask_to_stop();
    assert_eq!(client.closed().await, (1001, "Going away".to_owned()));
    app.stop().await;
    assert!(began.elapsed() >= std::time::Duration::from_millis(200), "the mutation was not waited for");
}

#[tokio::test]
async fn both_addresses_serve_sockets() {
    let app = TestApp::with_test_schema(&[]).await;
    let own = format!("http://{}", app.address);
    for path in ["/graphql", "/graphql/ws"] {
        let headers = [("sec-websocket-protocol", "graphql-transport-ws"), ("origin", &own)];
        let mut client = Client::try_open_at(&app, path, &headers).await.unwrap();
        client.send(json!({ "type": "connection_init" })).await;
        client.receive().await;
        client.subscribe("1", "{ hello }").await;
        assert_eq!(client.next().await["hello"], "world", "{path}");
    }
    // A request for an upgrade that is not valid is no query.
    let request = app.http.get(app.url("/graphql?query=%7B__typename%7D")).header("upgrade", "websocket");
    assert_eq!(request.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_refused_handshake_names_what_is_supported() {
    let app = TestApp::with_test_schema(&[]).await;
    let handshake = |version: &str| {
        let lines =
            ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];
        [&lines[..], &[&format!("Sec-WebSocket-Version: {version}")]].concat().join("\r\n")
    };
    for (request, version, status, header, value) in [
        ("GET /graphql", "8", 400, "sec-websocket-version", Some("13")),
        ("GET /graphql/ws", "14", 400, "sec-websocket-version", Some("13")),
        ("POST /graphql/ws", "13", 405, "allow", Some("GET")),
        ("DELETE /graphql/ws", "13", 405, "allow", Some("GET")),
        ("HEAD /graphql/ws", "13", 405, "allow", Some("GET")),
        // The upgrade is an offer to a request that has an answer without it.
        ("HEAD /graphql?query=%7Bhello%7D", "13", 200, "upgrade", None),
    ] {
        let answer = HttpStream::send(&app, request, &[handshake(version)], "").await;
        assert_eq!((answer.status(), answer.header(header)), (status, value), "{request}");
    }
}

#[tokio::test]
async fn sockets_of_an_ended_session_are_closed_in_every_process() {
    let one = TestApp::start().await;
    let other = one.beside(&[]).await;
    let token = one.register("ada@example.com").await.token();
    let mut sockets = Vec::new();
    for app in [&one, &other] {
        sockets.push(Client::ready(app, json!({ "token": token })).await);
    }
    let mut stays =
        Client::ready(&one, json!({ "token": one.login("ada@example.com", PASSWORD).await.token() })).await;
    let ended = Instant::now();
    one.ask_as(&token, "mutation { logout { revokedSessionIds } }", Value::Null).await.data("logout");
    for mut socket in sockets {
        assert_eq!(socket.closed().await.0, 4403);
    }
    assert!(ended.elapsed() < Duration::from_secs(2), "{:?}", ended.elapsed());
    stays.subscribe("1", "{ me { email } }").await;
    assert_eq!(stays.receive().await["payload"]["data"]["me"]["email"], "ada@example.com");
}

#[tokio::test]
async fn logins_over_a_socket_are_throttled_like_others() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await.data("register");
    let mut client = Client::ready(&app, json!({})).await;
    let login =
        "mutation { login(input: { email: \"ada@example.com\", password: \"wrong\" }) { accessToken } }";
    let mut codes = Vec::new();
    for id in 0..7 {
        client.subscribe(&id.to_string(), login).await;
        let answer = client.receive().await;
        codes.push(answer["payload"]["errors"][0]["extensions"]["code"].clone());
        client.receive().await;
    }
    assert_eq!(codes.iter().filter(|code| **code == "INVALID_CREDENTIALS").count(), 5, "{codes:?}");
    assert_eq!(app.login("ada@example.com", PASSWORD).await.code(), "RATE_LIMITED");
}
