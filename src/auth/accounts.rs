use std::time::Duration;

use diesel_async::AsyncConnection;
use tokio::time::{Instant, sleep_until};

use super::password::Verdict;
use super::{OpenedSession, RefreshToken, sessions};
use crate::db;
use crate::domain::{Email, Name, NewPassword, Password, Problem};
use crate::error::{AppError, FieldProblem};
use crate::models::{NewUser, User};
use crate::state::AppState;

/// When a failed login is answered, counted from its beginning.
///
/// An argon2id hash of ours takes some 20 ms, a bcrypt hash of the original system some 250. Answering failures at
/// one time keeps that from telling which addresses have an account. It is also no hardship for a person.
const FAILURE_TIME: Duration = Duration::from_millis(500);

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
pub async fn register(state: &AppState, input: Registration) -> Result<OpenedSession, AppError> {
    let (email, name, password) = check(state, input).await?;
    let hashed_password = state.passwords.hash(password).await?;
    let new_user = NewUser { email: &email, name: &name, hashed_password: &hashed_password };
    let refresh_token = RefreshToken::generate();
    let (now, lifetime) = (state.clock.now(), state.auth.refresh_token_lifetime);
    let user = state
        .database
        .run(async |conn| {
            conn.transaction(async |conn| {
                let user = new_user.insert(conn).await?;
                sessions::store(conn, user.id, &refresh_token, now, lifetime).await?;
                Ok(user)
            })
            .await
        })
        .await
        .map_err(refused_user)?;
    OpenedSession::new(state, user, refresh_token)
}

/// Opens a session for the owner of an account.
pub async fn login(state: &AppState, input: Credentials) -> Result<OpenedSession, AppError> {
    let answer_at = Instant::now() + FAILURE_TIME;
    let (email, password) = (Email::parse(&input.email), Password::parse(input.password));
    let (Ok(email), Ok(password)) = (&email, &password) else {
        return Err(problems([("email", email.err()), ("password", password.err())]));
    };
    // The connection is back in the pool while the password is verified, which takes far longer.
    let found = state.database.run(async |conn| User::find_for_login(conn, email).await).await?;
    let (user, hash) = found.unzip();
    let verdict = state.passwords.verify(password.clone(), hash.clone()).await?;
    let (Some(user), Some(hash), false) = (user, hash, matches!(verdict, Verdict::Wrong)) else {
        sleep_until(answer_at).await;
        return Err(AppError::InvalidCredentials);
    };
    let refresh_token = RefreshToken::generate();
    let (now, lifetime) = (state.clock.now(), state.auth.refresh_token_lifetime);
    let opened = state.database.run(async |conn| {
        conn.transaction(async |conn| {
            if let Verdict::Outdated(new) = &verdict {
                User::rehash_password(conn, user.id, &hash, new).await?;
            }
            sessions::store(conn, user.id, &refresh_token, now, lifetime).await
        })
        .await
    });
    opened.await?;
    OpenedSession::new(state, user, refresh_token)
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

fn problems<const N: usize>(fields: [(&'static str, Option<Problem>); N]) -> AppError {
    let problem = |(field, problem): (_, Option<_>)| {
        Some(FieldProblem { path: vec!["input", field], problem: problem? })
    };
    AppError::BadUserInput(fields.into_iter().filter_map(problem).collect())
}

/// What the database's refusal of a new user means. It alone decides whether an address is taken.
fn refused_user(error: db::Error) -> AppError {
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
