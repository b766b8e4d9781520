use std::sync::Arc;

use quick_cache::UnitWeighter;
use quick_cache::sync::Cache;

use super::Claims;

/// Maximum number of cached tokens.
const MAX_TOKENS: usize = 16_384;
/// Longest cached token, in bytes; this service's have some 400.
const MAX_BYTES: usize = 1024;
/// Initial size of the tables, in tokens.
const EXPECTED: usize = 1024;

/// Cache of accepted access tokens with their claims, so that a signature is verified once and not in each request.
///
/// The key is the whole token. Only accepted tokens are inserted, so forged ones evict none. A full cache takes 12 MiB, or
/// 30 MiB if each token has the maximum length. Tokens in memory are worth less than the signing keys in the same process, and
/// without `Debug` they can't be logged.
pub(super) struct VerifiedTokens(Cache<Box<[u8]>, Arc<Claims>>);

impl VerifiedTokens {
    pub(super) fn new() -> Self {
        Self(Cache::with_weighter(EXPECTED, MAX_TOKENS as u64, UnitWeighter))
    }

    /// Returns the claims of a cached token, which may have expired.
    pub(super) fn get(&self, token: &[u8]) -> Option<Arc<Claims>> {
        self.0.get(token)
    }

    /// Caches a token unless it is longer than [`MAX_BYTES`].
    pub(super) fn insert(&self, token: &[u8], claims: &Arc<Claims>) {
        if token.len() <= MAX_BYTES {
            self.0.insert(token.into(), Arc::clone(claims));
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn tokens_are_bounded_in_number_and_length() {
        let tokens = VerifiedTokens::new();
        let id = Uuid::nil();
        let iss = String::new();
        let aud = String::new();
        let claims = Arc::new(Claims { sub: id, sid: id, iss, aud, iat: 0, exp: 0, nbf: 0, jti: id });
        for number in 0..MAX_TOKENS * 2 {
            tokens.insert(number.to_string().as_bytes(), &claims);
        }
        assert!((MAX_TOKENS / 2..=MAX_TOKENS).contains(&tokens.0.len()), "{}", tokens.0.len());
        for (length, is_cached) in [(MAX_BYTES, true), (MAX_BYTES + 1, false)] {
            let token = vec![b'x'; length];
            tokens.insert(&token, &claims);
            assert_eq!(tokens.get(&token).is_some(), is_cached, "{length}");
        }
    }
}
