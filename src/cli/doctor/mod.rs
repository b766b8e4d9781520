//! Examines the path from a URL to a database that the service can work on, and suggests fixes.
//!
//! Checks are data where they can be: `address` judges the URL, `server.sql` the server, `causes` failed connections.

mod address;
mod causes;
mod connection;
mod report;
mod server;
mod spelling;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use diesel_async::AsyncPgConnection;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use self::report::{Finding, Report, Severity};
use self::spelling::FORM;
use super::print;
use crate::config::{Config, DatabaseSettings, secret};
use crate::data_dir::DataDir;
use crate::db::pooler::{self, Route};
use crate::db::{Connector, DatabaseUrl, migrations, refusal, requirements};

/// Time limits: for everything, for one connection and for one check.
const LIMIT: Duration = Duration::from_secs(35);
const CONNECT_LIMIT: Duration = Duration::from_secs(18);
const CHECK_LIMIT: Duration = Duration::from_secs(8);

const REFUSAL_LIMIT: Duration = Duration::from_secs(3);

/// The driver's words for an error that the server sent.
const REFUSED: &str = "db error: ";

const SET_DIRECT_URL: &str =
    "DATABASE_DIRECT_URL=\"postgresql://user:$PASSWORD@host/database\", the URL of PostgreSQL itself";

const HELP: &str = "\
Exit status: 0 if there are at most notes, 1 if there are warnings, 2 if there are errors.

Example:
  todo-api doctor 'postgresql://app:secret@ep-name-pooler.region.aws.neon.tech/db?sslmode=require'";

/// Diagnose the database connection and suggest fixes.
///
/// Checks the spelling of the URL, TLS and its certificate, channel binding, poolers and prepared statements, the time
/// that connecting takes, the server's version and clock, the role's privileges and limits, migrations, and the number
/// of connections. Passwords are not shown.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Command {
    /// URL to examine [default: DATABASE_URL with DATABASE_DIRECT_URL, or the embedded PostgreSQL if it runs]
    #[arg(value_parser = secret)]
    url: Option<SecretString>,

    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Examines the database and prints the report.
pub(super) async fn doctor(config: &Config, command: Command) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    if let Some((url, direct)) = read_urls(config, command.url.as_ref(), &mut report) {
        let deadline = Instant::now() + LIMIT;
        let has_direct_setting = command.url.is_none() && config.database.unparsed_urls().1.is_some();
        let examination =
            Examination { settings: &config.database, deadline, url, direct, has_direct_setting };
        examination.run(&mut report).await;
    }
    print(&if command.json { format!("{:#}\n", report.json()) } else { report.text() })?;
    Ok(report.exit_code())
}

/// Reads the URL for requests and the one without a pooler.
fn read_urls(
    config: &Config,
    argument: Option<&SecretString>,
    report: &mut Report,
) -> Option<(DatabaseUrl, DatabaseUrl)> {
    let unparsed = config.database.unparsed_urls();
    let (text, direct) = if argument.is_some() { (argument, None) } else { unparsed };
    let Some(text) = text.cloned().or_else(|| embedded_url(config)) else {
        let found = "is not set, and the embedded PostgreSQL does not run";
        report.add("DATABASE_URL", Severity::Error, found, format!("start todo-api, or DATABASE_URL={FORM}"));
        return None;
    };
    let url = spelling::read("DATABASE_URL", text.expose_secret(), report);
    let direct = direct.map(|text| spelling::read("DATABASE_DIRECT_URL", text.expose_secret(), report));
    let url = url?;
    let direct = direct.unwrap_or_else(|| Some(url.clone().without_neon_pooler()))?;
    Some((url, direct))
}

fn embedded_url(config: &Config) -> Option<SecretString> {
    let data_dir = DataDir::open(config.data_dir.as_deref()).ok()?;
    Some(std::fs::read_to_string(data_dir.path().join("database-url")).ok()?.into())
}

/// An examination of one database.
struct Examination<'a> {
    settings: &'a DatabaseSettings,
    deadline: Instant,
    url: DatabaseUrl,
    /// The URL without a pooler.
    direct: DatabaseUrl,
    /// True if the URL without a pooler is that of `DATABASE_DIRECT_URL`.
    has_direct_setting: bool,
}

impl Examination<'_> {
    async fn run(&self, report: &mut Report) {
        let Self { url, direct, .. } = self;
        report.service_url = Some(spelling::url_for_service(url));
        report.diesel_cli_url = Some(spelling::url_for_libpq(direct));
        address::check(url, report);
        let Some(mut conn) = self.connect(report).await else { return };
        let is_pooled = match self.limited(self.check_pooler(report)).await {
            Ok(is_pooled) => is_pooled,
            Err(error) => {
                let fix = causes::fix(&error, url);
                report.add("pooler", Severity::Warning, format!("cannot be probed: {error}"), fix);
                false
            }
        };
        let pool = self.settings.pool();
        let checked = self.limited(server::check(&mut conn, url.is_local(), is_pooled, pool, report)).await;
        add_failure(report, "server", checked, url);
        if !address::is_same(url, direct) {
            let checked = self.limited(self.check_direct(&mut conn, report)).await;
            if let Err(error) = checked {
                let found = format!("{} does not work: {error}", self.direct_name());
                return report.add("direct", Severity::Error, found, self.fix_for_direct(&error));
            }
        }
        drop(conn);
        let checked = self.limited(self.check_migrations(report)).await;
        add_failure(report, "migrations", checked, direct);
    }

    /// True if the URL without a pooler is another one.
    fn has_bypass(&self) -> bool {
        address::endpoint(&self.url) != address::endpoint(&self.direct)
    }

    fn direct_name(&self) -> &'static str {
        if self.has_direct_setting { "DATABASE_DIRECT_URL" } else { "DATABASE_URL without -pooler" }
    }

    /// Returns the fix for a failure of the direct URL where the other one works.
    fn fix_for_direct(&self, error: &str) -> String {
        let Self { url, direct, .. } = self;
        let is_login = error.contains("SQLSTATE=28P01") || error.contains("password authentication failed");
        if is_login && address::has_same_user(url, direct) && !address::has_same_password(url, direct) {
            return "give DATABASE_DIRECT_URL the password of DATABASE_URL, which works".into();
        }
        format!("in {}: {}", self.direct_name(), causes::fix(error, direct))
    }

    /// Probes for a pooler in transaction mode; returns true if there is one.
    async fn check_pooler(&self, report: &mut Report) -> anyhow::Result<bool> {
        let route = match pooler::probe(&self.connector(&self.url)?).await {
            Err(pooler::ProbeError::LosesStatements) => {
                let found = "are lost by a pooler in transaction mode";
                report.add("prepared statements", Severity::Error, found, pooler::LOSES_STATEMENTS_FIX);
                return Ok(true);
            }
            probed => probed?,
        };
        match route {
            Route::Direct => report.add("pooler", Severity::Fine, "none in transaction mode", ""),
            Route::Pooled if self.has_bypass() => {
                let found = format!("in transaction mode; {} bypasses it", address::host_of(&self.direct));
                report.add("pooler", Severity::Fine, found, "");
            }
            Route::Pooled => {
                let found = "in transaction mode: advisory locks do not hold, and live changes are polled";
                report.add("pooler", Severity::Warning, found, SET_DIRECT_URL);
            }
        }
        report.add("prepared statements", Severity::Fine, "are kept across transactions", "");
        Ok(route == Route::Pooled)
    }

    /// Checks that the URL without a pooler leads to the same database, and to PostgreSQL itself.
    async fn check_direct(&self, conn: &mut AsyncPgConnection, report: &mut Report) -> anyhow::Result<()> {
        let mut other = self.open(&self.direct).await?;
        let is_same = server::identity(conn).await? == server::identity(&mut other).await?;
        let route = pooler::probe(&self.connector(&self.direct)?).await?;
        let (severity, target, fix) = match route {
            _ if !is_same => (Severity::Error, "to another database", SET_DIRECT_URL),
            Route::Pooled => (Severity::Warning, "through a pooler, too", SET_DIRECT_URL),
            Route::Direct => (Severity::Fine, "to PostgreSQL itself", ""),
        };
        report.add("direct", severity, format!("{} leads {target}", address::host_of(&self.direct)), fix);
        Ok(())
    }

    async fn check_migrations(&self, report: &mut Report) -> anyhow::Result<()> {
        let connector = self.connector(&self.direct)?;
        let judgements = requirements::judge(&mut connector.connect().await?).await?;
        if let Some(missed) = judgements.iter().find(|one| one.name == requirements::MIGRATION_TABLE) {
            report.findings.push(Finding { name: "migrations".into(), ..missed.clone().into() });
            return Ok(());
        }
        let status = migrations::status(&connector).await.context("cannot be read")?;
        let unknown = migrations::unknown(&connector).await.context("cannot be read")?;
        let pending: Vec<_> = status.iter().filter(|one| !one.applied).map(|one| one.name.as_str()).collect();
        let (severity, found, fix) = if !pending.is_empty() {
            let found = format!("{} pending: {}", pending.len(), pending.join(", "));
            let obstacle = requirements::obstacle(&judgements, &pending);
            let found = obstacle.map_or(found.clone(), |one| format!("{found}\nin the way: {}", one.found));
            let fix = obstacle.and_then(|one| one.fix.as_deref());
            (Severity::Error, found, fix.unwrap_or("todo-api migrate run, or MIGRATE_ON_START=true"))
        } else if !unknown.is_empty() {
            let found = format!("{} unknown to this version: {}", unknown.len(), unknown.join(", "));
            (Severity::Note, found, "upgrade todo-api, unless an upgrade is in progress")
        } else {
            (Severity::Fine, format!("all {} have been run", status.len()), "")
        };
        report.add("migrations", severity, found, fix);
        Ok(())
    }

    async fn open(&self, url: &DatabaseUrl) -> anyhow::Result<AsyncPgConnection> {
        self.open_within(url, CONNECT_LIMIT).await
    }

    /// Opens a connection; the error ends in the SQLSTATE of a refusal.
    async fn open_within(&self, url: &DatabaseUrl, limit: Duration) -> anyhow::Result<AsyncPgConnection> {
        let error = match self.connector_within(url, limit)?.connect().await {
            Ok(conn) => return Ok(conn),
            Err(error) => format!("{error:#}"),
        };
        // Neon's proxy gives all of them the same one.
        let has_code = error.contains(REFUSED) && !address::is_neon_host(url);
        let code = if has_code { refusal::sqlstate(url, self.remaining(REFUSAL_LIMIT)).await } else { None };
        bail!(causes::with_sqlstate(error, code))
    }

    fn connector(&self, url: &DatabaseUrl) -> anyhow::Result<Connector> {
        self.connector_within(url, CONNECT_LIMIT)
    }

    fn connector_within(&self, url: &DatabaseUrl, limit: Duration) -> anyhow::Result<Connector> {
        Connector::new(url, self.remaining(self.settings.connect_timeout().min(limit)))
    }

    async fn limited<T>(&self, check: impl Future<Output = anyhow::Result<T>>) -> Result<T, String> {
        let checked = timeout(self.remaining(CHECK_LIMIT), check).await;
        checked
            .map_or_else(|_| Err("timed out".to_owned()), |checked| checked.map_err(|error| describe(&error)))
    }

    /// Shortens a time limit to the time that is left.
    fn remaining(&self, limit: Duration) -> Duration {
        limit.min(self.deadline.saturating_duration_since(Instant::now())).max(Duration::from_millis(1))
    }
}

/// Adds the failure of a check on `url`, if it failed, with the fix for its cause.
fn add_failure(report: &mut Report, name: &str, checked: Result<(), String>, url: &DatabaseUrl) {
    if let Err(error) = checked {
        let fix = causes::fix(&error, url);
        report.add(name, Severity::Error, error, fix);
    }
}

/// Returns the part of an error that says what happened.
fn describe(error: &anyhow::Error) -> String {
    ["the database is unavailable: ", REFUSED, "DATABASE_URL: "]
        .iter()
        .fold(format!("{error:#}"), |text, noise| text.replace(noise, ""))
}
