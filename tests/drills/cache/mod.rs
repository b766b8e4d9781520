//! The cache in Redis: what it saves, that nothing in it is old, and that nothing depends on it.

mod redis;
mod sessions;
mod users;

use serde_json::json;
use std::time::Duration;
use std::time::Instant;
use todo_api::metrics::CacheOutcome;
use uuid::Uuid;

use crate::support::{RedisServer, TestApp};

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
    let count = |outcome| app.state.metrics.cache_requests.get(outcome).get();
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
