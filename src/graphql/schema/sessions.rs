use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::accounts::{AuthPayload, open};
use super::cookie;
use super::directives::{any_reason, errors};
use super::pages::{self, Connection, Edge};
use crate::auth::{self, Requester};
use crate::error::{AppError, ErrorCode, UnauthenticatedReason};
use crate::graphql::context::{ContextExt, RefreshCookie};
use crate::graphql::scalars::DateTime;
use crate::models::{self, Position};

/// Continuing and ending sessions.
#[derive(Default)]
pub(super) struct SessionMutation;

/// Write operations on sessions.
#[Object]
impl SessionMutation {
    /// Continues a session: exchanges its refresh token for a new one and a new access token. Sent again within some
    /// seconds, as by a second tab or after a lost answer, the same refresh token gives the same new one; sent again
    /// later it counts as stolen, and the session ends. Needs no access token.
    #[graphql(directive = errors::apply(
        vec![ErrorCode::Unauthenticated, ErrorCode::RateLimited, ErrorCode::Forbidden],
        any_reason(),
    ))]
    async fn refresh_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "What continues the session; in browser mode the cookie does where this is left out."
        )]
        input: Option<RefreshSessionInput>,
    ) -> Result<AuthPayload, AppError> {
        let (state, caller) = (ctx.state()?, ctx.caller()?);
        if let Some(input) = input {
            return Ok(auth::refresh(state, &caller.client, &input.refresh_token).await?.into());
        }
        caller.cookie.is_used()?;
        let missing = AppError::Unauthenticated(UnauthenticatedReason::Missing);
        let token = caller.cookie.token().ok_or(missing)?;
        match auth::refresh(state, &caller.client, token.expose_secret()).await {
            Ok(session) => open(ctx, session),
            Err(error) => {
                if let AppError::Unauthenticated(_) = error {
                    cookie::clear(ctx);
                }
                Err(error)
            }
        }
    }

    /// Ends the session of the access token, or of the refresh token where there is no valid access token.
    #[graphql(directive = errors::apply(vec![ErrorCode::Unauthenticated], any_reason()))]
    async fn logout(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which session, for clients whose access token has expired.")] input: Option<
            LogoutInput,
        >,
    ) -> Result<RevokedSessionsPayload, AppError> {
        let caller = ctx.caller()?;
        let by_token = input.is_some() || matches!(caller.requester, Requester::User { .. });
        // What is named by a token needs no cookie, which may be out of reach.
        let in_browser = matches!(caller.cookie, RefreshCookie::Usable(_));
        if !by_token {
            caller.cookie.is_used()?;
        }
        if in_browser {
            cookie::clear(ctx);
        }
        let in_cookie = caller.cookie.token().map(ExposeSecret::expose_secret);
        let token = input.as_ref().map(|input| input.refresh_token.as_str()).or(in_cookie);
        Ok(auth::logout(ctx.state()?, &caller.client, caller.requester, token).await?.into())
    }

    /// Ends one of one's own sessions. Its access token stops working within a second.
    #[graphql(directive = errors::apply(
        vec![ErrorCode::NotFound, ErrorCode::Unauthenticated],
        any_reason(),
    ))]
    async fn revoke_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which session.")] input: RevokeSessionInput,
    ) -> Result<RevokedSessionsPayload, AppError> {
        let caller = ctx.caller()?;
        let identity = caller.requester.require()?;
        // What is no UUID is the identifier of nothing.
        let id: Uuid = input.id.parse().map_err(|_| AppError::NotFound)?;
        let id = auth::revoke(ctx.state()?, &caller.client, identity, id).await?;
        Ok(vec![id].into())
    }

    /// Ends all of one's own sessions but this one.
    #[graphql(directive = errors::apply(vec![ErrorCode::Unauthenticated], any_reason()))]
    async fn logout_others(&self, ctx: &Context<'_>) -> Result<RevokedSessionsPayload, AppError> {
        let caller = ctx.caller()?;
        let identity = caller.requester.require()?;
        let but = Some(identity.session_id);
        Ok(auth::revoke_all(ctx.state()?, &caller.client, identity.user_id, but).await?.into())
    }

    /// Ends all of one's own sessions, this one too.
    #[graphql(directive = errors::apply(vec![ErrorCode::Unauthenticated], any_reason()))]
    async fn logout_everywhere(&self, ctx: &Context<'_>) -> Result<RevokedSessionsPayload, AppError> {
        let caller = ctx.caller()?;
        let identity = caller.requester.require()?;
        if matches!(caller.cookie, RefreshCookie::Usable(_)) {
            cookie::clear(ctx);
        }
        Ok(auth::revoke_all(ctx.state()?, &caller.client, identity.user_id, None).await?.into())
    }
}

/// What continues a session.
#[derive(InputObject)]
struct RefreshSessionInput {
    /// The refresh token of the last register, login or refresh.
    refresh_token: String,
}

/// Which session is to end.
#[derive(InputObject)]
struct LogoutInput {
    /// The session's refresh token.
    refresh_token: String,
}

/// Which session is to end.
#[derive(InputObject)]
struct RevokeSessionInput {
    /// Identifier of the session.
    id: ID,
}

/// Sessions that have ended.
#[derive(SimpleObject)]
struct RevokedSessionsPayload {
    /// Identifiers of the sessions that have ended, for removing them from a cache.
    revoked_session_ids: Vec<ID>,
}

impl From<Vec<Uuid>> for RevokedSessionsPayload {
    fn from(ids: Vec<Uuid>) -> Self {
        Self { revoked_session_ids: ids.into_iter().map(ID::from).collect() }
    }
}

/// A place where the user is logged in.
#[derive(SimpleObject)]
pub(super) struct Session {
    /// Identifier, a UUID.
    id: ID,
    /// When the user logged in.
    created_at: DateTime,
    /// When it was last used, to about a minute.
    last_seen_at: DateTime,
    /// When it ends unless it is refreshed before.
    expires_at: DateTime,
    /// What the client said it was at the last login or refresh.
    user_agent: Option<String>,
    /// Where the client was at the last login or refresh.
    ip_address: Option<String>,
    /// Whether this request is made in it.
    current: bool,
}

/// A session, and the one in which it is asked for.
struct Seen(models::Session, Option<Uuid>);

impl From<Seen> for Session {
    fn from(Seen(session, current): Seen) -> Self {
        Self {
            current: Some(session.id) == current,
            id: session.id.into(),
            created_at: DateTime(session.created_at),
            last_seen_at: DateTime(session.last_seen_at),
            expires_at: DateTime(session.expires_at),
            user_agent: session.user_agent,
            ip_address: session.ip_address.map(|address| address.addr().to_string()),
        }
    }
}

/// A page of a user's sessions.
pub(super) async fn sessions(
    ctx: &Context<'_>,
    user_id: Uuid,
    first: Option<i32>,
    after: Option<&str>,
) -> Result<Connection<Session, Edge<Session>>, AppError> {
    let (state, page) = (ctx.state()?, pages::page(first, after)?);
    let current = ctx.caller()?.requester.identity().ok().flatten().map(|identity| identity.session_id);
    let now = state.clock.now();
    let found = state.database.read_of(user_id, async |conn| {
        let asked = pages::asks_for_total(ctx);
        let total = if asked { models::Session::count(conn, user_id, now).await? } else { 0 };
        Ok((models::Session::list(conn, user_id, now, page).await?, total))
    });
    let (sessions, total) = found.await?;
    let sessions = sessions.into_iter().map(|session| Seen(session, current)).collect();
    let cursor = |Seen(session, _): &Seen| pages::encode(Position { at: session.created_at, id: session.id });
    Ok(Connection::new(&page, sessions, total, cursor))
}
