use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use crate::crypto;

/// The secret that continues a session: 256 random bits behind a prefix that scanners can recognise.
#[derive(Clone, Debug)]
pub struct RefreshToken(SecretString);

impl RefreshToken {
    /// What every refresh token begins with.
    pub const PREFIX: &'static str = "todo_rt_";

    /// Makes a token.
    pub fn generate() -> Self {
        let secret = URL_SAFE_NO_PAD.encode(crypto::random_bytes::<32>());
        Self(format!("{}{secret}", Self::PREFIX).into())
    }

    /// What is stored of it. A fast hash is enough: nobody can guess 256 random bits.
    pub fn hash(&self) -> [u8; 32] {
        crypto::sha256(self.0.expose_secret().as_bytes())
    }

    /// The token as text, for the client alone.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}
