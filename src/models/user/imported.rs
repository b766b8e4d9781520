use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::db::schema::users;
use crate::domain::Email;
use crate::models::functions::lower;

/// A user of the original system, imported with identifier, password hash and times.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = users)]
pub struct ImportedUser {
    /// Identifier.
    pub id: Uuid,
    /// Normalised email address.
    pub email: String,
    /// Password hash, usually bcrypt.
    pub hashed_password: String,
    /// Display name.
    pub name: String,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
    /// Time of the last change.
    pub updated_at: DateTime<Utc>,
}

impl ImportedUser {
    /// Returns the identifiers of the users that exist already.
    pub async fn find_present(conn: &mut AsyncPgConnection, users: &[Self]) -> QueryResult<Vec<Uuid>> {
        let ids: Vec<Uuid> = users.iter().map(|user| user.id).collect();
        users::table.filter(users::id.eq_any(ids)).select(users::id).load(conn).await
    }

    /// Returns those of the users whose address is taken: identifier, address as stored, and its owner.
    pub async fn find_taken(
        conn: &mut AsyncPgConnection,
        users: &[Self],
    ) -> QueryResult<Vec<(Uuid, String, Uuid)>> {
        // Rows of older accounts may have an alias of the address.
        let spellings = |user: &Self| {
            let aliases =
                Email::parse(&user.email).map_or_else(|_| Vec::new(), |email| email.aliases().to_vec());
            let id = user.id;
            aliases.into_iter().chain([user.email.clone()]).map(move |email| (email.to_lowercase(), id))
        };
        let by_email: HashMap<String, Uuid> = users.iter().flat_map(spellings).collect();
        let emails: Vec<&String> = by_email.keys().collect();
        let taken = users::table.filter(lower(users::email).eq_any(emails));
        let taken: Vec<(String, Uuid)> = taken.select((users::email, users::id)).load(conn).await?;
        let user = |email: &str| by_email.get(&email.to_lowercase()).copied().unwrap_or_default();
        Ok(taken.into_iter().map(|(email, owner)| (user(&email), email, owner)).collect())
    }

    /// Inserts the users.
    pub async fn insert(conn: &mut AsyncPgConnection, users: &[Self]) -> QueryResult<()> {
        diesel::insert_into(users::table).values(users).execute(conn).await?;
        Ok(())
    }

    /// Updates the address and name of an existing user where they differ.
    pub async fn tidy(conn: &mut AsyncPgConnection, user: &Self) -> QueryResult<()> {
        let differs = users::email.ne(&user.email).or(users::name.is_distinct_from(&user.name));
        diesel::update(users::table.find(user.id).filter(differs))
            .set((users::email.eq(&user.email), users::name.eq(&user.name)))
            .execute(conn)
            .await?;
        Ok(())
    }
}
