//! Limits on attempts.

use futures_util::future::join_all;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use todo_api::domain::Email;

use crate::support::{Answer, PASSWORD, TestApp, rows};

const BEHIND_A_PROXY: &str = "--trusted-proxies=127.0.0.0/8";

fn from(address: &str) -> HeaderMap {
    HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), address.parse().unwrap())])
}

async fn login_from(app: &TestApp, address: &str, email: &str, password: &str) -> Answer {
    let query = "mutation Login($input: LoginInput!) { login(input: $input) { accessToken } }";
    let input = json!({ "input": { "email": email, "password": password } });
    app.ask_with(from(address), query, input).await
}

/// Counts the errors with a code in a response or a batch of them.
fn count(answer: &Answer, code: &str) -> usize {
    let answers = answer.body.as_array().cloned().unwrap_or_else(|| vec![answer.body.clone()]);
    let errors = answers.iter().flat_map(|answer| answer["errors"].as_array().cloned().unwrap_or_default());
    errors.filter(|error| error["extensions"]["code"] == code).count()
}

fn aliased_logins(number: usize) -> String {
    let fields = (0..number).map(|n| {
        format!(
            "a{n}: login(input: {{ email: \"ada@example.com\", password: \"wrong\" }}) {{ accessToken }} "
        )
    });
    format!("mutation {{ {} }}", fields.collect::<String>())
}

#[tokio::test]
async fn each_of_1000_aliased_logins_counts() {
    let flags = [
        "--max-aliases=1000",
        "--max-root-fields=1000",
        "--max-tokens=100000",
        "--max-complexity=100000",
        "--max-document=1MiB",
    ];
    let app = TestApp::with(&flags).await;
    app.register("ada@example.com").await.data("register");
    let began = std::time::Instant::now();
    let answer = app.ask(&aliased_logins(1000), Value::Null).await;
    let tried = count(&answer, "INVALID_CREDENTIALS");
    let refused = count(&answer, "RATE_LIMITED");
    println!("{tried} passwords were tried and {refused} attempts refused in {:?}", began.elapsed());
    assert_eq!(tried + refused, 1000);
    // Five in parallel, and more while those are being counted.
    assert!((5..=9).contains(&tried), "{tried} passwords were tried");
    let failed = "SELECT count(*)::text AS text FROM security_events WHERE kind = 'LOGIN_FAILED'";
    assert_eq!(rows(&app, failed).await, [tried.to_string()]);

    // A batch is no way around the limit.
    let batch = Value::Array(vec![json!({ "query": aliased_logins(10) }); 10]);
    let answer = Answer::of(app.http.post(app.url("/graphql")).json(&batch)).await;
    assert!(count(&answer, "RATE_LIMITED") >= 99, "{:#}", answer.body);
}

#[tokio::test]
async fn delays_of_repeated_guesses_grow_up_to_a_limit() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await.data("register");
    for _ in 0..5 {
        assert_eq!(app.login("ada@example.com", "wrong").await.code(), "INVALID_CREDENTIALS");
    }
    let mut waits = Vec::new();
    for _ in 0..8 {
        // The right password is refused too while throttled, so that guessing reveals nothing.
        let refused = app.login("ada@example.com", PASSWORD).await;
        assert_eq!(refused.code(), "RATE_LIMITED");
        let wait = refused.error()["extensions"]["retryAfter"].as_i64().unwrap();
        waits.push(wait);
        app.pass(wait).await;
        assert_eq!(app.login("ada@example.com", "wrong").await.code(), "INVALID_CREDENTIALS");
    }
    assert!(waits.is_sorted() && waits[7] <= 60 && waits[7] > 30, "{waits:?}");
    app.pass(60).await;
    app.login("ada@example.com", PASSWORD).await.data("login");
    // A successful login resets the delay.
    for _ in 0..5 {
        assert_eq!(app.login("ada@example.com", "wrong").await.code(), "INVALID_CREDENTIALS");
    }
}

#[tokio::test]
async fn refused_attempts_have_their_wait_in_headers() {
    let app = TestApp::start().await;
    for _ in 0..5 {
        let failed = app.login("ada@example.com", "wrong").await;
        assert!(!failed.headers.contains_key("retry-after") && !failed.headers.contains_key("ratelimit"));
    }
    let pairs = ["ada@example.com", "grace@example.com"].map(|email| {
        let query = format!(
            "mutation {{ login(input: {{ email: \"{email}\", password: \"wrong\" }}) {{ accessToken }} }}"
        );
        json!({ "query": query })
    });
    let single = Answer::of(app.http.post(app.url("/graphql")).json(&pairs[0])).await;
    let wait = single.error()["extensions"]["retryAfter"].as_u64().unwrap();
    assert_eq!(single.headers["retry-after"], wait.to_string());
    assert_eq!(single.headers["ratelimit"], format!("\"attempts\";r=0;t={wait}"));

    let batch = Answer::of(app.http.post(app.url("/graphql")).json(&pairs)).await;
    assert_eq!(count(&batch, "RATE_LIMITED"), 1);
    assert!(batch.headers.contains_key("retry-after") && batch.headers.contains_key("ratelimit"));
}

#[tokio::test]
async fn throttled_attempts_compute_no_hash() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await.data("register");
    let mut fastest = std::time::Duration::MAX;
    for n in 0..20 {
        let began = std::time::Instant::now();
        let answer = app.login("ada@example.com", "wrong").await;
        if n >= 5 && answer.code() == "RATE_LIMITED" {
            fastest = fastest.min(began.elapsed());
        }
    }
    // A failed login is answered after half a second.
    assert!(fastest < std::time::Duration::from_millis(250), "{fastest:?}");
}

#[tokio::test]
async fn all_spellings_that_the_database_finds_equal_share_a_limit() {
    let app = TestApp::start().await;
    app.register("iii@example.com").await.data("register");
    let mut codes = Vec::new();
    for spelling in ["iii", "İii", "iİi", "iiİ", "İİi", "IİI", "iii"] {
        codes.push(app.login(&format!("{spelling}@example.com"), "wrong").await.code().to_owned());
    }
    assert_eq!(codes[4..], ["INVALID_CREDENTIALS", "RATE_LIMITED", "RATE_LIMITED"]);
    // All pairs of letters that the database finds equal.
    let letters = "SELECT chr(c) || lower(chr(c)) AS text FROM generate_series(161, 125251) AS c
        WHERE c NOT BETWEEN 55296 AND 57343 AND lower(chr(c)) <> chr(c)";
    let pairs = rows(&app, letters).await;
    assert!(pairs.len() > 1_000);
    for pair in pairs {
        let spellings = pair.chars().map(|letter| Email::parse(&format!("a{letter}@example.com")));
        let folded: Vec<_> = spellings.filter_map(|email| Some(email.ok()?.fold())).collect();
        assert!(folded.windows(2).all(|pair| pair[0] == pair[1]), "{pair}");
    }
}

#[tokio::test]
async fn an_attacker_can_not_lock_the_owner_out() {
    let app = TestApp::with(&[BEHIND_A_PROXY]).await;
    app.register("ada@example.com").await.data("register");
    login_from(&app, "192.0.2.1", "ada@example.com", PASSWORD).await.data("login");
    let attacks = (0..70).map(async |n| {
        let attack = login_from(&app, &format!("198.51.100.{n}"), "ada@example.com", "wrong").await;
        attack.code() == "RATE_LIMITED"
    });
    let throttled = join_all(attacks).await.into_iter().filter(|throttled| *throttled).count();
    assert!(throttled >= 15, "{throttled} attempts from many addresses were refused");
    // From a known address the owner is not delayed; from elsewhere only briefly.
    login_from(&app, "192.0.2.1", "ada@example.com", PASSWORD).await.data("login");
    let elsewhere = login_from(&app, "203.0.113.5", "ada@example.com", PASSWORD).await;
    let wait = elsewhere.error()["extensions"]["retryAfter"].as_i64().unwrap();
    assert!(wait <= 10, "{wait} s");
    app.pass(wait).await;
    login_from(&app, "203.0.113.5", "ada@example.com", PASSWORD).await.data("login");
}

#[tokio::test]
async fn processes_share_their_counts() {
    let one = TestApp::start().await;
    let other = one.beside(&[]).await;
    one.register("ada@example.com").await.data("register");
    for n in 0..5 {
        let app = if n % 2 == 0 { &one } else { &other };
        assert_eq!(app.login("ada@example.com", "wrong").await.code(), "INVALID_CREDENTIALS");
    }
    assert_eq!(one.login("ada@example.com", "wrong").await.code(), "RATE_LIMITED");
    assert_eq!(other.login("ada@example.com", "wrong").await.code(), "RATE_LIMITED");
}

#[tokio::test]
async fn registrations_from_one_address_are_counted_and_ipv6_by_its_64() {
    let app = TestApp::with(&[BEHIND_A_PROXY]).await;
    // Invalid input counts too, and computes no hash.
    let query = "mutation { register(input: { email: \"\", password: \"\", name: \"\" }) { accessToken } }";
    for n in 0..50 {
        let answer = app.ask_with(from(&format!("2001:db8:1:2::{n:x}")), query, Value::Null).await;
        assert_eq!(answer.code(), "BAD_USER_INPUT", "{n}");
    }
    let same = app.ask_with(from("2001:db8:1:2:ffff::1"), query, Value::Null).await;
    assert_eq!(same.code(), "RATE_LIMITED");
    assert!((1..=20).contains(&same.error()["extensions"]["retryAfter"].as_i64().unwrap()));
    let next = app.ask_with(from("2001:db8:1:3::1"), query, Value::Null).await;
    assert_eq!(next.code(), "BAD_USER_INPUT");
}

#[tokio::test]
async fn without_trusted_proxies_forwarded_addresses_are_ignored() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await.data("register");
    for n in 0..5 {
        let answer = login_from(&app, &format!("192.0.2.{n}"), "ada@example.com", "wrong").await;
        assert_eq!(answer.code(), "INVALID_CREDENTIALS");
    }
    let answer = login_from(&app, "192.0.2.77", "ada@example.com", "wrong").await;
    assert_eq!(answer.code(), "RATE_LIMITED");
}

#[tokio::test]
async fn throttled_logins_are_recorded_at_intervals_in_bounded_space() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await.data("register");
    for _ in 0..5 {
        app.login("ada@example.com", "wrong").await;
    }
    let room = "SELECT count(*)::text AS text FROM throttle_buckets";
    let before = rows(&app, room).await;
    for _ in 0..20 {
        app.login("ada@example.com", "wrong").await;
    }
    assert_eq!(rows(&app, room).await, before);
    let noted =
        "SELECT kind AS text FROM security_events WHERE kind = 'LOGIN_THROTTLED' AND user_id IS NOT NULL";
    assert_eq!(rows(&app, noted).await.len(), 1);
}

#[tokio::test]
async fn limits_can_be_switched_off() {
    let app = TestApp::with(&["--rate-limits=off"]).await;
    for _ in 0..8 {
        assert_eq!(app.login("ada@example.com", "wrong").await.code(), "INVALID_CREDENTIALS");
    }
    assert_eq!(rows(&app, "SELECT count(*)::text AS text FROM throttle_buckets").await, ["0"]);
}
