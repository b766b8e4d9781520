//! Pages of other origins: CORS, sockets, the cookie of browser mode, and the log of refused ones.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite;

use crate::support::{Answer, Client, SECRET, Service, TestApp, TestDatabase};

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_HEADERS: &str = "access-control-allow-headers";
const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";
const ALLOW_PRIVATE_NETWORK: &str = "access-control-allow-private-network";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

/// Asks as browsers do before a POST with these headers.
async fn preflight(app: &TestApp, origin: &str, requested: &str) -> Response {
    let with = headers(&[
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", requested),
        ("access-control-request-private-network", "true"),
    ]);
    app.http.request(Method::OPTIONS, app.url("/graphql")).headers(with).send().await.unwrap()
}

/// Sends a request from a page; returns the origin that may read the response.
async fn readable_by(app: &TestApp, origin: &str) -> Option<HeaderValue> {
    let request = app.http.get(app.url("/health/live")).header("origin", origin);
    request.send().await.unwrap().headers().get(ALLOW_ORIGIN).cloned()
}

async fn opens_socket(app: &TestApp, origin: &str) -> bool {
    let with = [("sec-websocket-protocol", "graphql-transport-ws"), ("origin", origin)];
    match Client::try_open_at(app, "/graphql", &with).await {
        Ok(_) => true,
        Err(tungstenite::Error::Http(response)) => {
            assert_eq!(response.status(), 403, "{origin}");
            false
        }
        Err(other) => panic!("{origin}: {other:?}"),
    }
}

#[tokio::test]
async fn only_configured_origins_may_call_from_a_page() {
    let origins = "--cors-allowed-origins=HTTPS://App.Example.com:443/, http://B\u{fc}cher.example:80,\
        http://localhost:3000/,electron://altair,capacitor://localhost,chrome-extension://abc,null";
    let app = TestApp::with_test_schema(&[origins]).await;
    for origin in [
        "https://app.example.com",
        "http://xn--bcher-kva.example",
        "http://localhost:3000",
        "electron://altair",
        "capacitor://localhost",
        "chrome-extension://abc",
        "null",
    ] {
        let answer = preflight(&app, origin, "content-type").await;
        assert_eq!(answer.headers()[ALLOW_ORIGIN], origin);
        assert_eq!(readable_by(&app, origin).await.unwrap(), origin);
        assert!(opens_socket(&app, origin).await, "{origin}");
    }
    for origin in [
        "https://evil.example",
        "http://app.example.com",
        "http://localhost:3001",
        "https://studio.apollographql.com",
        "electron://other",
        "capacitor://localhost:1",
    ] {
        let answer = preflight(&app, origin, "content-type").await;
        for name in [ALLOW_ORIGIN, ALLOW_CREDENTIALS, ALLOW_PRIVATE_NETWORK] {
            assert!(!answer.headers().contains_key(name), "{origin}: {answer:?}");
        }
        assert_eq!(readable_by(&app, origin).await, None, "{origin}");
        assert!(!opens_socket(&app, origin).await, "{origin}");
    }
    let app = TestApp::with_test_schema(&["--cors-allowed-origins=*"]).await;
    assert_eq!(readable_by(&app, "https://evil.example").await.unwrap(), "https://evil.example");
    assert!(opens_socket(&app, "https://evil.example").await);
}

#[tokio::test]
async fn an_allowed_page_of_the_same_host_by_another_scheme_may_read_responses() {
    for (setting, is_allowed) in
        [("http://api.example.com", true), ("*", true), ("https://app.example.com", false)]
    {
        let app = TestApp::with_test_schema(&[&format!("--cors-allowed-origins={setting}")]).await;
        // TLS ends in a proxy, so that the service can't tell this page from one of its own.
        let with = headers(&[("host", "api.example.com"), ("origin", "http://api.example.com")]);
        let request = app.http.get(app.url("/health/live")).headers(with);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers().contains_key(ALLOW_ORIGIN), is_allowed, "{setting}");
    }
}

#[tokio::test]
async fn allowed_origins_may_send_the_headers_that_they_request() {
    let app = TestApp::with_test_schema(&["--cors-allowed-origins=https://app.example.com"]).await;
    let requested = "authorization,content-type,tenant,x-apollo-tracing";
    let answer = preflight(&app, "https://app.example.com", requested).await;
    assert_eq!(answer.headers()[ALLOW_HEADERS], requested);
    assert_eq!(answer.headers()["access-control-allow-methods"], "GET,POST");
    assert_eq!(answer.headers()["access-control-max-age"], "3600");
    let vary = answer.headers()["vary"].to_str().unwrap();
    for name in ["origin", "accept", "access-control-request-headers"] {
        assert!(vary.split(", ").any(|varied| varied == name), "{name}: {vary}");
    }
}

#[tokio::test]
async fn in_development_the_own_machine_and_two_tools_may_call_without_cookies() {
    let flags = ["--refresh-token-cookie=on"];
    let development = TestApp::with(&flags).await;
    let production = development.beside(&[flags[0], "--app-env=production"]).await;
    let register = "mutation { register(input: { email: \"ada@example.com\", name: \"Ada\",
        password: \"correct horse battery staple\" }) { accessToken } }";
    let registered = development.ask(register, Value::Null).await;
    let held = registered.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let refresh = async |app: &TestApp, origin: &str| {
        let with = headers(&[("origin", origin), ("cookie", &held)]);
        app.ask_with(with, "mutation { refreshSession { accessToken } }", Value::Null).await
    };
    for origin in [
        "http://localhost:5173",
        "https://localhost",
        "http://127.0.0.1:1",
        "http://[::1]:3000",
        "https://studio.apollographql.com",
        "electron://altair",
    ] {
        let answer = preflight(&development, origin, "content-type").await;
        assert_eq!(answer.headers()[ALLOW_ORIGIN], origin);
        assert_eq!(answer.headers()[ALLOW_PRIVATE_NETWORK], "true");
        assert!(!answer.headers().contains_key(ALLOW_CREDENTIALS), "{origin}");
        assert!(opens_socket(&development, origin).await, "{origin}");
        assert_eq!(refresh(&development, origin).await.code(), "FORBIDDEN", "{origin}");

        assert_eq!(readable_by(&production, origin).await, None, "{origin}");
        assert!(!opens_socket(&production, origin).await, "{origin}");
    }
    for origin in ["https://evil.example", "null", "http://localhost.evil.example", ""] {
        let answer = preflight(&development, origin, "content-type").await;
        assert!(!answer.headers().contains_key(ALLOW_PRIVATE_NETWORK), "{origin}");
        assert_eq!(readable_by(&development, origin).await, None, "{origin}");
        assert!(!opens_socket(&development, origin).await, "{origin}");
        assert_eq!(refresh(&development, origin).await.code(), "FORBIDDEN", "{origin}");
    }
    refresh(&development, &format!("http://{}", development.address)).await.data("refreshSession");
}

#[tokio::test]
async fn only_origins_named_in_the_setting_get_cookies() {
    let origins = "--cors-allowed-origins=null,https://app.example.com";
    let app = TestApp::with(&["--refresh-token-cookie=on", origins]).await;
    let login = "mutation { login(input: { email: \"a@example.com\", password: \"x\" }) { accessToken } }";
    for (origin, trusted) in [("https://app.example.com", true), ("null", false)] {
        let answer = preflight(&app, origin, "content-type").await;
        assert_eq!(answer.headers().contains_key(ALLOW_CREDENTIALS), trusted, "{origin}");
        let answer = app.ask_with(headers(&[("origin", origin)]), login, Value::Null).await;
        assert_eq!(answer.code(), if trusted { "INVALID_CREDENTIALS" } else { "FORBIDDEN" }, "{origin}");
    }
}

#[tokio::test]
async fn a_refused_origin_is_logged_once_with_the_setting_that_allows_it() {
    let database = TestDatabase::new().await;
    let mut command = Service::command();
    command.env("DATABASE_URL", &database.url).env("JWT_SECRET", SECRET).env("LOG_FORMAT", "json");
    let mut service = Service::start_command(command.env("CORS_ALLOWED_ORIGINS", "https://app.example.com"));
    let http = reqwest::Client::new();
    let own = format!("http://{}", service.address);
    for origin in [
        "https://evil.example",
        "https://evil.example",
        "electron://altair",
        "https://app.example.com",
        &own,
        // These are not from browsers, and have no place in a log.
        "*",
        "https://evil.example/path",
        "\"quoted\" CORS_ALLOWED_ORIGINS=*",
        &format!("https://{}.example", "x".repeat(300)),
    ] {
        let body = json!({ "query": "{ __typename }" });
        let request = http.post(format!("{own}/graphql")).header("origin", origin).json(&body);
        Answer::of(request).await.data("__typename");
    }
    service.signal("TERM");
    let (_, lines) = service.wait();
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let refused: Vec<_> = lines.iter().filter(|line| line.to_string().contains("origin refused")).collect();
    assert_eq!(refused.len(), 2, "{refused:#?}");
    for (line, origin) in refused.iter().zip(["https://evil.example", "electron://altair"]) {
        let text = line.to_string();
        let setting = format!("set CORS_ALLOWED_ORIGINS=https://app.example.com,{origin}\"");
        assert!(text.contains(&setting) && text.contains("WARN"), "{text}");
    }
}
