//! Sessions that were ended, of which processes learn together.

use serde_json::Value;
use std::time::Instant;

use super::{Pair, seen_in_time, stats};
use crate::support::{PASSWORD, TestApp};

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
