use async_graphql::Enum;
use async_graphql::resolver_utils::EnumType;
use chrono::{DateTime, Utc};
use diesel::deserialize::{FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::serialize::{Output, ToSql};
use diesel::sql_types::Text;
use diesel::{deserialize, serialize};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ipnet::IpNet;
use serde_json::Value;
use uuid::Uuid;

use super::{Page, Position};
use crate::db::schema::security_events;

/// What happened to an account.
#[derive(AsExpression, Clone, Copy, Debug, Enum, Eq, FromSqlRow, PartialEq)]
#[diesel(sql_type = Text)]
#[graphql(name = "SecurityEventKind")]
pub enum EventKind {
    /// The account was made.
    Registered,
    /// Somebody logged in with the right password.
    LoginSucceeded,
    /// Somebody tried a wrong password.
    LoginFailed,
    /// Login was refused because of too many attempts. Noted once for each time that it begins.
    LoginThrottled,
    /// A session was continued.
    SessionRefreshed,
    /// A refresh token was used again long after it had been replaced, as a thief would; its session was ended.
    RefreshTokenReused,
    /// The password was changed, and the other sessions were ended.
    PasswordChanged,
    /// The email address was changed.
    EmailChanged,
    /// A session was ended by its user or by an operator.
    SessionRevoked,
    /// The account was deleted.
    AccountDeleted,
}

impl EventKind {
    /// The kind as it is stored and as clients read it, such as `REGISTERED`.
    pub fn as_str(self) -> &'static str {
        Self::items().iter().find(|item| item.value == self).map_or("", |item| item.name)
    }
}

impl ToSql<Text, Pg> for EventKind {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <str as ToSql<Text, Pg>>::to_sql(self.as_str(), out)
    }
}

impl FromSql<Text, Pg> for EventKind {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<Text, Pg>>::from_sql(value)?;
        let item = Self::items().iter().find(|item| item.name == text);
        item.map(|item| item.value).ok_or_else(|| format!("there is no event {text}").into())
    }
}

/// Something that happened to an account.
#[derive(Clone, Debug, HasQuery)]
#[diesel(table_name = security_events)]
#[diesel(check_for_backend(Pg))]
pub struct SecurityEvent {
    /// Identifier.
    pub id: Uuid,
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Where the client was.
    pub ip_address: Option<IpNet>,
    /// What the client said it was.
    pub user_agent: Option<String>,
    /// In which session, which may have ended since.
    pub session_id: Option<Uuid>,
}

impl SecurityEvent {
    /// A page of what happened to a user's account, the latest first.
    pub async fn list(conn: &mut AsyncPgConnection, user_id: Uuid, page: Page) -> QueryResult<Vec<Self>> {
        let mut query = Self::query()
            .filter(security_events::user_id.eq(user_id))
            .order((security_events::created_at.desc(), security_events::id.desc()))
            .limit(page.limit())
            .into_boxed();
        if let Some(Position { at, id }) = page.after {
            let later = security_events::created_at.lt(at).or(security_events::id.lt(id));
            query = query.filter(security_events::created_at.le(at).and(later));
        }
        query.load(conn).await
    }

    /// How much happened to a user's account.
    pub async fn count(conn: &mut AsyncPgConnection, user_id: Uuid) -> QueryResult<i64> {
        security_events::table.filter(security_events::user_id.eq(user_id)).count().get_result(conn).await
    }
}

/// An event to be noted.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = security_events)]
pub struct NewSecurityEvent<'a> {
    /// Whose account; none where the address has none, and once the account is gone.
    pub user_id: Option<Uuid>,
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Where the client is.
    pub ip_address: Option<IpNet>,
    /// What the client says it is.
    pub user_agent: Option<&'a str>,
    /// In which session.
    pub session_id: Option<Uuid>,
    /// In which request.
    pub request_id: Option<&'a str>,
    /// What else there is to know; no secrets.
    pub detail: Value,
}

impl NewSecurityEvent<'_> {
    /// Inserts the event.
    pub async fn insert(&self, conn: &mut AsyncPgConnection) -> QueryResult<()> {
        diesel::insert_into(security_events::table).values(self).execute(conn).await?;
        Ok(())
    }
}
