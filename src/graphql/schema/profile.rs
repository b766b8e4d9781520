use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::accounts::User;
use super::cookie;
use super::directives::{any_reason, errors};
use crate::auth;
use crate::error::{AppError, ErrorCode};
use crate::graphql::context::{ContextExt, RefreshCookie};

/// Changing and deleting one's own account.
#[derive(Default)]
pub(super) struct ProfileMutation;

/// Write operations on one's own account.
#[Object]
impl ProfileMutation {
    /// Changes what people see of the user.
    #[graphql(directive = errors::apply(vec![ErrorCode::BadUserInput, ErrorCode::Unauthenticated], any_reason()))]
    async fn update_profile(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What changes; what is left out stays.")] input: UpdateProfileInput,
    ) -> Result<UpdateProfilePayload, AppError> {
        let identity = ctx.caller()?.requester.require()?;
        let user = auth::update_profile(ctx.state()?, identity, input.name.as_deref()).await?;
        Ok(UpdateProfilePayload { user: user.into() })
    }

    /// Changes the password and ends all other sessions. A wrong current password is `INVALID_CREDENTIALS`.
    #[graphql(directive = errors::apply(
        vec![
            ErrorCode::BadUserInput,
            ErrorCode::InvalidCredentials,
            ErrorCode::RateLimited,
            ErrorCode::Unauthenticated,
        ],
        any_reason(),
    ))]
    async fn change_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The old password and the new one.")] input: ChangePasswordInput,
    ) -> Result<ChangePasswordPayload, AppError> {
        let caller = ctx.caller()?;
        let identity = caller.requester.require()?;
        let ChangePasswordInput { current_password, new_password } = input;
        let changed =
            auth::change_password(ctx.state()?, &caller.client, identity, current_password, new_password);
        let (user, ended) = changed.await?;
        let revoked_session_ids = ended.into_iter().map(ID::from).collect();
        Ok(ChangePasswordPayload { user: user.into(), revoked_session_ids })
    }

    /// Changes the email address. A wrong password is `INVALID_CREDENTIALS`.
    #[graphql(directive = errors::apply(
        vec![
            ErrorCode::BadUserInput,
            ErrorCode::EmailTaken,
            ErrorCode::InvalidCredentials,
            ErrorCode::RateLimited,
            ErrorCode::Unauthenticated,
        ],
        any_reason(),
    ))]
    async fn change_email(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new address, and the password.")] input: ChangeEmailInput,
    ) -> Result<ChangeEmailPayload, AppError> {
        let caller = ctx.caller()?;
        let identity = caller.requester.require()?;
        let changed =
            auth::change_email(ctx.state()?, &caller.client, identity, &input.email, input.password);
        Ok(ChangeEmailPayload { user: changed.await?.into() })
    }

    /// Deletes the account and all that belongs to it, for good. A wrong password is `INVALID_CREDENTIALS`.
    #[graphql(directive = errors::apply(
        vec![
            ErrorCode::BadUserInput,
            ErrorCode::InvalidCredentials,
            ErrorCode::RateLimited,
            ErrorCode::Unauthenticated,
        ],
        any_reason(),
    ))]
    async fn delete_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The password.")] input: DeleteAccountInput,
    ) -> Result<DeleteAccountPayload, AppError> {
        let caller = ctx.caller()?;
        let identity = caller.requester.require()?;
        let id = auth::delete_account(ctx.state()?, &caller.client, identity, input.password).await?;
        if matches!(caller.cookie, RefreshCookie::Usable(_)) {
            cookie::clear(ctx);
        }
        Ok(DeleteAccountPayload { deleted_user_id: id.into() })
    }
}

/// What changes of what people see of a user.
#[derive(InputObject)]
struct UpdateProfileInput {
    /// Name shown to people: 1 to 255 characters. It stays if this is left out or null.
    name: Option<String>,
}

/// What changing the password needs.
#[derive(InputObject)]
struct ChangePasswordInput {
    /// The password so far.
    current_password: String,
    /// The new password: 8 to 1,024 bytes, and not easily guessed.
    new_password: String,
}

/// What changing the email address needs.
#[derive(InputObject)]
struct ChangeEmailInput {
    /// The new email address, at most 254 bytes.
    email: String,
    /// The password of the account.
    password: String,
}

/// What deleting the account needs.
#[derive(InputObject)]
struct DeleteAccountInput {
    /// The password of the account.
    password: String,
}

/// What has changed.
#[derive(SimpleObject)]
struct UpdateProfilePayload {
    /// The user as they are now.
    user: User,
}

/// What has changed.
#[derive(SimpleObject)]
struct ChangePasswordPayload {
    /// The user as they are now.
    user: User,
    /// Identifiers of the sessions that have ended.
    revoked_session_ids: Vec<ID>,
}

/// What has changed.
#[derive(SimpleObject)]
struct ChangeEmailPayload {
    /// The user as they are now.
    user: User,
}

/// What has been deleted.
#[derive(SimpleObject)]
struct DeleteAccountPayload {
    /// Identifier of the user who is no more.
    deleted_user_id: ID,
}
