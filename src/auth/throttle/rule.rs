//! Limits on attempts, and their arithmetic.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::models::ThrottleBucket;

/// A limit on attempts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// Token bucket: `burst` attempts at once, then one per `interval`.
    Rate { burst: u32, interval: Duration },
    /// Exponential back-off: `free` attempts, then delays that double from `first` up to `longest`. Reset after
    /// `forgiven` without an attempt.
    Delay { free: u32, first: Duration, longest: Duration, forgiven: Duration },
}

/// Logins to one account from one address: lenient with typing errors, one guess a minute for an attacker.
pub(super) const LOGIN_PAIR: Rule = Rule::Delay {
    free: 5,
    first: Duration::from_secs(1),
    longest: Duration::from_mins(1),
    forgiven: Duration::from_hours(1),
};
/// Logins to one account from all addresses without a successful login so far.
pub(super) const LOGIN_ACCOUNT: Rule = Rule::Rate { burst: 50, interval: Duration::from_secs(10) };
/// Logins from one address to all accounts; enough for the people behind one router.
pub(super) const LOGIN_ADDRESS: Rule = Rule::Rate { burst: 100, interval: Duration::from_secs(2) };
/// Registrations from one address.
pub(super) const REGISTER: Rule = Rule::Rate { burst: 50, interval: Duration::from_secs(20) };
/// Refreshes from one address, which may be a server that renders pages for many users.
pub(super) const REFRESH: Rule = Rule::Rate { burst: 600, interval: Duration::from_millis(100) };
/// Confirmations of the password within a session.
pub(super) const CONFIRM: Rule = LOGIN_PAIR;

impl Rule {
    /// Returns the bucket's level after another attempt now, or as an error the time to wait.
    pub(super) fn attempt(
        self,
        bucket: Option<&ThrottleBucket>,
        now: DateTime<Utc>,
    ) -> Result<f64, Duration> {
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
    pub(super) fn expiry(self, level: f64) -> Duration {
        match self {
            Self::Rate { interval, .. } => interval.mul_f64(level.max(0.0)),
            Self::Delay { forgiven, .. } => forgiven,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::Counter;
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
