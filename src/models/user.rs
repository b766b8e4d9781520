use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::db::schema::users;
use crate::domain::{Email, Name};

diesel::define_sql_function! {
    /// PostgreSQL's `lower`: both sides of a comparison go through the same one.
    fn lower(text: Text) -> Text;
}

/// An account as everybody but the password check sees it.
#[derive(Clone, Debug, Deserialize, HasQuery, Serialize)]
#[diesel(table_name = users)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub struct User {
    /// Identifier, the subject of access tokens.
    pub id: Uuid,
    /// Address as entered.
    pub email: String,
    /// Name shown to people.
    pub name: String,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

impl User {
    /// The user with this id.
    pub async fn find(conn: &mut AsyncPgConnection, id: Uuid) -> QueryResult<Option<Self>> {
        Self::query().find(id).first(conn).await.optional()
    }

    /// The user with this address, whatever its case, and the hash of the password.
    pub async fn find_for_login(
        conn: &mut AsyncPgConnection,
        email: &Email,
    ) -> QueryResult<Option<(Self, SecretString)>> {
        let found: Option<(Self, String)> = users::table
            .filter(lower(users::email).eq(lower(email.as_str())))
            .select((Self::as_select(), users::hashed_password))
            .first(conn)
            .await
            .optional()?;
        Ok(found.map(|(user, hash)| (user, hash.into())))
    }

    /// The user with this id and the hash of the password.
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

    /// Replaces a password's hash: the given one if it is still there, or whichever it is; whether it did.
    pub async fn set_password(
        conn: &mut AsyncPgConnection,
        id: Uuid,
        old: Option<&SecretString>,
        new: &SecretString,
    ) -> QueryResult<bool> {
        let mut update = diesel::update(users::table.find(id)).into_boxed();
        if let Some(old) = old {
            update = update.filter(users::hashed_password.eq(old.expose_secret().to_owned()));
        }
        let update = update.set(users::hashed_password.eq(new.expose_secret()));
        Ok(update.execute(conn).await? > 0)
    }

    /// Whether the password's hash is still the given one; if so it stays until the transaction ends, so that a change
    /// of it also finds the sessions that were opened with it.
    pub async fn hold_password(
        conn: &mut AsyncPgConnection,
        id: Uuid,
        hash: &SecretString,
    ) -> QueryResult<bool> {
        let same = users::table.find(id).filter(users::hashed_password.eq(hash.expose_secret()));
        let held: Option<Uuid> = same.select(users::id).for_share().first(conn).await.optional()?;
        Ok(held.is_some())
    }

    /// Changes the name; none if there is no such user.
    pub async fn rename(conn: &mut AsyncPgConnection, id: Uuid, name: &Name) -> QueryResult<Option<Self>> {
        diesel::update(users::table.find(id))
            .set(users::name.eq(name.as_str()))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }

    /// Changes the email address; none if there is no such user.
    pub async fn change_email(
        conn: &mut AsyncPgConnection,
        id: Uuid,
        email: &Email,
    ) -> QueryResult<Option<Self>> {
        diesel::update(users::table.find(id))
            .set(users::email.eq(email.as_str()))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }

    /// Keeps others from changing the user and from logging in as them until the transaction ends.
    pub async fn lock(conn: &mut AsyncPgConnection, id: Uuid) -> QueryResult<()> {
        let user = users::table.find(id).select(users::id).for_no_key_update();
        user.first::<Uuid>(conn).await.optional().map(|_| ())
    }

    /// Deletes the user and all that belongs to it; whether there was one.
    pub async fn delete(conn: &mut AsyncPgConnection, id: Uuid) -> QueryResult<bool> {
        Ok(diesel::delete(users::table.find(id)).execute(conn).await? > 0)
    }
}

/// An account to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewUser<'a> {
    /// Address; the database refuses one that is taken.
    pub email: &'a Email,
    /// Name shown to people.
    pub name: &'a Name,
    /// argon2id in PHC format.
    pub hashed_password: &'a SecretString,
}

impl NewUser<'_> {
    /// The unique index that says an address is taken.
    pub const EMAIL_INDEX: &'static str = "idx_user_email";
    /// The check that an address is stored normalised.
    pub const EMAIL_CHECK: &'static str = "users_email_normalised";

    /// Inserts the account.
    pub async fn insert(self, conn: &mut AsyncPgConnection) -> QueryResult<User> {
        diesel::insert_into(users::table)
            .values((
                users::email.eq(self.email.as_str()),
                users::name.eq(self.name.as_str()),
                users::hashed_password.eq(self.hashed_password.expose_secret()),
            ))
            .returning(User::as_returning())
            .get_result(conn)
            .await
    }
}
