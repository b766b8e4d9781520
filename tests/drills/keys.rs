//! Signing keys made by openssl.

use tempfile::TempDir;

use crate::support::TestApp;

#[tokio::test]
async fn keys_made_by_openssl_are_accepted() {
    let dir = TempDir::new().unwrap();
    for (name, options) in [
        ("ed", vec!["-algorithm", "ed25519"]),
        ("ec", vec!["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ] {
        let path = dir.path().join(name);
        let made = std::process::Command::new("openssl")
            .arg("genpkey")
            .args(&options)
            .arg("-out")
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        let app = TestApp::with(&[&format!("--jwt-key-files={}", path.display())]).await;
        let token = app.register("ada@example.com").await.token();
        app.me(&token).await.data("me");
    }
}
