use async_graphql::{ComplexObject, Context, ID, InputObject, Object, SimpleObject};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::connections::Connection;
use super::cookie;
use super::directives::errors;
use super::security_events::{SecurityEvent, security_events};
use super::sessions::{Session, sessions};
use crate::auth::{Credentials, OpenedSession, Registration};
use crate::error::AppError;
use crate::graphql::context::ContextExt;
use crate::graphql::error_code::{ErrorCode, Reason};
use crate::graphql::scalars::DateTime;
use crate::models;

/// Queries of the requesting user.
#[derive(Default)]
pub(super) struct AccountQuery;

/// Read operations.
#[Object]
impl AccountQuery {
    /// The requesting user, or null without an access token. A bad or expired token is an `UNAUTHENTICATED` error.
    #[graphql(directive = errors::apply(
        vec![ErrorCode::Unauthenticated],
        vec![Reason::Malformed, Reason::Expired, Reason::Revoked],
    ))]
    async fn me(&self, ctx: &Context<'_>) -> Option<Result<User, AppError>> {
        requesting_user(ctx).await.transpose()
    }
}

async fn requesting_user(ctx: &Context<'_>) -> Result<Option<User>, AppError> {
    let Some(identity) = ctx.caller()?.requester.identity()? else {
        return Ok(None);
    };
    let user = ctx.state()?.auth.find_user(identity.user_id).await?;
    Ok(Some(user.into()))
}

/// Mutations that need no access token.
#[derive(Default)]
pub(super) struct AccountMutation;

/// Write operations.
#[Object]
impl AccountMutation {
    /// Creates an account and opens its first session. Fails with `BAD_USER_INPUT` or `EMAIL_TAKEN`.
    #[graphql(directive = errors::apply(
        vec![ErrorCode::BadUserInput, ErrorCode::EmailTaken, ErrorCode::RateLimited, ErrorCode::Forbidden],
        Vec::new(),
    ))]
    async fn register(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new account.")] input: RegisterInput,
    ) -> Result<AuthPayload, AppError> {
        let caller = ctx.caller()?;
        caller.cookie.require_trusted()?;
        let session = ctx.state()?.auth.register(&caller.client, input.into()).await?;
        hand_out(ctx, session)
    }

    /// Opens a session. Fails with `INVALID_CREDENTIALS` for an unknown email address and a wrong password alike.
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
        #[graphql(desc = "Email address and password.")] input: LoginInput,
    ) -> Result<AuthPayload, AppError> {
        let caller = ctx.caller()?;
        caller.cookie.require_trusted()?;
        let session = ctx.state()?.auth.login(&caller.client, input.into()).await?;
        hand_out(ctx, session)
    }
}

/// Input of `register`.
#[derive(InputObject)]
struct RegisterInput {
    /// Email address, at most 254 bytes. Not case-sensitive; an internationalised domain is the same in Unicode and Punycode.
    email: String,
    /// Password of 8 to 1,024 bytes that is not easy to guess. Canonically equivalent passwords are the same.
    password: String,
    /// Display name, 1 to 255 characters on one line, at least one of them visible.
    name: String,
}

impl From<RegisterInput> for Registration {
    fn from(input: RegisterInput) -> Self {
        Self { email: input.email, password: input.password, name: input.name }
    }
}

/// Input of `login`.
#[derive(InputObject)]
struct LoginInput {
    /// Email address of the account. Not case-sensitive.
    email: String,
    /// Password of the account.
    password: String,
}

impl From<LoginInput> for Credentials {
    fn from(input: LoginInput) -> Self {
        Self { email: input.email, password: input.password }
    }
}

/// Returns a session's tokens to the client: in browser mode the refresh token in the cookie, and not in the response.
pub(super) fn hand_out(ctx: &Context<'_>, session: OpenedSession) -> Result<AuthPayload, AppError> {
    if !ctx.caller()?.cookie.is_usable() {
        return Ok(session.into());
    }
    cookie::set(ctx, &session.refresh_token, session.session_lifetime)?;
    Ok(AuthPayload { refresh_token: String::new(), ..session.into() })
}

/// Tokens of a session that was opened or refreshed.
#[derive(SimpleObject)]
pub(super) struct AuthPayload {
    /// Owner of the session.
    user: User,
    /// Authenticates requests: send it as `Authorization: Bearer <accessToken>`.
    access_token: String,
    /// Refreshes the session once the access token has expired: see `refreshSession`. Keep it secret. Empty in browser
    /// mode, where a cookie holds it.
    refresh_token: String,
    /// Expiry of the access token.
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

/// A user account.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(in crate::graphql) struct User {
    #[graphql(skip)]
    uuid: Uuid,
    /// Identifier, a UUID.
    pub(super) id: ID,
    /// Email address as entered, except that an internationalised domain is in Unicode.
    email: String,
    /// Display name.
    name: String,
    /// Creation time of the account.
    created_at: DateTime,
    /// Time of the last change of the account.
    updated_at: DateTime,
}

// Safe without further checks: the schema returns a `User` to that user only.
#[ComplexObject]
impl User {
    /// Active sessions, latest login first.
    #[graphql(directive = errors::apply(vec![ErrorCode::BadUserInput], Vec::new()))]
    async fn sessions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size, 0 to 100; default 20.")] first: Option<i32>,
        #[graphql(desc = "Cursor of the item before the page.")] after: Option<String>,
    ) -> Result<Connection<Session>, AppError> {
        sessions(ctx, self.uuid, first, after.as_deref()).await
    }

    /// Security events of the account, latest first.
    #[graphql(directive = errors::apply(vec![ErrorCode::BadUserInput], Vec::new()))]
    async fn security_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size, 0 to 100; default 20.")] first: Option<i32>,
        #[graphql(desc = "Cursor of the item before the page.")] after: Option<String>,
    ) -> Result<Connection<SecurityEvent>, AppError> {
        security_events(ctx, self.uuid, first, after.as_deref()).await
    }
}

impl From<models::User> for User {
    fn from(user: models::User) -> Self {
        Self {
            uuid: user.id,
            id: user.id.into(),
            email: user.email,
            name: user.name,
            created_at: DateTime(user.created_at),
            updated_at: DateTime(user.updated_at),
        }
    }
}
