use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use crate::crypto;

/// Secret that refreshes a session: 256 random bits behind a prefix that secret scanners recognise.
#[derive(Clone, Debug)]
pub struct RefreshToken(SecretString);

impl RefreshToken {
    /// Prefix of every refresh token.
    pub const PREFIX: &'static str = "todo_rt_";
    /// Length in bytes: the prefix and 256 bits in base64.
    const LENGTH: usize = Self::PREFIX.len() + 43;

    /// Generates a token.
    pub fn generate() -> Self {
        let secret = URL_SAFE_NO_PAD.encode(crypto::random_bytes::<32>());
        Self(format!("{}{secret}", Self::PREFIX).into())
    }

    /// Parses a token sent by a client; returns `None` if it has not the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let ours = text.len() == Self::LENGTH
            && text.strip_prefix(Self::PREFIX).is_some_and(|secret| URL_SAFE_NO_PAD.decode(secret).is_ok());
        ours.then(|| Self(text.into()))
    }

    /// Returns the SHA-256 hash that is stored. A fast hash suffices for 256 random bits.
    pub fn hash(&self) -> [u8; 32] {
        crypto::sha256(self.0.expose_secret().as_bytes())
    }

    /// Returns the token as text, for its client alone.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Encrypts the successor under a key derived from this token.
    pub fn seal(&self, successor: &Self) -> anyhow::Result<Vec<u8>> {
        let mut text = successor.expose().as_bytes().to_vec();
        let tag = self.sealing_key()?.seal_in_place_separate_tag(once(), Aad::empty(), &mut text);
        text.extend_from_slice(tag?.as_ref());
        Ok(text)
    }

    /// Decrypts a successor encrypted by [`seal`](Self::seal).
    pub fn open(&self, sealed: &[u8]) -> anyhow::Result<Self> {
        let mut bytes = sealed.to_vec();
        let text = self.sealing_key()?.open_in_place(once(), Aad::empty(), &mut bytes)?;
        Ok(Self(std::str::from_utf8(text)?.into()))
    }

    fn sealing_key(&self) -> anyhow::Result<LessSafeKey> {
        let key = crypto::hmac_sha256(self.0.expose_secret().as_bytes(), b"successor");
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key)?))
    }
}

/// Each token seals one successor, so its key is used once.
fn once() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_opens_what_it_sealed() {
        let token = RefreshToken::generate();
        let successor = RefreshToken::generate();
        let sealed = token.seal(&successor).unwrap();
        assert_eq!(token.open(&sealed).unwrap().expose(), successor.expose());
        assert!(successor.open(&sealed).is_err());
        assert!(!sealed.windows(8).any(|part| part == RefreshToken::PREFIX.as_bytes()));
    }

    #[test]
    fn what_is_no_token_of_ours_is_not_looked_for() {
        let token = RefreshToken::generate();
        assert!(RefreshToken::parse(token.expose()).is_some());
        for text in ["", "todo_rt_", "nonsense", &token.expose()[1..], &format!("{}A", token.expose())] {
            assert!(RefreshToken::parse(text).is_none(), "{text}");
        }
    }
}
