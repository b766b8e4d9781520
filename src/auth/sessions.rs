use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::events::Event;
use super::throttle::Attempt;
use super::{Client, Identity, RefreshToken, Requester};
use crate::error::{AppError, UnauthenticatedReason};
use crate::models::{EventKind, NewRefreshToken, NewSession, RefreshTokenRow, Session, User};
use crate::state::AppState;

/// A session that has just begun or been continued, with the secrets that only its client gets.
#[derive(Clone, Debug)]
pub struct OpenedSession {
    /// Whose it is.
    pub user: User,
    /// Proves who asks, for a short time.
    pub access_token: SecretString,
    /// When the access token expires.
    pub expires_at: DateTime<Utc>,
    /// Continues the session.
    pub refresh_token: RefreshToken,
    /// When the session ends unless it is continued before.
    pub session_expires_at: DateTime<Utc>,
}

/// A session that is about to begin.
pub(super) struct Opening {
    id: Uuid,
    refresh_token: RefreshToken,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl Opening {
    pub(super) fn new(state: &AppState) -> Self {
        let now = state.clock.now();
        let expires_at = now + state.auth.refresh_token_lifetime.min(state.auth.session_lifetime);
        Self { id: Uuid::new_v4(), refresh_token: RefreshToken::generate(), now, expires_at }
    }

    /// Stores it, with the event that tells of it; returns the sessions that had to end for it.
    pub(super) async fn store(
        &self,
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        client: &Client,
        kind: EventKind,
    ) -> QueryResult<Vec<Uuid>> {
        let session = NewSession {
            id: self.id,
            user_id,
            created_at: self.now,
            expires_at: self.expires_at,
            user_agent: client.user_agent(),
            ip_address: client.address(),
        };
        session.insert(conn).await?;
        let token_hash = &self.refresh_token.hash();
        NewRefreshToken { token_hash, session_id: self.id, created_at: self.now }.insert(conn).await?;
        Event::new(kind, client).of(user_id).within(self.id).note(conn, self.now).await?;
        Session::end_surplus(conn, user_id).await
    }

    /// Hands out its secrets, once it is stored.
    pub(super) async fn finish(self, state: &AppState, user: User) -> Result<OpenedSession, AppError> {
        state.database.note_write_of(user.id).await?;
        state.traffic.notify_one();
        hand_out(state, user, self.id, self.refresh_token, self.expires_at)
    }
}

fn hand_out(
    state: &AppState,
    user: User,
    session_id: Uuid,
    refresh_token: RefreshToken,
    session_expires_at: DateTime<Utc>,
) -> Result<OpenedSession, AppError> {
    let issued = state.access_tokens.issue(user.id, session_id, state.clock.now(), session_expires_at);
    let (access_token, expires_at) = issued.map_err(AppError::internal)?;
    Ok(OpenedSession { user, access_token, expires_at, refresh_token, session_expires_at })
}

/// What a refresh token turns out to be worth.
enum Refreshed {
    Continued(User, Session, RefreshToken),
    /// It was used long before: somebody has stolen it.
    Reused(Session),
    Refused(UnauthenticatedReason),
}

/// Continues a session: exchanges its refresh token for a new one, and hands out an access token.
///
/// Whoever comes again with the same token within [`refresh_reuse_window`] gets the same successor: a client whose
/// answer was lost, or a second tab. Whoever comes later has stolen it, or was stolen from: the session ends.
///
/// [`refresh_reuse_window`]: crate::config::AuthSettings::refresh_reuse_window
pub async fn refresh(state: &AppState, client: &Client, token: &str) -> Result<OpenedSession, AppError> {
    Attempt::refresh(client).count(state).await??;
    let token =
        RefreshToken::parse(token).ok_or(AppError::Unauthenticated(UnauthenticatedReason::Malformed))?;
    let refreshed = state.database.transaction(async |conn| exchange(conn, state, client, &token).await);
    match refreshed.await? {
        Refreshed::Continued(user, session, successor) => {
            state.database.note_write_of(user.id).await?;
            state.traffic.notify_one();
            hand_out(state, user, session.id, successor, session.expires_at)
        }
        Refreshed::Reused(session) => {
            state.revocations.add([session.id]).await;
            tracing::warn!(user_id = %session.user_id, session_id = %session.id, "a refresh token was used again");
            Err(AppError::Unauthenticated(UnauthenticatedReason::Revoked))
        }
        Refreshed::Refused(reason) => Err(AppError::Unauthenticated(reason)),
    }
}

async fn exchange(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    client: &Client,
    token: &RefreshToken,
) -> QueryResult<Refreshed> {
    let (now, settings, hash) = (state.clock.now(), &state.auth, token.hash());
    let Some((row, mut session)) = RefreshTokenRow::lock(conn, &hash).await? else {
        return Ok(Refreshed::Refused(UnauthenticatedReason::Revoked));
    };
    if session.expires_at <= now {
        return Ok(Refreshed::Refused(UnauthenticatedReason::Expired));
    }
    let successor = match row.used_at {
        None => RefreshToken::generate(),
        Some(used_at) => {
            let again = used_at + settings.refresh_reuse_window >= now;
            let sealed = row.sealed_successor.filter(|_| again);
            let Some(successor) = sealed.and_then(|sealed| token.open(&sealed).ok()) else {
                Session::end(conn, session.user_id, session.id).await?;
                let event = Event::new(EventKind::RefreshTokenReused, client);
                event.of(session.user_id).within(session.id).note(conn, now).await?;
                return Ok(Refreshed::Reused(session));
            };
            successor
        }
    };
    if row.used_at.is_none() {
        rotate(conn, state, client, token, &successor, &mut session).await?;
    }
    let user = User::find(conn, session.user_id).await?;
    let user = user.ok_or(diesel::result::Error::NotFound)?;
    Ok(Refreshed::Continued(user, session, successor))
}

async fn rotate(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    client: &Client,
    token: &RefreshToken,
    successor: &RefreshToken,
    session: &mut Session,
) -> QueryResult<()> {
    let (now, settings) = (state.clock.now(), &state.auth);
    let sealed =
        token.seal(successor).map_err(|error| diesel::result::Error::SerializationError(error.into()))?;
    let token_hash = &successor.hash();
    let new = NewRefreshToken { token_hash, session_id: session.id, created_at: now };
    RefreshTokenRow::exchange(conn, &token.hash(), now, &new, &sealed).await?;
    session.expires_at =
        (now + settings.refresh_token_lifetime).min(session.created_at + settings.session_lifetime);
    Session::extend(conn, session.id, now, session.expires_at, client.user_agent(), client.address()).await?;
    let event = Event::new(EventKind::SessionRefreshed, client);
    event.of(session.user_id).within(session.id).note(conn, now).await
}

/// Ends the session of the access token, or else of the refresh token; returns which.
pub async fn logout(
    state: &AppState,
    client: &Client,
    requester: Requester,
    refresh_token: Option<&str>,
) -> Result<Vec<Uuid>, AppError> {
    let identity = match (requester, refresh_token.and_then(RefreshToken::parse)) {
        (Requester::User { identity, .. }, _) => identity,
        (_, Some(token)) => {
            let hash = token.hash();
            let found = state.database.transaction(async |conn| RefreshTokenRow::lock(conn, &hash).await);
            let Some((_, session)) = found.await? else { return Ok(Vec::new()) };
            Identity { user_id: session.user_id, session_id: session.id }
        }
        (requester, None) => requester.require()?,
    };
    let ended = end(state, client, identity, identity.session_id).await?;
    Ok(ended.into_iter().collect())
}

/// Ends one of the user's sessions.
pub async fn revoke(
    state: &AppState,
    client: &Client,
    identity: Identity,
    id: Uuid,
) -> Result<Uuid, AppError> {
    end(state, client, identity, id).await?.ok_or(AppError::NotFound)
}

async fn end(
    state: &AppState,
    client: &Client,
    identity: Identity,
    id: Uuid,
) -> Result<Option<Uuid>, AppError> {
    let (user_id, now) = (identity.user_id, state.clock.now());
    let ended = state.database.transaction(async |conn| {
        let ended = Session::end(conn, user_id, id).await?;
        if ended {
            Event::new(EventKind::SessionRevoked, client).of(user_id).within(id).note(conn, now).await?;
        }
        Ok(ended)
    });
    let ended = ended.await?.then_some(id);
    state.revocations.add(ended).await;
    state.database.note_write_of(user_id).await?;
    Ok(ended)
}

/// Ends a user's sessions, all or all but one; returns which.
pub async fn revoke_all(
    state: &AppState,
    client: &Client,
    user_id: Uuid,
    but: Option<Uuid>,
) -> Result<Vec<Uuid>, AppError> {
    let ended = state.database.transaction(async |conn| end_all(conn, state, client, user_id, but).await);
    let ended = ended.await?;
    state.revocations.add(ended.iter().copied()).await;
    state.database.note_write_of(user_id).await?;
    Ok(ended)
}

/// Ends them in a transaction, after which they still have to be added to the revocations.
pub(super) async fn end_all(
    conn: &mut AsyncPgConnection,
    state: &AppState,
    client: &Client,
    user_id: Uuid,
    but: Option<Uuid>,
) -> QueryResult<Vec<Uuid>> {
    let ended = Session::end_all(conn, user_id, but).await?;
    if !ended.is_empty() {
        let event = Event::new(EventKind::SessionRevoked, client).of(user_id);
        event.with(json!({ "sessionIds": ended })).note(conn, state.clock.now()).await?;
    }
    Ok(ended)
}
