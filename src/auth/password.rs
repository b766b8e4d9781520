mod kernel;
mod memory;
mod scheme;

use std::sync::Arc;
use std::time::{Duration, Instant};

use argon2::Params;
use argon2::password_hash::phc::PasswordHash;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::kernel::Memory;
use self::memory::MemoryPool;
use self::scheme::Scheme;
use crate::crypto;
use crate::domain::{NewPassword, Password, Problem};
use crate::error::AppError;
use crate::metrics::{Metrics, PasswordWork};
use crate::telemetry::RequestContext;

/// Bound on the cost of stored bcrypt hashes, which cost what they say at each login.
const MAX_BCRYPT_COST: u32 = 15;

/// Length of the salt of new hashes, in bytes.
const SALT_LEN: usize = 16;

/// Niceness of threads that hash: a third of the weight of others that want the same core.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// Bytes of a password that bcrypt reads.
const BCRYPT_BYTES: usize = 72;

/// Hashes and verifies passwords off the async threads, a bounded number at once.
#[derive(Clone)]
pub struct PasswordHasher {
    permits: Arc<Semaphore>,
    timeout: Duration,
    metrics: Metrics,
    memory: MemoryPool,
    /// Hash that no password matches, verified where no account exists so that the time taken is the same.
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

/// Result of hashing a new password.
pub(super) enum NewHash {
    /// Hash for storage.
    Hashed(SecretString),
    /// The password is too short or too easy to guess.
    TooWeak(Problem),
}

impl PasswordHasher {
    /// Creates a hasher of at most `concurrency` passwords at once, 19 MiB each; others wait for at most `timeout`. Must be called on
    /// a tokio runtime.
    pub fn new(concurrency: usize, timeout: Duration, metrics: Metrics) -> anyhow::Result<Self> {
        Ok(Self {
            permits: Arc::new(Semaphore::new(concurrency)),
            timeout,
            metrics,
            memory: MemoryPool::new(),
            // Constant, not computed, which would cost the start 20 ms and 19 MiB.
            dummy_hash: Scheme::current()?.encode(&[0; SALT_LEN], &[0; Params::DEFAULT_OUTPUT_LEN])?,
        })
    }

    /// Returns true if [`verify`](Self::verify) supports the stored hash: bcrypt or argon2 within the bounds on their cost.
    pub fn can_verify(stored: &str) -> bool {
        if is_bcrypt(stored) {
            return stored.len() == 60 && bcrypt_cost(stored).is_some_and(|cost| cost <= MAX_BCRYPT_COST);
        }
        PasswordHash::new(stored).is_ok_and(|hash| Scheme::parse(&hash).is_ok())
    }

    /// Hashes a new password for storage if it is good enough; `context` holds texts known of the user, which make it
    /// guessable. One piece of work, so that under load it waits for a permit once.
    pub(super) async fn hash_new(
        &self,
        password: Password,
        context: Vec<String>,
    ) -> Result<NewHash, AppError> {
        let hashed = self.run_blocking(PasswordWork::Hash, move |hasher| {
            anyhow::Ok(match require_strength(password, &context) {
                Ok(password) => NewHash::Hashed(hasher.hash_now(password.password().expose())?),
                Err(problem) => NewHash::TooWeak(problem),
            })
        });
        hashed.await?.map_err(AppError::internal)
    }

    /// Returns the problem of a password that is not good enough to be set, without hashing it.
    pub(super) async fn judge(
        &self,
        password: Password,
        context: Vec<String>,
    ) -> Result<Option<Problem>, AppError> {
        self.run_blocking(PasswordWork::Judge, move |_| require_strength(password, &context).err()).await
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
        let context = RequestContext::current();
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            yield_to_requests();
            let started = Instant::now();
            let result = context.scope_sync(|| work(&hasher));
            hasher.metrics.password_work.get(kind).observe(started.elapsed().as_secs_f64());
            result
        });
        done.await.map_err(AppError::internal)
    }

    fn hash_now(&self, password: &[u8]) -> anyhow::Result<SecretString> {
        let scheme = Scheme::current()?;
        let salt = crypto::random_bytes::<SALT_LEN>();
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        self.compute(&scheme, password, &salt, &mut output)?;
        scheme.encode(&salt, &output)
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
        let scheme = Scheme::parse(&hash)?;
        let mut output = vec![0; expected.len()];
        self.compute(&scheme, password, salt.as_ref(), &mut output)?;
        if verify_slices_are_equal(&output, expected.as_bytes()).is_err() {
            return Ok(Verified::Wrong);
        }
        Ok(if scheme.is_current() { Verified::Current } else { Verified::OtherParameters })
    }

    /// Computes a hash, in pooled memory unless it needs more than new hashes do.
    fn compute(
        &self,
        scheme: &Scheme,
        password: &[u8],
        salt: &[u8],
        output: &mut [u8],
    ) -> anyhow::Result<()> {
        if scheme.fits_pooled_memory() {
            self.memory.with(|memory| memory.hash(scheme, password, salt, output))
        } else {
            Memory::default().hash(scheme, password, salt, output)
        }
    }
}

fn require_strength(password: Password, context: &[String]) -> Result<NewPassword, Problem> {
    let context: Vec<&str> = context.iter().map(String::as_str).collect();
    NewPassword::parse(password, &context)
}

/// Lowers the priority of this blocking thread, so that requests on the same core do not wait for the end of its time slice.
fn yield_to_requests() {
    // On Linux each thread has its own priority. Fails if that is lower already.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICENESS);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher() -> PasswordHasher {
        PasswordHasher::new(1, Duration::from_secs(1), Metrics::default()).unwrap()
    }

    fn matched(hashed: &str, typed: &str) -> PasswordMatch {
        let stored = hasher().hash_now(hashed.as_bytes()).unwrap();
        let typed = Password::parse(typed.to_owned()).unwrap();
        hasher().verify_forms(&typed, stored.expose_secret()).unwrap()
    }

    #[tokio::test]
    async fn a_hash_of_another_form_than_the_normalised_one_is_outdated() {
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

    #[tokio::test]
    async fn verifying_without_an_account_is_as_much_work_as_with_one() {
        let passwords = hasher();
        let dummy = passwords.dummy_hash.expose_secret();
        let computed = hasher().hash_now(b"correct horse").unwrap();
        let computed = PasswordHash::new(computed.expose_secret()).unwrap();
        let constant = PasswordHash::new(dummy).unwrap();
        assert!([&computed, &constant].into_iter().all(|hash| Scheme::parse(hash).unwrap().is_current()));
        let lengths =
            |hash: &PasswordHash| (hash.salt.map(|salt| salt.len()), hash.hash.map(|hash| hash.len()));
        assert_eq!(lengths(&constant), lengths(&computed));
        assert!(matches!(passwords.verify_now(b"correct horse", dummy).unwrap(), Verified::Wrong));
    }
}
