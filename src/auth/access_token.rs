use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::{DateTime, SubsecRound, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::UnauthenticatedReason;

/// The one algorithm that is signed with and accepted.
const ALGORITHM: Algorithm = Algorithm::HS256;

/// Signs and verifies access tokens: JWTs of short life that say who asks.
pub struct AccessTokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    issuer: String,
    audience: String,
    lifetime: Duration,
}

/// What an access token says. All claims are required.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// Whose token it is.
    pub sub: Uuid,
    /// Who issued it.
    pub iss: String,
    /// For whom it was issued.
    pub aud: String,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// From when on it is refused, in seconds since 1970.
    pub exp: i64,
    /// Identifier of the token.
    pub jti: Uuid,
}

impl AccessTokens {
    /// The shortest secret, in bytes: that of the hash behind HS256 (RFC 7518, section 3.2).
    pub const MIN_SECRET_BYTES: usize = 32;

    /// Tokens signed with a secret, for one issuer and audience.
    ///
    /// Signs and verifies one at once: a wrong set-up stops the start, not the first login.
    pub fn new(
        secret: &SecretSlice<u8>,
        issuer: &str,
        audience: &str,
        lifetime: Duration,
    ) -> anyhow::Result<Self> {
        let secret = secret.expose_secret();
        ensure!(secret.len() >= Self::MIN_SECRET_BYTES, "the secret is too short");
        let mut validation = Validation::new(ALGORITHM);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // `verify` does it, by the clock it is given.
        validation.validate_exp = false;
        let tokens = Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            lifetime,
        };
        tokens.test()?;
        Ok(tokens)
    }

    /// A token for a user, and when it expires.
    pub fn issue(&self, user_id: Uuid, now: DateTime<Utc>) -> anyhow::Result<(SecretString, DateTime<Utc>)> {
        // The claim has whole seconds.
        let expires_at = (now + self.lifetime).trunc_subsecs(0);
        let claims = Claims {
            sub: user_id,
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            iat: now.timestamp(),
            exp: expires_at.timestamp(),
            jti: Uuid::new_v4(),
        };
        let token = encode(&Header::new(ALGORITHM), &claims, &self.encoding)?;
        Ok((token.into(), expires_at))
    }

    /// What a token says, if it is genuine and has not expired.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, UnauthenticatedReason> {
        let token = decode::<Claims>(token, &self.decoding, &self.validation);
        let claims = token.map_err(|_| UnauthenticatedReason::Malformed)?.claims;
        if claims.exp <= now.timestamp() {
            return Err(UnauthenticatedReason::Expired);
        }
        Ok(claims)
    }

    fn test(&self) -> anyhow::Result<()> {
        let (user_id, now) = (Uuid::nil(), DateTime::UNIX_EPOCH);
        let (token, _) = self.issue(user_id, now).context("signing a token failed")?;
        let claims = self.verify(token.expose_secret(), now);
        ensure!(
            claims.is_ok_and(|claims| claims.sub == user_id),
            "a token signed with JWT_SECRET does not verify"
        );
        Ok(())
    }
}
