//! The first connections: with patience for a database that wakes up, and the cause if it does not answer.

use std::time::Duration;

use diesel_async::AsyncPgConnection;
use tokio::time::{Instant, sleep};

use super::report::{Report, Severity};
use super::{Examination, address, causes, describe, spelling};
use crate::db::DatabaseUrl;

/// First and longest delay between attempts.
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

impl Examination<'_> {
    /// Connects, and reports the time or the cause of a failure.
    pub(super) async fn connect(&self, report: &mut Report) -> Option<AsyncPgConnection> {
        let url = &self.url;
        let began = Instant::now();
        let mut last_failure = None;
        let opened = retry(async |left| {
            let opened = self.open_within(url, left).await.map_err(|error| describe(&error));
            opened.map_err(|error| {
                last_failure = Some(error.clone());
                Failure { patience: causes::patience(&error, url), error }
            })
        });
        match (opened.await, last_failure) {
            (Ok(conn), None) => self.time_second(began.elapsed(), report).await.then_some(conn),
            (Ok(conn), Some(failure)) => {
                self.report_late(&failure, began.elapsed(), report);
                Some(conn)
            }
            (Err(error), _) => self.explain(error, began, report).await,
        }
    }

    /// Opens a second connection and reports both times; returns false if that fails.
    async fn time_second(&self, first: Duration, report: &mut Report) -> bool {
        let began = Instant::now();
        if let Err(error) = self.open(&self.url).await {
            let error = format!("the second one failed: {}", describe(&error));
            let fix = causes::fix(&error, &self.url);
            report.add("connection", Severity::Error, error, fix);
            return false;
        }
        let second = began.elapsed();
        let found = format!("opened in {} ms, a second one in {} ms", first.as_millis(), second.as_millis());
        if is_wake_up(first, second) {
            let fix = format!("keep DATABASE_CONNECT_TIMEOUT ({}) well above that", self.timeout());
            report.add("connection", Severity::Note, found + ": the database had to wake up", fix);
        } else {
            report.add("connection", Severity::Fine, found, "");
        }
        true
    }

    /// Reports a connection that failed before it was opened.
    fn report_late(&self, failure: &str, took: Duration, report: &mut Report) {
        let found = format!("opened after {} ms; before: {failure}", took.as_millis());
        let (severity, fix) = if is_timeout(failure) {
            let fix =
                "DATABASE_CONNECT_TIMEOUT=60s: the database takes longer to wake up than the present limit";
            (Severity::Warning, format!("{fix}, {}", self.timeout()))
        } else if address::is_neon_host(&self.url) {
            (Severity::Note, format!("keep DATABASE_CONNECT_TIMEOUT ({}) well above that", self.timeout()))
        } else {
            (Severity::Warning, causes::fix(failure, &self.url))
        };
        report.add("connection", severity, found, fix);
    }

    /// Reports the cause of a failure; tries the direct host if Neon's pooler may be the cause.
    async fn explain(&self, error: String, began: Instant, report: &mut Report) -> Option<AsyncPgConnection> {
        let Self { url, direct, .. } = self;
        let is_suspect = address::is_neon_pooler(url) && address::requires_channel_binding(url);
        if !is_suspect || !is_timeout(&error) {
            let fix = causes::fix(&error, url);
            report.add("connection", Severity::Error, error, fix);
            return None;
        }
        let began_direct = Instant::now();
        if let Err(direct_error) = self.open(direct).await {
            let direct_error = describe(&direct_error);
            let fix = format!(
                "the direct host fails, too ({direct_error}): {}",
                causes::fix(&direct_error, direct)
            );
            report.add("connection", Severity::Error, error, fix);
            return None;
        }
        let direct_took = began_direct.elapsed();
        // The attempts before may have started a wake that took longer than they waited.
        let conn = self.open(url).await.ok();
        let pooled_took = began_direct.elapsed().saturating_sub(direct_took);
        if conn.is_some() && !is_wake_up(direct_took, pooled_took) {
            self.report_late(&error, began.elapsed(), report);
        } else {
            report.add("connection", Severity::Error, error, self.blame_channel_binding(direct));
        }
        conn
    }

    fn blame_channel_binding(&self, direct: &DatabaseUrl) -> String {
        let name = if self.has_direct_setting { "the direct URL" } else { "the direct host" };
        format!(
            "{name} answers: the pooled one with channel_binding=require does not wake a suspended compute \
             (neondatabase/neon#12897); leave channel_binding out, or DATABASE_URL=\"{}\"",
            spelling::url_for_service(direct)
        )
    }

    fn timeout(&self) -> humantime::FormattedDuration {
        humantime::format_duration(self.settings.connect_timeout())
    }
}

/// True if the first of two connections has woken the database up.
fn is_wake_up(first: Duration, second: Duration) -> bool {
    first > second * 3 + Duration::from_millis(500)
}

fn is_timeout(error: &str) -> bool {
    error.contains("timed out")
}

/// A failed attempt.
struct Failure {
    error: String,
    /// Time within which another attempt may succeed.
    patience: Duration,
}

/// Repeats an attempt, with the time that is left, while its failures may pass by themselves.
async fn retry<T>(mut attempt: impl AsyncFnMut(Duration) -> Result<T, Failure>) -> Result<T, String> {
    let began = Instant::now();
    let mut delay = FIRST_DELAY;
    loop {
        let failure = match attempt(causes::WAKE_LIMIT.saturating_sub(began.elapsed())).await {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        if began.elapsed() + delay >= failure.patience {
            return Err(failure.error);
        }
        sleep(delay.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        delay = LONGEST_DELAY.min(delay * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::causes::WAKE_LIMIT;
    use super::*;

    fn failure(error: &str, patience: Duration) -> Result<u32, Failure> {
        Err(Failure { error: error.into(), patience })
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_passes_is_retried_within_the_limit() {
        let began = Instant::now();
        let mut attempts = 0;
        let done = retry(async |_| {
            attempts += 1;
            if began.elapsed() < Duration::from_secs(14) {
                failure("asleep", WAKE_LIMIT)
            } else {
                Ok(attempts)
            }
        });
        assert!((8..30).contains(&done.await.unwrap()));
        assert!(began.elapsed() < Duration::from_secs(17), "{:?}", began.elapsed());

        let began = Instant::now();
        let done = retry(async |_| failure("asleep", WAKE_LIMIT)).await;
        assert_eq!(done.unwrap_err(), "asleep");
        assert!(began.elapsed() <= WAKE_LIMIT && began.elapsed() > WAKE_LIMIT / 2, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_takes_the_whole_limit_of_one_has_a_second() {
        let mut limits = Vec::new();
        let done = retry(async |left| {
            limits.push(left);
            sleep(left.min(Duration::from_secs(18))).await;
            failure("timed out", WAKE_LIMIT)
        });
        assert_eq!(done.await.unwrap_err(), "timed out");
        assert!(limits.len() == 2 && limits[1] > Duration::from_secs(5), "{limits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_lasts_is_reported_at_once() {
        let began = Instant::now();
        let done = retry(async |_| failure("disabled", Duration::ZERO)).await;
        assert_eq!((done.unwrap_err().as_str(), began.elapsed()), ("disabled", Duration::ZERO));
    }
}
