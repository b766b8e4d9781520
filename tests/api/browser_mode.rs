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
    app.ask(REGISTER, Value::Null).await
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
async fn a_post_of_json_counts_as_preflighted_and_no_form_does() {
    let app = TestApp::with(&[ON]).await;
    let held = pair(&registered(&app).await);
    let body = json!({ "query": REFRESH }).to_string();
    for (kind, accepted) in [
        ("application/json", true),
        ("application/json; charset=utf8", true),
        // Browsers judge by the type without its parameters.
        ("application/json; x=text/plain", true),
        ("application/graphql-response+json", true),
        ("text/plain", false),
        ("text/plain; application/json", false),
        ("text/plain; x=application/json", false),
        ("text/plain, application/json", false),
        ("application/x-www-form-urlencoded", false),
        ("multipart/form-data; boundary=application/json", false),
        ("", false),
    ] {
        for extra in [None, Some(("apollo-require-preflight", "true"))] {
            let with = headers(&[("cookie", held.as_str())].into_iter().chain(extra).collect::<Vec<_>>());
            let request = app.http.post(app.url("/graphql")).headers(with).body(body.clone());
            let request = if kind.is_empty() { request } else { request.header("content-type", kind) };
            let answer = Answer::of(request).await;
            if accepted {
                answer.data("refreshSession");
            } else {
                assert_eq!((answer.status, answer.code()), (415, "UNSUPPORTED_MEDIA_TYPE"), "{kind}");
                assert!(!answer.headers.contains_key("set-cookie"));
            }
        }
    }
    // Links carry the cookie, but can't ask for a mutation.
    let link = app.url("/graphql?query=mutation%7BrefreshSession%7BaccessToken%7D%7D");
    let answer = Answer::of(app.http.get(link).header("cookie", &held)).await;
    assert_eq!((answer.status, answer.code()), (405, "METHOD_NOT_ALLOWED"));
}

#[tokio::test]
async fn the_cookie_is_ignored_from_another_origin() {
    let app = TestApp::with(&[ON, "--cors-allowed-origins=HTTPS://App.example.com:443/"]).await;
    let held = pair(&registered(&app).await);
    let host = app.address.to_string();
    let same = format!("http://{host}");
    let header = ("apollo-require-preflight", "true");
    for (extra, allowed) in [
        (vec![], true),
        (vec![("origin", same.as_str())], true),
        (vec![("origin", "https://app.example.com")], true),
        (vec![("sec-fetch-site", "same-site"), ("origin", "https://app.example.com")], true),
        (vec![("origin", "https://evil.example")], false),
        (vec![header, ("origin", "https://evil.example")], false),
        (vec![header, ("origin", "https://evil.app.example.com")], false),
        (vec![header, ("origin", "http://app.example.com")], false),
        (vec![header, ("origin", "https://app.example.com:8443")], false),
        (vec![header, ("origin", "null")], false),
        (vec![("x-apollo-operation-name", "Refresh"), ("origin", "http://127.0.0.1:1")], false),
    ] {
        let with = [extra.clone(), vec![("cookie", held.as_str())]].concat();
        let answer = app.ask_with(headers(&with), REFRESH, Value::Null).await;
        if allowed {
            answer.data("refreshSession");
        } else {
            assert_eq!(answer.code(), "FORBIDDEN", "{extra:?}");
            assert!(!answer.headers.contains_key("set-cookie"));
        }
    }
    // A page of another origin can't log a user out or in, either.
    let evil = ("origin", "https://evil.example");
    let with = headers(&[evil, ("cookie", &held)]);
    let logout = app.ask_with(with, "mutation { logout { revokedSessionIds } }", Value::Null).await;
    assert_eq!(logout.code(), "FORBIDDEN");
    assert_eq!(app.ask_with(headers(&[evil]), REGISTER, Value::Null).await.code(), "FORBIDDEN");
}

#[tokio::test]
async fn any_origin_is_allowed_without_cookies_only() {
    let app = TestApp::with(&[ON, "--cors-allowed-origins=*"]).await;
    let held = pair(&registered(&app).await);
    let with = headers(&[("origin", "https://evil.example"), ("cookie", &held)]);
    let answer = app.ask_with(with, REFRESH, Value::Null).await;
    assert_eq!(answer.code(), "FORBIDDEN");
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));
}

#[tokio::test]
async fn other_cookies_of_the_host_do_not_hide_the_token() {
    let app = TestApp::with(&[ON]).await;
    let mut held = pair(&registered(&app).await);
    for other in ["name=J\u{f6}rg", "emoji=\u{1f389}", "latin1=\u{ff}; flag", "=", ";;", "quoted=\"a; b\""] {
        for line in [format!("{other}; {held}"), format!("{held}; {other}")] {
            let mut with = HeaderMap::new();
            with.append("cookie", HeaderValue::from_bytes(line.as_bytes()).unwrap());
            with.append("cookie", HeaderValue::from_bytes(other.as_bytes()).unwrap());
            let answer = app.ask_with(with, REFRESH, Value::Null).await;
            answer.data("refreshSession");
            held = pair(&answer);
        }
    }
}

#[tokio::test]
async fn the_cookie_has_the_same_site_of_the_setting() {
    for (value, attribute) in
        [("lax", "SameSite=Lax"), ("strict", "SameSite=Strict"), ("none", "SameSite=None")]
    {
        let app = TestApp::with(&[ON, &format!("--refresh-token-cookie-same-site={value}")]).await;
        let set = cookie(&registered(&app).await);
        assert!(set.split("; ").any(|part| part == attribute) && set.contains("; Secure;"), "{set}");
        let held = headers(&[("cookie", set.split(';').next().unwrap())]);
        let ended = app.ask_with(held, "mutation { logout { revokedSessionIds } }", Value::Null).await;
        let cleared = cookie(&ended);
        assert!(cleared.contains("Max-Age=0") && cleared.ends_with(attribute), "{cleared}");
    }
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
