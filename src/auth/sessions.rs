use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use futures_util::future::{try_join4, try_join5};
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::effects::Change;
use super::events::SecurityEntry;
use super::throttle::Attempt;
use super::{Auth, Client, Identity, RefreshToken, Requester};
use crate::error::{AppError, UnauthenticatedReason};
use crate::models::{NewRefreshToken, NewSession, RefreshTokenRow, SecurityEventKind, Session, User};

/// A session that was just opened or refreshed, with the secrets for its client alone.
#[derive(Clone, Debug)]
pub struct OpenedSession {
    /// Owner of the session.
    pub user: User,
    /// Authenticates requests until `expires_at`.
    pub access_token: SecretString,
    /// Expiry of the access token.
    pub expires_at: DateTime<Utc>,
    /// Refreshes the session.
    pub refresh_token: RefreshToken,
    /// Time until the session expires unless it is refreshed.
    pub session_lifetime: Duration,
}

/// A session that is about to be inserted.
pub(super) struct NewlyOpened {
    id: Uuid,
    refresh_token: RefreshToken,
    lifetime: Duration,
}

impl NewlyOpened {
    pub(super) fn new(auth: &Auth) -> Self {
        let lifetime = auth.settings.refresh_token_ttl.min(auth.settings.session_ttl);
        Self { id: Uuid::new_v4(), refresh_token: RefreshToken::generate(), lifetime }
    }

    /// Inserts the session with its security event, after `account`, a statement that inserts or locks the owner. Returns the
    /// result of that and the sessions that ended because the user had too many. If `account` fails, the caller has to roll back.
    pub(super) async fn insert<R>(
        &self,
        auth: &Auth,
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        client: &Client,
        kind: SecurityEventKind,
        account: impl AsyncFnOnce(&AsyncPgConnection) -> QueryResult<R>,
    ) -> QueryResult<(R, Vec<Uuid>)> {
        let session = NewSession {
            id: self.id,
            user_id,
            lifetime: self.lifetime,
            user_agent: client.user_agent(),
            ip_address: client.address(),
        };
        let token_hash = &self.refresh_token.hash();
        let token = NewRefreshToken { token_hash, session_id: self.id };
        let event = SecurityEntry::new(kind, client).for_user(user_id).for_session(self.id);
        // In one round trip: a shared connection sends each statement at once, in this order, also while it prepares one. Of
        // several failures the first is returned, the cause of the others.
        let surplus = Session::list_by_last_use(conn, user_id, Session::MAX_PER_USER);
        let sent =
            try_join5(account(conn), session.insert(conn), token.insert(conn), event.record(conn), surplus);
        let (account, .., surplus) = sent.await?;
        let ended = if surplus.is_empty() { surplus } else { self.end_surplus(auth, conn, user_id).await? };
        Ok((account, ended))
    }

    /// Ends the least recently used sessions beyond the limit. The stored times are up to a minute old, enough for a hundred
    /// logins; so those in use on this process come first, with the new session.
    async fn end_surplus(
        &self,
        auth: &Auth,
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
    ) -> QueryResult<Vec<Uuid>> {
        let now = auth.clock.now();
        let mut ids = Session::list_by_last_use(conn, user_id, 0).await?;
        ids.sort_by_key(|id| *id != self.id && !auth.last_seen.is_in_use(*id, now));
        let kept = usize::try_from(Session::MAX_PER_USER).unwrap_or(usize::MAX);
        let surplus = ids.split_off(ids.len().min(kept));
        Session::end_some(conn, user_id, &surplus).await
    }

    /// Issues the tokens of the inserted session.
    pub(super) fn issue(self, auth: &Auth, user: User) -> Result<OpenedSession, AppError> {
        auth.issue_tokens(user, self.id, self.refresh_token, self.lifetime)
    }
}

/// Outcome of presenting a refresh token.
enum Refreshed {
    /// Refreshed. The session ends after the given time unless it is refreshed again.
    Continued(User, Uuid, RefreshToken, Duration),
    /// The token was used before, outside of the reuse window: it is in two hands.
    Reused(Session),
    Refused(UnauthenticatedReason),
}

impl Auth {
    /// Refreshes a session: exchanges its refresh token for a new one and issues an access token.
    ///
    /// Presented again within [`refresh_reuse_window`], a token yields the same successor: the client lost the response,
    /// or has a second tab. Presented later it counts as stolen, and the session ends.
    ///
    /// [`refresh_reuse_window`]: crate::config::AuthSettings::refresh_reuse_window
    pub async fn refresh(&self, client: &Client, token: &str) -> Result<OpenedSession, AppError> {
        self.admit(Attempt::refresh(client)).await?;
        let token =
            RefreshToken::parse(token).ok_or(AppError::Unauthenticated(UnauthenticatedReason::Malformed))?;
        match self.transaction(None, async |conn| self.exchange(conn, client, &token).await).await? {
            Refreshed::Continued(user, session_id, successor, lifetime) => {
                self.issue_tokens(user, session_id, successor, lifetime)
            }
            Refreshed::Reused(session) => {
                tracing::warn!(user_id = %session.user_id, session_id = %session.id, "refresh token reused");
                Err(AppError::Unauthenticated(UnauthenticatedReason::Revoked))
            }
            Refreshed::Refused(reason) => Err(AppError::Unauthenticated(reason)),
        }
    }

    fn issue_tokens(
        &self,
        user: User,
        session_id: Uuid,
        refresh_token: RefreshToken,
        session_lifetime: Duration,
    ) -> Result<OpenedSession, AppError> {
        self.activity.notify_one();
        let issued = self.access_tokens.issue(user.id, session_id, self.clock.now(), session_lifetime);
        let (access_token, expires_at) = issued.map_err(AppError::internal)?;
        Ok(OpenedSession { user, access_token, expires_at, refresh_token, session_lifetime })
    }

    async fn exchange(
        &self,
        conn: &mut AsyncPgConnection,
        client: &Client,
        token: &RefreshToken,
    ) -> QueryResult<Change<Refreshed>> {
        let hash = token.hash();
        let Some((row, mut session)) = RefreshTokenRow::lock(conn, &hash).await? else {
            return Ok(Change::none(Refreshed::Refused(UnauthenticatedReason::Revoked)));
        };
        let now = row.read_at;
        if session.expires_at <= now {
            return Ok(Change::none(Refreshed::Refused(UnauthenticatedReason::Expired)));
        }
        let user_id = session.user_id;
        let successor = match row.used_at {
            None => {
                let successor = RefreshToken::generate();
                self.rotate(conn, client, token, &successor, &mut session, now).await?;
                successor
            }
            Some(used_at) => {
                let in_window = used_at + self.settings.refresh_reuse_window >= now;
                let sealed = row.sealed_successor.filter(|_| in_window);
                let Some(successor) = sealed.and_then(|sealed| token.open(&sealed).ok()) else {
                    Session::end(conn, user_id, session.id).await?;
                    let event = SecurityEntry::new(SecurityEventKind::RefreshTokenReused, client);
                    event.for_user(user_id).for_session(session.id).record(conn).await?;
                    return Ok(Change::sessions(user_id, vec![session.id], Refreshed::Reused(session)));
                };
                successor
            }
        };
        let user = User::find(conn, user_id).await?;
        let user = user.ok_or(diesel::result::Error::NotFound)?;
        let lifetime = (session.expires_at - now).to_std().unwrap_or_default();
        let refreshed = Refreshed::Continued(user, session.id, successor, lifetime);
        Ok(Change::sessions(user_id, Vec::new(), refreshed))
    }

    /// Marks the token as used, inserts its successor and extends the session.
    async fn rotate(
        &self,
        conn: &mut AsyncPgConnection,
        client: &Client,
        token: &RefreshToken,
        successor: &RefreshToken,
        session: &mut Session,
        now: DateTime<Utc>,
    ) -> QueryResult<()> {
        let settings = &self.settings;
        let sealed =
            token.seal(successor).map_err(|error| diesel::result::Error::SerializationError(error.into()))?;
        let hash = token.hash();
        let token_hash = &successor.hash();
        let new = NewRefreshToken { token_hash, session_id: session.id };
        session.expires_at =
            (now + settings.refresh_token_ttl).min(session.created_at + settings.session_ttl);
        let event = SecurityEntry::new(SecurityEventKind::SessionRefreshed, client);
        // In one round trip, as above.
        try_join4(
            RefreshTokenRow::exchange(conn, &hash, now, &new, &sealed),
            new.insert(conn),
            Session::extend(conn, session.id, session.expires_at, client.user_agent(), client.address()),
            event.for_user(session.user_id).for_session(session.id).record(conn),
        )
        .await?;
        Ok(())
    }

    /// Ends the session of the access token, or else of the refresh token; returns the ended sessions.
    pub async fn logout(
        &self,
        client: &Client,
        requester: Requester,
        refresh_token: Option<&str>,
    ) -> Result<Vec<Uuid>, AppError> {
        let identity = match (requester, refresh_token.and_then(RefreshToken::parse)) {
            (Requester::User { identity, .. }, _) => identity,
            (_, Some(token)) => {
                let hash = token.hash();
                let found = self.database.transaction(async |conn| RefreshTokenRow::lock(conn, &hash).await);
                let Some((_, session)) = found.await? else { return Ok(Vec::new()) };
                Identity { user_id: session.user_id, session_id: session.id }
            }
            (requester, None) => requester.require_identity()?,
        };
        self.end_session(client, identity, identity.session_id).await
    }

    /// Ends one of the user's sessions.
    pub async fn revoke_session(
        &self,
        client: &Client,
        identity: Identity,
        id: Uuid,
    ) -> Result<Vec<Uuid>, AppError> {
        let ended = self.end_session(client, identity, id).await?;
        if ended.is_empty() { Err(AppError::NotFound) } else { Ok(ended) }
    }

    async fn end_session(
        &self,
        client: &Client,
        identity: Identity,
        id: Uuid,
    ) -> Result<Vec<Uuid>, AppError> {
        let user_id = identity.user_id;
        let ended = self.transaction(Some(user_id), async |conn| {
            if !Session::end(conn, user_id, id).await? {
                // With an owner: an earlier attempt whose outcome was unknown may have ended it.
                return Ok(Change::sessions(user_id, Vec::new(), Vec::new()));
            }
            SecurityEntry::new(SecurityEventKind::SessionRevoked, client)
                .for_user(user_id)
                .for_session(id)
                .record(conn)
                .await?;
            Ok(Change::sessions(user_id, vec![id], vec![id]))
        });
        Ok(ended.await?)
    }

    /// Ends all of a user's sessions but `kept`; returns the ended ones.
    pub async fn revoke_sessions(
        &self,
        client: &Client,
        user_id: Uuid,
        kept: Option<Uuid>,
    ) -> Result<Vec<Uuid>, AppError> {
        let ended = self.transaction(Some(user_id), async |conn| {
            let ended = end_all(conn, client, user_id, kept).await?;
            Ok(Change::sessions(user_id, ended.clone(), ended))
        });
        Ok(ended.await?)
    }
}

/// Ends all of a user's sessions but `kept`, within a transaction; returns the ended ones.
pub(super) async fn end_all(
    conn: &mut AsyncPgConnection,
    client: &Client,
    user_id: Uuid,
    kept: Option<Uuid>,
) -> QueryResult<Vec<Uuid>> {
    let ended = Session::end_all(conn, user_id, kept).await?;
    if !ended.is_empty() {
        let event = SecurityEntry::new(SecurityEventKind::SessionRevoked, client).for_user(user_id);
        event.with_detail(json!({ "sessionIds": ended })).record(conn).await?;
    }
    Ok(ended)
}
