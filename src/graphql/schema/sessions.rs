use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::accounts::{AuthPayload, hand_out};
use super::connections::{self, Connection, Extras, Selected};
use super::cookie;
use super::cursors::{ByTime, Cursors};
use super::directives::{any_reason, errors};
use crate::auth::Requester;
use crate::error::{AppError, UnauthenticatedReason};
use crate::graphql::context::ContextExt;
use crate::graphql::error_code::ErrorCode;
use crate::graphql::scalars::DateTime;
use crate::models::{self, Position};

/// Mutations of sessions.
#[derive(Default)]
pub(super) struct SessionMutation;

#[Object]
impl SessionMutation {
    /// Refreshes a session: exchanges its refresh token for a new one and a new access token. Needs no access token. A
    /// refresh token sent again within some seconds, as by a second tab or after a lost response, yields the same new one;
    /// sent again later it counts as stolen, and the session ends.
    #[graphql(directive = errors::apply(
        vec![ErrorCode::Unauthenticated, ErrorCode::RateLimited, ErrorCode::Forbidden],
        any_reason(),
    ))]
    async fn refresh_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The refresh token; omit it in browser mode, where the cookie holds it.")]
        input: Option<RefreshSessionInput>,
    ) -> Result<AuthPayload, AppError> {
        let auth = &ctx.state()?.auth;
        let caller = ctx.caller()?;
        if let Some(input) = input {
            return Ok(auth.refresh(&caller.client, &input.refresh_token).await?.into());
        }
        caller.cookie.require_trusted()?;
        let missing = AppError::Unauthenticated(UnauthenticatedReason::Missing);
        let token = caller.cookie.token().ok_or(missing)?;
        match auth.refresh(&caller.client, token.expose_secret()).await {
            Ok(session) => hand_out(ctx, session),
            Err(error) => {
                if let AppError::Unauthenticated(_) = error {
                    cookie::clear(ctx)?;
                }
                Err(error)
            }
        }
    }

    /// Ends the session of the access token, or if that is missing or invalid, the session of the refresh token.
    #[graphql(directive = errors::apply(vec![ErrorCode::Unauthenticated], any_reason()))]
    async fn logout(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The refresh token, for clients whose access token has expired.")] input: Option<
            LogoutInput,
        >,
    ) -> Result<RevokedSessionsPayload, AppError> {
        let caller = ctx.caller()?;
        let by_token = input.is_some() || matches!(caller.requester, Requester::User { .. });
        // A token identifies the session without the cookie, which may be untrusted.
        if !by_token {
            caller.cookie.require_trusted()?;
        }
        if caller.cookie.is_usable() {
            cookie::clear(ctx)?;
        }
        let in_cookie = caller.cookie.token().map(ExposeSecret::expose_secret);
        let token = input.as_ref().map(|input| input.refresh_token.as_str()).or(in_cookie);
        Ok(ctx.state()?.auth.logout(&caller.client, caller.requester, token).await?.into())
    }

    /// Ends one of the user's sessions. Its access token stops working within a second.
    #[graphql(directive = errors::apply(
        vec![ErrorCode::NotFound, ErrorCode::Unauthenticated],
        any_reason(),
    ))]
    async fn revoke_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The session.")] input: RevokeSessionInput,
    ) -> Result<RevokedSessionsPayload, AppError> {
        let caller = ctx.caller()?;
        let identity = caller.requester.require_identity()?;
        let id: Uuid = input.id.parse().map_err(|_| AppError::NotFound)?;
        Ok(ctx.state()?.auth.revoke_session(&caller.client, identity, id).await?.into())
    }

    /// Ends all other sessions of the user.
    #[graphql(directive = errors::apply(vec![ErrorCode::Unauthenticated], any_reason()))]
    async fn logout_others(&self, ctx: &Context<'_>) -> Result<RevokedSessionsPayload, AppError> {
        let caller = ctx.caller()?;
        let identity = caller.requester.require_identity()?;
        let auth = &ctx.state()?.auth;
        let kept = Some(identity.session_id);
        Ok(auth.revoke_sessions(&caller.client, identity.user_id, kept).await?.into())
    }

    /// Ends all sessions of the user, including the current one.
    #[graphql(directive = errors::apply(vec![ErrorCode::Unauthenticated], any_reason()))]
    async fn logout_everywhere(&self, ctx: &Context<'_>) -> Result<RevokedSessionsPayload, AppError> {
        let caller = ctx.caller()?;
        let identity = caller.requester.require_identity()?;
        if caller.cookie.is_usable() {
            cookie::clear(ctx)?;
        }
        Ok(ctx.state()?.auth.revoke_sessions(&caller.client, identity.user_id, None).await?.into())
    }
}

/// Input of `refreshSession`.
#[derive(InputObject)]
struct RefreshSessionInput {
    /// Refresh token from the last `register`, `login` or `refreshSession`.
    refresh_token: String,
}

/// Input of `logout`.
#[derive(InputObject)]
struct LogoutInput {
    /// Refresh token of the session.
    refresh_token: String,
}

/// Input of `revokeSession`.
#[derive(InputObject)]
struct RevokeSessionInput {
    /// Identifier of the session.
    id: ID,
}

/// Result of a mutation that ends sessions.
#[derive(SimpleObject)]
struct RevokedSessionsPayload {
    /// Identifiers of the ended sessions, for removal from a cache.
    revoked_session_ids: Vec<ID>,
}

impl From<Vec<Uuid>> for RevokedSessionsPayload {
    fn from(ids: Vec<Uuid>) -> Self {
        Self { revoked_session_ids: ids.into_iter().map(ID::from).collect() }
    }
}

/// A session of the user, from a login to a logout or its expiry.
#[derive(SimpleObject)]
pub(super) struct Session {
    /// Identifier, a UUID.
    pub(super) id: ID,
    /// Time of the login.
    created_at: DateTime,
    /// Time of the last use, to about a minute.
    last_seen_at: DateTime,
    /// Expiry unless the session is refreshed.
    expires_at: DateTime,
    /// `User-Agent` of the client at the last login or refresh.
    user_agent: Option<String>,
    /// Address of the client at the last login or refresh.
    ip_address: Option<String>,
    /// True for the session of this request.
    current: bool,
}

/// A session, and the id of the session that sent the request.
pub(super) struct Listed(pub(super) models::Session, pub(super) Option<Uuid>);

impl From<Listed> for Session {
    fn from(Listed(session, current): Listed) -> Self {
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

/// Reads a page of a user's sessions.
pub(super) async fn sessions(
    ctx: &Context<'_>,
    user_id: Uuid,
    first: Option<i32>,
    after: Option<&str>,
) -> Result<Connection<Session>, AppError> {
    let state = ctx.state()?;
    let page = connections::parse_by_time(first, after)?;
    let current = ctx.caller()?.requester.identity().ok().flatten().map(|identity| identity.session_id);
    let selected = Selected::of(ctx, &page);
    let found = state.database.read_for(user_id, async |conn| {
        let extras = Extras {
            total_count: if selected.total_count { models::Session::count(conn, user_id).await? } else { 0 },
            has_more_behind: selected.has_more_behind
                && models::Session::are_behind(conn, user_id, page).await?,
        };
        Ok((models::Session::list(conn, user_id, page).await?, extras))
    });
    let (sessions, extras) = found.await?;
    let sessions = sessions.into_iter().map(|session| Listed(session, current)).collect();
    let cursor =
        |Listed(session, _): &Listed| ByTime.encode(&Position { at: session.created_at, id: session.id });
    Ok(Connection::new(&page, sessions, extras, cursor))
}
