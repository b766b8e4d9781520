//! The command line: `serve` (the default) and what operators need beside it.

mod doctor;
mod health;
mod import;
mod keys;
mod migrate;
mod serve;
mod shutdown;
mod user;

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::serve::serve_until;
pub use self::shutdown::shutdown_on_signal;
use crate::config::Config;
use crate::{crypto, graphql, telemetry};

/// GraphQL backend for a todo application, on PostgreSQL.
///
/// Without DATABASE_URL the service starts a PostgreSQL of its own. Every setting can be given as a flag, in the
/// environment or in a file .env in the current directory.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = TRACES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    config: Config,
}

const TRACES: &str = "Traces are set by the variables of OpenTelemetry, which have no flags: \
    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and others.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API; the default
    Serve,
    /// Ask the service on this machine, at HOST and PORT, whether it is alive
    Health {
        /// Ask whether it can serve requests, too: whether its database is there
        #[arg(long)]
        ready: bool,
    },
    /// Run or revert the database's migrations, or list them
    Migrate {
        #[command(subcommand)]
        action: migrate::Action,
    },
    /// Say on one page what is wrong with the database's URL, the way to it and what is there, and how to fix it
    Doctor(doctor::Command),
    /// Print the GraphQL schema
    Schema,
    /// Look after accounts
    User(user::Command),
    /// Take over the users of the original system
    ImportUsers(import::Command),
    /// Make keys for signing access tokens
    Keys {
        #[command(subcommand)]
        action: keys::Action,
    },
}

/// How long what blocks a thread may keep the process from ending.
const EXIT_LIMIT: Duration = Duration::from_secs(10);

/// Runs the command line and says how it went: 0 well, 1 failed, 2 wrongly called or configured. What `doctor` says is
/// described there.
pub fn main() -> ExitCode {
    if let Err(error) = load_dotenv() {
        return fail(2, &error);
    }
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    crypto::install_provider();
    let serves = matches!(cli.command, None | Some(Command::Serve));
    // Dropped at the end of all, when what is to be told has been told.
    let _telemetry = match telemetry::init(&cli.config.log, serves) {
        Ok(telemetry) => telemetry,
        Err(error) => return fail(2, &error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error.into()),
    };
    let result = runtime.block_on(run(cli));
    // What still blocks a thread, such as a migration that waits for a lock, ends with the process.
    runtime.shutdown_timeout(EXIT_LIMIT);
    match result {
        Ok(code) => code,
        Err(error) if error.is::<Misconfigured>() => fail(2, &error),
        Err(error) => fail(1, &error),
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let done = match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(cli.config).await,
        Command::Health { ready } => health::health(&cli.config.http, ready).await,
        Command::Migrate { action } => migrate::migrate(&cli.config, action).await,
        Command::Doctor(command) => return doctor::doctor(&cli.config, command).await,
        Command::Schema => {
            print(&graphql::sdl());
            Ok(())
        }
        Command::User(command) => user::user(&cli.config, command).await,
        Command::ImportUsers(command) => import::import_users(&cli.config, command).await,
        Command::Keys { action } => keys::keys(action),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Marks an error as one of configuration.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct Misconfigured(anyhow::Error);

fn parse() -> Result<Cli, clap::Error> {
    // What is set to nothing counts as not set, as in `PORT= todo-api` and in files for containers.
    let command = Cli::command().mut_args(|arg| {
        let blank =
            arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
        if blank { arg.env(clap::builder::Resettable::Reset) } else { arg }
    });
    Cli::from_arg_matches(&command.try_get_matches()?)
}

/// The parser's own error would repeat the line, which may hold a secret.
fn load_dotenv() -> anyhow::Result<()> {
    match dotenvy::from_path(".env") {
        Err(dotenvy::Error::LineParse(..)) => {
            anyhow::bail!(
                ".env has a line that is not of the form NAME=value (values with spaces need quotes)"
            )
        }
        Err(dotenvy::Error::Io(error)) if error.kind() != std::io::ErrorKind::NotFound => {
            anyhow::bail!(".env can't be read: {error}")
        }
        _ => Ok(()),
    }
}

fn fail(code: u8, error: &anyhow::Error) -> ExitCode {
    use std::io::Write;

    // Nobody may be left to read it.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::from(code)
}

/// Writes a command's result; a reader that has gone away, such as `head`, is no error.
fn print(text: &str) {
    use std::io::Write;

    let _ = std::io::stdout().write_all(text.as_bytes());
}
