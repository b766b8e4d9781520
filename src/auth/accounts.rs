use std::time::Duration;

use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use secrecy::SecretString;
use tokio::time::{Instant, sleep_until};

use super::events::Event;
use super::password::Verdict;
use super::sessions::Opening;
use super::throttle::Attempt;
use super::{Client, OpenedSession};
use crate::db;
use crate::domain::{Email, Name, NewPassword, Password, Problem};
use crate::error::{AppError, FieldProblem};
use crate::metrics::LoginOutcome;
use crate::models::{EventKind, NewUser, User};
use crate::state::AppState;

/// When a failed login is answered, counted from its beginning.
///
/// An argon2id hash of ours takes some 20 ms, a bcrypt hash of the original system some 250. Answering failures at
/// one time keeps that from telling which addresses have an account. It is also no hardship for a person.
const FAILURE_TIME: Duration = Duration::from_millis(500);

/// How often a login is tried whose password is being changed at the same time.
const LOGIN_TRIES: usize = 2;

/// What a person enters to make an account.
pub struct Registration {
    /// Email address.
    pub email: String,
    /// Password.
    pub password: String,
    /// Name.
    pub name: String,
}

/// What a person enters to log in.
pub struct Credentials {
    /// Email address.
    pub email: String,
    /// Password.
    pub password: String,
}

/// Makes an account and opens its first session.
///
/// That an address is taken can't be hidden here without sending email first; it is told plainly.
pub async fn register(
    state: &AppState,
    client: &Client,
    input: Registration,
) -> Result<OpenedSession, AppError> {
    Attempt::register(client).count(state).await??;
    let account = Account::prepare(state, input).await?;
    let opening = Opening::new(state);
    let user = state.database.transaction(async |conn| {
        let user = account.insert(conn).await?;
        opening.store(conn, user.id, client, EventKind::Registered).await?;
        Ok(user)
    });
    let user = user.await.map_err(refused_user)?;
    opening.finish(state, user).await
}

/// Makes an account without a session, for an operator.
pub async fn create(state: &AppState, client: &Client, input: Registration) -> Result<User, AppError> {
    let account = Account::prepare(state, input).await?;
    let now = state.clock.now();
    let user = state.database.transaction(async |conn| {
        let user = account.insert(conn).await?;
        Event::new(EventKind::Registered, client).of(user.id).note(conn, now).await?;
        Ok(user)
    });
    user.await.map_err(refused_user)
}

/// Opens a session for the owner of an account.
pub async fn login(state: &AppState, client: &Client, input: Credentials) -> Result<OpenedSession, AppError> {
    let answer_at = Instant::now() + FAILURE_TIME;
    let (email, password) = (Email::parse(&input.email), Password::parse(input.password));
    let (Ok(email), Ok(password)) = (&email, &password) else {
        return Err(problems([("email", email.err()), ("password", password.err())]));
    };
    let attempt = match Attempt::login(client, email).count(state).await? {
        Ok(attempt) => attempt,
        Err(refused) => {
            state.metrics.login(LoginOutcome::Throttled);
            if refused.notable {
                note_login(state, client, EventKind::LoginThrottled, email).await?;
            }
            return Err(refused.into());
        }
    };
    // Again if the password's hash was replaced in between, as by another login of a user of the original system.
    for _ in 0..LOGIN_TRIES {
        match verify_and_open(state, client, email, password, &attempt).await? {
            Verified::Opened(session) => {
                state.metrics.login(LoginOutcome::Succeeded);
                return Ok(*session);
            }
            Verified::Wrong => break,
            Verified::Changed => {}
        }
    }
    state.metrics.login(LoginOutcome::Failed);
    note_login(state, client, EventKind::LoginFailed, email).await?;
    sleep_until(answer_at).await;
    Err(AppError::InvalidCredentials)
}

/// How it went with a password.
enum Verified {
    Opened(Box<OpenedSession>),
    Wrong,
    /// It was right, but it has been changed since.
    Changed,
}

async fn verify_and_open(
    state: &AppState,
    client: &Client,
    email: &Email,
    password: &Password,
    attempt: &Attempt,
) -> Result<Verified, AppError> {
    // The connection is back in the pool while the password is verified, which takes far longer.
    let found = state.database.read(async |conn| User::find_for_login(conn, email).await).await?;
    let (user, hash) = found.unzip();
    let verdict = state.passwords.verify(password.clone(), hash.clone()).await?;
    let (Some(user), Some(hash), false) = (user, hash, matches!(verdict, Verdict::Wrong)) else {
        return Ok(Verified::Wrong);
    };
    let opening = Opening::new(state);
    let opened = state.database.transaction(async |conn| {
        attempt.forgive(conn, state.clock.now()).await?;
        let unchanged = match &verdict {
            Verdict::Outdated(new) => User::set_password(conn, user.id, Some(&hash), new).await?,
            _ => User::hold_password(conn, user.id, &hash).await?,
        };
        if !unchanged {
            return Ok(None);
        }
        opening.store(conn, user.id, client, EventKind::LoginSucceeded).await.map(Some)
    });
    let Some(surplus) = opened.await? else { return Ok(Verified::Changed) };
    if let Verdict::Outdated(_) = verdict {
        state.cache.forget_user(user.id).await;
    }
    state.revocations.add(surplus).await;
    Ok(Verified::Opened(Box::new(opening.finish(state, user).await?)))
}

/// Notes a login that did not succeed. What was entered is not kept: it may be a password in the wrong field.
async fn note_login(
    state: &AppState,
    client: &Client,
    kind: EventKind,
    email: &Email,
) -> Result<(), AppError> {
    let now = state.clock.now();
    let noted = state.database.write(async |conn| {
        let user = User::find_for_login(conn, email).await?;
        let event = Event::new(kind, client);
        let event = if let Some((user, _)) = user { event.of(user.id) } else { event };
        event.note(conn, now).await
    });
    Ok(noted.await?)
}

/// An account whose fields are in order.
struct Account {
    email: Email,
    name: Name,
    hashed_password: SecretString,
}

impl Account {
    async fn prepare(state: &AppState, input: Registration) -> Result<Self, AppError> {
        let (email, name, password) = check(state, input).await?;
        Ok(Self { email, name, hashed_password: state.passwords.hash(password).await? })
    }

    async fn insert(&self, conn: &mut AsyncPgConnection) -> QueryResult<User> {
        let Self { email, name, hashed_password } = self;
        NewUser { email, name, hashed_password }.insert(conn).await
    }
}

/// Checks all fields and reports all that is wrong with them.
async fn check(state: &AppState, input: Registration) -> Result<(Email, Name, NewPassword), AppError> {
    let (email, name) = (Email::parse(&input.email), Name::parse(&input.name));
    let password = match Password::parse(input.password) {
        Ok(password) => state.passwords.judge(password, vec![input.email, input.name]).await?,
        Err(problem) => Err(problem),
    };
    match (email, name, password) {
        (Ok(email), Ok(name), Ok(password)) => Ok((email, name, password)),
        (email, name, password) => {
            Err(problems([("email", email.err()), ("password", password.err()), ("name", name.err())]))
        }
    }
}

pub(super) fn problems<const N: usize>(fields: [(&'static str, Option<Problem>); N]) -> AppError {
    let problem = |(field, problem): (&'static str, Option<_>)| {
        Some(FieldProblem { path: vec!["input".into(), field.into()], problem: problem? })
    };
    AppError::BadUserInput(fields.into_iter().filter_map(problem).collect())
}

/// What the database's refusal of a new user means. It alone decides whether an address is taken.
pub(super) fn refused_user(error: db::Error) -> AppError {
    match error {
        db::Error::UniqueViolation { constraint } if constraint == NewUser::EMAIL_INDEX => {
            AppError::EmailTaken
        }
        // PostgreSQL knows a later Unicode than we do.
        db::Error::CheckViolation { constraint } if constraint == NewUser::EMAIL_CHECK => {
            let problem = Problem {
                code: "INVALID",
                message: "Enter an email address without unusual characters.".into(),
            };
            problems([("email", Some(problem))])
        }
        error => error.into(),
    }
}
