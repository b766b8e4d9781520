//! Processes whose clocks differ: what is stored ages by the database's clock.

use serde_json::{Value, json};
use todo_api::housekeeping::delete_expired;

use crate::support::{Answer, Owner, PASSWORD, TestApp, rows};

const DAY: i64 = 86_400;
const REFRESH: &str = "mutation Refresh($token: String!) { refreshSession(input: { refreshToken: $token }) {
    accessToken refreshToken } }";
const COUNTS: &str = "SELECT concat_ws(' ', (SELECT count(*) FROM todos), (SELECT count(*) FROM todo_events),
    (SELECT count(*) FROM sessions), (SELECT count(*) FROM refresh_tokens),
    (SELECT count(*) FROM refresh_tokens WHERE sealed_successor IS NOT NULL),
    (SELECT count(*) FROM revoked_sessions), (SELECT count(*) FROM security_events),
    (SELECT count(*) FROM throttle_buckets)) AS text";

fn refresh_token(answer: &Answer) -> Value {
    let data = answer.body["data"].as_object().unwrap().values().next().unwrap();
    assert!(data["refreshToken"].is_string(), "{:#}", answer.body);
    data["refreshToken"].clone()
}

async fn refresh(app: &TestApp, token: &Value) -> Answer {
    app.ask(REFRESH, json!({ "token": token })).await
}

#[tokio::test]
async fn a_process_ahead_or_behind_deletes_nothing_before_its_time() {
    let app = TestApp::start().await;
    let other = app.beside(&[]).await;
    let registered = app.register("ada@example.com").await;
    let ada = Owner { app: &app, token: registered.token() };
    ada.todo("deleteTodo", json!({ "id": ada.create("in the trash").await["id"] })).await;
    refresh(&app, &refresh_token(&registered)).await.data("refreshSession");
    let ended = app.login("ada@example.com", PASSWORD).await.token();
    app.ask_as(&ended, "mutation { logout { revokedSessionIds } }", Value::Null).await.data("logout");
    app.login("ada@example.com", "wrong").await.code();
    let before = rows(&app, COUNTS).await;
    for seconds in [40 * DAY, -80 * DAY, 4000 * DAY] {
        other.skew(seconds);
        delete_expired(&other.state).await.unwrap();
        other.state.auth.store_last_seen().await.unwrap();
        assert_eq!(rows(&app, COUNTS).await, before, "{seconds} s");
    }
    app.me(&ada.token).await.data("me");
}

#[tokio::test]
async fn a_process_ahead_or_behind_serves_its_users() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await.data("register");
    for days in [40, -40] {
        let other = app.beside(&[]).await;
        other.skew(days * DAY);
        let opened = other.login("ada@example.com", PASSWORD).await;
        let ada = Owner { app: &other, token: opened.token() };
        let sessions = "{ me { sessions { totalCount nodes { current } } } }";
        let listed = ada.ask(sessions, Value::Null).await;
        let nodes = listed.data("me")["sessions"]["nodes"].as_array().unwrap();
        assert!(nodes.iter().any(|session| session["current"] == true), "{nodes:?}");
        let id = ada.create("a").await["id"].clone();
        ada.todo("completeTodo", json!({ "id": id })).await;
        ada.todo("deleteTodo", json!({ "id": id })).await;
        delete_expired(&app.state).await.unwrap();
        other.state.auth.store_last_seen().await.unwrap();

        // The other processes read times of the database's clock alone, and the session continues there.
        let odd =
            "SELECT (SELECT count(*) FROM todos WHERE abs(extract(epoch FROM completed_at - now())) > 60
                OR abs(extract(epoch FROM deleted_at - now())) > 60)
            + (SELECT count(*) FROM sessions WHERE abs(extract(epoch FROM created_at - now())) > 60
                OR abs(extract(epoch FROM last_seen_at - now())) > 60
                OR abs(extract(epoch FROM expires_at - now()) - 2592000) > 60)
            + (SELECT count(*) FROM refresh_tokens WHERE abs(extract(epoch FROM created_at - now())) > 60)
            + (SELECT count(*) FROM security_events WHERE abs(extract(epoch FROM created_at - now())) > 60)
            + (SELECT count(*) FROM throttle_buckets WHERE abs(extract(epoch FROM updated_at - now())) > 60)";
        assert_eq!(rows(&app, &format!("SELECT ({odd})::text AS text")).await, ["0"], "{days} days");
        assert_eq!(rows(&app, "SELECT count(*)::text AS text FROM todos WHERE in_trash").await, ["1"]);
        let continued = refresh(&app, &refresh_token(&opened)).await;
        app.me(&continued.token()).await.data("me");
        app.database.sql("DELETE FROM todos").await;
    }
}

#[tokio::test]
async fn a_refresh_on_two_processes_apart_gives_one_successor() {
    for (first, second) in [(0, 30), (30, 0), (0, -30), (0, 40 * DAY), (-40 * DAY, 40 * DAY)] {
        let one = TestApp::start().await;
        let other = one.beside(&[]).await;
        let token = refresh_token(&one.register("ada@example.com").await);
        one.skew(first);
        other.skew(second);
        let successor = refresh_token(&refresh(&one, &token).await);
        assert_eq!(refresh_token(&refresh(&other, &token).await), successor, "{first} s, {second} s");
        refresh(&other, &successor).await.data("refreshSession");
        assert_eq!(rows(&one, "SELECT count(*)::text AS text FROM sessions").await, ["1"]);
    }
}

#[tokio::test]
async fn a_process_ahead_forgives_no_failed_logins() {
    let app = TestApp::start().await;
    let other = app.beside(&[]).await;
    app.register("ada@example.com").await.data("register");
    for _ in 0..7 {
        app.login("ada@example.com", "wrong").await.code();
    }
    for seconds in [7200, -14400] {
        other.skew(seconds);
        let refused = other.login("ada@example.com", PASSWORD).await;
        assert_eq!(refused.code(), "RATE_LIMITED", "{seconds} s");
        assert!(refused.error()["extensions"]["retryAfter"].as_i64().unwrap() <= 60);
    }
}
