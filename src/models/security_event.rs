use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ipnet::IpNet;
use serde_json::Value;
use uuid::Uuid;

use super::expiry::Expiry;
use super::{Page, Position, TextColumn, TextEnum};
use crate::db::schema::security_events;

/// A kind of security event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SecurityEventKind {
    /// Account created.
    Registered,
    /// Login with the right password.
    LoginSucceeded,
    /// Failed login attempt: wrong password, or unknown email address (without a user).
    LoginFailed,
    /// Login refused by rate limiting; noted once per throttled period.
    LoginThrottled,
    /// Session refreshed.
    SessionRefreshed,
    /// Refresh token reused after its reuse window, a sign of theft; its session was ended.
    RefreshTokenReused,
    /// Password changed; all other sessions were ended.
    PasswordChanged,
    /// Email address changed.
    EmailChanged,
    /// Session ended by its user or an operator.
    SessionRevoked,
    /// Account deleted.
    AccountDeleted,
}

impl TextEnum for SecurityEventKind {
    const ALL: &'static [Self] = &[
        Self::Registered,
        Self::LoginSucceeded,
        Self::LoginFailed,
        Self::LoginThrottled,
        Self::SessionRefreshed,
        Self::RefreshTokenReused,
        Self::PasswordChanged,
        Self::EmailChanged,
        Self::SessionRevoked,
        Self::AccountDeleted,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "REGISTERED",
            Self::LoginSucceeded => "LOGIN_SUCCEEDED",
            Self::LoginFailed => "LOGIN_FAILED",
            Self::LoginThrottled => "LOGIN_THROTTLED",
            Self::SessionRefreshed => "SESSION_REFRESHED",
            Self::RefreshTokenReused => "REFRESH_TOKEN_REUSED",
            Self::PasswordChanged => "PASSWORD_CHANGED",
            Self::EmailChanged => "EMAIL_CHANGED",
            Self::SessionRevoked => "SESSION_REVOKED",
            Self::AccountDeleted => "ACCOUNT_DELETED",
        }
    }
}

/// A row of `security_events`.
#[derive(Clone, Debug, HasQuery)]
#[diesel(table_name = security_events)]
#[diesel(check_for_backend(Pg))]
pub struct SecurityEvent {
    /// Identifier.
    pub id: Uuid,
    /// Kind of event.
    pub kind: TextColumn<SecurityEventKind>,
    /// Time of the event.
    pub created_at: DateTime<Utc>,
    /// Address of the client.
    pub ip_address: Option<IpNet>,
    /// `User-Agent` of the client.
    pub user_agent: Option<String>,
    /// Session in which it happened, which may have ended.
    pub session_id: Option<Uuid>,
}

impl SecurityEvent {
    pub(super) const EXPIRY: Expiry = Expiry {
        action: "DELETE FROM security_events",
        table: "security_events",
        condition: "created_at < now() - $1",
    };

    /// Loads a page of the security events of a user, latest first.
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

    /// Finds those of a user's security events that exist among `ids`, in no particular order.
    pub(super) async fn find_all(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        ids: &[Uuid],
    ) -> QueryResult<Vec<Self>> {
        let own = security_events::user_id.eq(user_id).and(security_events::id.eq_any(ids));
        Self::query().filter(own).load(conn).await
    }

    /// Returns true if a user has security events behind the start of a page.
    pub async fn are_behind(conn: &mut AsyncPgConnection, user_id: Uuid, page: Page) -> QueryResult<bool> {
        let Some(Position { at, id }) = page.after else { return Ok(false) };
        // Not EXISTS on later events: the planner would scan those of all users by the index on `created_at` alone.
        let latest: Option<(DateTime<Utc>, Uuid)> = security_events::table
            .filter(security_events::user_id.eq(user_id))
            .order((security_events::created_at.desc(), security_events::id.desc()))
            .select((security_events::created_at, security_events::id))
            .first(conn)
            .await
            .optional()?;
        Ok(latest.is_some_and(|latest| latest >= (at, id)))
    }

    /// Counts the security events of a user.
    pub async fn count(conn: &mut AsyncPgConnection, user_id: Uuid) -> QueryResult<i64> {
        security_events::table.filter(security_events::user_id.eq(user_id)).count().get_result(conn).await
    }
}

/// A security event to be stored.
#[derive(Clone, Debug)]
pub struct NewSecurityEvent<'a> {
    /// Account; `None` for an unknown address or a deleted account.
    pub user_id: Option<Uuid>,
    /// Kind of event.
    pub kind: TextColumn<SecurityEventKind>,
    /// Address of the client.
    pub ip_address: Option<IpNet>,
    /// `User-Agent` of the client.
    pub user_agent: Option<&'a str>,
    /// Session in which it happened.
    pub session_id: Option<Uuid>,
    /// Request in which it happened, as in the logs.
    pub request_id: Option<&'a str>,
    /// Details for operators; no secrets.
    pub detail: Value,
}

impl NewSecurityEvent<'_> {
    /// Inserts the event.
    pub async fn insert(&self, mut conn: &AsyncPgConnection) -> QueryResult<()> {
        diesel::insert_into(security_events::table)
            .values((
                security_events::user_id.eq(self.user_id),
                security_events::kind.eq(self.kind),
                security_events::ip_address.eq(self.ip_address),
                security_events::user_agent.eq(self.user_agent),
                security_events::session_id.eq(self.session_id),
                security_events::request_id.eq(self.request_id),
                security_events::detail.eq(&self.detail),
            ))
            .execute(&mut conn)
            .await?;
        Ok(())
    }
}
