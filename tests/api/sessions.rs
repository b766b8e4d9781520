//! Sessions: refresh, lists, revocation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Answer, PASSWORD, TestApp, rows};

const REFRESH: &str = "mutation Refresh($token: String!) { refreshSession(input: { refreshToken: $token }) {
    accessToken refreshToken expiresAt user { id } } }";
const SESSIONS: &str = "{ me { sessions { totalCount nodes {
    id createdAt lastSeenAt expiresAt userAgent ipAddress current } } } }";

async fn refresh(app: &TestApp, token: &str) -> Answer {
    app.ask(REFRESH, json!({ "token": token })).await
}

fn text(answer: &Answer, mutation: &str, field: &str) -> String {
    answer.data(mutation)[field].as_str().unwrap().to_owned()
}

fn reason(answer: &Answer) -> (&str, &str) {
    (answer.code(), answer.error()["extensions"]["reason"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_for_a_new_one_that_continues_the_session() {
    let app = TestApp::start().await;
    let registered = app.register("ada@example.com").await;
    let first = text(&registered, "register", "refreshToken");
    let refreshed = refresh(&app, &first).await;
    let second = text(&refreshed, "refreshSession", "refreshToken");
    assert_ne!(first, second);
    app.me(&text(&refreshed, "refreshSession", "accessToken")).await.data("me");
    let third = text(&refresh(&app, &second).await, "refreshSession", "refreshToken");
    assert_ne!(second, third);
    let linked = "SELECT count(*)::text AS text FROM refresh_tokens old JOIN refresh_tokens new
        ON old.successor_hash = new.token_hash WHERE old.used_at IS NOT NULL";
    assert_eq!(rows(&app, linked).await, ["2"]);
    assert_eq!(rows(&app, "SELECT count(*)::text AS text FROM sessions").await, ["1"]);
}

#[tokio::test]
async fn sessions_open_on_a_connection_whatever_it_has_prepared_before() {
    let app = TestApp::start().await;
    let token = text(&app.register("ada@example.com").await, "register", "refreshToken");
    // One connection, which prepares the inserts of a refresh, then those of a login, then those of a registration.
    let flags = ["--rate-limits=off", "--database-pool-size=1", "--database-pool-overflow=0"];
    let other = app.beside(&flags).await;
    refresh(&other, &token).await.data("refreshSession");
    other.login("ada@example.com", PASSWORD).await.data("login");
    other.register("bob@example.com").await.data("register");
    assert_eq!(other.register("bob@example.com").await.code(), "EMAIL_TAKEN");
    assert_eq!(rows(&app, "SELECT count(*)::text AS text FROM sessions").await, ["3"]);
}

#[tokio::test]
async fn of_50_parallel_refreshes_of_one_token_all_succeed_with_one_successor() {
    let app = Arc::new(TestApp::start().await);
    // Half of them in another process.
    let other = Arc::new(app.beside(&[]).await);
    let token = text(&app.register("ada@example.com").await, "register", "refreshToken");
    let mut tasks = JoinSet::new();
    for n in 0..50 {
        let app = Arc::clone(if n % 2 == 0 { &app } else { &other });
        let token = token.clone();
        tasks.spawn(async move { text(&refresh(&app, &token).await, "refreshSession", "refreshToken") });
    }
    let mut successors = tasks.join_all().await;
    successors.dedup();
    assert_eq!(successors.len(), 1);
    let live = "SELECT count(*)::text AS text FROM refresh_tokens WHERE used_at IS NULL";
    assert_eq!(rows(&app, live).await, ["1"]);
    assert_eq!(rows(&app, "SELECT count(*)::text AS text FROM refresh_tokens").await, ["2"]);
    refresh(&app, &successors[0]).await.data("refreshSession");
}

#[tokio::test]
async fn a_refresh_can_be_repeated_within_the_reuse_window() {
    let app = TestApp::start().await;
    let token = text(&app.register("ada@example.com").await, "register", "refreshToken");
    let successor = text(&refresh(&app, &token).await, "refreshSession", "refreshToken");
    app.pass(9).await;
    assert_eq!(text(&refresh(&app, &token).await, "refreshSession", "refreshToken"), successor);
}

#[tokio::test]
async fn a_replay_after_the_window_ends_the_session() {
    let app = TestApp::start().await;
    let token = text(&app.register("ada@example.com").await, "register", "refreshToken");
    let refreshed = refresh(&app, &token).await;
    let access = text(&refreshed, "refreshSession", "accessToken");
    let successor = text(&refreshed, "refreshSession", "refreshToken");
    app.pass(11).await;
    assert_eq!(reason(&refresh(&app, &token).await), ("UNAUTHENTICATED", "REVOKED"));
    assert_eq!(reason(&refresh(&app, &successor).await), ("UNAUTHENTICATED", "REVOKED"));
    assert_eq!(reason(&app.me(&access).await), ("UNAUTHENTICATED", "REVOKED"));
    let noted = "SELECT kind AS text FROM security_events WHERE kind = 'REFRESH_TOKEN_REUSED'";
    assert_eq!(rows(&app, noted).await.len(), 1);
}

#[tokio::test]
async fn a_session_is_extended_up_to_its_absolute_lifetime() {
    let app = TestApp::with(&["--refresh-token-ttl=10d", "--session-ttl=15d"]).await;
    let day = 86_400;
    let mut token = text(&app.register("ada@example.com").await, "register", "refreshToken");
    for _ in 0..2 {
        app.pass(7 * day).await;
        token = text(&refresh(&app, &token).await, "refreshSession", "refreshToken");
    }
    // Its last access token lives no longer than the session.
    app.pass(day - 60).await;
    let refreshed = refresh(&app, &token).await;
    let access = text(&refreshed, "refreshSession", "accessToken");
    app.pass(61).await;
    assert_eq!(reason(&app.me(&access).await), ("UNAUTHENTICATED", "EXPIRED"));
    let token = text(&refreshed, "refreshSession", "refreshToken");
    assert_eq!(reason(&refresh(&app, &token).await), ("UNAUTHENTICATED", "EXPIRED"));

    let unused = text(&app.register("grace@example.com").await, "register", "refreshToken");
    app.pass(10 * day).await;
    assert_eq!(reason(&refresh(&app, &unused).await), ("UNAUTHENTICATED", "EXPIRED"));
}

#[tokio::test]
async fn access_and_refresh_tokens_are_not_interchangeable() {
    let app = TestApp::start().await;
    let registered = app.register("ada@example.com").await;
    assert_eq!(reason(&refresh(&app, &registered.token()).await), ("UNAUTHENTICATED", "MALFORMED"));
    let token = text(&registered, "register", "refreshToken");
    assert_eq!(reason(&app.me(&token).await), ("UNAUTHENTICATED", "MALFORMED"));
    for wrong in ["", "nonsense", "todo_rt_", &token[1..], &token.to_uppercase()] {
        assert_eq!(reason(&refresh(&app, wrong).await), ("UNAUTHENTICATED", "MALFORMED"), "{wrong}");
    }
    let unknown = todo_api::auth::RefreshToken::generate();
    assert_eq!(reason(&refresh(&app, unknown.expose()).await), ("UNAUTHENTICATED", "REVOKED"));
    // A stolen database holds only the hash.
    let hash = rows(&app, "SELECT encode(token_hash, 'base64') AS text FROM refresh_tokens").await;
    assert_eq!(reason(&refresh(&app, &hash[0]).await), ("UNAUTHENTICATED", "MALFORMED"));
}

#[tokio::test]
async fn a_login_opens_a_new_session_whatever_token_it_carries() {
    let app = TestApp::start().await;
    let planted = app.register("mallory@example.com").await.token();
    app.register("ada@example.com").await;
    let login = "mutation { login(input: { email: \"ada@example.com\",
        password: \"correct horse battery staple\" }) { accessToken user { email } } }";
    let opened = app.ask_as(&planted, login, Value::Null).await;
    assert_eq!(opened.data("login")["user"]["email"], "ada@example.com");
    assert_ne!(opened.token(), planted);
    assert_eq!(app.me(&planted).await.data("me")["email"], "mallory@example.com");
}

#[tokio::test]
async fn a_user_sees_their_sessions_and_ends_one_of_them() {
    let app = TestApp::start().await;
    let first = app.register("ada@example.com").await.token();
    let second = app.login("ada@example.com", PASSWORD).await.token();
    app.register("grace@example.com").await;
    let listed = app.ask_as(&second, SESSIONS, Value::Null).await;
    let sessions = &listed.data("me")["sessions"];
    assert_eq!(sessions["totalCount"], 2);
    let nodes = sessions["nodes"].as_array().unwrap();
    assert_eq!(nodes.iter().map(|node| &node["current"]).collect::<Vec<_>>(), [&json!(true), &json!(false)]);
    assert!(nodes.iter().all(|node| node["ipAddress"] == "127.0.0.1"));

    let revoke = "mutation Revoke($id: ID!) { revokeSession(input: { id: $id }) { revokedSessionIds } }";
    let id = json!({ "id": nodes[1]["id"] });
    let revoked = app.ask_as(&second, revoke, id.clone()).await;
    assert_eq!(revoked.data("revokeSession")["revokedSessionIds"], json!([nodes[1]["id"]]));
    assert_eq!(reason(&app.me(&first).await), ("UNAUTHENTICATED", "REVOKED"));
    app.me(&second).await.data("me");
    assert_eq!(app.ask_as(&second, revoke, id).await.code(), "NOT_FOUND");
}

#[tokio::test]
async fn the_session_of_another_user_is_answered_like_a_missing_one() {
    let app = TestApp::start().await;
    let ada = app.register("ada@example.com").await.token();
    let grace = app.register("grace@example.com").await.token();
    let listed = app.ask_as(&grace, SESSIONS, Value::Null).await;
    let theirs = &listed.data("me")["sessions"]["nodes"][0]["id"];
    let revoke = "mutation Revoke($id: ID!) { revokeSession(input: { id: $id }) { revokedSessionIds } }";
    let mut answers = Vec::new();
    for id in [theirs.clone(), json!("6f3c1d9e-7f0e-4c1e-9d0a-0d6f5d0c7a11"), json!("nothing")] {
        answers.push(app.ask_as(&ada, revoke, json!({ "id": id })).await.body);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
    app.me(&grace).await.data("me");
}

#[tokio::test]
async fn lists_are_paged_by_cursors_and_broken_ones_are_refused() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await;
    for _ in 0..4 {
        app.login("ada@example.com", PASSWORD).await.data("login");
    }
    let token = app.login("ada@example.com", PASSWORD).await.token();
    let page = "query Page($after: String) { me { sessions(first: 2, after: $after) {
        edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }";
    let mut ids = Vec::new();
    let mut after = Value::Null;
    loop {
        let answer = app.ask_as(&token, page, json!({ "after": after })).await;
        let sessions = &answer.data("me")["sessions"];
        ids.extend(sessions["edges"].as_array().unwrap().iter().map(|edge| edge["node"]["id"].to_string()));
        assert_eq!(sessions["pageInfo"]["hasPreviousPage"], !after.is_null());
        after = sessions["pageInfo"]["endCursor"].clone();
        if sessions["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((count, ids.len()), (6, 6));
    for arguments in ["after: \"\"", "after: \"nonsense\"", "first: -1", "first: 101"] {
        let query = format!("{{ me {{ sessions({arguments}) {{ nodes {{ id }} }} }} }}");
        let answer = app.ask_as(&token, &query, Value::Null).await;
        assert!(["BAD_USER_INPUT", "OPERATION_TOO_COMPLEX"].contains(&answer.code()), "{arguments}");
    }
}

#[tokio::test]
async fn logout_ends_the_session_by_either_token() {
    let app = TestApp::start().await;
    let registered = app.register("ada@example.com").await;
    let logout = "mutation { logout { revokedSessionIds } }";
    let ended = app.ask_as(&registered.token(), logout, Value::Null).await;
    assert_eq!(ended.data("logout")["revokedSessionIds"].as_array().unwrap().len(), 1);
    assert_eq!(reason(&app.me(&registered.token()).await), ("UNAUTHENTICATED", "REVOKED"));
    let token = text(&registered, "register", "refreshToken");
    assert_eq!(reason(&refresh(&app, &token).await), ("UNAUTHENTICATED", "REVOKED"));

    let opened = app.login("ada@example.com", PASSWORD).await;
    app.pass(3600).await;
    let by_refresh = "mutation Logout($token: String!) {
        logout(input: { refreshToken: $token }) { revokedSessionIds } }";
    let token = json!({ "token": text(&opened, "login", "refreshToken") });
    let ended = app.ask_as(&opened.token(), by_refresh, token).await;
    assert_eq!(ended.data("logout")["revokedSessionIds"].as_array().unwrap().len(), 1);
    assert_eq!(reason(&app.ask(logout, Value::Null).await), ("UNAUTHENTICATED", "MISSING"));
}

#[tokio::test]
async fn logout_others_and_everywhere_end_just_those() {
    let app = TestApp::start().await;
    let first = app.register("ada@example.com").await.token();
    let second = app.login("ada@example.com", PASSWORD).await.token();
    let grace = app.register("grace@example.com").await.token();
    let ended = app.ask_as(&second, "mutation { logoutOthers { revokedSessionIds } }", Value::Null).await;
    assert_eq!(ended.data("logoutOthers")["revokedSessionIds"].as_array().unwrap().len(), 1);
    assert_eq!(reason(&app.me(&first).await), ("UNAUTHENTICATED", "REVOKED"));
    app.me(&second).await.data("me");
    let ended = app.ask_as(&second, "mutation { logoutEverywhere { revokedSessionIds } }", Value::Null).await;
    assert_eq!(ended.data("logoutEverywhere")["revokedSessionIds"].as_array().unwrap().len(), 1);
    assert_eq!(reason(&app.me(&second).await), ("UNAUTHENTICATED", "REVOKED"));
    app.me(&grace).await.data("me");
}

#[tokio::test]
async fn a_session_ended_in_one_process_is_refused_in_another_within_a_second() {
    let one = TestApp::start().await;
    let other = one.beside(&[]).await;
    for (n, sql) in [
        None,
        Some("DELETE FROM users"),
        Some("TRUNCATE sessions CASCADE"),
        Some("TRUNCATE users CASCADE"),
        Some("SET search_path = ''; DELETE FROM public.sessions"),
        Some("SET search_path = ''; TRUNCATE public.sessions, public.refresh_tokens"),
    ]
    .into_iter()
    .enumerate()
    {
        let token = one.register(&format!("ada{n}@example.com")).await.token();
        // It has just polled for revocations: the worst case.
        other.me(&token).await.data("me");
        match sql {
            None => {
                one.ask_as(&token, "mutation { logout { revokedSessionIds } }", Value::Null)
                    .await
                    .data("logout");
                one.database.sql("DELETE FROM users").await;
            }
            Some(sql) => one.database.sql(sql).await,
        }
        let ended = Instant::now();
        // This operation reads no user, only the session.
        let others = "mutation { logoutOthers { revokedSessionIds } }";
        loop {
            let asked = ended.elapsed();
            if other.ask_as(&token, others, Value::Null).await.body.get("errors").is_some() {
                break;
            }
            assert!(asked < Duration::from_secs(1), "accepted {asked:?} after the end of the session");
        }
        let answer = other.ask_as(&token, others, Value::Null).await;
        assert_eq!(reason(&answer), ("UNAUTHENTICATED", "REVOKED"));
    }
}

#[tokio::test]
async fn consecutive_requests_share_a_poll_for_revocations() {
    let app = TestApp::start().await;
    let token = app.register("ada@example.com").await.token();
    let looks = "SELECT COALESCE(sum(seq_scan + idx_scan), 0)::text AS text
        FROM pg_stat_user_tables WHERE relname = 'revoked_sessions'";
    let began = Instant::now();
    for _ in 0..50 {
        app.me(&token).await.data("me");
    }
    let most = began.elapsed().as_millis() / 700 + 1;
    let looked: u128 = rows(&app, looks).await[0].parse().unwrap();
    assert!(looked <= most, "{looked} looks in {:?}", began.elapsed());
}

#[tokio::test]
async fn last_use_is_stored_without_a_write_per_request() {
    let app = TestApp::start().await;
    let token = app.register("ada@example.com").await.token();
    for _ in 0..20 {
        app.me(&token).await.data("me");
    }
    app.state.auth.store_last_seen().await.unwrap();
    app.pass(90).await;
    app.me(&token).await.data("me");
    app.state.auth.store_last_seen().await.unwrap();
    let after = "SELECT (last_seen_at - created_at >= interval '90 s')::text AS text FROM sessions";
    assert_eq!(rows(&app, after).await, ["true"]);
    let writes = "SELECT (n_tup_upd <= 2)::text AS text FROM pg_stat_user_tables WHERE relname = 'sessions'";
    assert_eq!(rows(&app, writes).await, ["true"]);
}

#[tokio::test]
async fn a_session_in_use_outlives_a_hundred_logins_within_a_minute() {
    let app = TestApp::with(&["--rate-limits=off"]).await;
    let first = app.register("ada@example.com").await.token();
    app.me(&first).await.data("me");
    app.database
        .sql(
            "INSERT INTO sessions (user_id, expires_at, last_seen_at)
             SELECT id, now() + interval '1 day', now() + interval '1 minute' FROM users, generate_series(1, 100)",
        )
        .await;
    let latest = app.login("ada@example.com", PASSWORD).await.token();
    assert_eq!(rows(&app, "SELECT count(*)::text AS text FROM sessions").await, ["100"]);
    app.me(&first).await.data("me");
    app.me(&latest).await.data("me");
}

#[tokio::test]
async fn one_user_has_a_bounded_number_of_sessions() {
    let app = TestApp::with(&["--rate-limits=off"]).await;
    let first = app.register("ada@example.com").await.token();
    app.database
        .sql(
            "INSERT INTO sessions (user_id, expires_at, last_seen_at)
             SELECT id, now() + interval '1 day', now() + interval '1 minute' FROM users, generate_series(1, 99)",
        )
        .await;
    app.login("ada@example.com", PASSWORD).await.data("login");
    assert_eq!(rows(&app, "SELECT count(*)::text AS text FROM sessions").await, ["100"]);
    assert_eq!(reason(&app.me(&first).await), ("UNAUTHENTICATED", "REVOKED"));
}
