//! Keys that sign access tokens.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use serde_json::{Value, json};
use tempfile::TempDir;
use todo_api::auth::SigningKey;

use crate::support::{PASSWORD, SECRET, Service, TestApp};

fn generate(dir: &Path, algorithm: &str) -> PathBuf {
    let output = Service::run(Service::command().args(["keys", "generate", "--algorithm", algorithm]));
    assert!(output.status.success());
    let path = dir.join(algorithm);
    std::fs::write(&path, output.stdout).unwrap();
    path
}

fn flag(files: &[&PathBuf]) -> String {
    let files: Vec<_> = files.iter().map(|path| path.to_str().unwrap()).collect();
    format!("--jwt-key-files={}", files.join(","))
}

fn header(token: &str) -> Value {
    let text = token.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

async fn published(app: &TestApp) -> Vec<Value> {
    let answer = app.http.get(app.url("/.well-known/jwks.json")).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/jwk-set+json");
    answer.json::<Value>().await.unwrap()["keys"].as_array().unwrap().clone()
}

#[tokio::test]
async fn keys_of_all_kinds_sign_and_public_keys_are_published() {
    let dir = TempDir::new().unwrap();
    for (algorithm, kind) in [("EdDSA", "OKP"), ("ES256", "EC"), ("HS256", "oct")] {
        let app = TestApp::with(&[&flag(&[&generate(dir.path(), algorithm)])]).await;
        let token = app.register("ada@example.com").await.token();
        app.me(&token).await.data("me");
        let header = header(&token);
        let keys = published(&app).await;
        assert_eq!(header["alg"], algorithm);
        if kind == "oct" {
            assert!(keys.is_empty(), "{keys:#?}");
            continue;
        }
        assert_eq!((keys.len(), &keys[0]["kty"], &keys[0]["kid"]), (1, &json!(kind), &header["kid"]));
        assert!(keys[0].get("d").is_none() && keys[0]["use"] == "sig");
        // Another service verifies with the published keys.
        let key = DecodingKey::from_jwk(&serde_json::from_value(keys[0].clone()).unwrap()).unwrap();
        let mut validation = jsonwebtoken::Validation::new(algorithm.parse().unwrap());
        validation.set_audience(&["todo-api"]);
        jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap();
    }
}

#[tokio::test]
async fn keys_rotate_without_logging_anyone_out() {
    let dir = TempDir::new().unwrap();
    let ed = generate(dir.path(), "EdDSA");
    let ec = generate(dir.path(), "ES256");
    let old = TestApp::start().await;
    let by_secret = old.register("ada@example.com").await.token();
    let middle = old.beside(&[&flag(&[&ed])]).await;
    let with_ed = middle.login("ada@example.com", PASSWORD).await.token();
    let new = old.beside(&[&flag(&[&ec, &ed])]).await;
    let with_p256 = new.login("ada@example.com", PASSWORD).await.token();
    for token in [&by_secret, &with_ed, &with_p256] {
        new.me(token).await.data("me");
    }
    assert_eq!(
        (header(&with_ed)["alg"].clone(), header(&with_p256)["alg"].clone()),
        (json!("EdDSA"), json!("ES256"))
    );
    assert_eq!(old.me(&with_ed).await.error()["extensions"]["reason"], "MALFORMED");
}

#[tokio::test]
async fn a_token_can_not_choose_how_a_key_is_used() {
    let dir = TempDir::new().unwrap();
    let ed = generate(dir.path(), "EdDSA");
    let app = TestApp::with(&[&flag(&[&ed])]).await;
    let genuine = app.register("ada@example.com").await.token();
    let kid = header(&genuine)["kid"].as_str().unwrap().to_owned();
    let payload = URL_SAFE_NO_PAD.decode(genuine.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    let public = published(&app).await[0].clone();
    let x = URL_SAFE_NO_PAD.decode(public["x"].as_str().unwrap()).unwrap();
    let secret_kid = header(&TestApp::start().await.register("a@example.com").await.token())["kid"].clone();
    let secret_kid = secret_kid.as_str().unwrap();
    let sign = |algorithm, kid: Option<&str>, key: &EncodingKey| {
        encode(&Header { kid: kid.map(Into::into), ..Header::new(algorithm) }, &claims, key).unwrap()
    };
    let own = EncodingKey::from_ed_pem(
        &std::fs::read(generate(TempDir::new().unwrap().keep().as_path(), "EdDSA")).unwrap(),
    );
    let own = own.unwrap();
    let ours = EncodingKey::from_ed_pem(&std::fs::read(&ed).unwrap()).unwrap();
    let by_secret = EncodingKey::from_secret(SECRET.as_bytes());
    for (what, token) in [
        ("the public key as a secret", sign(Algorithm::HS256, Some(&kid), &EncodingKey::from_secret(&x))),
        ("the same, without a kid", sign(Algorithm::HS256, None, &EncodingKey::from_secret(&x))),
        (
            "the JWK as a secret",
            sign(Algorithm::HS256, Some(&kid), &EncodingKey::from_secret(public.to_string().as_bytes())),
        ),
        ("the secret under the kid of another key", sign(Algorithm::HS256, Some(&kid), &by_secret)),
        ("a key under the kid of the secret", sign(Algorithm::EdDSA, Some(secret_kid), &ours)),
        (
            "a kid that is a path",
            sign(Algorithm::HS256, Some("../../dev/null"), &EncodingKey::from_secret(b"")),
        ),
        ("a kid that is SQL", sign(Algorithm::EdDSA, Some("' OR 1=1 --"), &ours)),
        ("an empty kid", sign(Algorithm::EdDSA, Some(""), &ours)),
        ("somebody's own key", sign(Algorithm::EdDSA, Some(&kid), &own)),
        ("somebody's own key, without a kid", sign(Algorithm::EdDSA, None, &own)),
    ] {
        let answer = app.me(&token).await;
        assert_eq!(answer.error()["extensions"]["reason"], "MALFORMED", "{what}");
    }
    // A key in the header is not trusted.
    let mut with_jwk = Header { kid: Some(kid), ..Header::new(Algorithm::EdDSA) };
    with_jwk.jku = Some("http://127.0.0.1:1/jwks.json".into());
    let token = encode(&with_jwk, &claims, &own).unwrap();
    assert_eq!(app.me(&token).await.error()["extensions"]["reason"], "MALFORMED");
    app.me(&sign(Algorithm::EdDSA, None, &ours)).await.data("me");
}

#[test]
fn a_bad_key_file_stops_the_start_with_its_name() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key");
    for (content, expected) in [
        ("short", "at least 32"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "openssl genpkey"),
        ("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", "openssl genpkey"),
        ("", "is empty"),
        (" \n", "is empty"),
    ] {
        std::fs::write(&path, content).unwrap();
        assert_refused(&path, expected);
    }
    assert_refused(dir.path(), "directory");
    assert_refused(&dir.path().join("missing"), "missing can't be read");
}

/// Asserts that a start with a key file fails, naming the setting, the file and the mistake, but not the content.
fn assert_refused(path: &Path, expected: &str) {
    let mut command = Service::command();
    command.env("TODO_DATA_DIR", "/dev/null/nowhere").env("JWT_KEY_FILES", path);
    let output = Service::run(&mut command);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{expected}: {message}");
    let names = ["JWT_KEY_FILES", path.to_str().unwrap(), expected];
    assert!(names.iter().all(|name| message.contains(name)), "{expected}: {message}");
}

#[test]
fn a_file_without_one_private_key_is_refused_by_what_it_holds() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key");
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let other = KeyPair::generate().unwrap();
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&other).unwrap();
    let labelled = |label: &str| other.serialize_pem().replace("PRIVATE KEY", label);
    let legacy = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n\
                  -----END EC PRIVATE KEY-----\n";
    for (content, expected) in [
        (key.serialize_der(), "DER"),
        (certificate.der().to_vec(), "DER"),
        (pem::parse(key.public_key_pem()).unwrap().into_contents(), "DER"),
        ([key.serialize_pem(), other.serialize_pem()].concat().into(), "2 keys"),
        ([key.serialize_pem(), certificate.pem()].concat().into(), "2 keys or certificates"),
        (certificate.pem().into(), "a certificate"),
        (key.public_key_pem().into(), "a public key"),
        (p384.serialize_pem().into(), "P-384"),
        (labelled("ENCRYPTED PRIVATE KEY").into(), "encrypted"),
        (legacy.into(), "encrypted"),
        (labelled("EC PRIVATE KEY").into(), "not PKCS#8"),
        (labelled("RSA PRIVATE KEY").into(), "an RSA key"),
        (labelled("OPENSSH PRIVATE KEY").into(), "OPENSSH PRIVATE KEY"),
        (base64::engine::general_purpose::STANDARD.encode(key.serialize_der()).into(), "BEGIN"),
        (format!("Bag Attributes\n{}", certificate.pem()).into(), "a certificate"),
        (key.serialize_pem().replace("-----END", "----END").into(), "damaged"),
        (
            br#"{"kty":"OKP","crv":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#.to_vec(),
            "JWK",
        ),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAA ada@example".to_vec(), "SSH"),
    ] {
        std::fs::write(&path, content).unwrap();
        assert_refused(&path, expected);
    }
    let mut command = Service::command();
    command.env("TODO_DATA_DIR", "/dev/null/nowhere").env("JWT_SECRET", key.serialize_pem());
    let output = Service::run(&mut command);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("JWT_SECRET: holds PEM"), "{message}");
}

#[test]
fn a_key_below_other_lines_and_a_binary_secret_are_accepted() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key");
    let key = std::fs::read_to_string(generate(dir.path(), "EdDSA")).unwrap();
    let sequence = [&[0x30, 0x20, 0x02][..], &[7; 40]].concat();
    for content in [format!("Bag Attributes\n{key}").into_bytes(), key.replace('\n', "\r\n").into(), sequence]
    {
        std::fs::write(&path, content).unwrap();
        SigningKey::from_file(&path).unwrap();
    }
}
