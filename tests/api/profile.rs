//! Changes and deletion of an account, and its security events.

use serde_json::{Value, json};

use crate::support::{Answer, PASSWORD, TestApp, rows};

const NEW: &str = "a quite different horse battery staple";

async fn change_password(app: &TestApp, token: &str, current: &str, new: &str) -> Answer {
    let query = "mutation Change($input: ChangePasswordInput!) {
        changePassword(input: $input) { user { id } revokedSessionIds } }";
    app.ask_as(token, query, json!({ "input": { "currentPassword": current, "newPassword": new } })).await
}

async fn change_email(app: &TestApp, token: &str, email: &str, password: &str) -> Answer {
    let query =
        "mutation Change($input: ChangeEmailInput!) { changeEmail(input: $input) { user { email } } }";
    app.ask_as(token, query, json!({ "input": { "email": email, "password": password } })).await
}

async fn delete_account(app: &TestApp, token: &str, password: &str) -> Answer {
    let query =
        "mutation Delete($input: DeleteAccountInput!) { deleteAccount(input: $input) { deletedUserId } }";
    app.ask_as(token, query, json!({ "input": { "password": password } })).await
}

#[tokio::test]
async fn the_name_changes_and_null_or_absence_keeps_it() {
    let app = TestApp::start().await;
    let token = app.register("ada@example.com").await.token();
    let query =
        "mutation Update($input: UpdateProfileInput!) { updateProfile(input: $input) { user { name } } }";
    for (input, expected) in [
        (json!({ "name": " Ada K. " }), "Ada K."),
        (json!({ "name": null }), "Ada K."),
        (json!({}), "Ada K."),
    ] {
        let answer = app.ask_as(&token, query, json!({ "input": input })).await;
        assert_eq!(answer.data("updateProfile")["user"]["name"], expected);
    }
    let answer = app.ask_as(&token, query, json!({ "input": { "name": "" } })).await;
    assert_eq!(answer.error()["extensions"]["fields"][0]["path"], json!(["input", "name"]));
    assert_eq!(app.ask(query, json!({ "input": {} })).await.code(), "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_new_password_needs_the_current_one_and_ends_the_other_sessions() {
    let app = TestApp::start().await;
    let first = app.register("ada@example.com").await.token();
    let second = app.login("ada@example.com", PASSWORD).await.token();
    assert_eq!(change_password(&app, &second, "wrong", NEW).await.code(), "INVALID_CREDENTIALS");
    let weak = change_password(&app, &second, PASSWORD, "password").await;
    assert_eq!(weak.error()["extensions"]["fields"][0]["path"], json!(["input", "newPassword"]));
    let changed = change_password(&app, &second, PASSWORD, NEW).await;
    assert_eq!(changed.data("changePassword")["revokedSessionIds"].as_array().unwrap().len(), 1);
    assert_eq!(app.me(&first).await.error()["extensions"]["reason"], "REVOKED");
    app.me(&second).await.data("me");
    assert_eq!(app.login("ada@example.com", PASSWORD).await.code(), "INVALID_CREDENTIALS");
    app.login("ada@example.com", NEW).await.data("login");
}

#[tokio::test]
async fn guessing_the_current_password_is_throttled_by_session() {
    let app = TestApp::start().await;
    let token = app.register("ada@example.com").await.token();
    let other = app.login("ada@example.com", PASSWORD).await.token();
    for _ in 0..5 {
        assert_eq!(delete_account(&app, &token, "wrong").await.code(), "INVALID_CREDENTIALS");
    }
    assert_eq!(change_password(&app, &token, PASSWORD, NEW).await.code(), "RATE_LIMITED");
    // The owner can still end this session with the others.
    change_password(&app, &other, PASSWORD, NEW).await.data("changePassword");
    assert_eq!(app.me(&token).await.error()["extensions"]["reason"], "REVOKED");
}

#[tokio::test]
async fn the_email_address_changes_with_the_password_unless_it_is_taken() {
    let app = TestApp::start().await;
    let token = app.register("ada@example.com").await.token();
    app.register("grace@example.com").await.data("register");
    assert_eq!(change_email(&app, &token, "new@example.com", "wrong").await.code(), "INVALID_CREDENTIALS");
    assert_eq!(change_email(&app, &token, "GRACE@example.com", PASSWORD).await.code(), "EMAIL_TAKEN");
    assert_eq!(change_email(&app, &token, "nobody", PASSWORD).await.code(), "BAD_USER_INPUT");
    let changed = change_email(&app, &token, "Ada.K@example.com", PASSWORD).await;
    assert_eq!(changed.data("changeEmail")["user"]["email"], "Ada.K@example.com");
    app.login("ada.k@example.com", PASSWORD).await.data("login");
    assert_eq!(app.login("ada@example.com", PASSWORD).await.code(), "INVALID_CREDENTIALS");
}

#[tokio::test]
async fn changes_of_the_address_count_as_registrations_and_so_probe_no_more_addresses() {
    let app = TestApp::start().await;
    let token = app.register("ada@example.com").await.token();
    app.register("grace@example.com").await.data("register");
    let mut codes = Vec::new();
    while codes.last().is_none_or(|code| code == "EMAIL_TAKEN") {
        codes.push(change_email(&app, &token, "grace@example.com", PASSWORD).await.code().to_owned());
        assert!(codes.len() < 60);
    }
    assert_eq!(codes.last().unwrap(), "RATE_LIMITED");
}

#[tokio::test]
async fn a_deleted_account_is_gone_with_all_its_data() {
    let app = TestApp::start().await;
    let token = app.register("ada@example.com").await.token();
    app.register("grace@example.com").await.data("register");
    assert_eq!(delete_account(&app, &token, "wrong").await.code(), "INVALID_CREDENTIALS");
    let id = app.me(&token).await.data("me")["id"].clone();
    assert_eq!(delete_account(&app, &token, PASSWORD).await.data("deleteAccount")["deletedUserId"], id);
    assert_eq!(app.me(&token).await.error()["extensions"]["reason"], "REVOKED");
    assert_eq!(app.login("ada@example.com", PASSWORD).await.code(), "INVALID_CREDENTIALS");
    let id = id.as_str().unwrap();
    let left = format!(
        "SELECT count(*)::text AS text FROM sessions WHERE user_id = '{id}'
         UNION ALL SELECT count(*)::text FROM security_events WHERE user_id = '{id}'
         UNION ALL SELECT count(*)::text FROM users",
    );
    assert_eq!(rows(&app, &left).await, ["0", "0", "1"]);
    let noted = "SELECT detail->>'userId' AS text FROM security_events WHERE kind = 'ACCOUNT_DELETED'";
    assert_eq!(rows(&app, noted).await, [id]);
    app.register("ada@example.com").await.data("register");
}

#[tokio::test]
async fn a_login_that_overlaps_a_change_of_the_password_leaves_no_session_behind() {
    let app = std::sync::Arc::new(TestApp::with(&["--rate-limits=off"]).await);
    let mut token = app.register("ada@example.com").await.token();
    let mut passwords = [PASSWORD, NEW];
    for _ in 0..5 {
        let logins = (0..4).map(|_| {
            let app = std::sync::Arc::clone(&app);
            let password = passwords[0];
            tokio::spawn(async move { app.login("ada@example.com", password).await })
        });
        let logins: Vec<_> = logins.collect();
        change_password(&app, &token, passwords[0], passwords[1]).await.data("changePassword");
        for login in logins {
            login.await.unwrap();
        }
        assert_eq!(rows(&app, "SELECT count(*)::text AS text FROM sessions").await, ["1"]);
        passwords.reverse();
        token = app.login("ada@example.com", passwords[0]).await.token();
        app.ask_as(&token, "mutation { logoutOthers { revokedSessionIds } }", Value::Null)
            .await
            .data("logoutOthers");
    }
}

#[tokio::test]
async fn a_user_sees_what_happened_to_their_account_and_no_secret_is_kept() {
    let app = TestApp::start().await;
    app.register("ada@example.com").await.data("register");
    app.register("grace@example.com").await.data("register");
    app.login("ada@example.com", "hunter2 hunter2").await;
    let token = app.login("ada@example.com", PASSWORD).await.token();
    change_email(&app, &token, "ada.k@example.com", PASSWORD).await.data("changeEmail");
    change_password(&app, &token, PASSWORD, NEW).await.data("changePassword");
    let query =
        "{ me { securityEvents { totalCount nodes { id kind createdAt ipAddress userAgent sessionId } } } }";
    let answer = app.ask_as(&token, query, Value::Null).await;
    let events = &answer.data("me")["securityEvents"];
    let kinds: Vec<_> =
        events["nodes"].as_array().unwrap().iter().map(|event| event["kind"].clone()).collect();
    let expected = [
        "SESSION_REVOKED",
        "PASSWORD_CHANGED",
        "EMAIL_CHANGED",
        "LOGIN_SUCCEEDED",
        "LOGIN_FAILED",
        "REGISTERED",
    ];
    let mut seen = kinds.clone();
    let mut wanted = expected.map(Value::from).to_vec();
    seen.sort_by_key(ToString::to_string);
    wanted.sort_by_key(ToString::to_string);
    assert_eq!((seen, &events["totalCount"]), (wanted, &json!(6)));
    assert!(events["nodes"].as_array().unwrap().iter().all(|event| event["ipAddress"] == "127.0.0.1"));
    let all = rows(&app, "SELECT security_events::text AS text FROM security_events").await.join("\n");
    for secret in ["hunter2", PASSWORD, NEW, "todo_rt_", "eyJ", "$argon2"] {
        assert!(!all.contains(secret), "{secret}");
    }
    let ids = "SELECT count(*)::text AS text FROM security_events WHERE request_id IS NULL";
    assert_eq!(rows(&app, ids).await, ["0"]);
}

#[tokio::test]
async fn concurrent_changes_of_one_account_do_not_deadlock() {
    let app = TestApp::with(&["--rate-limits=off"]).await;
    let refresh = "mutation R($t: String!) { refreshSession(input: { refreshToken: $t }) { refreshToken } }";
    let everywhere = "mutation { logoutEverywhere { revokedSessionIds } }";
    for round in 0..10 {
        let email = format!("ada{round}@example.com");
        let opened = app.register(&email).await;
        let (token, refresh_token) =
            (opened.token(), json!({ "t": opened.data("register")["refreshToken"] }));
        let new_email = format!("new.{email}");
        let (refreshes, logins, changes) = tokio::join!(
            async {
                tokio::join!(app.ask(refresh, refresh_token.clone()), app.ask(refresh, refresh_token.clone()))
            },
            async { tokio::join!(app.login(&email, PASSWORD), app.login(&email, PASSWORD)) },
            async {
                tokio::join!(
                    change_password(&app, &token, PASSWORD, NEW),
                    change_email(&app, &token, &new_email, PASSWORD),
                    delete_account(&app, &token, PASSWORD),
                    app.ask_as(&token, everywhere, Value::Null),
                )
            },
        );
        let answers =
            [refreshes.0, refreshes.1, logins.0, logins.1, changes.0, changes.1, changes.2, changes.3];
        for answer in answers.iter().filter(|answer| answer.body.get("errors").is_some()) {
            assert!(["UNAUTHENTICATED", "INVALID_CREDENTIALS"].contains(&answer.code()), "{:#}", answer.body);
        }
    }
}
