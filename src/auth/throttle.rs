//! How often something may be tried. Counted in PostgreSQL, for all processes together, each time a field is executed.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::Client;
use crate::crypto;
use crate::domain::Email;
use crate::error::AppError;
use crate::metrics::Throttled;
use crate::models::ThrottleBucket;
use crate::state::AppState;

/// How many attempts are let through.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// Some at once, and then one for each interval.
    Rate { burst: u32, interval: Duration },
    /// Some at once, and then each after twice the time that the last one had to wait, up to a limit. All are forgiven
    /// after a quiet time.
    Delay { free: u32, first: Duration, longest: Duration, forgiven: Duration },
}

/// Attempts at one account from one address. Somebody who mistypes is not held up; who guesses gets one a minute.
const LOGIN_PAIR: Rule = Rule::Delay {
    free: 5,
    first: Duration::from_secs(1),
    longest: Duration::from_mins(1),
    forgiven: Duration::from_hours(1),
};
/// Attempts at one account from addresses from which nobody has logged in to it yet, all together.
const LOGIN_ACCOUNT: Rule = Rule::Rate { burst: 50, interval: Duration::from_secs(10) };
/// Attempts from one address at all accounts together; enough for the people behind one router.
const LOGIN_ADDRESS: Rule = Rule::Rate { burst: 100, interval: Duration::from_secs(2) };
/// Registrations from one address.
const REGISTER: Rule = Rule::Rate { burst: 50, interval: Duration::from_secs(20) };
/// Refreshes from one address; a server that renders pages for many people has one.
const REFRESH: Rule = Rule::Rate { burst: 600, interval: Duration::from_millis(100) };
/// Passwords that are asked for again within a session.
const CONFIRM: Rule = LOGIN_PAIR;
/// For how long a login shows that its address belongs to the account's owner.
const KNOWN_FOR: TimeDelta = TimeDelta::days(90);
/// How often it is noted that attempts at one thing are refused.
const NOTED_EVERY: TimeDelta = TimeDelta::minutes(10);

impl Rule {
    /// The level after another attempt now; an error says how long to wait.
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

    /// How long a level means anything.
    fn memory(self, level: f64) -> Duration {
        match self {
            Self::Rate { interval, .. } => interval.mul_f64(level.max(0.0)),
            Self::Delay { forgiven, .. } => forgiven,
        }
    }
}

/// Something that is counted by a rule.
struct Counter {
    rule: Rule,
    key: [u8; 32],
}

impl Counter {
    fn new(rule: Rule, what: &str, whose: &[&str]) -> Self {
        Self { rule, key: key(what, whose) }
    }

    /// The row for a new level.
    fn bucket(&self, level: f64, refused_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> ThrottleBucket {
        let expires_at = now + self.rule.memory(level);
        ThrottleBucket { key: self.key.to_vec(), level, updated_at: now, refused_at, expires_at }
    }
}

fn key(what: &str, whose: &[&str]) -> [u8; 32] {
    crypto::sha256([&[what], whose].concat().join("\0").as_bytes())
}

/// An attempt that was let through, to be forgiven if it turns out well.
pub(super) struct Attempt {
    what: Throttled,
    counters: Vec<Counter>,
    known: Option<Known>,
}

/// Where it is kept that the owner of an account has been at an address.
struct Known {
    key: [u8; 32],
    /// What is not counted there, so that others who try the account do not keep its owner out.
    instead: [u8; 32],
}

/// Why an attempt was not let through.
pub(super) struct Refused {
    wait: Duration,
    /// Whether it is worth noting: the first in a while.
    pub(super) notable: bool,
}

impl From<Refused> for AppError {
    fn from(refused: Refused) -> Self {
        Self::RateLimited { wait: refused.wait }
    }
}

impl Attempt {
    /// A registration.
    pub(super) fn register(client: &Client) -> Self {
        Self::one(Throttled::Register, Counter::new(REGISTER, "register", &[&network(client)]))
    }

    /// A refresh of a session.
    pub(super) fn refresh(client: &Client) -> Self {
        Self::one(Throttled::Refresh, Counter::new(REFRESH, "refresh", &[&network(client)]))
    }

    /// A password that is asked for again within a session. Counted by session, so that a thief of one can't keep the
    /// owner from changing the password in another.
    pub(super) fn confirm(session_id: Uuid) -> Self {
        Self::one(Throttled::Confirm, Counter::new(CONFIRM, "confirm", &[&session_id.to_string()]))
    }

    /// A login.
    pub(super) fn login(client: &Client, email: &Email) -> Self {
        let (email, address) = (email.as_str().to_lowercase(), network(client));
        let account = Counter::new(LOGIN_ACCOUNT, "login account", &[&email]);
        let known = Known { key: key("login known", &[&email, &address]), instead: account.key };
        let counters = vec![
            Counter::new(LOGIN_PAIR, "login account and address", &[&email, &address]),
            Counter::new(LOGIN_ADDRESS, "login address", &[&address]),
            account,
        ];
        Self { what: Throttled::Login, counters, known: Some(known) }
    }

    fn one(what: Throttled, counter: Counter) -> Self {
        Self { what, counters: vec![counter], known: None }
    }

    /// Counts the attempt by all counters, or by none if one of them refuses it: who is refused does not wait longer
    /// for it, and what is refused takes no room.
    pub(super) async fn count(mut self, state: &AppState) -> Result<Result<Self, Refused>, AppError> {
        if !state.auth.rate_limits.is_on() {
            return Ok(Ok(Self { counters: Vec::new(), known: None, ..self }));
        }
        let (now, attempt) = (state.clock.now(), &self);
        let counted = state.database.transaction(async |conn| attempt.count_on(conn, now).await).await?;
        if counted.is_err() {
            state.metrics.throttled(self.what);
        }
        Ok(counted.map(|counted| {
            self.counters.retain(|counter| counted.contains(&counter.key));
            self
        }))
    }

    /// Counts it; returns by which counters.
    async fn count_on(
        &self,
        conn: &mut AsyncPgConnection,
        now: DateTime<Utc>,
    ) -> QueryResult<Result<Vec<[u8; 32]>, Refused>> {
        let buckets = ThrottleBucket::lock(conn, &self.keys()).await?;
        let find = |key: &[u8; 32]| buckets.iter().find(|bucket| bucket.key == key);
        let known = self.known.as_ref().filter(|known| find(&known.key).is_some_and(|b| b.expires_at > now));
        let counters =
            self.counters.iter().filter(|counter| known.is_none_or(|known| counter.key != known.instead));
        let mut counted = Vec::with_capacity(self.counters.len());
        let mut refused: Option<(Duration, ThrottleBucket)> = None;
        for counter in counters.clone() {
            let bucket = find(&counter.key);
            match (counter.rule.attempt(bucket, now), bucket) {
                (Err(wait), Some(bucket)) if refused.as_ref().is_none_or(|(longest, _)| wait > *longest) => {
                    refused = Some((wait, bucket.clone()));
                }
                (Err(_), _) => {}
                (Ok(level), bucket) => {
                    counted.push(counter.bucket(level, bucket.and_then(|b| b.refused_at), now));
                }
            }
        }
        let Some((wait, bucket)) = refused else {
            ThrottleBucket::store(conn, &counted).await?;
            return Ok(Ok(counters.map(|counter| counter.key).collect()));
        };
        let notable = bucket.refused_at.is_none_or(|at| now - at > NOTED_EVERY);
        if notable {
            ThrottleBucket::store(conn, &[ThrottleBucket { refused_at: Some(now), ..bucket }]).await?;
        }
        Ok(Err(Refused { wait, notable }))
    }

    /// Takes back what was counted, in the transaction of what the attempt was for.
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
        changed.extend(self.known.as_ref().map(|known| ThrottleBucket {
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
            .chain(self.known.as_ref().map(|known| known.key))
            .collect()
    }
}

fn network(client: &Client) -> String {
    client.network().map(|address| address.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the last of some attempts in a row would have to wait, each made as soon as it may be.
    fn waits(rule: Rule, attempts: usize) -> Vec<u64> {
        let (mut now, mut bucket) = (DateTime::UNIX_EPOCH, None);
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
