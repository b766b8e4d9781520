use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::phc::{Ident, Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
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

/// How much of a password bcrypt reads, in bytes.
const BCRYPT_BYTES: usize = 72;

/// Hashes and verifies passwords off the async threads, a bounded number at once.
#[derive(Clone)]
pub struct PasswordHasher {
    slots: Arc<Semaphore>,
    wait: Duration,
    metrics: Metrics,
    /// Each slot's memory, kept for the next hash: fresh pages cost a tenth of the time of a hash.
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
    /// What the password of somebody unknown is compared with.
    nobody: SecretString,
}

/// Whether a password is the right one.
#[derive(Debug)]
pub enum Verdict {
    /// It is not.
    Wrong,
    /// It is.
    Right,
    /// It is, and this hash of today's kind should replace the stored one.
    Outdated(SecretString),
}

impl PasswordHasher {
    /// A hasher that works on `concurrency` passwords at once, 19 MiB each; others wait for at most `wait`.
    pub fn new(concurrency: usize, wait: Duration, metrics: Metrics) -> anyhow::Result<Self> {
        let mut hasher = Self {
            slots: Arc::new(Semaphore::new(concurrency)),
            wait,
            metrics,
            memory: Arc::default(),
            nobody: SecretString::default(),
        };
        hasher.nobody = hasher.hash_now(&crypto::random_bytes::<16>())?;
        Ok(hasher)
    }

    /// Whether a stored hash is of a kind, and asks for no more work, than [`verify`](Self::verify) takes.
    pub fn can_verify(stored: &str) -> bool {
        if is_bcrypt(stored) {
            return stored.len() == 60 && bcrypt_cost(stored).is_some_and(|cost| cost <= MAX_BCRYPT_COST);
        }
        let params = PasswordHash::new(stored).ok().and_then(|hash| Params::try_from(&hash).ok());
        stored.starts_with("$argon2") && params.is_some_and(|params| is_affordable(&params))
    }

    /// Judges a password that somebody wants to set.
    pub async fn judge(
        &self,
        password: Password,
        context: Vec<String>,
    ) -> Result<Result<NewPassword, Problem>, AppError> {
        self.work(PasswordWork::Judge, move |_| {
            let context: Vec<&str> = context.iter().map(String::as_str).collect();
            NewPassword::parse(password, &context)
        })
        .await
    }

    /// The hash to store for a password.
    pub async fn hash(&self, password: NewPassword) -> Result<SecretString, AppError> {
        let hash = self.work(PasswordWork::Hash, move |hasher| hasher.hash_now(password.password().expose()));
        hash.await?.map_err(AppError::internal)
    }

    /// Compares a password with the stored hash; without one it takes the same time and is wrong.
    pub async fn verify(&self, password: Password, hash: Option<SecretString>) -> Result<Verdict, AppError> {
        let verdict = self.work(PasswordWork::Verify, move |hasher| {
            let known = hash.is_some();
            let hash = hash.as_ref().unwrap_or(&hasher.nobody);
            let verdict = hasher.verify_now(password.expose(), hash.expose_secret());
            verdict.map(|verdict| if known { verdict } else { Verdict::Wrong })
        });
        // An error here would tell that there is an account: a hash that can't be used fits no password.
        Ok(verdict.await?.unwrap_or_else(|error| {
            tracing::error!(error = format!("{error:#}"), "a stored password hash can't be used");
            Verdict::Wrong
        }))
    }

    /// Runs one piece of work on a blocking thread as soon as a slot is free. The slot goes with the work, as
    /// that goes on when the caller does not.
    async fn work<R: Send + 'static>(
        &self,
        kind: PasswordWork,
        work: impl FnOnce(&Self) -> R + Send + 'static,
    ) -> Result<R, AppError> {
        let waiting = self.metrics.password_waits();
        let slot = timeout(self.wait, Arc::clone(&self.slots).acquire_owned()).await;
        drop(waiting);
        let Ok(Ok(slot)) = slot else {
            self.metrics.password_refused();
            return Err(AppError::Unavailable("too many passwords to hash".into()));
        };
        let (hasher, span) = (self.clone(), tracing::Span::current());
        let done = tokio::task::spawn_blocking(move || {
            let (_slot, started) = (slot, Instant::now());
            let result = span.in_scope(|| work(&hasher));
            hasher.metrics.password_worked(kind, started.elapsed());
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

    fn verify_now(&self, password: &[u8], stored: &str) -> anyhow::Result<Verdict> {
        if is_bcrypt(stored) {
            return self.verify_bcrypt(password, stored);
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
            return Ok(Verdict::Wrong);
        }
        if current { Ok(Verdict::Right) } else { Ok(Verdict::Outdated(self.hash_now(password)?)) }
    }

    /// bcrypt reads 72 bytes, so several passwords longer than that are right. Storing a hash of the one that
    /// was typed would change the password (schaurian/schautrack#397): such a row stays as it is.
    fn verify_bcrypt(&self, password: &[u8], stored: &str) -> anyhow::Result<Verdict> {
        anyhow::ensure!(
            bcrypt_cost(stored).is_some_and(|cost| cost <= MAX_BCRYPT_COST),
            "a stored bcrypt hash asks for more work than is allowed",
        );
        if !bcrypt::verify(password, stored)? {
            return Ok(Verdict::Wrong);
        }
        if password.len() > BCRYPT_BYTES {
            return Ok(Verdict::Right);
        }
        Ok(Verdict::Outdated(self.hash_now(password)?))
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
        let kept = self.memory.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut memory = kept.unwrap_or_else(|| vec![Block::default(); MEMORY_KIB as usize]);
        let done = argon2.hash_password_into_with_memory(password, salt, output, &mut memory);
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
        Ok(done?)
    }
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
