//! The user behind `me`: seen by all processes, and never older than promised.

use serde_json::Value;
use serde_json::json;
use std::time::Instant;
use todo_api::db::migrations;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{CacheStats, ME, Pair, name, rename, seen_in_time, stats};
use crate::support::{Answer, OwnServer, PASSWORD, RedisServer, Service, TestApp, TestDatabase, connector};

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
