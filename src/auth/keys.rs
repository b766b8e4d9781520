use std::path::Path;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use secrecy::{ExposeSecret, SecretSlice};

use super::key_file::{self, KeyFile, is_pem};
use crate::crypto;

/// A key that signs and verifies access tokens.
pub struct SigningKey {
    /// The `kid` in the header of its tokens.
    pub(super) id: String,
    /// The only algorithm used with this key; a token's header can't choose another.
    pub(super) algorithm: Algorithm,
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
    /// Public key; `None` for a shared secret.
    pub(super) public: Option<Jwk>,
}

impl SigningKey {
    /// Minimum length of a secret in bytes: the output of the hash of HS256 (RFC 7518, section 3.2).
    pub const MIN_SECRET_BYTES: usize = 32;

    /// Creates an HS256 key from text; surrounding white space does not count towards its length.
    pub fn from_text(secret: &SecretSlice<u8>) -> anyhow::Result<Self> {
        let text = secret.expose_secret().trim_ascii();
        ensure!(!is_pem(text), "holds PEM; put it into a file, and name that in JWT_KEY_FILES");
        Self::check_length(text)?;
        Self::from_secret(secret)
    }

    /// Creates an HS256 key from any bytes.
    pub fn from_secret(secret: &SecretSlice<u8>) -> anyhow::Result<Self> {
        let secret = secret.expose_secret();
        Self::check_length(secret)?;
        let id = crypto::hmac_sha256(secret, b"key id");
        Ok(Self {
            id: URL_SAFE_NO_PAD.encode(id.first_chunk::<12>().unwrap_or(&[0; 12])),
            algorithm: Algorithm::HS256,
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            public: None,
        })
    }

    fn check_length(secret: &[u8]) -> anyhow::Result<()> {
        ensure!(
            secret.len() >= Self::MIN_SECRET_BYTES,
            "has {} bytes; at least {} are needed, for example from: todo-api keys generate --algorithm HS256",
            secret.len(),
            Self::MIN_SECRET_BYTES,
        );
        Ok(())
    }

    /// Reads a key file: a private key for Ed25519 or P-256 in PKCS#8 as PEM, or else a secret for HS256.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let read = std::fs::read(path).map(SecretSlice::from);
        let content = read.with_context(|| format!("{} can't be read", path.display()))?;
        let key = match key_file::classify(content.expose_secret()) {
            Ok(KeyFile::Pem(pem)) => Self::from_pem(pem),
            Ok(KeyFile::Secret(secret)) => Self::from_secret(&secret.to_vec().into()),
            Err(error) => Err(error),
        };
        key.with_context(|| path.display().to_string())
    }

    /// Creates a key from a private key for Ed25519 or P-256 in PKCS#8 as PEM.
    fn from_pem(pem: &[u8]) -> anyhow::Result<Self> {
        let of_kind = [
            (Algorithm::EdDSA, EncodingKey::from_ed_pem(pem)),
            (Algorithm::ES256, EncodingKey::from_ec_pem(pem)),
        ];
        for (algorithm, encoding) in of_kind {
            let Ok(encoding) = encoding else { continue };
            let Ok(mut public) = Jwk::from_encoding_key(&encoding, algorithm) else { continue };
            let id = public.thumbprint(ThumbprintHash::SHA256)?;
            public.common.key_id = Some(id.clone());
            public.common.public_key_use = Some(PublicKeyUse::Signature);
            let decoding = DecodingKey::from_jwk(&public)?;
            return Ok(Self { id, algorithm, encoding, decoding, public: Some(public) });
        }
        bail!("holds a key that can't be used; {}", key_file::EXPECTED)
    }
}

/// Keys for access tokens: the first signs, all verify.
pub struct SigningKeys {
    /// The signing key.
    pub first: SigningKey,
    /// Previous keys, which verify the tokens they signed.
    pub others: Vec<SigningKey>,
}
