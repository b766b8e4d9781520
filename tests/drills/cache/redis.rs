//! A Redis in trouble fails no request; one over TLS is verified.

use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

use super::{ME, Pair, name, rename, seen_in_time, stats};
use crate::support::{Answer, PASSWORD, RedisServer, Service, TestApp, TestDatabase};

/// Shows that all is well with a Redis in trouble, that it is asked about once a second at most, and that it is used
/// again when the trouble is over.
async fn endures(pair: &Pair, begin: impl AsyncFnOnce(), end: impl AsyncFnOnce()) {
    pair.warm().await;
    begin().await;
    let (before, since) = (stats(&pair.one).errors, Instant::now());
    let mut number = 0;
    while stats(&pair.one).errors == before || number < 50 {
        number += 1;
        assert_eq!(pair.one.me(&pair.token).await.data("me")["email"], "ada@example.com");
    }
    let (errors, seconds) = (stats(&pair.one).errors - before, since.elapsed().as_secs());
    // Requests under way at once may each find out, and so may one that looks for ended sessions.
    assert!(errors <= 4 * (seconds + 1), "{errors} errors in {seconds} s");
    rename(&pair.one, &pair.token, "Grace Hopper").await;
    let renamed = Instant::now();
    assert_eq!(name(&pair.one, &pair.token).await, "Grace Hopper");
    seen_in_time(renamed, async || name(&pair.other, &pair.token).await == "Grace Hopper").await;
    end().await;
    pair.warm().await;
    assert_eq!(name(&pair.other, &pair.token).await, "Grace Hopper");
}

#[tokio::test]
async fn a_redis_that_is_killed_fails_nothing_and_is_used_again_when_it_is_back() {
    let mut pair = Pair::start().await;
    let replacement = RedisServer::start().await;
    let mut redis = std::mem::replace(&mut pair.redis, replacement);
    let redis = tokio::sync::Mutex::new(&mut redis);
    endures(&pair, async || redis.lock().await.kill(), async || redis.lock().await.start_again().await).await;
}

#[tokio::test]
async fn a_redis_that_is_frozen_fails_nothing_and_is_used_again_when_it_thaws() {
    let pair = Pair::start().await;
    endures(&pair, async || pair.redis.signal("STOP"), async || pair.redis.signal("CONT")).await;
}

#[tokio::test]
async fn a_redis_that_is_full_fails_nothing_and_is_used_again_when_there_is_room() {
    let pair = Pair::start().await;
    let set = async |limit: &str| {
        let _: () = pair.redis.run(&["CONFIG", "SET", "maxmemory", limit]).await;
    };
    let fill = async || {
        let _: () = pair.redis.run(&["SET", "filler", &"x".repeat(2 << 20)]).await;
        set("1mb").await;
    };
    endures(&pair, fill, async || set("0").await).await;
}

#[tokio::test]
async fn rubbish_under_our_keys_is_a_miss_and_cleared_away() {
    let pair = Pair::start().await;
    let key = &pair.key();
    let long = "1:".to_owned() + &"x".repeat(1 << 20);
    let texts = ["rubbish", "1:", "1:{}", "0:null", "\u{0}\u{ffff}", &long];
    let mut commands: Vec<_> = texts.iter().map(|text| vec!["SET", key, text]).collect();
    commands.push(vec!["RPUSH", key, "of", "another", "type"]);
    for command in commands {
        pair.warm().await;
        let _: i64 = pair.redis.run(&["DEL", key]).await;
        pair.redis.run::<redis::Value>(&command).await;
        for _ in 0..5 {
            assert_eq!(pair.one.me(&pair.token).await.data("me")["email"], "ada@example.com");
        }
        pair.warm().await;
    }
}

#[tokio::test]
async fn a_redis_that_refuses_the_password_or_is_not_there_fails_nothing() {
    let mut redis = RedisServer::with(&["--requirepass", "right"]).await;
    let wrong = format!("--redis-url=redis://:wrong@127.0.0.1:{}", redis.port);
    let app = TestApp::with(&[&wrong]).await;
    let token = app.register("ada@example.com").await.token();
    while stats(&app).errors == 0 {
        app.me(&token).await.data("me");
    }
    redis.kill();
    let before = stats(&app).errors;
    while stats(&app).errors == before {
        app.me(&token).await.data("me");
    }
    assert_eq!((stats(&app).hits, stats(&app).misses), (0, 0));
}

#[tokio::test]
async fn redis_is_reached_over_tls_with_verified_certificates() {
    let dir = tempfile::TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let tls = port.to_string();
    let redis = RedisServer::with(&[
        "--tls-port",
        &tls,
        "--tls-cert-file",
        cert,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        cert,
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let database = TestDatabase::new().await;
    let url = format!("rediss://localhost:{port}");
    let serve = || {
        let mut command = Service::command();
        command.env("DATABASE_URL", &database.url).env("SSL_CERT_FILE", cert);
        command.env("JWT_SECRET", crate::support::SECRET);
        command.env("REDIS_URL", &url);
        Service::start_command(&mut command)
    };
    let service = serve();
    let register = format!(
        "mutation {{ register(input: {{ email: \"ada@example.com\", name: \"Ada\", password: \"{PASSWORD}\" }}) {{
            accessToken }} }}"
    );
    let token = service.ask(&register).await["data"]["register"]["accessToken"].as_str().unwrap().to_owned();
    let me = async |service: &Service| {
        let request = reqwest::Client::new().post(format!("http://{}/graphql", service.address));
        Answer::of(request.bearer_auth(&token).json(&json!({ "query": ME }))).await.data("me").clone()
    };
    let keys = async || redis.run::<i64>(&["DBSIZE"]).await;
    while keys().await == 0 {
        me(&service).await;
    }
    service.stop();

    // This process does not know who has signed the certificate.
    let app = TestApp::with(&[&format!("--redis-url={url}")]).await;
    let token = app.register("ada@example.com").await.token();
    while stats(&app).errors == 0 {
        app.me(&token).await.data("me");
    }
    assert_eq!((stats(&app).hits, stats(&app).misses), (0, 0));
}

#[tokio::test]
async fn many_requests_without_a_redis_in_reach_are_answered_together() {
    let redis = RedisServer::start().await;
    let app = Arc::new(TestApp::with(&[&redis.flag()]).await);
    let token = app.register("ada@example.com").await.token();
    redis.signal("STOP");
    let mut asking = JoinSet::new();
    for _ in 0..50 {
        let (app, token) = (Arc::clone(&app), token.clone());
        asking.spawn(async move { name(&app, &token).await });
    }
    for name in asking.join_all().await {
        assert_eq!(name, "Ada Lovelace");
    }
    redis.signal("CONT");
}
