use diesel::dsl::{count_star, sql};
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::User;
use crate::db::schema::users;
use crate::models::{Page, Position};

/// An account and its hashing scheme, for operators.
#[derive(Clone, Debug)]
pub struct AccountOverview {
    /// Account.
    pub user: User,
    /// Hashing scheme of the password: `argon2id`, or `2b` for bcrypt.
    pub scheme: String,
}

/// SQL for the scheme, which stands between the first two dollar signs.
const SCHEME: &str = "split_part(hashed_password, '$', 2)";

impl AccountOverview {
    /// Finds an account.
    pub async fn find(conn: &mut AsyncPgConnection, id: Uuid) -> QueryResult<Option<Self>> {
        let account = users::table.find(id).select((User::as_select(), sql::<Text>(SCHEME)));
        let found: Option<(User, String)> = account.first(conn).await.optional()?;
        Ok(found.map(|(user, scheme)| Self { user, scheme }))
    }

    /// Loads a page of all accounts, latest first.
    pub async fn list(conn: &mut AsyncPgConnection, page: Page) -> QueryResult<Vec<Self>> {
        let mut query = users::table
            .order((users::created_at.desc(), users::id.desc()))
            .limit(page.limit())
            .select((User::as_select(), sql::<Text>(SCHEME)))
            .into_boxed();
        if let Some(Position { at, id }) = page.after {
            let later = users::created_at.lt(at).or(users::id.lt(id));
            query = query.filter(users::created_at.le(at).and(later));
        }
        let found: Vec<(User, String)> = query.load(conn).await?;
        Ok(found.into_iter().map(|(user, scheme)| Self { user, scheme }).collect())
    }

    /// Counts the accounts per hashing scheme.
    pub async fn count_by_scheme(conn: &mut AsyncPgConnection) -> QueryResult<Vec<(String, i64)>> {
        let scheme = sql::<Text>(SCHEME);
        users::table.group_by(scheme.clone()).select((scheme, count_star())).load(conn).await
    }
}
