//! The cache in Redis: no value is older than a second, a change is seen at once, and no request depends on it.

mod redis;
mod users;

use std::time::{Duration, Instant};

use serde_json::json;
use todo_api::metrics::CacheOutcome;
use uuid::Uuid;

use crate::support::{RedisServer, TestApp, connector};

/// Bound on the age of a value.
const PROMISE: Duration = Duration::from_secs(1);
const RENAME: &str =
    "mutation Rename($name: String!) { updateProfile(input: { name: $name }) { user { name } } }";

/// Two processes of the service with one Redis, and a user who has logged in.
struct Pair {
    redis: RedisServer,
    one: TestApp,
    other: TestApp,
    id: Uuid,
    token: String,
}

impl Pair {
    async fn start() -> Self {
        let redis = RedisServer::start().await;
        let one = TestApp::with(&[&redis.flag()]).await;
        let other = one.beside(&[&redis.flag()]).await;
        let registered = one.register("ada@example.com").await;
        let id = registered.data("register")["user"]["id"].as_str().unwrap().parse().unwrap();
        Self { redis, one, other, id, token: registered.token() }
    }

    fn key(&self) -> String {
        format!("todo-api:{}:user2:{}", connector(&self.one.database.url).fingerprint(), self.id)
    }

    /// Sends requests until Redis has answered one of each process.
    async fn warm(&self) {
        for app in [&self.one, &self.other] {
            let before = count(app, CacheOutcome::Hit);
            while count(app, CacheOutcome::Hit) == before {
                self.name(app).await;
            }
        }
    }

    async fn name(&self, app: &TestApp) -> String {
        app.me(&self.token).await.data("me")["name"].as_str().unwrap().to_owned()
    }

    /// Makes a change in the first process, and checks that both see it: at once, or within a second if Redis was too slow
    /// for the invalidation.
    async fn change<T>(&self, change: impl AsyncFnOnce() -> T, is_seen: impl AsyncFn(&TestApp, &T) -> bool) {
        let before = count(&self.one, CacheOutcome::Error);
        let result = change().await;
        let changed = Instant::now();
        assert!(is_seen(&self.one, &result).await, "the process that made the change sees it at once");
        if count(&self.one, CacheOutcome::Error) == before {
            assert!(is_seen(&self.other, &result).await, "the other process sees it at once");
        }
        seen_in_time(changed, async || is_seen(&self.other, &result).await).await;
    }

    async fn rename(&self, name: &str) {
        self.one.ask_as(&self.token, RENAME, json!({ "name": name })).await.data("updateProfile");
    }
}

fn count(app: &TestApp, outcome: CacheOutcome) -> u64 {
    app.state.metrics.cache_requests.get(outcome).get()
}

/// Asks until a change is seen; an answer to a question asked a second or more after it must show it.
async fn seen_in_time(changed: Instant, mut is_seen: impl AsyncFnMut() -> bool) {
    loop {
        let asked = changed.elapsed();
        if is_seen().await {
            return;
        }
        assert!(asked < PROMISE, "{asked:?} after the change the answer was still the old one");
    }
}
