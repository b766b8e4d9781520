//! The cache in Redis: what it saves, that nothing in it is old, and that nothing depends on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use todo_api::db::migrations;
use todo_api::metrics::CacheOutcome;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{Answer, OwnServer, PASSWORD, RedisServer, Service, TestApp, TestDatabase, connector};

/// How old anything may be.
const PROMISE: Duration = Duration::from_secs(1);
const ME: &str = "{ me { id email name updatedAt } }";
const RENAME: &str =
    "mutation Rename($name: String!) { updateProfile(input: { name: $name }) { user { name } } }";

/// Two processes' worth of service with one Redis, and a user who has logged in.
struct Pair {
    redis: RedisServer,
    one: TestApp,
    other: TestApp,
    id: Uuid,
    token: String,
}

impl Pair {
    async fn start() -> Self {
        Self::on(RedisServer::start().await).await
    }

    async fn on(redis: RedisServer) -> Self {
        let one = TestApp::with(&[&redis.flag()]).await;
        let other = one.beside(&[&redis.flag()]).await;
        let registered = one.register("ada@example.com").await;
        let id = registered.data("register")["user"]["id"].as_str().unwrap().parse().unwrap();
        Self { redis, one, other, id, token: registered.token() }
    }

    fn key(&self) -> String {
        self.one.state.cache.user_key(self.id).unwrap()
    }

    /// Asks until both have been answered by Redis.
    async fn warm(&self) {
        for app in [&self.one, &self.other] {
            until_hit(app, &self.token).await;
        }
    }

    /// Repeats what proves nothing where Redis was too slow in between, as on a busy machine.
    async fn calmly<T>(&self, mut scenario: impl AsyncFnMut() -> T) -> T {
        loop {
            self.warm().await;
            let before = self.trouble();
            let result = scenario().await;
            if self.trouble() == before {
                return result;
            }
        }
    }

    fn trouble(&self) -> [u64; 2] {
        [&self.one, &self.other].map(|app| stats(app).errors + stats(app).bypassed)
    }
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CacheStats {
    hits: u64,
    misses: u64,
    joined: u64,
    bypassed: u64,
    errors: u64,
}

fn stats(app: &TestApp) -> CacheStats {
    let count = |outcome| app.state.metrics.cache_count(outcome);
    CacheStats {
        hits: count(CacheOutcome::Hit),
        misses: count(CacheOutcome::Miss),
        joined: count(CacheOutcome::Joined),
        bypassed: count(CacheOutcome::Bypassed),
        errors: count(CacheOutcome::Error),
    }
}

async fn until_hit(app: &TestApp, token: &str) {
    let before = stats(app).hits;
    while stats(app).hits == before {
        app.me(token).await.data("me");
    }
}

async fn name(app: &TestApp, token: &str) -> String {
    app.me(token).await.data("me")["name"].as_str().unwrap().to_owned()
}

async fn rename(app: &TestApp, token: &str, name: &str) {
    app.ask_as(token, RENAME, json!({ "name": name })).await.data("updateProfile");
}

/// Asks until the answer is as wanted. Whoever asked a second or more after the change must have been answered so.
async fn seen_in_time(changed: Instant, mut ask: impl AsyncFnMut() -> bool) {
    loop {
        let asked = changed.elapsed();
        if ask().await {
            return;
        }
        assert!(asked < PROMISE, "{asked:?} after the change the answer was still the old one");
    }
}

#[tokio::test]
async fn without_a_redis_nothing_is_cached() {
    let app = TestApp::start().await;
    let token = app.register("ada@example.com").await.token();
    app.me(&token).await.data("me");
    assert!(!app.state.cache.is_used());
    assert_eq!(stats(&app), CacheStats::default());
}

#[tokio::test]
async fn what_one_process_has_read_is_there_for_all() {
    let pair = Pair::start().await;
    let from_database = pair.one.ask_as(&pair.token, ME, Value::Null).await.data("me").clone();
    pair.warm().await;
    assert!(stats(&pair.one).misses + stats(&pair.other).misses > 0);
    let hits = stats(&pair.other).hits;
    loop {
        assert_eq!(pair.other.ask_as(&pair.token, ME, Value::Null).await.data("me"), &from_database);
        if stats(&pair.other).hits > hits {
            break;
        }
    }
}

#[tokio::test]
async fn every_change_of_the_user_is_seen_by_other_processes_at_once() {
    let pair = Pair::start().await;
    let ask = async |app: &TestApp| app.ask_as(&pair.token, ME, Value::Null).await.data("me").clone();
    let mut number = 0;
    pair.calmly(async || {
        number += 1;
        rename(&pair.one, &pair.token, &format!("Ada {number}")).await;
        assert_eq!(ask(&pair.other).await["name"], format!("Ada {number}"));
    })
    .await;
    pair.calmly(async || {
        number += 1;
        let email = format!("ada{number}@example.com");
        let change = format!(
            "mutation {{ changeEmail(input: {{ email: \"{email}\", password: \"{PASSWORD}\" }}) {{ user {{ id }} }} }}"
        );
        pair.one.ask_as(&pair.token, &change, Value::Null).await.data("changeEmail");
        assert_eq!(ask(&pair.other).await["email"], email);
    })
    .await;
    let mut password = PASSWORD.to_owned();
    pair.calmly(async || {
        number += 1;
        let new = format!("{PASSWORD} {number}");
        let change = format!(
            "mutation {{ changePassword(input: {{ currentPassword: \"{password}\", newPassword: \"{new}\" }}) {{
                user {{ updatedAt }} }} }}"
        );
        let changed = pair.one.ask_as(&pair.token, &change, Value::Null).await;
        password = new;
        assert_eq!(ask(&pair.other).await["updatedAt"], changed.data("changePassword")["user"]["updatedAt"]);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_user_is_refused_at_once_here_and_within_a_second_elsewhere() {
    let pair = Pair::start().await;
    pair.warm().await;
    let delete =
        format!("mutation {{ deleteAccount(input: {{ password: \"{PASSWORD}\" }}) {{ deletedUserId }} }}");
    pair.one.ask_as(&pair.token, &delete, Value::Null).await.data("deleteAccount");
    let deleted = Instant::now();
    assert_eq!(pair.one.me(&pair.token).await.code(), "UNAUTHENTICATED");
    let refused = async || pair.other.me(&pair.token).await.body.get("errors").is_some();
    seen_in_time(deleted, refused).await;
    assert_eq!(pair.other.me(&pair.token).await.code(), "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_change_that_redis_never_hears_of_is_seen_within_a_second() {
    let pair = Pair::start().await;
    for number in 0..3 {
        pair.warm().await;
        let new = format!("Grace {number}");
        pair.one.database.sql(&format!("UPDATE users SET name = '{new}'")).await;
        let changed = Instant::now();
        seen_in_time(changed, async || name(&pair.other, &pair.token).await == new).await;
        seen_in_time(changed, async || name(&pair.one, &pair.token).await == new).await;
    }
}

#[tokio::test]
async fn a_reader_that_is_slow_brings_nothing_back() {
    let pair = Pair::start().await;
    let mut number = 0;
    pair.calmly(async || {
        number += 1;
        let new = format!("Ada {number}");
        let _: i64 = pair.redis.run(&["DEL", &pair.key()]).await;
        let ((reads, reading), (go_on, may_go_on)) = (oneshot::channel(), oneshot::channel());
        let (state, id) = (pair.other.state.clone(), pair.id);
        let slow = tokio::spawn(async move {
            let read = async || {
                let user =
                    state.database.read(async |conn| todo_api::models::User::find(conn, id).await).await;
                reads.send(()).unwrap();
                may_go_on.await.unwrap();
                user
            };
            state.cache.user(id, read).await.unwrap().unwrap().name
        });
        // Not if somebody was faster: then there is nothing slow to see.
        if reading.await.is_err() {
            return;
        }
        rename(&pair.one, &pair.token, &new).await;
        go_on.send(()).unwrap();
        assert_ne!(slow.await.unwrap(), new, "it has read before");
        for app in [&pair.one, &pair.other] {
            assert_eq!(name(app, &pair.token).await, new);
        }
    })
    .await;
}

#[tokio::test]
async fn nobody_joins_a_read_that_began_before_a_change_of_the_same_process() {
    let pair = Pair::start().await;
    let _: i64 = pair.redis.run(&["DEL", &pair.key()]).await;
    let ((reads, reading), (go_on, may_go_on)) = (oneshot::channel::<()>(), oneshot::channel::<()>());
    let (state, id) = (pair.one.state.clone(), pair.id);
    let slow = tokio::spawn(async move {
        let read = async || {
            let _ = reads.send(());
            let _ = may_go_on.await;
            Ok(None)
        };
        state.cache.user(id, read).await
    });
    reading.await.unwrap();
    rename(&pair.one, &pair.token, "Grace Hopper").await;
    assert_eq!(name(&pair.one, &pair.token).await, "Grace Hopper");
    go_on.send(()).unwrap();
    assert!(slow.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn a_read_whose_request_goes_away_is_taken_over_by_those_who_wait_for_it() {
    let pair = Pair::start().await;
    let (reads, reading) = oneshot::channel::<()>();
    let (state, id) = (pair.one.state.clone(), pair.id);
    let cut = tokio::spawn(async move {
        let read = async || {
            let _ = reads.send(());
            std::future::pending().await
        };
        state.cache.user(id, read).await
    });
    reading.await.unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..10 {
        let state = pair.one.state.clone();
        waiting.spawn(async move {
            let found = state.cache.user(id, async || {
                state.database.read(async |conn| todo_api::models::User::find(conn, id).await).await
            });
            found.await.unwrap().unwrap().id
        });
    }
    cut.abort();
    for found in waiting.join_all().await {
        assert_eq!(found, id);
    }
}

#[tokio::test]
async fn a_hundred_at_once_on_two_processes_make_one_read_of_the_database() {
    let server = OwnServer::start().await;
    migrations::run(&connector(&server.url())).await.unwrap();
    server.sql("ALTER SYSTEM SET log_statement = 'all'").await;
    server.sql("SELECT pg_reload_conf()").await;
    let redis = RedisServer::start().await;
    let one = TestApp::on(&server.url(), &[&redis.flag()], TestDatabase::empty().await).await;
    let other = one.beside_on(&server.url(), &[&redis.flag()]).await;
    let registered = one.register("ada@example.com").await;
    let id = registered.data("register")["user"]["id"].as_str().unwrap().parse().unwrap();
    let pair = Pair { redis, one, other, id, token: registered.token() };
    let reads = || {
        let log = std::fs::read_to_string(server.dir.path().join("postgres.log")).unwrap();
        log.lines().filter(|line| line.contains("execute") && line.contains("FROM \"users\"")).count()
    };
    pair.calmly(async || {
        let _: i64 = pair.redis.run(&["DEL", &pair.key()]).await;
        let before = (reads(), pair.trouble());
        let mut asking = JoinSet::new();
        for number in 0..100 {
            let app = if number % 2 == 0 { &pair.one } else { &pair.other };
            let request = app.http.post(app.url("/graphql")).bearer_auth(&pair.token);
            asking.spawn(Answer::of(request.json(&json!({ "query": ME }))));
        }
        for answer in asking.join_all().await {
            assert_eq!(answer.data("me")["id"], pair.id.to_string());
        }
        let reads = reads() - before.0;
        assert!((1..=100).contains(&reads), "{reads}");
        // Whoever has waited for long enough reads for itself, once a process.
        if pair.trouble() == before.1 {
            assert_eq!(reads, 1);
        }
    })
    .await;
}

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
async fn an_ended_session_is_refused_within_a_second_though_processes_share_their_looks() {
    let pair = Pair::start().await;
    // Answered without looking for the user.
    let ask =
        async |app: &TestApp, token: &str| app.ask_as(token, "{ me { __typename } }", Value::Null).await;
    for number in 0..3 {
        let token = pair.one.login("ada@example.com", PASSWORD).await.token();
        pair.warm().await;
        if number == 0 {
            let out = pair.one.ask_as(&token, "mutation { logout { revokedSessionIds } }", Value::Null).await;
            out.data("logout");
            assert_eq!(ask(&pair.one, &token).await.code(), "UNAUTHENTICATED");
        } else {
            pair.one.database.sql("DELETE FROM sessions WHERE id = (SELECT id FROM sessions ORDER BY created_at DESC LIMIT 1)").await;
        }
        let ended = Instant::now();
        for app in [&pair.other, &pair.one] {
            seen_in_time(ended, async || ask(app, &token).await.body.get("errors").is_some()).await;
        }
    }
}

#[tokio::test]
async fn looks_for_ended_sessions_are_shared_by_processes() {
    let pair = Pair::start().await;
    // Reads no user, so that only looks for sessions can be answered by Redis.
    let ask = async |app: &TestApp| {
        app.ask_as(&pair.token, "{ todos(first: 1) { nodes { id } } }", Value::Null)
            .await
            .data("todos")
            .clone()
    };
    while stats(&pair.one).hits == 0 || stats(&pair.other).hits == 0 {
        tokio::join!(ask(&pair.one), ask(&pair.other));
    }
}

#[tokio::test]
async fn operators_commands_make_redis_forget() {
    let pair = Pair::start().await;
    let run = async |args: &[&str]| {
        // No lifetime, so that nothing but the command can have removed it.
        let _: () = pair.redis.run(&["SET", &pair.key(), "1:null"]).await;
        let mut command = Service::command();
        command.args(args).env("DATABASE_URL", &pair.one.database.url).env("REDIS_URL", pair.redis.url());
        let output = Service::run(&mut command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        pair.redis.run::<i64>(&["EXISTS", &pair.key()]).await
    };
    // Again where Redis was too slow, as on a busy machine.
    let id = pair.id.to_string();
    for _ in 0..10 {
        if run(&["user", "delete", &id, "--yes"]).await == 0 {
            return;
        }
        pair.one.register("ada@example.com").await;
    }
    panic!("the user was not forgotten");
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
