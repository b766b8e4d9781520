//! Cryptography: AWS-LC for TLS, tokens, hashes and randomness alike.

use aws_lc_rs::{digest, hmac, rand};

/// Makes AWS-LC the provider of rustls and jsonwebtoken; to be called before either is used.
///
/// Both can be set once in a process. Calling this again, as parallel tests do, changes nothing.
pub fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// Bytes that nobody can guess.
#[expect(
    clippy::expect_used,
    reason = "without randomness no secret can be made; the system's generator does not fail"
)]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// SHA-256.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    hash
}

/// HMAC with SHA-256: what only a holder of the key can compute.
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut tag = [0; 32];
    tag.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref());
    tag
}
