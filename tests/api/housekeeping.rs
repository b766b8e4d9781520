//! Expired rows are deleted, by one process at a time.

use diesel_async::{AsyncConnection, AsyncPgConnection};
use todo_api::housekeeping::delete_expired;
use todo_api::models::lock_expired;

use crate::support::{TestApp, rows};

async fn count(app: &TestApp, table: &str) -> usize {
    rows(app, &format!("SELECT count(*)::text AS text FROM {table}")).await[0].parse().unwrap()
}

async fn fill(app: &TestApp) {
    app.register("ada@example.com").await.data("register");
    app.database
        .sql(
            "INSERT INTO sessions (user_id, expires_at) SELECT id, now() - interval '1 day' FROM users, generate_series(1, 700);
             INSERT INTO refresh_tokens (token_hash, session_id, used_at, sealed_successor)
             SELECT sha256(n::text::bytea), (SELECT id FROM sessions WHERE expires_at > now()),
                    now() - interval '1 day' * n, 'sealed' FROM generate_series(1, 60) n;
             INSERT INTO revoked_sessions (session_id, revoked_at)
             SELECT gen_random_uuid(), now() - interval '1 hour' * n FROM generate_series(1, 48) n;
             INSERT INTO throttle_buckets (key, level, updated_at, expires_at)
             SELECT sha256(n::text::bytea), 1, now(), now() - interval '1 hour' FROM generate_series(1, 1200) n;
             INSERT INTO security_events (user_id, kind, created_at)
             SELECT id, 'LOGIN_FAILED', now() - interval '1 day' * n FROM users, generate_series(1, 120) n;",
        )
        .await;
}

#[tokio::test]
async fn only_expired_rows_are_deleted() {
    let app = TestApp::start().await;
    fill(&app).await;
    delete_expired(&app.state).await.unwrap();
    assert_eq!(count(&app, "sessions").await, 1);
    // The live token, and those used within 30 days.
    assert_eq!(count(&app, "refresh_tokens").await, 31);
    assert_eq!(count(&app, "refresh_tokens WHERE sealed_successor IS NOT NULL").await, 0);
    assert_eq!(count(&app, "revoked_sessions").await, 24);
    assert_eq!(count(&app, "throttle_buckets").await, 1);
    // The registration, and the events of 90 days.
    assert_eq!(count(&app, "security_events").await, 91);
}

#[tokio::test]
async fn one_process_at_a_time_deletes() {
    let app = TestApp::start().await;
    fill(&app).await;
    let mut other = app.database.connect().await;
    let busy = async |conn: &mut AsyncPgConnection| {
        assert!(lock_expired(conn).await.unwrap());
        delete_expired(&app.state).await.unwrap();
        assert_eq!(count(&app, "sessions").await, 701);
        diesel::QueryResult::Ok(())
    };
    other.transaction(busy).await.unwrap();
    delete_expired(&app.state).await.unwrap();
    assert_eq!(count(&app, "sessions").await, 1);
}
