use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::accounts::{problems, refused_user};
use super::events::Event;
use super::password::Verdict;
use super::sessions::end_all;
use super::throttle::Attempt;
use super::{Client, Identity};
use crate::domain::{Email, Name, NewPassword, Password, Problem};
use crate::error::{AppError, UnauthenticatedReason};
use crate::models::{EventKind, Session, User};
use crate::state::AppState;

/// Changes what people see of a user; a name that is not given stays.
pub async fn update_profile(
    state: &AppState,
    identity: Identity,
    name: Option<&str>,
) -> Result<User, AppError> {
    let name = name.map(Name::parse).transpose().map_err(|problem| problems([("name", Some(problem))]))?;
    let user = state.database.write_repeatably(async |conn| match &name {
        Some(name) => User::rename(conn, identity.user_id, name).await,
        None => User::find(conn, identity.user_id).await,
    });
    let user = user.await?;
    if name.is_some() {
        wrote(state, identity.user_id).await?;
    }
    user.ok_or_else(gone)
}

/// Changes the password and ends all other sessions; returns which.
pub async fn change_password(
    state: &AppState,
    client: &Client,
    identity: Identity,
    current: String,
    new: String,
) -> Result<(User, Vec<Uuid>), AppError> {
    let (user, old) = confirm(state, identity, "currentPassword", current).await?;
    let new = judge(state, &user, "newPassword", new).await?;
    let new = state.passwords.hash(new).await?;
    let changed = set_password(state, client, &user, Some(&old), &new, Some(identity.session_id)).await?;
    let user = reread(state, user.id).await?;
    // Somebody else changed it meanwhile: what was entered is not the current one any more.
    Ok((user, changed.ok_or(AppError::InvalidCredentials)?))
}

/// Sets a new password without asking for the current one, for an operator; ends all sessions and returns which.
pub async fn reset_password(
    state: &AppState,
    client: &Client,
    user: &User,
    new: String,
) -> Result<Vec<Uuid>, AppError> {
    let new = judge(state, user, "password", new).await?;
    let new = state.passwords.hash(new).await?;
    set_password(state, client, user, None, &new, None).await?.ok_or(AppError::NotFound)
}

/// Stores a password in place of an old one, or of whichever there is, and ends sessions; returns which, or none if the
/// old one is not there any more.
async fn set_password(
    state: &AppState,
    client: &Client,
    user: &User,
    old: Option<&SecretString>,
    new: &SecretString,
    session_id: Option<Uuid>,
) -> Result<Option<Vec<Uuid>>, AppError> {
    let now = state.clock.now();
    let changed = state.database.transaction(async |conn| {
        if !User::set_password(conn, user.id, old, new).await? {
            return Ok(None);
        }
        let event = Event::new(EventKind::PasswordChanged, client).of(user.id);
        let event = if let Some(id) = session_id { event.within(id) } else { event };
        event.note(conn, now).await?;
        end_all(conn, state, client, user.id, session_id).await.map(Some)
    });
    let ended = changed.await?;
    state.revocations.add(ended.iter().flatten().copied()).await;
    wrote(state, user.id).await?;
    Ok(ended)
}

/// Changes the email address.
pub async fn change_email(
    state: &AppState,
    client: &Client,
    identity: Identity,
    email: &str,
    password: String,
) -> Result<User, AppError> {
    let email = Email::parse(email).map_err(|problem| problems([("email", Some(problem))]))?;
    let (old, _) = confirm(state, identity, "password", password).await?;
    let now = state.clock.now();
    let user = state.database.transaction(async |conn| {
        let Some(user) = User::change_email(conn, identity.user_id, &email).await? else {
            return Ok(None);
        };
        let event = Event::new(EventKind::EmailChanged, client).of(user.id).within(identity.session_id);
        event.with(json!({ "from": old.email, "to": user.email })).note(conn, now).await?;
        Ok(Some(user))
    });
    let user = user.await.map_err(refused_user)?;
    wrote(state, identity.user_id).await?;
    user.ok_or_else(gone)
}

/// Deletes the account and all that belongs to it.
pub async fn delete_account(
    state: &AppState,
    client: &Client,
    identity: Identity,
    password: String,
) -> Result<Uuid, AppError> {
    confirm(state, identity, "password", password).await?;
    if delete(state, client, identity.user_id).await? { Ok(identity.user_id) } else { Err(gone()) }
}

/// Deletes an account without asking for the password, for an operator; whether there was one.
pub async fn delete(state: &AppState, client: &Client, user_id: Uuid) -> Result<bool, AppError> {
    let now = state.clock.now();
    let deleted = state.database.transaction(async |conn| {
        // From here on nobody logs in. The sessions before the user: whoever works on a session notes it with its
        // user afterwards, and would wait for us as we for them.
        User::lock(conn, user_id).await?;
        let ended = Session::end_all(conn, user_id, None).await?;
        let deleted = User::delete(conn, user_id).await?;
        if deleted {
            let event = Event::new(EventKind::AccountDeleted, client);
            event.with(json!({ "userId": user_id })).note(conn, now).await?;
        }
        Ok((deleted, ended))
    });
    let (deleted, ended) = deleted.await?;
    state.cache.forget_user(user_id).await;
    state.revocations.add(ended).await;
    Ok(deleted)
}

/// Has everybody see a change of a user that has been committed.
async fn wrote(state: &AppState, user_id: Uuid) -> Result<(), AppError> {
    state.cache.forget_user(user_id).await;
    Ok(state.database.note_write_of(user_id).await?)
}

/// Makes sure that it is the user who asks, and not somebody who has found an open session.
async fn confirm(
    state: &AppState,
    identity: Identity,
    field: &'static str,
    password: String,
) -> Result<(User, SecretString), AppError> {
    let password = Password::parse(password).map_err(|problem| problems([(field, Some(problem))]))?;
    let attempt = Attempt::confirm(identity.session_id).count(state).await??;
    let id = identity.user_id;
    let found = state.database.read(async |conn| User::find_with_password(conn, id).await).await?;
    let (user, hash) = found.ok_or_else(gone)?;
    if let Verdict::Wrong = state.passwords.verify(password, Some(hash.clone())).await? {
        return Err(AppError::InvalidCredentials);
    }
    let now = state.clock.now();
    let forgiven = state.database.transaction(async |conn| attempt.forgive(conn, now).await);
    forgiven.await?;
    Ok((user, hash))
}

async fn judge(
    state: &AppState,
    user: &User,
    field: &'static str,
    password: String,
) -> Result<NewPassword, AppError> {
    let judged: Result<NewPassword, Problem> = match Password::parse(password) {
        Ok(password) => state.passwords.judge(password, vec![user.email.clone(), user.name.clone()]).await?,
        Err(problem) => Err(problem),
    };
    judged.map_err(|problem| problems([(field, Some(problem))]))
}

async fn reread(state: &AppState, id: Uuid) -> Result<User, AppError> {
    state.database.read(async |conn| User::find(conn, id).await).await?.ok_or_else(gone)
}

/// The token has outlived its account.
fn gone() -> AppError {
    AppError::Unauthenticated(UnauthenticatedReason::Revoked)
}
