//! The command line: `serve` (the default) and the commands of operators.

mod doctor;
mod health;
mod import;
mod keys;
mod migrate;
mod on_database;
mod serve;
mod shutdown;
mod user;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::serve::serve_until;
pub use self::shutdown::shutdown_on_signal;
use crate::config::{self, Config};
use crate::{crypto, db, graphql, telemetry};

/// GraphQL backend for a todo application, on PostgreSQL.
///
/// Without DATABASE_URL the service starts an embedded PostgreSQL. Every setting can be given as a flag, in the
/// environment or in a file .env in the current directory.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = TRACES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    config: Config,
}

const TRACES: &str = "Traces are configured by OpenTelemetry's variables, which have no flags: \
    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and others.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API (the default)
    Serve,
    /// Check that the service at HOST and PORT on this machine is alive
    Health {
        /// Check readiness instead: that requests can be served
        #[arg(long)]
        ready: bool,
    },
    /// Run, revert or list database migrations
    Migrate {
        #[command(subcommand)]
        action: migrate::Action,
    },
    /// Diagnose the database connection and suggest fixes
    Doctor(doctor::Command),
    /// Print the GraphQL schema
    Schema,
    /// Manage accounts
    User(user::Command),
    /// Import the users of the original system
    ImportUsers(import::Command),
    /// Generate keys for signing access tokens
    Keys {
        #[command(subcommand)]
        action: keys::Action,
    },
}

/// Time limit at exit for blocking threads, such as a migration that waits for a lock.
const EXIT_LIMIT: Duration = Duration::from_secs(10);

/// Runs the command line. Returns 0 for success, 1 for a failure, 2 for a wrong call or configuration; `doctor` has
/// exit codes of its own.
pub fn main() -> ExitCode {
    let warnings = match config::load_dotenv() {
        Ok(warnings) => warnings,
        Err(error) => return fail(2, &error),
    };
    let cli = match parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    crypto::install_provider();
    let serves = matches!(cli.command, None | Some(Command::Serve));
    // Dropped last: flushes the traces of everything below.
    let telemetry = match telemetry::init(&cli.config.log, serves) {
        Ok(telemetry) => telemetry,
        Err(error) => return fail(2, &error),
    };
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error.into()),
    };
    let result = runtime.block_on(async {
        let result = run(cli).await;
        // Sessions end with a message to the server, not with the process.
        db::wait_until_closed().await;
        result
    });
    runtime.shutdown_timeout(EXIT_LIMIT);
    telemetry.flush_logs();
    match result {
        Ok(code) => code,
        Err(error) if error.is::<ConfigurationError>() => fail(2, &error),
        Err(error) => fail(1, &error),
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let done = match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(cli.config).await,
        Command::Health { ready } => health::health(&cli.config.http, ready).await,
        Command::Migrate { action } => migrate::migrate(&cli.config, action).await,
        // 17 KB, which the future of every command would contain.
        Command::Doctor(command) => return Box::pin(doctor::doctor(&cli.config, command)).await,
        Command::Schema => print(&graphql::sdl()),
        Command::User(command) => user::user(&cli.config, command).await,
        Command::ImportUsers(command) => import::import_users(&cli.config, command).await,
        Command::Keys { action } => keys::keys(action),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// An invalid setting; the process exits with 2.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct ConfigurationError(anyhow::Error);

/// Parses the command line; or prints the help or the error, and returns the exit code.
fn parse() -> Result<Cli, ExitCode> {
    let mut command = Cli::command().mut_args(|arg| {
        // Settings may follow a subcommand, and --help must not show secrets from the environment.
        let arg = arg.global(true).hide_env_values(true);
        // An empty variable counts as unset, as in `PORT= todo-api` and in files for containers.
        let is_empty = |name| std::env::var_os(name).is_some_and(|value| value.is_empty());
        if arg.get_env().is_some_and(is_empty) { arg.env(clap::builder::Resettable::Reset) } else { arg }
    });
    let parsed = command.try_get_matches_from_mut(std::env::args_os());
    let parsed = parsed.and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Err(error) if !error.use_stderr() => {
            let printed = written(error.print().and_then(|()| io::stdout().flush()));
            Err(printed.map_or_else(|error| fail(1, &error), |()| ExitCode::SUCCESS))
        }
        parsed => {
            refuse_quotes(&command).map_err(|error| fail(2, &error))?;
            parsed.map_err(|error| {
                let _ = error.print();
                ExitCode::from(2)
            })
        }
    }
}

/// Refuses variables whose value is in quotes, and URLs in quotes where they are parsed, which `doctor` reports itself.
fn refuse_quotes(command: &clap::Command) -> anyhow::Result<()> {
    for name in command.get_arguments().filter_map(clap::Arg::get_env) {
        let value = std::env::var_os(name).unwrap_or_default();
        let name = name.to_string_lossy();
        if !name.contains("_URL") && config::is_quoted(value.as_encoded_bytes()) {
            bail!("{name} is in quotes; remove them (docker run --env-file keeps quotes)");
        }
    }
    Ok(())
}

fn fail(code: u8, error: &anyhow::Error) -> ExitCode {
    // Standard error may be closed.
    let _ = writeln!(io::stderr(), "error: {error:#}");
    ExitCode::from(code)
}

/// Writes the output of a command.
fn print(text: &str) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    written(output.write_all(text.as_bytes()).and_then(|()| output.flush()))
}

/// Accepts a closed pipe, as of `head`: its reader has seen enough.
fn written(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}
