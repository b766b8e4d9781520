mod verified_tokens;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::{DateTime, SubsecRound, Utc};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Header, Validation, decode, decode_header, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::verified_tokens::VerifiedTokens;
use super::keys::{SigningKey, SigningKeys};
use crate::error::UnauthenticatedReason;

/// Signs and verifies access tokens, which are short-lived JWTs.
pub struct AccessTokens {
    signing: VerifyingKey,
    others: Vec<VerifyingKey>,
    issuer: String,
    audience: String,
    lifetime: Duration,
    verified: VerifiedTokens,
}

/// A key with the required claims of its tokens.
struct VerifyingKey {
    key: SigningKey,
    validation: Validation,
}

impl VerifyingKey {
    fn new(key: SigningKey, issuer: &str, audience: &str) -> Self {
        let mut validation = Validation::new(key.algorithm);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // `check_time` checks it against the injected clock.
        validation.validate_exp = false;
        Self { key, validation }
    }
}

/// Claims of an access token, all of them required but `nbf`, which this service does not issue.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// User.
    pub sub: Uuid,
    /// Session.
    pub sid: Uuid,
    /// Issuer.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// Time of issue, in seconds since 1970.
    pub iat: i64,
    /// Expiry, in seconds since 1970.
    pub exp: i64,
    /// Beginning of the token's validity, in seconds since 1970.
    #[serde(default, skip_serializing)]
    pub nbf: i64,
    /// Identifier of the token.
    pub jti: Uuid,
}

impl AccessTokens {
    /// Creates the tokens of one issuer and audience.
    ///
    /// Signs and verifies with each key, so that a bad key stops the start instead of the first login.
    pub fn new(keys: SigningKeys, issuer: &str, audience: &str, lifetime: Duration) -> anyhow::Result<Self> {
        let verifying = |key| VerifyingKey::new(key, issuer, audience);
        let tokens = Self {
            signing: verifying(keys.first),
            others: keys.others.into_iter().map(verifying).collect(),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            lifetime,
            verified: VerifiedTokens::new(),
        };
        tokens.keys().try_for_each(|verifying| tokens.test(&verifying.key))?;
        Ok(tokens)
    }

    /// Issues a token and returns it with its expiry, which is no later than the session's: `session_lifetime` from `now`, a
    /// time span, as the session's expiry is an instant of the database's clock.
    pub fn issue(
        &self,
        user_id: Uuid,
        session_id: Uuid,
        now: DateTime<Utc>,
        session_lifetime: Duration,
    ) -> anyhow::Result<(SecretString, DateTime<Utc>)> {
        // `exp` has whole seconds.
        let expires_at = (now + self.lifetime.min(session_lifetime)).trunc_subsecs(0);
        let claims = Claims {
            sub: user_id,
            sid: session_id,
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            iat: now.timestamp(),
            exp: expires_at.timestamp(),
            nbf: 0,
            jti: Uuid::new_v4(),
        };
        Ok((sign(&claims, &self.signing.key)?, expires_at))
    }

    /// Verifies a token: signature and fixed claims unless it is cached, `exp` and `nbf` always.
    pub fn verify(&self, token: &[u8], now: DateTime<Utc>) -> Result<Arc<Claims>, UnauthenticatedReason> {
        if let Some(claims) = self.verified.get(token) {
            return check_time(&claims, now).map(|()| claims);
        }
        let claims = Arc::new(self.decode(token).ok_or(UnauthenticatedReason::Malformed)?);
        check_time(&claims, now)?;
        self.verified.insert(token, &claims);
        Ok(claims)
    }

    /// Decodes a token that one of the keys has signed for this audience. Does not check its time.
    fn decode(&self, token: &[u8]) -> Option<Claims> {
        let header = decode_header(token).ok()?;
        // The key fixes its algorithm: the header may select a key, but not how it is used.
        let fits = |VerifyingKey { key, .. }: &&VerifyingKey| {
            header.kid.as_ref().is_none_or(|id| *id == key.id) && header.alg == key.algorithm
        };
        self.keys().filter(fits).find_map(|VerifyingKey { key, validation }| {
            Some(decode::<Claims>(token, &key.decoding, validation).ok()?.claims)
        })
    }

    /// Returns the public keys as a JSON Web Key Set (RFC 7517).
    pub fn public_keys(&self) -> JwkSet {
        JwkSet { keys: self.keys().filter_map(|verifying| verifying.key.public.clone()).collect() }
    }

    fn keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        std::iter::once(&self.signing).chain(&self.others)
    }

    fn test(&self, key: &SigningKey) -> anyhow::Result<()> {
        let claims = Claims {
            sub: Uuid::nil(),
            sid: Uuid::nil(),
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            iat: 0,
            exp: 1,
            nbf: 0,
            jti: Uuid::nil(),
        };
        let token = sign(&claims, key).with_context(|| format!("signing with the key {} failed", key.id))?;
        let decoded = self.decode(token.expose_secret().as_bytes());
        ensure!(decoded == Some(claims), "a token signed with the key {} does not verify", key.id);
        Ok(())
    }
}

fn check_time(claims: &Claims, now: DateTime<Utc>) -> Result<(), UnauthenticatedReason> {
    if claims.exp <= now.timestamp() {
        return Err(UnauthenticatedReason::Expired);
    }
    // A refresh would not help, so this is not `Expired`. `iat` may be in the future: the clocks of processes differ.
    if claims.nbf > now.timestamp() {
        return Err(UnauthenticatedReason::Malformed);
    }
    Ok(())
}

fn sign(claims: &Claims, key: &SigningKey) -> anyhow::Result<SecretString> {
    let header = Header { kid: Some(key.id.clone()), ..Header::new(key.algorithm) };
    Ok(encode(&header, claims, &key.encoding)?.into())
}

#[cfg(test)]
mod tests;
