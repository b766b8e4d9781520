//! Attacks on access tokens.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::support::{SECRET, TestApp};

/// Signs claims as the service does, or as an attacker would.
fn sign(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn claims(app: &TestApp, user_id: &Value) -> Value {
    let now = app.state.clock.now().timestamp();
    json!({
        "sub": user_id, "sid": "0b1e3c52-6f0a-4c6e-8d5e-2f1f6a1d9b11", "iss": "todo-api", "aud": "todo-api", "iat": now, "exp": now + 60,
        "jti": "6f3c1d9e-7f0e-4c1e-9d0a-0d6f5d0c7a11",
    })
}

async fn registered(app: &TestApp) -> (String, Value) {
    let answer = app.register("ada@example.com").await;
    (answer.token(), answer.data("register")["user"]["id"].clone())
}

async fn assert_refused(app: &TestApp, token: &str, reason: &str, what: &str) {
    let answer = app.me(token).await;
    let extensions = &answer.error()["extensions"];
    assert_eq!(
        (&extensions["code"], &extensions["reason"]),
        (&json!("UNAUTHENTICATED"), &json!(reason)),
        "{what}"
    );
    assert_eq!(answer.body["data"]["me"], Value::Null, "{what}");
}

#[tokio::test]
async fn a_token_signed_with_the_secret_is_accepted() {
    let app = TestApp::start().await;
    let (_, id) = registered(&app).await;
    let token = sign(Algorithm::HS256, SECRET, &claims(&app, &id));
    assert_eq!(app.me(&token).await.data("me")["id"], id);
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let app = TestApp::start().await;
    let (genuine, id) = registered(&app).await;
    let payload = URL_SAFE_NO_PAD.encode(claims(&app, &id).to_string());
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": algorithm, "typ": "JWT" }).to_string());
        assert_refused(&app, &format!("{header}.{payload}."), "MALFORMED", algorithm).await;
        let signature = genuine.rsplit_once('.').unwrap().1;
        assert_refused(&app, &format!("{header}.{payload}.{signature}"), "MALFORMED", algorithm).await;
    }
    let without = genuine.rsplit_once('.').unwrap().0;
    assert_refused(&app, without, "MALFORMED", "no signature").await;
    assert_refused(&app, &format!("{without}."), "MALFORMED", "an empty signature").await;
}

#[tokio::test]
async fn a_token_of_another_key_or_algorithm_is_refused() {
    let app = TestApp::start().await;
    let (_, id) = registered(&app).await;
    let claims = claims(&app, &id);
    assert_refused(&app, &sign(Algorithm::HS256, &"x".repeat(32), &claims), "MALFORMED", "another key").await;
    assert_refused(&app, &sign(Algorithm::HS256, "", &claims), "MALFORMED", "an empty key").await;
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        assert_refused(&app, &sign(algorithm, SECRET, &claims), "MALFORMED", &format!("{algorithm:?}")).await;
    }
}

#[tokio::test]
async fn a_tampered_token_is_refused() {
    let app = TestApp::start().await;
    let (token, _) = registered(&app).await;
    for (place, byte) in token.bytes().enumerate().step_by(7) {
        let mut bytes = token.clone().into_bytes();
        bytes[place] = if byte == b'A' { b'B' } else { b'A' };
        let tampered = String::from_utf8(bytes).unwrap();
        assert_refused(&app, &tampered, "MALFORMED", &format!("byte {place}")).await;
    }
}

#[tokio::test]
async fn every_claim_is_required_and_verified() {
    let app = TestApp::start().await;
    let (_, id) = registered(&app).await;
    let right = claims(&app, &id);
    for claim in ["sub", "sid", "iss", "aud", "iat", "exp", "jti"] {
        let mut without = right.clone();
        without.as_object_mut().unwrap().remove(claim);
        assert_refused(&app, &sign(Algorithm::HS256, SECRET, &without), "MALFORMED", claim).await;
    }
    for (claim, value) in [
        ("sub", json!("not a UUID")),
        ("sub", json!(7)),
        ("iss", json!("somebody")),
        ("aud", json!("something")),
        ("aud", json!(["something"])),
        ("exp", json!("never")),
        ("exp", Value::Null),
    ] {
        let mut wrong = right.clone();
        wrong[claim] = value.clone();
        assert_refused(
            &app,
            &sign(Algorithm::HS256, SECRET, &wrong),
            "MALFORMED",
            &format!("{claim} {value}"),
        )
        .await;
    }
}

#[tokio::test]
async fn an_expired_token_is_refused_without_leeway() {
    let app = TestApp::start().await;
    let (_, id) = registered(&app).await;
    let mut expired = claims(&app, &id);
    expired["exp"] = json!(app.state.clock.now().timestamp());
    assert_refused(&app, &sign(Algorithm::HS256, SECRET, &expired), "EXPIRED", "exp is now").await;
}

#[tokio::test]
async fn a_token_is_valid_from_its_nbf_on() {
    let app = TestApp::start().await;
    let (_, id) = registered(&app).await;
    let now = app.state.clock.now().timestamp();
    for (nbf, valid) in [
        (json!(now), true),
        (json!(now - 60), true),
        (json!(0), true),
        (json!(-1), true),
        (json!(now + 30), false),
        (json!(now + 86_400), false),
        (json!(i64::MAX), false),
        (json!("soon"), false),
        (Value::Null, false),
    ] {
        let mut claims = claims(&app, &id);
        claims["nbf"] = nbf.clone();
        let token = sign(Algorithm::HS256, SECRET, &claims);
        if valid {
            assert_eq!(app.me(&token).await.data("me")["id"], id, "{nbf}");
        } else {
            assert_refused(&app, &token, "MALFORMED", &format!("nbf {nbf}")).await;
        }
    }
    // The clocks of two processes differ, so a token may come from the future.
    let mut issued_ahead = claims(&app, &id);
    issued_ahead["iat"] = json!(now + 30);
    app.me(&sign(Algorithm::HS256, SECRET, &issued_ahead)).await.data("me");
}

#[tokio::test]
async fn the_token_of_a_deleted_user_is_revoked() {
    let app = TestApp::start().await;
    let (token, _) = registered(&app).await;
    app.database.sql("DELETE FROM users").await;
    assert_refused(&app, &token, "REVOKED", "deleted").await;
}

#[tokio::test]
async fn a_token_in_use_is_refused_once_its_session_ends() {
    let app = TestApp::start().await;
    let (token, id) = registered(&app).await;
    for _ in 0..2 {
        assert_eq!(app.me(&token).await.data("me")["id"], id);
    }
    app.ask_as(&token, "mutation { logout { revokedSessionIds } }", Value::Null).await.data("logout");
    assert_refused(&app, &token, "REVOKED", "after logout").await;
}

#[tokio::test]
async fn a_refresh_token_is_no_access_token() {
    let app = TestApp::start().await;
    let answer = app.register("ada@example.com").await;
    let refresh_token = answer.data("register")["refreshToken"].as_str().unwrap();
    assert_refused(&app, refresh_token, "MALFORMED", "a refresh token").await;
}
