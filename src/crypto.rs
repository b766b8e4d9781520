//! Cryptography, all of it by AWS-LC: TLS, tokens, hashes and randomness.

use aws_lc_rs::{digest, hmac, rand};

/// Installs AWS-LC as the provider of rustls and jsonwebtoken, which has to happen before either is used.
///
/// Idempotent, since tests of one process call it in parallel.
pub fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// Returns cryptographically secure random bytes.
#[expect(
    clippy::expect_used,
    reason = "the system's generator does not fail, and no secret is safe without it"
)]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system's generator of random bytes works");
    bytes
}

/// Returns the SHA-256 hash.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    hash
}

/// Returns the HMAC with SHA-256.
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut tag = [0; 32];
    tag.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref());
    tag
}
