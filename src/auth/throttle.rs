//! Rate limits on logins, registrations and refreshes. Counted in PostgreSQL, so that all processes share them, each time
//! a field is executed: batching or aliasing operations gains nothing.

mod rule;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use self::rule::{CONFIRM, LOGIN_ACCOUNT, LOGIN_ADDRESS, LOGIN_PAIR, REFRESH, REGISTER, Rule};
use super::{Auth, Client};
use crate::crypto;
use crate::domain::Email;
use crate::error::AppError;
use crate::metrics::ThrottledAction;
use crate::models::ThrottleBucket;

/// Time for which an address counts as the owner's after a successful login.
const KNOWN_FOR: TimeDelta = TimeDelta::days(90);
/// Interval at which refusals of one counter are recorded as security events.
const NOTABLE_EVERY: TimeDelta = TimeDelta::minutes(10);

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
    kind: ThrottledAction,
    counters: Vec<Counter>,
    known_address: Option<KnownAddress>,
}

/// Marks an address from which the owner of an account has logged in.
struct KnownAddress {
    key: [u8; 32],
    /// Counter skipped for such an address, so that an attack on the account does not lock its owner out.
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
        let counting = &attempt;
        let counted = self.database.transaction(async |conn| counting.count(conn).await).await?;
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
        Self::single(ThrottledAction::Register, Counter::new(REGISTER, "register", &[&network(client)]))
    }

    pub(super) fn refresh(client: &Client) -> Self {
        Self::single(ThrottledAction::Refresh, Counter::new(REFRESH, "refresh", &[&network(client)]))
    }

    /// Creates an attempt to confirm the password. Counted per session, so that the thief of one can't keep the owner from changing
    /// the password in another.
    pub(super) fn confirm(session_id: Uuid) -> Self {
        Self::single(ThrottledAction::Confirm, Counter::new(CONFIRM, "confirm", &[&session_id.to_string()]))
    }

    pub(super) fn login(client: &Client, email: &Email) -> Self {
        let email = email.fold();
        let address = network(client);
        let account = Counter::new(LOGIN_ACCOUNT, "login account", &[&email]);
        let known_address =
            KnownAddress { key: bucket_key("login known", &[&email, &address]), exempt_from: account.key };
        let counters = vec![
            Counter::new(LOGIN_PAIR, "login account and address", &[&email, &address]),
            Counter::new(LOGIN_ADDRESS, "login address", &[&address]),
            account,
        ];
        Self { kind: ThrottledAction::Login, counters, known_address: Some(known_address) }
    }

    fn single(kind: ThrottledAction, counter: Counter) -> Self {
        Self { kind, counters: vec![counter], known_address: None }
    }

    async fn count(&self, conn: &mut AsyncPgConnection) -> QueryResult<Counted> {
        let (now, buckets) = ThrottleBucket::lock(conn, &self.keys()).await?;
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
    pub(super) async fn forgive(&self, conn: &mut AsyncPgConnection) -> QueryResult<()> {
        if self.counters.is_empty() {
            return Ok(());
        }
        let (now, buckets) = ThrottleBucket::lock(conn, &self.keys()).await?;
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
