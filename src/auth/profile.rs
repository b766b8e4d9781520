use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::accounts::{invalid, refused_user};
use super::effects::Change;
use super::events::SecurityEntry;
use super::password::{NewHash, PasswordMatch};
use super::sessions::end_all;
use super::throttle::Attempt;
use super::{Auth, Client, Identity};
use crate::domain::{Email, Name, Password};
use crate::error::{AccountField, AppError, UnauthenticatedReason};
use crate::models::{SecurityEventKind, Session, User};

impl Auth {
    /// Returns the user, from the cache where one is used.
    ///
    /// The cache is filled from the primary only: a value that a replica read late would be older than the cache promises.
    pub async fn find_user(&self, id: Uuid) -> Result<User, AppError> {
        let find =
            async |conn: &mut AsyncPgConnection| -> QueryResult<Option<User>> { User::find(conn, id).await };
        let user = if self.cache.is_used() {
            self.cache.user(id, async || self.database.read(find).await).await?
        } else {
            self.database.read_for(id, find).await?
        };
        user.ok_or_else(account_deleted)
    }

    /// Changes the name; `None` keeps it.
    pub async fn update_profile(&self, identity: Identity, name: Option<&str>) -> Result<User, AppError> {
        let Some(name) = name else { return self.read_user(identity.user_id).await };
        let name = Name::parse(name).map_err(|problem| invalid([(AccountField::Name, Some(problem))]))?;
        let id = identity.user_id;
        let user = self.write_user(id, async |conn| User::rename(conn, id, &name).await);
        user.await?.ok_or_else(account_deleted)
    }

    /// Changes the password and ends all other sessions; returns these.
    pub async fn change_password(
        &self,
        client: &Client,
        identity: Identity,
        current: String,
        new: String,
    ) -> Result<(User, Vec<Uuid>), AppError> {
        let (user, old) = self.confirm_password(identity, AccountField::CurrentPassword, current).await?;
        let new = self.hash_new_password(&user, AccountField::NewPassword, new).await?;
        let ended = self.set_password(client, &user, Some(&old), &new, Some(identity.session_id)).await?;
        let user = self.read_user(user.id).await?;
        // `None`: a concurrent change replaced the password that was entered as the current one.
        Ok((user, ended.ok_or(AppError::InvalidCredentials)?))
    }

    /// Sets a new password without asking for the current one, for an operator; ends all sessions and returns them.
    pub async fn reset_password(
        &self,
        client: &Client,
        user: &User,
        new: String,
    ) -> Result<Vec<Uuid>, AppError> {
        let new = self.hash_new_password(user, AccountField::Password, new).await?;
        self.set_password(client, user, None, &new, None).await?.ok_or(AppError::NotFound)
    }

    /// Replaces the password `old`, or any if that is `None`, and ends all sessions but `kept`. Returns the ended
    /// sessions, or `None` if the stored password is another one by now.
    async fn set_password(
        &self,
        client: &Client,
        user: &User,
        old: Option<&SecretString>,
        new: &SecretString,
        kept: Option<Uuid>,
    ) -> Result<Option<Vec<Uuid>>, AppError> {
        let ended = self.transaction(Some(user.id), async |conn| {
            if !User::set_password(conn, user.id, old, new).await? {
                return Ok(Change::none(None));
            }
            let event = SecurityEntry::new(SecurityEventKind::PasswordChanged, client).for_user(user.id);
            let event = if let Some(id) = kept { event.for_session(id) } else { event };
            event.record(conn).await?;
            let ended = end_all(conn, client, user.id, kept).await?;
            Ok(Change::user(user.id, ended.clone(), Some(ended)))
        });
        Ok(ended.await?)
    }

    /// Changes the email address. Counts as a registration: it tells as much which addresses are taken.
    pub async fn change_email(
        &self,
        client: &Client,
        identity: Identity,
        email: &str,
        password: String,
    ) -> Result<User, AppError> {
        let email = Email::parse(email).map_err(|problem| invalid([(AccountField::Email, Some(problem))]))?;
        self.admit(Attempt::register(client)).await?;
        let (old, _) = self.confirm_password(identity, AccountField::Password, password).await?;
        self.require_free_aliases(&email, Some(identity.user_id)).await?;
        let user = self.transaction(Some(identity.user_id), async |conn| {
            let Some(user) = User::change_email(conn, identity.user_id, &email).await? else {
                return Ok(Change::none(None));
            };
            let event = SecurityEntry::new(SecurityEventKind::EmailChanged, client)
                .for_user(user.id)
                .for_session(identity.session_id);
            event.with_detail(json!({ "from": old.email, "to": user.email })).record(conn).await?;
            Ok(Change::user(user.id, Vec::new(), Some(user)))
        });
        user.await.map_err(refused_user)?.ok_or_else(account_deleted)
    }

    /// Deletes the requester's account with all its data.
    pub async fn delete_own_account(
        &self,
        client: &Client,
        identity: Identity,
        password: String,
    ) -> Result<Uuid, AppError> {
        self.confirm_password(identity, AccountField::Password, password).await?;
        if self.delete_account(client, identity.user_id).await? {
            Ok(identity.user_id)
        } else {
            Err(account_deleted())
        }
    }

    /// Deletes an account without asking for the password, for an operator. Returns false if there was none.
    pub async fn delete_account(&self, client: &Client, user_id: Uuid) -> Result<bool, AppError> {
        let deleted = self.transaction(None, async |conn| {
            // Lock order: the user first, which blocks logins; then the sessions; the user's row last. Other
            // transactions lock a session before they reference its user, and would deadlock with the opposite order.
            User::lock(conn, user_id).await?;
            let ended = Session::end_all(conn, user_id, None).await?;
            let deleted = User::delete(conn, user_id).await?;
            if deleted {
                let event = SecurityEntry::new(SecurityEventKind::AccountDeleted, client);
                event.with_detail(json!({ "userId": user_id })).record(conn).await?;
            }
            Ok(Change::deletion(user_id, ended, deleted))
        });
        Ok(deleted.await?)
    }

    /// Verifies the account's password, so that an open session alone does not suffice for a sensitive change.
    async fn confirm_password(
        &self,
        identity: Identity,
        field: AccountField,
        password: String,
    ) -> Result<(User, SecretString), AppError> {
        let password = Password::parse(password).map_err(|problem| invalid([(field, Some(problem))]))?;
        let attempt = self.admit(Attempt::confirm(identity.session_id)).await?;
        let id = identity.user_id;
        let found = self.database.read(async |conn| User::find_with_password(conn, id).await).await?;
        let (user, hash) = found.ok_or_else(account_deleted)?;
        if let PasswordMatch::Wrong = self.passwords.verify(password, Some(hash.clone())).await? {
            return Err(AppError::InvalidCredentials);
        }
        self.database.transaction(async |conn| attempt.forgive(conn).await).await?;
        Ok((user, hash))
    }

    async fn hash_new_password(
        &self,
        user: &User,
        field: AccountField,
        password: String,
    ) -> Result<SecretString, AppError> {
        let refused = |problem| invalid([(field, Some(problem))]);
        let password = Password::parse(password).map_err(refused)?;
        match self.passwords.hash_new(password, vec![user.email.clone(), user.name.clone()]).await? {
            NewHash::Hashed(hash) => Ok(hash),
            NewHash::TooWeak(problem) => Err(refused(problem)),
        }
    }

    /// Reads the user from the primary.
    async fn read_user(&self, id: Uuid) -> Result<User, AppError> {
        self.database.read(async |conn| User::find(conn, id).await).await?.ok_or_else(account_deleted)
    }
}

/// The token has outlived its account.
fn account_deleted() -> AppError {
    AppError::Unauthenticated(UnauthenticatedReason::Revoked)
}
