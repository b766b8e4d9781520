//! Looks at everything between a URL and a database that the service can work on, and says what to do.

mod address;
mod explain;
mod report;
mod server;
mod spelling;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use diesel_async::AsyncPgConnection;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use self::report::{Finding, Report};
use super::print;
use crate::config::{Config, secret};
use crate::data_dir::DataDir;
use crate::db::{Connector, DatabaseUrl, migrations, pooler};

/// How long it may take altogether, and each attempt to connect and each check by itself.
const LIMIT: Duration = Duration::from_secs(35);
const CONNECT_LIMIT: Duration = Duration::from_secs(18);
const CHECK_LIMIT: Duration = Duration::from_secs(8);

/// What is shown with `--help`.
const HELP: &str = "\
Exit status: 0 if all is well or there are notes only, 1 if there are warnings, 2 if there are errors.

Example:
  todo-api doctor 'postgresql://app:secret@ep-name-pooler.region.aws.neon.tech/db?sslmode=require'";

/// Says what is wrong between the service and its database, and the line that fixes it.
///
/// Looks at how the URL is spelled, TLS and its certificate, channel binding, whether a pooler is in between and keeps
/// prepared statements, how long connecting takes, the server's version and clock, the role's rights and limits,
/// migrations, and whether there are enough connections. Passwords are not shown.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Command {
    /// The URL to look at [default: DATABASE_URL with DATABASE_DIRECT_URL, or the service's own PostgreSQL while that
    /// runs]
    #[arg(value_parser = secret)]
    url: Option<SecretString>,

    /// Write JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Looks, and prints the page.
pub(super) async fn doctor(config: &Config, command: Command) -> anyhow::Result<ExitCode> {
    let mut visit = Visit { config, end: Instant::now() + LIMIT, report: Report::default() };
    visit.examine(command.url.as_ref()).await;
    let report = visit.report;
    print(&if command.json { format!("{:#}\n", report.json()) } else { report.text() });
    Ok(report.exit_code())
}

/// One look at everything.
struct Visit<'a> {
    config: &'a Config,
    end: Instant,
    report: Report,
}

impl Visit<'_> {
    async fn examine(&mut self, given: Option<&SecretString>) {
        let Some((url, direct)) = self.urls(given) else { return };
        self.report.urls.service = Some(spelling::service(&url));
        self.report.urls.diesel_cli = Some(spelling::libpq(&direct));
        for finding in address::check(&url) {
            self.report.add(finding);
        }
        let Some(mut conn) = self.connect(&url, &direct).await else { return };
        let pooled = self.route(&url, &direct).await;
        self.server(&mut conn, url.is_local(), pooled).await;
        let name = |url: &DatabaseUrl| url.config().get_dbname().map(str::to_owned);
        if address::place(&url) != address::place(&direct) || name(&url) != name(&direct) {
            self.direct(&mut conn, &direct).await;
        }
        drop(conn);
        self.migrations(&direct).await;
    }

    /// The URL for requests and the one past a pooler.
    fn urls(&mut self, given: Option<&SecretString>) -> Option<(DatabaseUrl, DatabaseUrl)> {
        let (written, direct) = match given {
            Some(_) => (given, None),
            None => self.config.database.written(),
        };
        let written = match written {
            Some(text) => Some(text.expose_secret().to_owned()),
            None => self.published(),
        };
        let Some(text) = written else {
            self.report.add(Finding::error(
                "DATABASE_URL",
                "is not set, and the service's own PostgreSQL does not run",
                "start todo-api, or DATABASE_URL=\"postgresql://user:$PASSWORD@host/database?sslmode=require\"",
            ));
            return None;
        };
        let url = self.read("DATABASE_URL", &text);
        let direct = direct.map(|text| self.read("DATABASE_DIRECT_URL", text.expose_secret()));
        let url = url?;
        let direct = match direct {
            Some(direct) => direct?,
            None => url.clone().without_neon_pooler(),
        };
        Some((url, direct))
    }

    fn read(&mut self, setting: &'static str, text: &str) -> Option<DatabaseUrl> {
        let (url, finding) = spelling::read(setting, text);
        self.report.add(finding);
        url
    }

    /// How the service's own PostgreSQL is reached while it runs.
    fn published(&self) -> Option<String> {
        let data_dir = DataDir::open(self.config.data_dir.as_deref()).ok()?;
        std::fs::read_to_string(data_dir.path().join("database-url")).ok()
    }

    /// Opens two connections, the first of which may have to wake the database up.
    async fn connect(&mut self, url: &DatabaseUrl, direct: &DatabaseUrl) -> Option<AsyncPgConnection> {
        let began = Instant::now();
        let conn = match self.open(url).await {
            Ok(conn) => conn,
            Err(reason) => {
                let fix = self.fix(&reason, url, direct).await;
                self.report.add(Finding::error("connection", reason, fix));
                return None;
            }
        };
        let first = began.elapsed();
        let began = Instant::now();
        if let Err(reason) = self.open(url).await {
            let fix = explain::fix(&reason, url);
            self.report.add(Finding::error("connection", format!("the second failed: {reason}"), fix));
            return None;
        }
        let second = began.elapsed();
        let found = format!("opened in {} ms, a second one in {} ms", first.as_millis(), second.as_millis());
        self.report.add(if first > second * 3 + Duration::from_millis(500) {
            let limit = humantime::format_duration(self.config.database.connect_timeout());
            let found = format!("{found}: the database had to wake up");
            Finding::note(
                "connection",
                found,
                format!("keep DATABASE_CONNECT_TIMEOUT ({limit}) well above that"),
            )
        } else {
            Finding::ok("connection", found)
        });
        Some(conn)
    }

    /// What to do about a failed connection; where Neon's pooler may be to blame, its direct host is tried.
    async fn fix(&self, reason: &str, url: &DatabaseUrl, direct: &DatabaseUrl) -> String {
        let suspect = address::is_neon_pooler(url) && address::requires_channel_binding(url);
        if !suspect || !reason.contains("timed out") {
            return explain::fix(reason, url);
        }
        match self.open(direct).await {
            Ok(_) => format!(
                "the direct host answers: the pooled one with channel_binding=require does not wake a suspended compute \
                 (neondatabase/neon#12897); leave channel_binding out, or DATABASE_URL=\"{}\"",
                spelling::service(direct)
            ),
            Err(reason) => {
                format!("the direct host fails, too ({reason}): {}", explain::fix(&reason, direct))
            }
        }
    }

    async fn open(&self, url: &DatabaseUrl) -> Result<AsyncPgConnection, String> {
        let connector = self.connector(url)?;
        connector.connect().await.map_err(|error| said(&error.to_string()))
    }

    fn connector(&self, url: &DatabaseUrl) -> Result<Connector, String> {
        let limit = self.config.database.connect_timeout().min(CONNECT_LIMIT);
        Connector::new(url, self.within(limit)).map_err(|error| format!("{error:#}"))
    }

    /// A limit that ends with the whole.
    fn within(&self, limit: Duration) -> Duration {
        limit.min(self.end.saturating_duration_since(Instant::now())).max(Duration::from_millis(1))
    }

    /// Finds out whether a pooler is in between, and whether it can be used.
    async fn route(&mut self, url: &DatabaseUrl, direct: &DatabaseUrl) -> bool {
        let Ok(connector) = self.connector(url) else { return false };
        let probed = match timeout(self.within(CHECK_LIMIT), pooler::probe(&connector)).await {
            Ok(Err(pooler::Failure::Database(error))) => Err(said(&error.to_string())),
            Ok(Err(pooler::Failure::LosesStatements)) => {
                self.report.add(Finding::error(
                    "prepared statements",
                    "are lost by a pooler in transaction mode",
                    pooler::LOSES_STATEMENTS_FIX,
                ));
                return true;
            }
            Ok(Ok(route)) => Ok(route),
            Err(_) => Err("timed out".into()),
        };
        let (finding, pooled) = match probed {
            Err(reason) => {
                let fix = explain::fix(&reason, url);
                (Finding::warning("pooler", format!("can't be tried out: {reason}"), fix), false)
            }
            Ok(pooler::Route::Direct) => {
                (Finding::ok("pooler", "none in transaction mode in between"), false)
            }
            Ok(pooler::Route::Pooled) => (pooled(url, direct), true),
        };
        let probed = finding.status < report::Status::Warning || pooled;
        self.report.add(finding);
        if probed {
            self.report.add(Finding::ok("prepared statements", "are kept across transactions"));
        }
        pooled
    }

    async fn server(&mut self, conn: &mut AsyncPgConnection, local: bool, pooled: bool) {
        let asked = timeout(self.within(CHECK_LIMIT), server::ask(conn)).await;
        match asked
            .map_err(|_| "timed out".to_owned())
            .and_then(|asked| asked.map_err(|error| error.to_string()))
        {
            Ok((facts, clock)) => {
                self.report.add(clock);
                for finding in server::judge(&facts, local, pooled, self.config.database.pool()) {
                    self.report.add(finding);
                }
            }
            Err(reason) => {
                let fix = "see what the server's log says at this time";
                self.report.add(Finding::error("server", format!("can't be asked: {reason}"), fix));
            }
        }
    }

    /// Whether the way past the pooler leads to the same database, and to PostgreSQL itself.
    async fn direct(&mut self, conn: &mut AsyncPgConnection, direct: &DatabaseUrl) {
        let look = async {
            let mut past = self.open(direct).await?;
            let same = server::identity(conn).await? == server::identity(&mut past).await?;
            let route =
                pooler::probe(&self.connector(direct)?).await.map_err(|error| said(&error.to_string()))?;
            Ok::<_, String>((same, route))
        };
        let looked =
            timeout(self.within(CHECK_LIMIT), look).await.unwrap_or_else(|_| Err("timed out".into()));
        let host = address::host_of(direct);
        let fix =
            "DATABASE_DIRECT_URL=\"postgresql://user:$PASSWORD@host/database\", the URL of PostgreSQL itself";
        self.report.add(match looked {
            Ok((false, _)) => Finding::error("direct", format!("{host} leads to another database"), fix),
            Ok((true, pooler::Route::Pooled)) => {
                Finding::warning("direct", format!("{host} leads through a pooler, too"), fix)
            }
            Ok((true, pooler::Route::Direct)) => {
                Finding::ok("direct", format!("{host} leads to PostgreSQL itself"))
            }
            Err(reason) => {
                let fix = explain::fix(&reason, direct);
                Finding::error("direct", reason, fix)
            }
        });
    }

    async fn migrations(&mut self, direct: &DatabaseUrl) {
        let read = async {
            let connector = self.connector(direct).map_err(anyhow::Error::msg)?;
            Ok((migrations::status(&connector).await?, migrations::unknown(&connector).await?))
        };
        let read = timeout(self.within(CHECK_LIMIT), read).await;
        let finding = match read.unwrap_or_else(|_| Err(anyhow::anyhow!("timed out"))) {
            Ok((status, unknown)) => judge_migrations(&status, &unknown),
            Err(error) => {
                let reason = said(&format!("{error:#}"));
                let fix = if reason.contains("permission denied") {
                    let role = direct.config().get_user().unwrap_or_default();
                    format!("GRANT SELECT ON __diesel_schema_migrations TO \"{role}\";")
                } else {
                    explain::fix(&reason, direct)
                };
                Finding::error("migrations", format!("can't be read: {reason}"), fix)
            }
        };
        self.report.add(finding);
    }
}

/// A pooler is well where there is a way past it.
fn pooled(url: &DatabaseUrl, direct: &DatabaseUrl) -> Finding {
    if address::place(url) == address::place(direct) {
        return Finding::warning(
            "pooler",
            "in transaction mode: locks of migrations do not hold, and live changes are asked for every second",
            "DATABASE_DIRECT_URL=\"postgresql://user:$PASSWORD@host/database\", the URL of PostgreSQL itself",
        );
    }
    Finding::ok("pooler", format!("in transaction mode; {} leads past it", address::host_of(direct)))
}

fn judge_migrations(status: &[migrations::Status], unknown: &[String]) -> Finding {
    let pending: Vec<_> = status.iter().filter(|one| !one.applied).map(|one| one.name.as_str()).collect();
    if !pending.is_empty() {
        let found = format!("{} pending: {}", pending.len(), pending.join(", "));
        return Finding::error("migrations", found, "todo-api migrate run, or MIGRATE_ON_START=true");
    }
    if !unknown.is_empty() {
        let found = format!(
            "the database has {} that this version does not know: {}",
            unknown.len(),
            unknown.join(", ")
        );
        return Finding::note("migrations", found, "upgrade todo-api, unless an upgrade is under way");
    }
    Finding::ok("migrations", format!("all {} have been run", status.len()))
}

/// The part of an error that says what happened.
fn said(error: &str) -> String {
    let error = error.strip_prefix("the database is unavailable: ").unwrap_or(error);
    error.strip_prefix("db error: ").unwrap_or(error).to_owned()
}
