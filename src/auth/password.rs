use std::sync::Arc;
use std::time::{Duration, Instant};

use argon2::password_hash::phc::{Ident, Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::crypto;
use crate::domain::{NewPassword, Password, Problem};
use crate::error::AppError;
use crate::metrics::{Metrics, PasswordWork};

/// Memory in KiB, passes and lanes of new hashes: OWASP's first choice for argon2id, 19 MiB, 2 and 1
/// (<https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>).
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Bounds on the parameters of stored hashes: imported ones cost what they say at each login.
const MAX_MEMORY_KIB: u32 = 262_144;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;
const MAX_BCRYPT_COST: u32 = 15;

/// Bytes of a password that bcrypt reads.
const BCRYPT_BYTES: usize = 72;

/// Hashes and verifies passwords off the async threads, a bounded number at once.
#[derive(Clone)]
pub struct PasswordHasher {
    permits: Arc<Semaphore>,
    timeout: Duration,
    metrics: Metrics,
    /// Work memory for reuse: fresh pages cost a tenth of the time of a hash.
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
    /// Hash of a random password, verified where no account exists so that the time taken is the same.
    dummy_hash: SecretString,
}

/// Result of comparing a password with a stored hash.
#[derive(Debug)]
pub enum PasswordMatch {
    /// The password is wrong.
    Wrong,
    /// The password is right.
    Right,
    /// The password is right, and this hash with current parameters should replace the stored one.
    Outdated(SecretString),
}

/// Result of checking the strength of a new password.
pub(super) enum Strength {
    /// Good enough to be set.
    Sufficient(NewPassword),
    /// Too short or too easy to guess.
    Insufficient(Problem),
}

impl Strength {
    pub(super) fn into_result(self) -> Result<NewPassword, Problem> {
        match self {
            Self::Sufficient(password) => Ok(password),
            Self::Insufficient(problem) => Err(problem),
        }
    }
}

impl PasswordHasher {
    /// Creates a hasher of at most `concurrency` passwords at once, 19 MiB each; others wait for at most `timeout`.
    pub fn new(concurrency: usize, timeout: Duration, metrics: Metrics) -> anyhow::Result<Self> {
        let mut hasher = Self {
            permits: Arc::new(Semaphore::new(concurrency)),
            timeout,
            metrics,
            memory: Arc::default(),
            dummy_hash: SecretString::default(),
        };
        hasher.dummy_hash = hasher.hash_now(&crypto::random_bytes::<16>())?;
        Ok(hasher)
    }

    /// Returns true if [`verify`](Self::verify) supports the stored hash: bcrypt or argon2 within the bounds on their cost.
    pub fn can_verify(stored: &str) -> bool {
        if is_bcrypt(stored) {
            return stored.len() == 60 && bcrypt_cost(stored).is_some_and(|cost| cost <= MAX_BCRYPT_COST);
        }
        let params = PasswordHash::new(stored).ok().and_then(|hash| Params::try_from(&hash).ok());
        stored.starts_with("$argon2") && params.is_some_and(|params| is_affordable(&params))
    }

    /// Checks that a password is good enough to be set; `context` holds texts known of the user, which make it guessable.
    pub(super) async fn check_strength(
        &self,
        password: Password,
        context: Vec<String>,
    ) -> Result<Strength, AppError> {
        self.run_blocking(PasswordWork::Judge, move |_| {
            let context: Vec<&str> = context.iter().map(String::as_str).collect();
            match NewPassword::parse(password, &context) {
                Ok(password) => Strength::Sufficient(password),
                Err(problem) => Strength::Insufficient(problem),
            }
        })
        .await
    }

    /// Hashes a password for storage.
    pub async fn hash(&self, password: NewPassword) -> Result<SecretString, AppError> {
        let hash = self
            .run_blocking(PasswordWork::Hash, move |hasher| hasher.hash_now(password.password().expose()));
        hash.await?.map_err(AppError::internal)
    }

    /// Compares each form of a password with the stored hash. Without a hash the result is `Wrong`, after as many hashes.
    pub async fn verify(
        &self,
        password: Password,
        hash: Option<SecretString>,
    ) -> Result<PasswordMatch, AppError> {
        let matched = self.run_blocking(PasswordWork::Verify, move |hasher| {
            let known = hash.is_some();
            let hash = hash.as_ref().unwrap_or(&hasher.dummy_hash);
            let matched = hasher.verify_forms(&password, hash.expose_secret());
            matched.map(|matched| if known { matched } else { PasswordMatch::Wrong })
        });
        // An error would reveal that the account exists, so an unusable hash matches no password.
        Ok(matched.await?.unwrap_or_else(|error| {
            tracing::error!(error = format!("{error:#}"), "a stored password hash can't be used");
            PasswordMatch::Wrong
        }))
    }

    /// Runs work on a blocking thread once a permit is free. The work owns the permit, because it continues after its
    /// caller is cancelled.
    async fn run_blocking<R: Send + 'static>(
        &self,
        kind: PasswordWork,
        work: impl FnOnce(&Self) -> R + Send + 'static,
    ) -> Result<R, AppError> {
        let waiting = self.metrics.track_password_wait();
        let permit = timeout(self.timeout, Arc::clone(&self.permits).acquire_owned()).await;
        drop(waiting);
        let Ok(Ok(permit)) = permit else {
            self.metrics.password_refused.inc();
            return Err(AppError::Unavailable("too many passwords to hash".into()));
        };
        let hasher = self.clone();
        let span = tracing::Span::current();
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let started = Instant::now();
            let result = span.in_scope(|| work(&hasher));
            hasher.metrics.password_work.get(kind).observe(started.elapsed().as_secs_f64());
            result
        });
        done.await.map_err(AppError::internal)
    }

    fn hash_now(&self, password: &[u8]) -> anyhow::Result<SecretString> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(Params::DEFAULT_OUTPUT_LEN))?;
        let salt = crypto::random_bytes::<16>();
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        self.compute(
            &Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone()),
            password,
            &salt,
            &mut output,
        )?;
        let hash = PasswordHash {
            algorithm: Ident::new(Algorithm::Argon2id.as_str())?,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params)?,
            salt: Some(Salt::new(&salt)?),
            hash: Some(Output::new(&output)?),
        };
        Ok(hash.to_string().into())
    }

    /// Compares until a form is right. A hash of another form than the normalised one is outdated.
    fn verify_forms(&self, password: &Password, stored: &str) -> anyhow::Result<PasswordMatch> {
        for (index, form) in password.forms().enumerate() {
            match self.verify_now(form, stored)? {
                Verified::Wrong => {}
                Verified::Current if index == 0 => return Ok(PasswordMatch::Right),
                // bcrypt reads 72 bytes, so a longer password matches by its prefix. Replacing the hash by one of the whole
                // text would change the password (schaurian/schautrack#397), so such a hash is kept.
                Verified::Bcrypt if form.len() > BCRYPT_BYTES => return Ok(PasswordMatch::Right),
                Verified::Current | Verified::Bcrypt | Verified::OtherParameters => {
                    return Ok(PasswordMatch::Outdated(self.hash_now(password.expose())?));
                }
            }
        }
        Ok(PasswordMatch::Wrong)
    }

    fn verify_now(&self, password: &[u8], stored: &str) -> anyhow::Result<Verified> {
        if is_bcrypt(stored) {
            return verify_bcrypt(password, stored);
        }
        let hash = PasswordHash::new(stored)?;
        let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else {
            anyhow::bail!("a stored password hash has no salt or no output");
        };
        let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
        let version = hash.version.map(Version::try_from).transpose()?.unwrap_or(Version::V0x13);
        let params = Params::try_from(&hash)?;
        anyhow::ensure!(is_affordable(&params), "a stored password hash asks for more work than is allowed");
        let current = algorithm == Algorithm::Argon2id
            && version == Version::V0x13
            && (params.m_cost(), params.t_cost(), params.p_cost()) == (MEMORY_KIB, PASSES, LANES);
        let mut output = vec![0; expected.len()];
        self.compute(&Argon2::new(algorithm, version, params), password, salt.as_ref(), &mut output)?;
        if verify_slices_are_equal(&output, expected.as_bytes()).is_err() {
            return Ok(Verified::Wrong);
        }
        Ok(if current { Verified::Current } else { Verified::OtherParameters })
    }

    fn compute(
        &self,
        argon2: &Argon2<'_>,
        password: &[u8],
        salt: &[u8],
        output: &mut [u8],
    ) -> anyhow::Result<()> {
        let blocks = argon2.params().block_count();
        if blocks > MEMORY_KIB as usize {
            return Ok(argon2.hash_password_into(password, salt, output)?);
        }
        let kept = self.memory.lock().pop();
        let mut memory = kept.unwrap_or_else(|| vec![Block::default(); MEMORY_KIB as usize]);
        let done = argon2.hash_password_into_with_memory(password, salt, output, &mut memory);
        self.memory.lock().push(memory);
        Ok(done?)
    }
}

/// Result of comparing one form of a password with a stored hash.
enum Verified {
    Wrong,
    /// Right, by argon2 with current parameters.
    Current,
    /// Right, by argon2 with other parameters.
    OtherParameters,
    /// Right, by bcrypt.
    Bcrypt,
}

fn verify_bcrypt(password: &[u8], stored: &str) -> anyhow::Result<Verified> {
    anyhow::ensure!(
        bcrypt_cost(stored).is_some_and(|cost| cost <= MAX_BCRYPT_COST),
        "a stored bcrypt hash asks for more work than is allowed",
    );
    Ok(if bcrypt::verify(password, stored)? { Verified::Bcrypt } else { Verified::Wrong })
}

fn is_bcrypt(stored: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| stored.starts_with(prefix))
}

fn bcrypt_cost(stored: &str) -> Option<u32> {
    stored.get(4..6)?.parse().ok()
}

fn is_affordable(params: &Params) -> bool {
    params.m_cost() <= MAX_MEMORY_KIB && params.t_cost() <= MAX_PASSES && params.p_cost() <= MAX_LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(hashed: &str, typed: &str) -> PasswordMatch {
        let passwords = PasswordHasher::new(1, Duration::from_secs(1), Metrics::default()).unwrap();
        let stored = passwords.hash_now(hashed.as_bytes()).unwrap();
        let typed = Password::parse(typed.to_owned()).unwrap();
        passwords.verify_forms(&typed, stored.expose_secret()).unwrap()
    }

    #[test]
    fn a_hash_of_another_form_than_the_normalised_one_is_outdated() {
        let is_right = |hashed, typed| matches!(matched(hashed, typed), PasswordMatch::Right);
        assert!(
            is_right("café au lait", "café au lait") && is_right("café au lait", "cafe\u{301} au\u{A0}lait")
        );
        let is_outdated = |hashed, typed| matches!(matched(hashed, typed), PasswordMatch::Outdated(_));
        assert!(is_outdated("cafe\u{301} au lait", "café au lait"));
        assert!(is_outdated("cafe\u{301} é", "cafe\u{301} é"));
        assert!(is_outdated("café\u{A0}au lait", "café\u{A0}au lait"));
        assert!(matches!(matched("cafe au lait", "café au lait"), PasswordMatch::Wrong));
    }
}
