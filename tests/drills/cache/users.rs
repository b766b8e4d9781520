//! The user behind `me`: shared by all processes, and never older than promised.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::Value;
use todo_api::metrics::CacheOutcome;
use todo_api::models::User;
use todo_api::state::AppState;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Pair, count, seen_in_time};
use crate::support::{PASSWORD, Service, TestApp};

const ME: &str = "{ me { id email name updatedAt } }";

async fn read(state: &AppState, id: Uuid) -> Result<Option<User>, todo_api::db::Error> {
    state.database.read(async |conn| User::find(conn, id).await).await
}

#[tokio::test]
async fn without_a_redis_nothing_is_cached() {
    let app = TestApp::start().await;
    let token = app.register("ada@example.com").await.token();
    app.me(&token).await.data("me");
    assert!(!app.state.cache.is_used());
    assert_eq!(count(&app, CacheOutcome::Miss) + count(&app, CacheOutcome::Bypassed), 0);
}

#[tokio::test]
async fn a_user_read_by_one_process_is_a_hit_for_the_other() {
    let pair = Pair::start().await;
    let me = pair.one.ask_as(&pair.token, ME, Value::Null).await.data("me").clone();
    while count(&pair.other, CacheOutcome::Hit) == 0 {
        pair.one.me(&pair.token).await.data("me");
        assert_eq!(pair.other.ask_as(&pair.token, ME, Value::Null).await.data("me"), &me);
    }
    assert!(count(&pair.one, CacheOutcome::Miss) > 0);
}

#[tokio::test]
async fn every_change_of_a_user_is_seen_by_both_processes() {
    let pair = Pair::start().await;
    let changes = [
        ("updateProfile", "name: \"Grace\"".to_owned()),
        ("changeEmail", format!("email: \"grace@example.com\", password: \"{PASSWORD}\"")),
        ("changePassword", format!("currentPassword: \"{PASSWORD}\", newPassword: \"{PASSWORD} too\"")),
    ];
    for (field, input) in changes {
        pair.warm().await;
        let mutation =
            format!("mutation {{ {field}(input: {{ {input} }}) {{ user {{ id email name updatedAt }} }} }}");
        let change =
            async || pair.one.ask_as(&pair.token, &mutation, Value::Null).await.data(field)["user"].clone();
        let is_seen = async |app: &TestApp, user: &Value| {
            app.ask_as(&pair.token, ME, Value::Null).await.data("me") == user
        };
        pair.change(change, is_seen).await;
    }
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
    let is_refused = async || pair.other.me(&pair.token).await.body.get("errors").is_some();
    seen_in_time(deleted, is_refused).await;
    assert_eq!(pair.other.me(&pair.token).await.code(), "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_change_past_the_service_is_seen_within_a_second() {
    let pair = Pair::start().await;
    for number in 0..3 {
        pair.warm().await;
        let new = format!("Grace {number}");
        pair.one.database.sql(&format!("UPDATE users SET name = '{new}'")).await;
        let changed = Instant::now();
        seen_in_time(changed, async || pair.name(&pair.other).await == new).await;
        seen_in_time(changed, async || pair.name(&pair.one).await == new).await;
    }
}

#[tokio::test]
async fn a_slow_reader_does_not_bring_the_value_from_before_a_change_back() {
    let pair = Pair::start().await;
    let _: i64 = pair.redis.run(&["DEL", &pair.key()]).await;
    let (reads, reading) = oneshot::channel();
    let (go_on, may_go_on) = oneshot::channel::<()>();
    let id = pair.id;
    let state = pair.other.state.clone();
    let slow = tokio::spawn(async move {
        let read = async || {
            let user = read(&state, id).await;
            reads.send(()).unwrap();
            may_go_on.await.unwrap();
            user
        };
        state.cache.user(id, read).await.unwrap().unwrap().name
    });
    reading.await.unwrap();
    let change = async || {
        pair.rename("Grace Hopper").await;
        go_on.send(()).unwrap();
        assert_eq!(slow.await.unwrap(), "Ada Lovelace", "it has read before");
    };
    pair.change(change, async |app, ()| pair.name(app).await == "Grace Hopper").await;
}

#[tokio::test]
async fn a_value_that_is_stored_late_has_expired_already() {
    let pair = Pair::start().await;
    let now = async || {
        let (seconds, micros): (u64, u64) = pair.redis.run(&["TIME"]).await;
        seconds * 1000 + micros / 1000
    };
    let _: i64 = pair.redis.run(&["DEL", &pair.key()]).await;
    let slow = async || {
        let user = read(&pair.one.state, pair.id).await;
        let began = now().await;
        while now().await < began + 1000 {}
        user
    };
    pair.one.state.cache.user(pair.id, slow).await.unwrap().unwrap();
    assert_eq!(pair.redis.run::<i64>(&["EXISTS", &pair.key()]).await, 0);
}

#[tokio::test]
async fn a_read_that_began_before_a_change_of_the_same_process_is_not_joined() {
    let pair = Pair::start().await;
    let _: i64 = pair.redis.run(&["DEL", &pair.key()]).await;
    let (reads, reading) = oneshot::channel();
    let (go_on, may_go_on) = oneshot::channel::<()>();
    let id = pair.id;
    let state = pair.one.state.clone();
    let slow = tokio::spawn(async move {
        let read = async || {
            reads.send(()).unwrap();
            may_go_on.await.unwrap();
            Ok(None)
        };
        state.cache.user(id, read).await
    });
    reading.await.unwrap();
    pair.rename("Grace Hopper").await;
    assert_eq!(pair.name(&pair.one).await, "Grace Hopper");
    go_on.send(()).unwrap();
    assert!(slow.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn many_callers_at_once_share_one_read_of_each_process() {
    let pair = Pair::start().await;
    let _: i64 = pair.redis.run(&["DEL", &pair.key()]).await;
    let reads = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let id = pair.id;
    let mut asking = JoinSet::new();
    for number in 0..100 {
        let app = if number % 2 == 0 { &pair.one } else { &pair.other };
        let state = app.state.clone();
        let reads = Arc::clone(&reads);
        asking.spawn(async move {
            let read = async || {
                reads.fetch_add(1, Ordering::Relaxed);
                read(&state, id).await
            };
            state.cache.user(id, read).await.unwrap().unwrap().id
        });
    }
    for id in asking.join_all().await {
        assert_eq!(id, pair.id);
    }
    // Callers share a read within windows of 150 ms, the first of which may be about to end.
    let most = 2 * (2 + u64::try_from(began.elapsed().as_millis()).unwrap() / 150);
    let reads = reads.load(Ordering::Relaxed);
    assert!((1..=most).contains(&reads), "{reads} reads in {:?}", began.elapsed());
    let joined = count(&pair.one, CacheOutcome::Joined) + count(&pair.other, CacheOutcome::Joined);
    assert!(joined >= 100 - most, "{joined} joined");
}

#[tokio::test]
async fn an_operators_command_invalidates_the_user() {
    let pair = Pair::start().await;
    // Without an expiry, so that nothing but the command can have replaced it.
    let _: () = pair.redis.run(&["SET", &pair.key(), "1:null"]).await;
    let mut command = Service::command();
    command.args(["user", "delete", &pair.id.to_string(), "--yes"]);
    command.env("DATABASE_URL", &pair.one.database.url).env("REDIS_URL", pair.redis.url());
    let output = Service::run(&mut command);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let value: Option<String> = pair.redis.run(&["GET", &pair.key()]).await;
    let was_too_slow = log.contains("Redis is out of use");
    assert!(value.as_deref() != Some("1:null") || was_too_slow, "{value:?}: {log}");
}
