//! Rate limits on logins, registrations and refreshes. Counted in PostgreSQL, so that all processes share them, each time
//! a field is executed: batching or aliasing operations gains nothing.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::{Auth, Client};
use crate::crypto;
use crate::domain::Email;
use crate::error::AppError;
use crate::metrics::Throttled;
use crate::models::ThrottleBucket;

/// A limit on attempts.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// Token bucket: `burst` attempts at once, then one per `interval`.
    Rate { burst: u32, interval: Duration },
    /// Exponential back-off: `free` attempts, then delays that double from `first` up to `longest`. Reset after
    /// `forgiven` without an attempt.
    Delay { free: u32, first: Duration, longest: Duration, forgiven: Duration },
}

/// Logins to one account from one address: lenient with typing errors, one guess a minute for an attacker.
const LOGIN_PAIR: Rule = Rule::Delay {
    free: 5,
    first: Duration::from_secs(1),
    longest: Duration::from_mins(1),
    forgiven: Duration::from_hours(1),
};
/// Logins to one account from all addresses without a successful login so far.
const LOGIN_ACCOUNT: Rule = Rule::Rate { burst: 50, interval: Duration::from_secs(10) };
/// Logins from one address to all accounts; enough for the people behind one router.
const LOGIN_ADDRESS: Rule = Rule::Rate { burst: 100, interval: Duration::from_secs(2) };
/// Registrations from one address.
const REGISTER: Rule = Rule::Rate { burst: 50, interval: Duration::from_secs(20) };
/// Refreshes from one address, which may be a server that renders pages for many users.
const REFRESH: Rule = Rule::Rate { burst: 600, interval: Duration::from_millis(100) };
/// Confirmations of the password within a session.
const CONFIRM: Rule = LOGIN_PAIR;
/// Time for which a successful login marks its address as the owner's.
const KNOWN_FOR: TimeDelta = TimeDelta::days(90);
/// Interval at which refusals of one counter are recorded as security events.
const NOTABLE_EVERY: TimeDelta = TimeDelta::minutes(10);

impl Rule {
    /// Returns the bucket's level after another attempt now, or as an error the time to wait.
    fn attempt(self, bucket: Option<&ThrottleBucket>, now: DateTime<Utc>) -> Result<f64, Duration> {
        let Some(bucket) = bucket else { return Ok(1.0) };
        let quiet = (now - bucket.updated_at).to_std().unwrap_or_default();
        match self {
            Self::Rate { burst, interval } => {
                let level = (bucket.level - quiet.div_duration_f64(interval)).max(0.0) + 1.0;
                let over = level - f64::from(burst);
                if over > 0.0 { Err(interval.mul_f64(over)) } else { Ok(level) }
            }
            Self::Delay { forgiven, .. } if quiet >= forgiven => Ok(1.0),
            Self::Delay { free, first, longest, .. } => {
                let over = bucket.level - f64::from(free);
                let delay = if over < 0.0 {
                    Duration::ZERO
                } else {
                    first.mul_f64(over.min(16.0).exp2()).min(longest)
                };
                delay.checked_sub(quiet).filter(|left| !left.is_zero()).map_or(Ok(bucket.level + 1.0), Err)
            }
        }
    }

    /// Time after which a bucket with this level counts as empty.
    fn expiry(self, level: f64) -> Duration {
        match self {
            Self::Rate { interval, .. } => interval.mul_f64(level.max(0.0)),
            Self::Delay { forgiven, .. } => forgiven,
        }
    }
}

/// A rule with the key of its bucket.
struct Counter {
    rule: Rule,
    key: [u8; 32],
}

impl Counter {
    fn new(rule: Rule, scope: &str, subject: &[&str]) -> Self {
        Self { rule, key: bucket_key(scope, subject) }
    }

    /// Returns the bucket with a new level.
    fn bucket(&self, level: f64, refused_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> ThrottleBucket {
        let expires_at = now + self.rule.expiry(level);
        ThrottleBucket { key: self.key.to_vec(), level, updated_at: now, refused_at, expires_at }
    }
}

fn bucket_key(scope: &str, subject: &[&str]) -> [u8; 32] {
    crypto::sha256([&[scope], subject].concat().join("\0").as_bytes())
}

/// An attempt with the counters that limit it; forgiven when it succeeds.
pub(super) struct Attempt {
    kind: Throttled,
    counters: Vec<Counter>,
    known_address: Option<KnownAddress>,
}

/// Marks an address from which the owner of an account has logged in.
struct KnownAddress {
    key: [u8; 32],
    /// Counter that is skipped at such an address, so that an attack on the account does not lock its owner out.
    exempt_from: [u8; 32],
}

/// Decision on an attempt.
pub(super) enum Admission {
    /// Let through; holds the counters that were charged.
    Admitted(Attempt),
    /// Refused.
    Refused {
        /// Time until the next attempt is let through.
        wait: Duration,
        /// True for the first refusal in a while, which is recorded as a security event.
        is_notable: bool,
    },
}

impl Auth {
    /// Counts an attempt; fails if it is refused.
    pub(super) async fn admit(&self, attempt: Attempt) -> Result<Attempt, AppError> {
        match self.count_attempt(attempt).await? {
            Admission::Admitted(attempt) => Ok(attempt),
            Admission::Refused { wait, .. } => Err(AppError::RateLimited { wait }),
        }
    }

    /// Charges all counters of an attempt, or none if one of them refuses: a refused attempt neither lengthens the wait
    /// nor fills the table.
    pub(super) async fn count_attempt(&self, mut attempt: Attempt) -> Result<Admission, AppError> {
        if !self.settings.rate_limits.is_on() {
            return Ok(Admission::Admitted(Attempt { counters: Vec::new(), known_address: None, ..attempt }));
        }
        let now = self.clock.now();
        let counting = &attempt;
        let counted = self.database.transaction(async |conn| counting.count(conn, now).await).await?;
        match counted {
            Counted::Charged(keys) => {
                attempt.counters.retain(|counter| keys.contains(&counter.key));
                Ok(Admission::Admitted(attempt))
            }
            Counted::Refused { wait, is_notable } => {
                self.metrics.throttled.get(attempt.kind).inc();
                Ok(Admission::Refused { wait, is_notable })
            }
        }
    }
}

/// Outcome of counting an attempt.
enum Counted {
    /// Keys of the charged counters.
    Charged(Vec<[u8; 32]>),
    Refused {
        wait: Duration,
        is_notable: bool,
    },
}

impl Attempt {
    pub(super) fn register(client: &Client) -> Self {
        Self::one(Throttled::Register, Counter::new(REGISTER, "register", &[&network(client)]))
    }

    pub(super) fn refresh(client: &Client) -> Self {
        Self::one(Throttled::Refresh, Counter::new(REFRESH, "refresh", &[&network(client)]))
    }

    /// A confirmation of the password. Counted per session, so that the thief of one can't keep the owner from changing
    /// the password in another.
    pub(super) fn confirm(session_id: Uuid) -> Self {
        Self::one(Throttled::Confirm, Counter::new(CONFIRM, "confirm", &[&session_id.to_string()]))
    }

    pub(super) fn login(client: &Client, email: &Email) -> Self {
        let email = email.as_str().to_lowercase();
        let address = network(client);
        let account = Counter::new(LOGIN_ACCOUNT, "login account", &[&email]);
        let known_address =
            KnownAddress { key: bucket_key("login known", &[&email, &address]), exempt_from: account.key };
        let counters = vec![
            Counter::new(LOGIN_PAIR, "login account and address", &[&email, &address]),
            Counter::new(LOGIN_ADDRESS, "login address", &[&address]),
            account,
        ];
        Self { kind: Throttled::Login, counters, known_address: Some(known_address) }
    }

    fn one(kind: Throttled, counter: Counter) -> Self {
        Self { kind, counters: vec![counter], known_address: None }
    }

    async fn count(&self, conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> QueryResult<Counted> {
        let buckets = ThrottleBucket::lock(conn, &self.keys()).await?;
        let find = |key: &[u8; 32]| buckets.iter().find(|bucket| bucket.key == key);
        let is_known = |known: &&KnownAddress| find(&known.key).is_some_and(|b| b.expires_at > now);
        let known = self.known_address.as_ref().filter(is_known);
        let counters =
            self.counters.iter().filter(|counter| known.is_none_or(|known| counter.key != known.exempt_from));
        let mut charged = Vec::with_capacity(self.counters.len());
        // The counter with the longest wait decides.
        let mut refused: Option<(Duration, ThrottleBucket)> = None;
        for counter in counters.clone() {
            let bucket = find(&counter.key);
            match (counter.rule.attempt(bucket, now), bucket) {
                (Err(wait), Some(bucket)) if refused.as_ref().is_none_or(|(longest, _)| wait > *longest) => {
                    refused = Some((wait, bucket.clone()));
                }
                (Err(_), _) => {}
                (Ok(level), bucket) => {
                    charged.push(counter.bucket(level, bucket.and_then(|b| b.refused_at), now));
                }
            }
        }
        let Some((wait, bucket)) = refused else {
            ThrottleBucket::store(conn, &charged).await?;
            return Ok(Counted::Charged(counters.map(|counter| counter.key).collect()));
        };
        let is_notable = bucket.refused_at.is_none_or(|at| now - at > NOTABLE_EVERY);
        if is_notable {
            ThrottleBucket::store(conn, &[ThrottleBucket { refused_at: Some(now), ..bucket }]).await?;
        }
        Ok(Counted::Refused { wait, is_notable })
    }

    /// Refunds the charged counters after a success, in the transaction of that success.
    pub(super) async fn forgive(&self, conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> QueryResult<()> {
        if self.counters.is_empty() {
            return Ok(());
        }
        let buckets = ThrottleBucket::lock(conn, &self.keys()).await?;
        let find = |key: &[u8; 32]| buckets.iter().find(|bucket| bucket.key == key);
        let mut changed: Vec<_> = self
            .counters
            .iter()
            .filter_map(|counter| {
                let bucket = find(&counter.key)?;
                let level = match counter.rule {
                    Rule::Rate { .. } => (bucket.level - 1.0).max(0.0),
                    Rule::Delay { .. } => 0.0,
                };
                Some(ThrottleBucket { level, ..bucket.clone() })
            })
            .collect();
        changed.extend(self.known_address.as_ref().map(|known| ThrottleBucket {
            key: known.key.to_vec(),
            level: 0.0,
            updated_at: now,
            refused_at: None,
            expires_at: now + KNOWN_FOR,
        }));
        ThrottleBucket::store(conn, &changed).await
    }

    fn keys(&self) -> Vec<[u8; 32]> {
        self.counters
            .iter()
            .map(|counter| counter.key)
            .chain(self.known_address.as_ref().map(|known| known.key))
            .collect()
    }
}

fn network(client: &Client) -> String {
    client.network().map(|address| address.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the wait in seconds before each of some attempts, each made as early as possible.
    fn waits(rule: Rule, attempts: usize) -> Vec<u64> {
        let mut now = DateTime::UNIX_EPOCH;
        let mut bucket = None;
        let counter = Counter::new(rule, "test", &[]);
        (0..attempts)
            .map(|_| {
                let wait = rule.attempt(bucket.as_ref(), now).err().unwrap_or_default();
                now += wait;
                let level = rule.attempt(bucket.as_ref(), now).unwrap();
                bucket = Some(counter.bucket(level, None, now));
                wait.as_secs()
            })
            .collect()
    }

    #[test]
    fn delays_grow_up_to_a_limit() {
        assert_eq!(waits(LOGIN_PAIR, 14), [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_rate_lets_some_through_at_once_and_then_one_for_each_interval() {
        let rule = Rule::Rate { burst: 3, interval: Duration::from_secs(10) };
        assert_eq!(waits(rule, 6), [0, 0, 0, 10, 10, 10]);
    }

    #[test]
    fn a_quiet_time_forgives_everything() {
        let counter = Counter::new(LOGIN_PAIR, "test", &[]);
        let bucket = counter.bucket(1000.0, None, DateTime::UNIX_EPOCH);
        let soon = DateTime::UNIX_EPOCH + TimeDelta::seconds(59);
        assert_eq!(LOGIN_PAIR.attempt(Some(&bucket), soon), Err(Duration::from_secs(1)));
        assert_eq!(LOGIN_PAIR.attempt(Some(&bucket), soon + TimeDelta::hours(1)), Ok(1.0));
    }
}
