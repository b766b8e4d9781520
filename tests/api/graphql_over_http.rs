//! GraphQL over HTTP: methods, media types, status codes, parameters, batches.

use reqwest::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::support::{Answer, Client, TestApp};

const JSON: &str = "application/json";
const RESPONSE: &str = "application/graphql-response+json";

async fn post(app: &TestApp, accept: &str, body: &Value) -> Answer {
    let request = app.http.post(app.url("/graphql")).header(CONTENT_TYPE, JSON).header(ACCEPT, accept);
    Answer::of(request.body(body.to_string())).await
}

async fn get(app: &TestApp, parameters: &[(&str, &str)]) -> Answer {
    Answer::of(app.http.get(app.url("/graphql")).query(parameters).header(ACCEPT, RESPONSE)).await
}

#[tokio::test]
async fn the_status_reflects_errors_under_the_new_media_type_only() {
    let app = TestApp::start().await;
    for (query, code, status) in [
        ("{", "GRAPHQL_PARSE_FAILED", 400),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED", 400),
        ("query A { __typename } query B { __typename }", "OPERATION_RESOLUTION_FAILURE", 400),
        ("query($x: Boolean!) { me @include(if: $x) { id } }", "BAD_USER_INPUT", 400),
        ("mutation { login(input: { email: \"\", password: \"\" }) { accessToken } }", "BAD_USER_INPUT", 200),
    ] {
        let body = json!({ "query": query });
        let answer = post(&app, RESPONSE, &body).await;
        assert_eq!((answer.code(), answer.status), (code, status), "{query}");
        assert_eq!(answer.body.get("data").is_some(), status == 200, "{query}");
        let answer = post(&app, JSON, &body).await;
        assert_eq!((answer.code(), answer.status), (code, 200), "{query}");
    }
}

#[tokio::test]
async fn the_media_type_with_the_highest_quality_is_chosen() {
    let app = TestApp::start().await;
    let body = json!({ "query": "{ __typename }" });
    for (accept, expected) in [
        (JSON, JSON),
        ("*/*", JSON),
        (RESPONSE, RESPONSE),
        ("application/graphql-response+json,application/json;q=0.9", RESPONSE),
    ] {
        let answer = post(&app, accept, &body).await;
        assert_eq!(answer.headers[CONTENT_TYPE], format!("{expected}; charset=utf-8"));
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    let answer = post(&app, "text/html", &body).await;
    assert_eq!((answer.status, answer.code()), (406, "NOT_ACCEPTABLE"));
}

#[tokio::test]
async fn queries_are_served_over_get_and_mutations_are_not() {
    let app = TestApp::start().await;
    let query =
        "query A($x: Boolean!) { me @include(if: $x) { id } a: __typename } query B { b: __typename }";
    let answer = get(&app, &[("query", query), ("operationName", "A"), ("variables", "{\"x\":true}")]).await;
    assert_eq!(answer.body, json!({ "data": { "me": null, "a": "Query" } }));
    let answer = get(&app, &[("query", query), ("operationName", "B")]).await;
    assert_eq!(answer.body, json!({ "data": { "b": "Query" } }));

    let mutation = "mutation { login(input: { email: \"a@example.com\", password: \"b\" }) { accessToken } }";
    let answer = get(&app, &[("query", mutation)]).await;
    assert_eq!((answer.status, answer.code()), (405, "METHOD_NOT_ALLOWED"));
    assert_eq!(answer.headers[ALLOW], "POST");
    // In a document with both, the selected operation counts.
    let both = format!("query Q {{ __typename }} {}", mutation.replace("mutation", "mutation M"));
    assert_eq!(get(&app, &[("query", &both), ("operationName", "Q")]).await.data("__typename"), "Query");
    assert_eq!(get(&app, &[("query", &both), ("operationName", "M")]).await.status, 405);
}

#[tokio::test]
async fn wrong_parameters_are_bad_requests() {
    let app = TestApp::start().await;
    for (name, values) in [
        ("query", vec![json!({}), json!(0), json!(false), json!([]), Value::Null]),
        ("operationName", vec![json!({}), json!(0), json!(false), json!([])]),
        ("variables", vec![json!("x"), json!(0), json!(false), json!([])]),
        ("extensions", vec![json!("x"), json!(0), json!(false), json!([])]),
    ] {
        for value in values {
            let mut body = json!({ "query": "{ __typename }" });
            body[name] = value.clone();
            for accept in [JSON, RESPONSE] {
                let answer = post(&app, accept, &body).await;
                assert_eq!((answer.status, answer.code()), (400, "BAD_REQUEST"), "{name}: {value}");
            }
        }
    }
    for parameters in [
        &[][..],
        &[("query", "{ __typename }"), ("query", "{ __typename }")],
        &[("query", "{ __typename }"), ("variables", "nonsense")],
        &[("query", "{ __typename }"), ("extensions", "[]")],
    ] {
        assert_eq!(get(&app, parameters).await.status, 400, "{parameters:?}");
    }
}

#[tokio::test]
async fn null_parameters_count_as_absent() {
    let app = TestApp::start().await;
    let body =
        json!({ "query": "{ __typename }", "operationName": null, "variables": null, "extensions": null });
    assert_eq!(post(&app, RESPONSE, &body).await.data("__typename"), "Query");
    let empty = json!({ "query": "query A { __typename }", "operationName": "" });
    assert_eq!(post(&app, RESPONSE, &empty).await.data("__typename"), "Query");
}

#[tokio::test]
async fn only_utf8_is_accepted() {
    let app = TestApp::start().await;
    let request = |kind: &str| app.http.post(app.url("/graphql")).header(CONTENT_TYPE, kind);
    let latin1 = b"{\"query\": \"{ a: __typename } # \xe9\"}".to_vec();
    assert_eq!(Answer::of(request(JSON).body(latin1)).await.status, 400);
    let emoji = json!({ "query": "{ __typename } # ✓" }).to_string();
    for charset in ["utf-8", "UTF-8", "utf8", "UTF8", "Utf8", "\"utf-8\"", "\"UTF8\"", " utf8 "] {
        for separator in ["; charset=", ";charset=", ";CHARSET="] {
            let kind = format!("application/json{separator}{charset}");
            assert_eq!(Answer::of(request(&kind).body(emoji.clone())).await.status, 200, "{kind}");
        }
    }
    let quoted = r#"application/json; profile="a;charset=utf-16"; charset=utf-8"#;
    assert_eq!(Answer::of(request(quoted).body(emoji.clone())).await.status, 200);
    for charset in ["utf-16", "utf16", "iso-8859-1", "latin1", "us-ascii", "utf-8-sig", "utf", "'utf-8'", ""]
    {
        let kind = format!("application/json; charset={charset}");
        let answer = Answer::of(request(&kind).body(emoji.clone())).await;
        assert_eq!((answer.status, answer.code()), (415, "UNSUPPORTED_MEDIA_TYPE"), "{kind}");
    }
    assert_eq!(Answer::of(app.http.post(app.url("/graphql")).body("{}")).await.status, 415);
    for (encoding, status) in [("identity", 200), ("Identity", 200), ("gzip", 415), ("", 415)] {
        let encoded = request(JSON).header("Content-Encoding", encoding).body(emoji.clone());
        assert_eq!(Answer::of(encoded).await.status, status, "{encoding}");
    }
}

#[tokio::test]
async fn lines_of_content_encoding_are_one_list() {
    let app = TestApp::start().await;
    for (lines, status) in [
        (&["identity", "gzip"][..], 415),
        (&["identity, gzip"], 415),
        (&["gzip", "identity"], 415),
        (&["identity", "identity"], 200),
        (&["identity, Identity"], 200),
    ] {
        let request = app.http.post(app.url("/graphql")).json(&json!({ "query": "{ __typename }" }));
        let request = lines.iter().fold(request, |request, line| request.header("Content-Encoding", *line));
        assert_eq!(Answer::of(request).await.status, status, "{lines:?}");
    }
}

#[tokio::test]
async fn a_batch_is_answered_in_order_up_to_its_limit() {
    let app = TestApp::start().await;
    let batch = json!([{ "query": "{ a: __typename }" }, { "query": "{" }, ["query"], { "query": "{ b: __typename }" }]);
    let answer = post(&app, JSON, &batch).await;
    assert_eq!(answer.status, 200);
    let codes: Vec<_> =
        answer.body.as_array().unwrap().iter().map(|one| &one["errors"][0]["extensions"]["code"]).collect();
    assert_eq!(codes, [&Value::Null, &json!("GRAPHQL_PARSE_FAILED"), &json!("BAD_REQUEST"), &Value::Null]);
    assert_eq!(answer.body[3], json!({ "data": { "b": "Query" } }));

    let eleven = Value::Array(vec![json!({ "query": "{ __typename }" }); 11]);
    let answer = post(&app, JSON, &eleven).await;
    assert_eq!((answer.code(), &answer.error()["extensions"]["limit"]), ("BATCH_TOO_LARGE", &json!(10)));
    assert_eq!(post(&app, JSON, &json!([])).await.code(), "BAD_REQUEST");
}

#[tokio::test]
async fn an_operation_whose_fields_are_all_skipped_returns_no_fields_and_no_error() {
    let app = TestApp::start().await;
    let body =
        json!({ "query": "query($x: Boolean!) { me @skip(if: $x) { id } }", "variables": { "x": true } });
    assert_eq!(post(&app, RESPONSE, &body).await.body, json!({ "data": {} }));
}

#[tokio::test]
async fn typename_follows_the_rules_of_other_fields() {
    let app = TestApp::start().await;
    for (query, expected) in [
        ("query($x: Boolean!) { me { id } __typename @skip(if: $x) }", json!({ "me": null })),
        (
            "query($x: Boolean!) { me { id } t: __typename @include(if: $x) }",
            json!({ "me": null, "t": "Query" }),
        ),
    ] {
        let answer = app.ask(query, json!({ "x": true })).await;
        assert_eq!(answer.body, json!({ "data": expected }), "{query}");
    }
    for query in [
        "{ __typename @unknown }",
        "{ __typename @skip }",
        "{ __typename @include(if: $x) }",
        "{ __typename { id } }",
        "{ __typename(a: 1) }",
    ] {
        assert_eq!(app.ask(query, Value::Null).await.code(), "GRAPHQL_VALIDATION_FAILED", "{query}");
    }
}

#[tokio::test]
async fn subscriptions_are_served_only_to_clients_that_name_a_format() {
    let app = TestApp::start().await;
    let answer = post(&app, RESPONSE, &json!({ "query": "subscription { nothing }" })).await;
    assert_eq!((answer.status, answer.code()), (400, "SUBSCRIPTION_OVER_HTTP"));
}

#[tokio::test]
async fn long_responses_are_compressed_and_all_carry_security_headers() {
    let app = TestApp::start().await;
    let body = json!({ "query": "{ __schema { types { name description fields { name description } } } }" });
    let request = app.http.post(app.url("/graphql")).json(&body).header("accept-encoding", "br, gzip");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "br");
    for path in ["/graphql", "/health/live", "/graphiql", "/nowhere"] {
        let headers = app.http.get(app.url(path)).send().await.unwrap().headers().clone();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
    }
}

#[tokio::test]
async fn a_client_that_accepts_no_content_coding_is_answered_as_one_that_names_none() {
    let app = TestApp::start().await;
    let body = json!({ "query": "{ __schema { types { name description } } }" });
    let ask = async |path: &str, encoding: Option<&str>| {
        let request = app.http.post(app.url(path)).json(&body).header("x-request-id", "same");
        let request = encoding.into_iter().fold(request, |request, it| request.header("accept-encoding", it));
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let mut headers = answer.headers().clone();
        headers.remove("date");
        (status, headers, answer.bytes().await.unwrap())
    };
    for path in ["/graphql", "/nowhere", "/health/live"] {
        let expected = ask(path, None).await;
        for encoding in ["*;q=0", "identity;q=0", "zstd, identity;q=0", "gzip;q=0, br;q=0, *;q=0"] {
            assert_eq!(ask(path, Some(encoding)).await, expected, "{path}: {encoding}");
        }
    }
    let headers = [("sec-websocket-protocol", "graphql-transport-ws"), ("accept-encoding", "*;q=0")];
    Client::try_open(&app, &headers).await.unwrap();
}

#[tokio::test]
async fn head_names_no_length_that_get_does_not_have() {
    let app = TestApp::start().await;
    for path in ["/graphiql/main.js", "/health/live"] {
        let url = app.url(path);
        let length = |response: reqwest::Response| response.headers().get("content-length").cloned();
        let plain = length(app.http.get(&url).send().await.unwrap());
        assert_eq!(length(app.http.head(&url).send().await.unwrap()), plain, "{path}");
        let head = app.http.head(&url).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!((head.status().as_u16(), length(head)), (200, None), "{path}");
    }
}

#[tokio::test]
async fn production_has_no_introspection_unless_enabled() {
    let app = TestApp::with(&["--app-env=production"]).await;
    for query in ["{ __schema { types { name } } }", "{ ... { __type(name: \"User\") { name } } }"] {
        assert_eq!(app.ask(query, Value::Null).await.code(), "INTROSPECTION_DISABLED", "{query}");
    }
    assert_eq!(app.ask("{ __typename }", Value::Null).await.data("__typename"), "Query");
    let misspelt = app.ask("{ me { emai } }", Value::Null).await;
    assert!(!misspelt.body.to_string().contains("mean"), "{:#}", misspelt.body);
    assert_eq!(app.http.get(app.url("/graphiql")).send().await.unwrap().status(), 404);

    let app = TestApp::with(&["--app-env=production", "--introspection=on", "--graphiql=on"]).await;
    app.ask("{ __schema { types { name } } }", Value::Null).await.data("__schema");
    assert!(app.ask("{ me { emai } }", Value::Null).await.body.to_string().contains("mean"));
    assert_eq!(app.http.get(app.url("/graphiql")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn errors_of_variables_list_the_values_of_an_enum_only_with_introspection() {
    let query = "query($o: TodoOrder) { todos(orderBy: $o) { totalCount } }";
    for (introspection, message) in [
        ("on", "Choose one of CREATED_AT, DUE_AT, PRIORITY, TITLE, UPDATED_AT."),
        ("off", "Choose one of the values of TodoOrderField."),
    ] {
        let app = TestApp::with(&[&format!("--introspection={introspection}")]).await;
        let answer = app.ask(query, json!({ "o": { "field": "x" } })).await;
        assert_eq!(answer.error()["extensions"]["fields"][0]["message"], message);
    }
}

#[tokio::test]
async fn a_variable_that_is_missing_or_of_the_wrong_type_is_bad_user_input() {
    let app = TestApp::start().await;
    let query = "query($id: ID!, $first: Int) { node(id: $id) { id } todos(first: $first) { totalCount } }";
    for variables in [
        json!({ "first": 1 }),
        json!({ "id": null }),
        json!({ "id": true }),
        json!({ "id": "x", "first": "1" }),
        json!({ "id": "x", "first": [1] }),
    ] {
        for (accept, status) in [(JSON, 200), (RESPONSE, 400)] {
            let answer = post(&app, accept, &json!({ "query": query, "variables": variables })).await;
            assert_eq!((answer.status, answer.code()), (status, "BAD_USER_INPUT"), "{variables}");
        }
    }
}
