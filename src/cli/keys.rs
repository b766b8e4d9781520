use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Subcommand, ValueEnum};
use pem::{EncodeConfig, LineEnding, Pem};

use super::print;
use crate::crypto;

/// Actions on keys.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum Action {
    /// Write a new key to standard output; save it to a file that only the service can read, and put that file first in
    /// JWT_KEY_FILES
    Generate {
        /// Signature algorithm
        #[arg(long, default_value = "EdDSA")]
        algorithm: Algorithm,
    },
}

/// Signature algorithms of access tokens.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Algorithm {
    /// Ed25519
    #[value(name = "EdDSA")]
    EdDsa,
    /// ECDSA with P-256 and SHA-256
    #[value(name = "ES256")]
    Es256,
    /// HMAC with SHA-256; the secret can also be used as JWT_SECRET
    #[value(name = "HS256")]
    Hs256,
}

pub(super) fn keys(action: Action) -> anyhow::Result<()> {
    let Action::Generate { algorithm } = action;
    let key = match algorithm {
        // PKCS#8 version 1, which more tools read than version 2.
        Algorithm::EdDsa => {
            to_pem(Ed25519KeyPair::generate_pkcs8v1(&aws_lc_rs::rand::SystemRandom::new())?.as_ref())
        }
        Algorithm::Es256 => {
            let random = aws_lc_rs::rand::SystemRandom::new();
            to_pem(EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?.as_ref())
        }
        Algorithm::Hs256 => format!("{}\n", URL_SAFE_NO_PAD.encode(crypto::random_bytes::<48>())),
    };
    print(&key)
}

fn to_pem(der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new("PRIVATE KEY", der), config)
}
