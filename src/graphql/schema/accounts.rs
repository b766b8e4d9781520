use async_graphql::{ComplexObject, Context, ID, InputObject, Object, SimpleObject};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::cookie;
use super::directives::errors;
use super::pages::{Connection, Edge};
use super::security_events::{SecurityEvent, security_events};
use super::sessions::{Session, sessions};
use crate::auth::{self, Credentials, OpenedSession, Registration};
use crate::error::{AppError, ErrorCode, UnauthenticatedReason};
use crate::graphql::context::ContextExt;
use crate::graphql::scalars::DateTime;
use crate::models;

/// Reads of one's own account.
#[derive(Default)]
pub(super) struct AccountQuery;

/// Read operations.
#[Object]
impl AccountQuery {
    /// The user whose access token the request carries; null when it carries none. A bad or expired token is an
    /// `UNAUTHENTICATED` error.
    #[graphql(directive = errors::apply(
        vec![ErrorCode::Unauthenticated],
        vec![UnauthenticatedReason::Malformed, UnauthenticatedReason::Expired, UnauthenticatedReason::Revoked],
    ))]
    async fn me(&self, ctx: &Context<'_>) -> Option<Result<User, AppError>> {
        requesting_user(ctx).await.transpose()
    }
}

async fn requesting_user(ctx: &Context<'_>) -> Result<Option<User>, AppError> {
    let Some(identity) = ctx.caller()?.requester.identity()? else {
        return Ok(None);
    };
    let id = identity.user_id;
    let state = ctx.state()?;
    let find = async |conn: &mut _| models::User::find(conn, id).await;
    let user = if state.cache.is_used() {
        // From the primary: what is behind already would be older than what the cache promises.
        state.cache.user(id, async || state.database.read(find).await).await?
    } else {
        state.database.read_of(id, find).await?
    };
    // Without a user the token has outlived its account.
    let user = user.ok_or(AppError::Unauthenticated(UnauthenticatedReason::Revoked))?;
    Ok(Some(user.into()))
}

/// Making accounts and logging in.
#[derive(Default)]
pub(super) struct AccountMutation;

/// Write operations.
#[Object]
impl AccountMutation {
    /// Makes an account and opens its first session. Fails with `BAD_USER_INPUT` or `EMAIL_TAKEN`.
    #[graphql(directive = errors::apply(
        vec![ErrorCode::BadUserInput, ErrorCode::EmailTaken, ErrorCode::RateLimited, ErrorCode::Forbidden],
        Vec::new(),
    ))]
    async fn register(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who registers.")] input: RegisterInput,
    ) -> Result<AuthPayload, AppError> {
        let caller = ctx.caller()?;
        caller.cookie.is_used()?;
        open(ctx, auth::register(ctx.state()?, &caller.client, input.into()).await?)
    }

    /// Opens a session for the owner of an account. Fails with `INVALID_CREDENTIALS`, for an unknown address and
    /// a wrong password alike.
    #[graphql(directive = errors::apply(
        vec![
            ErrorCode::BadUserInput,
            ErrorCode::InvalidCredentials,
            ErrorCode::RateLimited,
            ErrorCode::Forbidden,
        ],
        Vec::new(),
    ))]
    async fn login(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who logs in.")] input: LoginInput,
    ) -> Result<AuthPayload, AppError> {
        let caller = ctx.caller()?;
        caller.cookie.is_used()?;
        open(ctx, auth::login(ctx.state()?, &caller.client, input.into()).await?)
    }
}

/// What a new account needs.
#[derive(InputObject)]
struct RegisterInput {
    /// Email address, at most 254 bytes. Upper and lower case make no difference.
    email: String,
    /// Password: 8 to 1,024 bytes, and not easily guessed.
    password: String,
    /// Name shown to people: 1 to 255 characters.
    name: String,
}

impl From<RegisterInput> for Registration {
    fn from(input: RegisterInput) -> Self {
        Self { email: input.email, password: input.password, name: input.name }
    }
}

/// What proves whose account it is.
#[derive(InputObject)]
struct LoginInput {
    /// Email address of the account. Upper and lower case make no difference.
    email: String,
    /// Password of the account.
    password: String,
}

impl From<LoginInput> for Credentials {
    fn from(input: LoginInput) -> Self {
        Self { email: input.email, password: input.password }
    }
}

/// Hands out a session: in browser mode its refresh token goes into the cookie and not into the answer.
pub(super) fn open(ctx: &Context<'_>, session: OpenedSession) -> Result<AuthPayload, AppError> {
    if !ctx.caller()?.cookie.is_used()? {
        return Ok(session.into());
    }
    cookie::set(ctx, &session.refresh_token, ctx.state()?.clock.now(), session.session_expires_at);
    Ok(AuthPayload { refresh_token: String::new(), ..session.into() })
}

/// A session that has just begun or been continued.
#[derive(SimpleObject)]
pub(super) struct AuthPayload {
    /// Whose session it is.
    user: User,
    /// Proves who asks: send it as `Authorization: Bearer <accessToken>`.
    access_token: String,
    /// Continues the session when the access token has expired: see `refreshSession`. Keep it secret. Empty in browser
    /// mode, where a cookie holds it.
    refresh_token: String,
    /// When the access token expires.
    expires_at: DateTime,
}

impl From<OpenedSession> for AuthPayload {
    fn from(session: OpenedSession) -> Self {
        Self {
            access_token: session.access_token.expose_secret().to_owned(),
            refresh_token: session.refresh_token.expose().to_owned(),
            expires_at: DateTime(session.expires_at),
            user: session.user.into(),
        }
    }
}

/// A person with an account.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(super) struct User {
    #[graphql(skip)]
    key: Uuid,
    /// Identifier, a UUID.
    id: ID,
    /// Email address as it was entered.
    email: String,
    /// Name shown to people.
    name: String,
    /// When the account was made.
    created_at: DateTime,
    /// When the account last changed.
    updated_at: DateTime,
}

// Whoever gets a user has shown to be that user.
#[ComplexObject]
impl User {
    /// Where the user is logged in, the latest login first.
    #[graphql(directive = errors::apply(vec![ErrorCode::BadUserInput], Vec::new()))]
    async fn sessions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, from 0 to 100; 20 if left out.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which to begin.")] after: Option<String>,
    ) -> Result<Connection<Session, Edge<Session>>, AppError> {
        sessions(ctx, self.key, first, after.as_deref()).await
    }

    /// What happened to the account, the latest first.
    #[graphql(directive = errors::apply(vec![ErrorCode::BadUserInput], Vec::new()))]
    async fn security_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, from 0 to 100; 20 if left out.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which to begin.")] after: Option<String>,
    ) -> Result<Connection<SecurityEvent, Edge<SecurityEvent>>, AppError> {
        security_events(ctx, self.key, first, after.as_deref()).await
    }
}

impl From<models::User> for User {
    fn from(user: models::User) -> Self {
        Self {
            key: user.id,
            id: user.id.into(),
            email: user.email,
            name: user.name,
            created_at: DateTime(user.created_at),
            updated_at: DateTime(user.updated_at),
        }
    }
}
