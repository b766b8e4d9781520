//! A Redis in trouble fails no request; one over TLS is verified.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use todo_api::metrics::CacheOutcome;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::{Pair, count};
use crate::support::{Answer, PASSWORD, RedisServer, Service, TestApp, TestDatabase};

/// Checks that requests succeed while Redis is in trouble, that it is tried about once a second, and that it is used again
/// afterwards.
async fn endures(pair: &Pair, begin: impl AsyncFnOnce(), end: impl AsyncFnOnce()) {
    let errors = || count(&pair.one, CacheOutcome::Error);
    pair.warm().await;
    begin().await;
    let before = errors();
    let since = Instant::now();
    let mut requests = 0;
    while errors() == before || requests < 50 {
        requests += 1;
        assert_eq!(pair.one.me(&pair.token).await.data("me")["email"], "ada@example.com");
    }
    let errors = errors() - before;
    let seconds = since.elapsed().as_secs();
    assert!(errors <= 4 * (seconds + 1), "{errors} errors in {seconds} s");
    let rename = async || pair.rename("Grace Hopper").await;
    pair.change(rename, async |app, ()| pair.name(app).await == "Grace Hopper").await;
    end().await;
    pair.warm().await;
    assert_eq!(pair.name(&pair.other).await, "Grace Hopper");
}

#[tokio::test]
async fn a_redis_that_is_killed_fails_nothing_and_is_used_again_when_it_is_back() {
    let mut pair = Pair::start().await;
    let replacement = RedisServer::start().await;
    let redis = Mutex::new(std::mem::replace(&mut pair.redis, replacement));
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
async fn garbage_under_a_key_is_a_miss_and_cleared_away() {
    let pair = Pair::start().await;
    let key = &pair.key();
    let long = "1:".to_owned() + &"x".repeat(1 << 20);
    let texts = ["garbage", "1:", "1:{}", "0:null", "\u{0}\u{ffff}", &long];
    let mut commands: Vec<_> = texts.iter().map(|text| vec!["SET", key, text]).collect();
    commands.push(vec!["RPUSH", key, "of", "another", "type"]);
    for command in commands {
        let _: i64 = pair.redis.run(&["DEL", key]).await;
        pair.redis.run::<redis::Value>(&command).await;
        for _ in 0..5 {
            assert_eq!(pair.one.me(&pair.token).await.data("me")["email"], "ada@example.com");
        }
        pair.warm().await;
    }
}

#[tokio::test]
async fn a_redis_that_refuses_the_password_or_is_gone_fails_nothing() {
    let mut redis = RedisServer::with(&["--requirepass", "right"]).await;
    let wrong = format!("--redis-url=redis://:wrong@127.0.0.1:{}", redis.port);
    let app = TestApp::with(&[&wrong]).await;
    let token = app.register("ada@example.com").await.token();
    let until_failure = async || {
        let before = count(&app, CacheOutcome::Error);
        while count(&app, CacheOutcome::Error) == before {
            app.me(&token).await.data("me");
        }
    };
    until_failure().await;
    redis.kill();
    until_failure().await;
    assert_eq!(count(&app, CacheOutcome::Hit) + count(&app, CacheOutcome::Miss), 0);
}

#[tokio::test]
async fn a_password_that_is_put_right_at_the_server_is_accepted_later() {
    let redis = RedisServer::with(&["--requirepass", "right"]).await;
    let app = TestApp::with(&[&format!("--redis-url=redis://:new@127.0.0.1:{}", redis.port)]).await;
    let token = app.register("ada@example.com").await.token();
    while count(&app, CacheOutcome::Error) == 0 {
        app.me(&token).await.data("me");
    }
    let url = format!("redis://:right@127.0.0.1:{}", redis.port);
    let mut admin = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let command = redis::cmd("CONFIG").arg(&["SET", "requirepass", "new"]).to_owned();
    let _: () = command.query_async(&mut admin).await.unwrap();
    while count(&app, CacheOutcome::Hit) == 0 {
        app.me(&token).await.data("me");
    }
}

#[tokio::test]
async fn redis_is_reached_over_tls_with_verified_certificates() {
    let dir = tempfile::TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let cert = path("cert.pem");
    let key = path("key.pem");
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let tls = format!(
        "--tls-port {port} --tls-cert-file {cert} --tls-key-file {key} --tls-ca-cert-file {cert} --tls-auth-clients no"
    );
    let redis = RedisServer::with(&tls.split(' ').collect::<Vec<_>>()).await;
    let database = TestDatabase::new().await;
    let url = format!("rediss://localhost:{port}");
    let mut command = Service::command();
    command.env("DATABASE_URL", &database.url).env("SSL_CERT_FILE", &cert);
    command.env("JWT_SECRET", crate::support::SECRET).env("REDIS_URL", &url);
    let service = Service::start_command(&mut command);
    let register = format!(
        "mutation {{ register(input: {{ email: \"ada@example.com\", name: \"Ada\", password: \"{PASSWORD}\" }}) {{
            accessToken }} }}"
    );
    let token = service.ask(&register).await["data"]["register"]["accessToken"].as_str().unwrap().to_owned();
    while redis.run::<i64>(&["DBSIZE"]).await == 0 {
        let request = reqwest::Client::new().post(format!("http://{}/graphql", service.address));
        let request = request.bearer_auth(&token).json(&json!({ "query": "{ me { id } }" }));
        Answer::of(request).await.data("me");
    }
    service.stop();

    // This process does not know the issuer of the certificate.
    let app = TestApp::with(&[&format!("--redis-url={url}")]).await;
    let token = app.register("ada@example.com").await.token();
    while count(&app, CacheOutcome::Error) == 0 {
        app.me(&token).await.data("me");
    }
    assert_eq!(count(&app, CacheOutcome::Hit) + count(&app, CacheOutcome::Miss), 0);
}

#[tokio::test]
async fn many_requests_without_a_redis_in_reach_are_answered_together() {
    let redis = RedisServer::start().await;
    let app = Arc::new(TestApp::with(&[&redis.flag()]).await);
    let token = app.register("ada@example.com").await.token();
    redis.signal("STOP");
    let mut asking = JoinSet::new();
    for _ in 0..50 {
        let app = Arc::clone(&app);
        let token = token.clone();
        asking.spawn(async move { app.me(&token).await.data("me")["name"].clone() });
    }
    for name in asking.join_all().await {
        assert_eq!(name, "Ada Lovelace");
    }
    redis.signal("CONT");
}
