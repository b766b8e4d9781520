//! Browser mode: the refresh token travels in a cookie.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::support::{Answer, TestApp};

const ON: &str = "--refresh-token-cookie=on";
const REGISTER: &str = "mutation { register(input: { email: \"ada@example.com\", name: \"Ada\",
    password: \"correct horse battery staple\" }) { accessToken refreshToken } }";
const REFRESH: &str = "mutation { refreshSession { accessToken refreshToken } }";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

fn cookie(answer: &Answer) -> String {
    answer.headers["set-cookie"].to_str().unwrap().to_owned()
}

fn pair(answer: &Answer) -> String {
    cookie(answer).split(';').next().unwrap().to_owned()
}

async fn registered(app: &TestApp) -> Answer {
    app.ask_with(headers(&[("apollo-require-preflight", "true")]), REGISTER, Value::Null).await
}

#[tokio::test]
async fn the_refresh_token_travels_in_a_cookie_and_not_in_the_answer() {
    let app = TestApp::with(&[ON]).await;
    let registered = registered(&app).await;
    assert_eq!(registered.data("register")["refreshToken"], "");
    let set = cookie(&registered);
    assert!(set.starts_with("__Host-todo-refresh-token=todo_rt_"), "{set}");
    for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(set.split("; ").any(|part| part == attribute), "{attribute}: {set}");
    }
    assert!(!set.contains("Domain"));
    // 30 days, less the time that has passed.
    assert!(set.contains("Max-Age=25919") || set.contains("Max-Age=2592000"), "{set}");

    let held = pair(&registered);
    let with = headers(&[("apollo-require-preflight", "true"), ("cookie", &format!("a=b; {held}"))]);
    let refreshed = app.ask_with(with.clone(), REFRESH, Value::Null).await;
    app.me(&refreshed.token()).await.data("me");
    assert_ne!(pair(&refreshed), held);

    let with = headers(&[("apollo-require-preflight", "true"), ("cookie", &pair(&refreshed))]);
    let ended = app.ask_with(with, "mutation { logout { revokedSessionIds } }", Value::Null).await;
    assert_eq!(ended.data("logout")["revokedSessionIds"].as_array().unwrap().len(), 1);
    assert!(cookie(&ended).contains("Max-Age=0") && pair(&ended).ends_with('='));
    assert_eq!(app.me(&refreshed.token()).await.error()["extensions"]["reason"], "REVOKED");
}

#[tokio::test]
async fn the_cookie_is_ignored_without_the_header_or_from_another_origin() {
    let app = TestApp::with(&[ON, "--cors-allowed-origins=https://app.example.com"]).await;
    let held = pair(&registered(&app).await);
    let host = app.address.to_string();
    let same = format!("http://{host}");
    let header = ("apollo-require-preflight", "true");
    for (extra, allowed) in [
        (vec![], false),
        (vec![("origin", same.as_str())], false),
        (vec![header, ("origin", "https://evil.example")], false),
        (vec![header, ("origin", "null")], false),
        (vec![("apollo-require-preflight", "")], false),
        (vec![header, ("origin", &same)], true),
        (vec![header, ("origin", "https://app.example.com")], true),
        (vec![("x-apollo-operation-name", "Refresh")], true),
    ] {
        let with = [extra.clone(), vec![("cookie", held.as_str())]].concat();
        let answer = app.ask_with(headers(&with), REFRESH, Value::Null).await;
        if allowed {
            answer.data("refreshSession");
        } else {
            assert_eq!(answer.code(), "FORBIDDEN", "{extra:?}");
            assert!(!answer.headers.contains_key("set-cookie"));
        }
        let body = "query=mutation%7BrefreshSession%7BaccessToken%7D%7D";
        let form = app.http.post(app.url("/graphql")).headers(headers(&with)).body(body);
        let form = form.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
        assert_eq!(form.status(), 415);
    }
    // Another site can't log a user out, either.
    let with = headers(&[("cookie", &held)]);
    let logout = app.ask_with(with, "mutation { logout { revokedSessionIds } }", Value::Null).await;
    assert_eq!(logout.code(), "FORBIDDEN");
    assert_eq!(app.ask(REGISTER, Value::Null).await.code(), "FORBIDDEN");
}

#[tokio::test]
async fn an_invalid_cookie_is_cleared() {
    let app = TestApp::with(&[ON]).await;
    let header = ("apollo-require-preflight", "true");
    let missing = app.ask_with(headers(&[header]), REFRESH, Value::Null).await;
    assert_eq!(missing.error()["extensions"]["reason"], "MISSING");
    let with = headers(&[header, ("cookie", "__Host-todo-refresh-token=nonsense")]);
    let refused = app.ask_with(with, REFRESH, Value::Null).await;
    assert_eq!(refused.error()["extensions"]["reason"], "MALFORMED");
    assert!(cookie(&refused).contains("Max-Age=0"));
}

#[tokio::test]
async fn without_browser_mode_cookies_are_neither_set_nor_read() {
    let app = TestApp::start().await;
    let registered = registered(&app).await;
    assert!(!registered.headers.contains_key("set-cookie"));
    let token = registered.data("register")["refreshToken"].as_str().unwrap().to_owned();
    let held = format!("__Host-todo-refresh-token={token}");
    let with = headers(&[("apollo-require-preflight", "true"), ("cookie", &held)]);
    let answer = app.ask_with(with, REFRESH, Value::Null).await;
    assert_eq!(answer.error()["extensions"]["reason"], "MISSING");
}

#[tokio::test]
async fn other_clients_refresh_by_input_in_browser_mode_too() {
    let app = TestApp::with(&[ON]).await;
    let held = pair(&registered(&app).await);
    let token = held.split_once('=').unwrap().1;
    let query = "mutation R($t: String!) { refreshSession(input: { refreshToken: $t }) { refreshToken } }";
    let answer = app.ask(query, json!({ "t": token })).await;
    assert!(answer.data("refreshSession")["refreshToken"].as_str().unwrap().starts_with("todo_rt_"));
    assert!(!answer.headers.contains_key("set-cookie"));
}
