use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::{Subcommand, ValueEnum};

use super::print;
use crate::crypto;

/// What to do with keys.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum Action {
    /// Write a new key to standard output: put it into a file that only the service can read, and name that first in
    /// JWT_KEY_FILES
    Generate {
        /// What kind of key
        #[arg(long, default_value = "EdDSA")]
        algorithm: Algorithm,
    },
}

/// Ways of signing access tokens.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Algorithm {
    /// Ed25519
    #[value(name = "EdDSA")]
    EdDsa,
    /// ECDSA with P-256 and SHA-256
    #[value(name = "ES256")]
    Es256,
    /// A secret, for HMAC with SHA-256; it also does as JWT_SECRET
    #[value(name = "HS256")]
    Hs256,
}

/// Does it.
pub(super) fn keys(action: Action) -> anyhow::Result<()> {
    let Action::Generate { algorithm } = action;
    let key = match algorithm {
        // The first version of the format, which all tools read.
        Algorithm::EdDsa => {
            pem(Ed25519KeyPair::generate_pkcs8v1(&aws_lc_rs::rand::SystemRandom::new())?.as_ref())
        }
        Algorithm::Es256 => {
            let random = aws_lc_rs::rand::SystemRandom::new();
            pem(EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?.as_ref())
        }
        Algorithm::Hs256 => format!("{}\n", URL_SAFE_NO_PAD.encode(crypto::random_bytes::<48>())),
    };
    print(&key);
    Ok(())
}

/// The text form of a private key (RFC 7468).
fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem + "-----END PRIVATE KEY-----\n"
}
