use std::io::{BufRead, IsTerminal, Read};

use anyhow::{Context, anyhow, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::on_database::on_database;
use super::print;
use super::serve::Backend;
use crate::Clock;
use crate::auth::{Client, Registration, SigningKey, SigningKeys};
use crate::config::Config;
use crate::crypto;
use crate::domain::{Email, Password};
use crate::error::AppError;
use crate::models::{AccountOverview, Page, Position, Session, User};
use crate::state::AppState;

/// Manage accounts. Passwords are read from the terminal or from standard input.
#[derive(Clone, Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    action: Action,

    /// Write JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Create an account
    Create {
        /// Email address
        #[arg(long)]
        email: String,
        /// Display name
        #[arg(long)]
        name: String,
    },
    /// List accounts, newest first, and count bcrypt hashes
    List {
        /// Maximum number of accounts
        #[arg(long, default_value = "100", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Account after which to continue: email address or identifier
        #[arg(long)]
        after: Option<String>,
    },
    /// Show an account and its sessions
    Show {
        /// Email address or identifier
        user: String,
    },
    /// Set a new password and end all sessions
    SetPassword {
        /// Email address or identifier
        user: String,
    },
    /// End all sessions
    RevokeSessions {
        /// Email address or identifier
        user: String,
    },
    /// Delete an account and all of its data
    Delete {
        /// Email address or identifier
        user: String,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

/// Runs an action on the database that the service uses.
pub(super) async fn user(config: &Config, command: Command) -> anyhow::Result<()> {
    on_database(config, async |backend| run(config, backend, command).await).await
}

async fn run(config: &Config, backend: &Backend, command: Command) -> anyhow::Result<()> {
    backend.require_migrations(config).await?;
    // The state requires a key; these commands sign nothing.
    let first = SigningKey::from_secret(&crypto::random_bytes::<32>().to_vec().into())?;
    let keys = SigningKeys { first, others: Vec::new() };
    let connectors = backend.connectors(config)?;
    let state = AppState::new(config, connectors, keys, Clock::system())?;
    let client = Client::operator();
    let (value, text) = match command.action {
        Action::Create { email, name } => {
            let password = ask(read_password).await?;
            let created = state.auth.create_account(&client, Registration { email, password, name });
            let user = created.await.map_err(with_cause)?;
            (json!({ "id": user.id, "email": user.email }), format!("created {} {}\n", user.id, user.email))
        }
        Action::List { limit, after } => list(&state, limit, after.as_deref()).await?,
        Action::Show { user } => show(&state, &find(&state, &user).await?).await?,
        Action::SetPassword { user } => {
            let user = find(&state, &user).await?;
            let password = ask(read_password).await?;
            let ended = state.auth.reset_password(&client, &user, password).await.map_err(with_cause)?;
            ended_sessions("set the password of", &user, &ended)
        }
        Action::RevokeSessions { user } => {
            let user = find(&state, &user).await?;
            let ended = state.auth.revoke_sessions(&client, user.id, None).await.map_err(with_cause)?;
            ended_sessions("ended the sessions of", &user, &ended)
        }
        Action::Delete { user, yes } => {
            let user = find(&state, &user).await?;
            let question = format!("Delete {} {} and all of its data? Type yes: ", user.id, user.email);
            ensure!(yes || ask(move || confirm(&question)).await?, "nothing deleted");
            let deleted = state.auth.delete_account(&client, user.id).await.map_err(with_cause)?;
            ensure!(deleted, "the account has been deleted already");
            (json!({ "deletedUserId": user.id }), format!("deleted {} {}\n", user.id, user.email))
        }
    };
    print(&if command.json { format!("{value}\n") } else { text })
}

/// Names the cause, which clients must not see, to the operator.
fn with_cause(error: AppError) -> anyhow::Error {
    match error {
        AppError::Internal(source) => anyhow!("{source:#}"),
        AppError::Unavailable(reason) => anyhow!("the database is unavailable: {reason}"),
        error => error.into(),
    }
}

/// Runs a dialogue on a thread of its own, for which neither a signal nor the end of the process waits.
async fn ask<R: Send + 'static>(
    dialogue: impl FnOnce() -> anyhow::Result<R> + Send + 'static,
) -> anyhow::Result<R> {
    let (sender, answer) = oneshot::channel();
    std::thread::spawn(move || sender.send(dialogue()));
    answer.await?
}

async fn list(state: &AppState, limit: u32, after: Option<&str>) -> anyhow::Result<(Value, String)> {
    let after = match after {
        None => None,
        Some(user) => {
            find(state, user).await.map(|user| Some(Position { at: user.created_at, id: user.id }))?
        }
    };
    let page = Page::first(limit, after, None);
    let found = state.database.read(async |conn| {
        Ok((AccountOverview::list(conn, page).await?, AccountOverview::count_by_scheme(conn).await?))
    });
    let (mut accounts, schemes) = found.await?;
    let has_more = accounts.len() > page.size();
    accounts.truncate(page.size());
    let total: i64 = schemes.iter().map(|(_, count)| count).sum();
    let bcrypt = bcrypt_rows(&schemes);
    let lines: String = accounts.iter().map(describe).collect();
    let not_all = if has_more { ", not all shown" } else { "" };
    let text = format!("{lines}{total} account(s){not_all}\n{}", describe_remaining(bcrypt));
    let users: Vec<_> = accounts.iter().map(to_json).collect();
    Ok((json!({ "users": users, "hasMore": has_more, "total": total, "bcryptHashes": bcrypt }), text))
}

async fn show(state: &AppState, user: &User) -> anyhow::Result<(Value, String)> {
    let id = user.id;
    let page = Page::first(u32::try_from(Session::MAX_PER_USER)?, None, None);
    let found = state.database.read(async |conn| {
        Ok((AccountOverview::find(conn, id).await?, Session::list(conn, id, page).await?))
    });
    let (account, sessions) = found.await?;
    let account = account.context("the account has been deleted meanwhile")?;
    let lines: String = sessions.iter().map(describe_session).collect();
    let sessions: Vec<_> = sessions.iter().map(session_to_json).collect();
    let mut value = to_json(&account);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("sessions".into(), sessions.into());
    }
    Ok((value, describe(&account) + &lines))
}

fn describe_session(session: &Session) -> String {
    let address = session.ip_address.map(|address| address.addr().to_string()).unwrap_or_default();
    let agent = session.user_agent.as_deref().unwrap_or_default();
    format!("  session {}  seen {}  {address}  {agent}\n", session.id, session.last_seen_at.to_rfc3339())
}

fn session_to_json(session: &Session) -> Value {
    json!({
        "id": session.id,
        "createdAt": session.created_at.to_rfc3339(),
        "lastSeenAt": session.last_seen_at.to_rfc3339(),
        "ipAddress": session.ip_address.map(|address| address.addr().to_string()),
        "userAgent": session.user_agent,
    })
}

fn describe(account: &AccountOverview) -> String {
    let AccountOverview { user, scheme } = account;
    format!("{}  {}  {}  since {}  {scheme}\n", user.id, user.email, user.name, user.created_at.to_rfc3339())
}

fn to_json(account: &AccountOverview) -> Value {
    let AccountOverview { user, scheme } = account;
    json!({
        "id": user.id, "email": user.email, "name": user.name, "createdAt": user.created_at.to_rfc3339(),
        "updatedAt": user.updated_at.to_rfc3339(), "passwordHash": scheme,
    })
}

/// Counts bcrypt hashes, from counts by scheme.
pub(super) fn bcrypt_rows(schemes: &[(String, i64)]) -> i64 {
    schemes.iter().filter(|(scheme, _)| scheme.starts_with('2')).map(|(_, count)| count).sum()
}

/// Formats the number of accounts that still have a hash of the original system.
pub(super) fn describe_remaining(bcrypt: i64) -> String {
    format!("{bcrypt} account(s) still have a bcrypt hash; the next login replaces it\n")
}

fn ended_sessions(what: &str, user: &User, ended: &[Uuid]) -> (Value, String) {
    let text = format!("{what} {} {}; {} session(s) ended\n", user.id, user.email, ended.len());
    (json!({ "id": user.id, "revokedSessionIds": ended }), text)
}

async fn find(state: &AppState, user: &str) -> anyhow::Result<User> {
    let found = match (user.parse::<Uuid>(), Email::parse(user)) {
        (Ok(id), _) => state.database.read(async |conn| User::find(conn, id).await).await?,
        (_, Ok(email)) => {
            let found = state.database.read(async |conn| User::find_for_login(conn, &email).await);
            found.await?.map(|(user, _)| user)
        }
        _ => bail!("{user} is neither an email address nor an identifier"),
    };
    found.with_context(|| format!("no such user: {user}"))
}

fn read_password() -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        let password = rpassword::prompt_password("Password: ");
        let password = password.context("no terminal to ask for the password; pass it on standard input")?;
        ensure!(password == rpassword::prompt_password("Again: ")?, "the passwords do not match");
        return Ok(password);
    }
    let limit = Password::MAX_TYPED_BYTES as u64 + 2;
    let mut line = String::new();
    let read = std::io::stdin().lock().take(limit).read_line(&mut line);
    read.context("cannot read the password from standard input")?;
    let password = line.trim_end_matches(['\n', '\r']);
    ensure!(
        !password.is_empty(),
        "no password on standard input; pass it there, or run the command at a terminal"
    );
    Ok(password.to_owned())
}

fn confirm(question: &str) -> anyhow::Result<bool> {
    ensure!(std::io::stdin().is_terminal(), "no terminal to ask for confirmation; use --yes");
    print(question)?;
    let mut line = String::new();
    std::io::stdin().lock().take(16).read_line(&mut line)?;
    Ok(line.trim() == "yes")
}
