//! Checks of the server, the role and their limits.

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::dsl::sql;
use diesel::sql_types::{BigInt, Bool, Json, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::report::{Finding, Report, Severity};
use crate::Clock;
use crate::db::PoolSettings;
use crate::db::requirements::{self, Judgement, REQUESTS as SHOWN, Status};

/// Clocks may differ by this much: tokens live by this machine's, rows by the server's.
const MAX_SKEW: TimeDelta = TimeDelta::seconds(5);

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Json)]
    findings: serde_json::Value,
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
}

/// Queries the server, and compares its clock with this machine's.
pub(super) async fn check(
    conn: &mut AsyncPgConnection,
    is_local: bool,
    is_pooled: bool,
    pool: PoolSettings,
    report: &mut Report,
) -> anyhow::Result<()> {
    // One more: the connection that listens for notifications.
    let needed = i64::try_from(pool.size + pool.overflow + 1)?;
    let query = diesel::sql_query(include_str!("server.sql"))
        .bind::<Bool, _>(is_local)
        .bind::<Bool, _>(is_pooled)
        .bind::<BigInt, _>(needed);
    let before = Clock::system().now();
    let answer: Answer = query.get_result(conn).await.context("cannot be queried")?;
    compare_clocks(before, answer.now, Clock::system().now(), report);
    let required =
        requirements::judge(conn).await?.into_iter().filter(|one| SHOWN.contains(&one.name.as_str()));
    let mut findings: Vec<Finding> = required.map(Finding::from).collect();
    // A requirement that is missed says more than a finding of the same name.
    let others = serde_json::from_value::<Vec<Finding>>(answer.findings)?.into_iter();
    let others: Vec<_> = others.filter(|other| findings.iter().all(|one| one.name != other.name)).collect();
    findings.extend(others);
    report.findings.extend(findings);
    Ok(())
}

/// Returns the database's name and the server's start time, which together identify a database.
pub(super) async fn identity(conn: &mut AsyncPgConnection) -> anyhow::Result<String> {
    let identity = sql::<Text>("current_database() || ' since ' || pg_postmaster_start_time()");
    Ok(diesel::select(identity).get_result(conn).await?)
}

impl From<Judgement> for Finding {
    fn from(Judgement { name, status, found, fix }: Judgement) -> Self {
        let severity = match status {
            Status::Ok => Severity::Fine,
            Status::Warning => Severity::Warning,
            Status::Error => Severity::Error,
        };
        Self { name, severity, found, fix }
    }
}

/// Compares clocks: without skew, the server's time lies within the round trip.
fn compare_clocks(before: DateTime<Utc>, server: DateTime<Utc>, after: DateTime<Utc>, report: &mut Report) {
    let skew = server - server.clamp(before, after.max(before));
    if skew.abs() <= MAX_SKEW {
        return report.add("clock", Severity::Fine, "agrees with the server's within 5 s", "");
    }
    let direction = if skew < TimeDelta::zero() { "behind" } else { "ahead of" };
    let found = format!("the server's is {:.0} s {direction} this machine's", skew.abs().as_seconds_f64());
    report.add("clock", Severity::Warning, found, "set the wrong one, for example: timedatectl set-ntp true");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_round_trip_does_not_count_as_clock_skew() {
        let at = |seconds: i64| DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap();
        for (server, severity, found) in [
            (9, Severity::Fine, "agrees"),
            (-4, Severity::Fine, "agrees"),
            (-60, Severity::Warning, "60 s behind"),
            (70, Severity::Warning, "60 s ahead of"),
        ] {
            let mut report = Report::default();
            compare_clocks(at(0), at(server), at(10), &mut report);
            let clock = &report.findings[0];
            assert!(clock.severity == severity && clock.found.contains(found), "{clock:?}");
        }
    }
}
