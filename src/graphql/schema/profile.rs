use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::accounts::User;
use super::cookie;
use super::directives::{any_reason, errors};
use crate::error::AppError;
use crate::graphql::context::ContextExt;
use crate::graphql::error_code::ErrorCode;

/// Mutations of the requesting user's account.
#[derive(Default)]
pub(super) struct ProfileMutation;

#[Object]
impl ProfileMutation {
    /// Changes the user's profile.
    #[graphql(directive = errors::apply(vec![ErrorCode::BadUserInput, ErrorCode::Unauthenticated], any_reason()))]
    async fn update_profile(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Fields to change; omitted ones stay as they are.")] input: UpdateProfileInput,
    ) -> Result<UpdateProfilePayload, AppError> {
        let identity = ctx.caller()?.requester.require_identity()?;
        let user = ctx.state()?.auth.update_profile(identity, input.name.as_deref()).await?;
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
        #[graphql(desc = "Current and new password.")] input: ChangePasswordInput,
    ) -> Result<ChangePasswordPayload, AppError> {
        let caller = ctx.caller()?;
        let identity = caller.requester.require_identity()?;
        let ChangePasswordInput { current_password, new_password } = input;
        let auth = &ctx.state()?.auth;
        let (user, ended) =
            auth.change_password(&caller.client, identity, current_password, new_password).await?;
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
        #[graphql(desc = "New email address, and the password for confirmation.")] input: ChangeEmailInput,
    ) -> Result<ChangeEmailPayload, AppError> {
        let caller = ctx.caller()?;
        let identity = caller.requester.require_identity()?;
        let auth = &ctx.state()?.auth;
        let user = auth.change_email(&caller.client, identity, &input.email, input.password).await?;
        Ok(ChangeEmailPayload { user: user.into() })
    }

    /// Deletes the account and all its data permanently. A wrong password is `INVALID_CREDENTIALS`.
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
        #[graphql(desc = "The password for confirmation.")] input: DeleteAccountInput,
    ) -> Result<DeleteAccountPayload, AppError> {
        let caller = ctx.caller()?;
        let identity = caller.requester.require_identity()?;
        let id = ctx.state()?.auth.delete_own_account(&caller.client, identity, input.password).await?;
        if caller.cookie.is_usable() {
            cookie::clear(ctx)?;
        }
        Ok(DeleteAccountPayload { deleted_user_id: id.into() })
    }
}

/// Input of `updateProfile`.
#[derive(InputObject)]
struct UpdateProfileInput {
    /// Display name, 1 to 255 characters on one line, at least one of them visible. Unchanged if omitted or null.
    name: Option<String>,
}

/// Input of `changePassword`.
#[derive(InputObject)]
struct ChangePasswordInput {
    /// Current password.
    current_password: String,
    /// New password of 8 to 1,024 bytes that is not easy to guess.
    new_password: String,
}

/// Input of `changeEmail`.
#[derive(InputObject)]
struct ChangeEmailInput {
    /// New email address, at most 254 bytes.
    email: String,
    /// Password of the account.
    password: String,
}

/// Input of `deleteAccount`.
#[derive(InputObject)]
struct DeleteAccountInput {
    /// Password of the account.
    password: String,
}

/// Result of `updateProfile`.
#[derive(SimpleObject)]
struct UpdateProfilePayload {
    /// The updated user.
    user: User,
}

/// Result of `changePassword`.
#[derive(SimpleObject)]
struct ChangePasswordPayload {
    /// The updated user.
    user: User,
    /// Identifiers of the ended sessions.
    revoked_session_ids: Vec<ID>,
}

/// Result of `changeEmail`.
#[derive(SimpleObject)]
struct ChangeEmailPayload {
    /// The updated user.
    user: User,
}

/// Result of `deleteAccount`.
#[derive(SimpleObject)]
struct DeleteAccountPayload {
    /// Identifier of the deleted user.
    deleted_user_id: ID,
}
