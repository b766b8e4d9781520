//! Accounts.

mod imported;
mod overview;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::imported::ImportedUser;
pub use self::overview::AccountOverview;
use crate::db::Cached;
use crate::db::schema::users;
use crate::domain::{Email, Name};
use crate::models::functions::lower;

/// A row of `users` without its password hash.
#[derive(Clone, Debug, Deserialize, HasQuery, Serialize)]
#[diesel(table_name = users)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub struct User {
    /// Identifier, the subject of access tokens.
    pub id: Uuid,
    /// Email address, in the case in which it was entered.
    pub email: String,
    /// Display name.
    pub name: String,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
    /// Time of the last change.
    pub updated_at: DateTime<Utc>,
}

impl User {
    /// Finds a user.
    pub async fn find(conn: &mut AsyncPgConnection, id: Uuid) -> QueryResult<Option<Self>> {
        Self::query().find(id).first(conn).await.optional()
    }

    /// Finds a user and the password hash by address, case-insensitively; by the address itself rather than by an alias.
    pub async fn find_for_login(
        conn: &mut AsyncPgConnection,
        email: &Email,
    ) -> QueryResult<Option<(Self, SecretString)>> {
        for spelling in std::iter::once(email.as_str()).chain(email.aliases().iter().map(String::as_str)) {
            let found: Option<(Self, String)> = users::table
                .filter(lower(users::email).eq(lower(spelling)))
                .select((Self::as_select(), users::hashed_password))
                .first(conn)
                .await
                .optional()?;
            if let Some((user, hash)) = found {
                return Ok(Some((user, hash.into())));
            }
        }
        Ok(None)
    }

    /// Finds the user that an alias of an address belongs to.
    pub async fn find_by_alias(conn: &mut AsyncPgConnection, email: &Email) -> QueryResult<Option<Uuid>> {
        for alias in email.aliases() {
            let holder = users::table.filter(lower(users::email).eq(lower(alias.as_str()))).select(users::id);
            if let Some(id) = holder.first(conn).await.optional()? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Finds a user and the password hash.
    pub async fn find_with_password(
        conn: &mut AsyncPgConnection,
        id: Uuid,
    ) -> QueryResult<Option<(Self, SecretString)>> {
        let found: Option<(Self, String)> = users::table
            .find(id)
            .select((Self::as_select(), users::hashed_password))
            .first(conn)
            .await
            .optional()?;
        Ok(found.map(|(user, hash)| (user, hash.into())))
    }

    /// Replaces the password hash, if it still equals `old` where that is given; returns false if it does not.
    pub async fn set_password(
        mut conn: &AsyncPgConnection,
        id: Uuid,
        old: Option<&SecretString>,
        new: &SecretString,
    ) -> QueryResult<bool> {
        let mut update = diesel::update(users::table.find(id)).into_boxed();
        if let Some(old) = old {
            update = update.filter(users::hashed_password.eq(old.expose_secret().to_owned()));
        }
        let update = update.set(users::hashed_password.eq(new.expose_secret()));
        Ok(Cached(update).execute(&mut conn).await? > 0)
    }

    /// Returns true if the password hash still equals `hash`, and then locks it until the transaction ends. A password
    /// change that waits for the lock also ends the session that this transaction opens.
    pub async fn lock_password(
        mut conn: &AsyncPgConnection,
        id: Uuid,
        hash: &SecretString,
    ) -> QueryResult<bool> {
        let same = users::table.find(id).filter(users::hashed_password.eq(hash.expose_secret()));
        let held: Option<Uuid> = same.select(users::id).for_share().first(&mut conn).await.optional()?;
        Ok(held.is_some())
    }

    /// Changes the name; returns `None` if the user does not exist.
    pub async fn rename(conn: &mut AsyncPgConnection, id: Uuid, name: &Name) -> QueryResult<Option<Self>> {
        let rename = diesel::update(users::table.find(id)).set(users::name.eq(name.as_str()));
        Cached(rename.returning(Self::as_returning())).get_result(conn).await.optional()
    }

    /// Changes the email address; returns `None` if the user does not exist.
    pub async fn change_email(
        conn: &mut AsyncPgConnection,
        id: Uuid,
        email: &Email,
    ) -> QueryResult<Option<Self>> {
        let change = diesel::update(users::table.find(id)).set(users::email.eq(email.as_str()));
        Cached(change.returning(Self::as_returning())).get_result(conn).await.optional()
    }

    /// Locks a user against changes and logins until the transaction ends.
    pub async fn lock(conn: &mut AsyncPgConnection, id: Uuid) -> QueryResult<()> {
        let user = users::table.find(id).select(users::id).for_no_key_update();
        user.first::<Uuid>(conn).await.optional().map(|_| ())
    }

    /// Deletes a user and all their rows; returns false if the user does not exist.
    pub async fn delete(conn: &mut AsyncPgConnection, id: Uuid) -> QueryResult<bool> {
        Ok(diesel::delete(users::table.find(id)).execute(conn).await? > 0)
    }
}

/// An account to be created.
#[derive(Clone, Copy, Debug)]
pub struct NewUser<'a> {
    /// Identifier.
    pub id: Uuid,
    /// Email address; the database refuses one that is taken.
    pub email: &'a Email,
    /// Display name.
    pub name: &'a Name,
    /// argon2id in PHC format.
    pub hashed_password: &'a SecretString,
}

impl NewUser<'_> {
    /// Table, in which only the address can be taken: identifiers are random.
    pub const TABLE: &'static str = "users";
    /// Check constraint that refuses an address that is not normalised.
    pub const EMAIL_CHECK: &'static str = "users_email_normalised";

    /// Inserts the account.
    pub async fn insert(self, mut conn: &AsyncPgConnection) -> QueryResult<User> {
        diesel::insert_into(users::table)
            .values((
                users::id.eq(self.id),
                users::email.eq(self.email.as_str()),
                users::name.eq(self.name.as_str()),
                users::hashed_password.eq(self.hashed_password.expose_secret()),
            ))
            .returning(User::as_returning())
            .get_result(&mut conn)
            .await
    }
}
