use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::dsl::{exists, now, sql};
use diesel::prelude::*;
use diesel::sql_types::{Interval, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ipnet::IpNet;
use uuid::Uuid;

use super::expiry::{Expiry, interval};
use super::{Page, Position};
use crate::db::Cached;
use crate::db::schema::sessions;

/// A row of `sessions`: a login that has not ended.
#[derive(Clone, Debug, HasQuery)]
#[diesel(table_name = sessions)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub struct Session {
    /// Identifier, the claim `sid` of its access tokens.
    pub id: Uuid,
    /// Owner.
    pub user_id: Uuid,
    /// Time of the login.
    pub created_at: DateTime<Utc>,
    /// Time at which the session ends unless it is refreshed.
    pub expires_at: DateTime<Utc>,
    /// Time of the last use, to about a minute.
    pub last_seen_at: DateTime<Utc>,
    /// `User-Agent` at the last login or refresh.
    pub user_agent: Option<String>,
    /// Client address at the last login or refresh.
    pub ip_address: Option<IpNet>,
}

impl Session {
    pub(super) const EXPIRY: Expiry =
        Expiry { action: "DELETE FROM sessions", table: "sessions", condition: "expires_at < now() - $1" };

    /// Maximum number of sessions per user; a further login ends the least recently used one.
    pub const MAX_PER_USER: i64 = 100;

    /// Loads a page of a user's unexpired sessions, latest first.
    pub async fn list(conn: &mut AsyncPgConnection, user_id: Uuid, page: Page) -> QueryResult<Vec<Self>> {
        let mut query = Self::query()
            .filter(sessions::user_id.eq(user_id).and(sessions::expires_at.gt(now)))
            .order((sessions::created_at.desc(), sessions::id.desc()))
            .limit(page.limit())
            .into_boxed();
        if let Some(Position { at, id }) = page.after {
            let later = sessions::created_at.lt(at).or(sessions::id.lt(id));
            query = query.filter(sessions::created_at.le(at).and(later));
        }
        query.load(conn).await
    }

    /// Finds those of a user's unexpired sessions that exist among `ids`, in no particular order.
    pub(super) async fn find_all(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        ids: &[Uuid],
    ) -> QueryResult<Vec<Self>> {
        let own = sessions::user_id.eq(user_id).and(sessions::id.eq_any(ids));
        Self::query().filter(own.and(sessions::expires_at.gt(now))).load(conn).await
    }

    /// Returns true if a user has unexpired sessions behind the start of a page.
    pub async fn are_behind(conn: &mut AsyncPgConnection, user_id: Uuid, page: Page) -> QueryResult<bool> {
        let Some(Position { at, id }) = page.after else { return Ok(false) };
        let own = sessions::user_id.eq(user_id).and(sessions::expires_at.gt(now));
        let not_after = sessions::created_at.gt(at).or(sessions::id.ge(id));
        let behind = sessions::table.filter(own).filter(sessions::created_at.ge(at).and(not_after));
        diesel::select(exists(behind)).get_result(conn).await
    }

    /// Counts a user's unexpired sessions.
    pub async fn count(conn: &mut AsyncPgConnection, user_id: Uuid) -> QueryResult<i64> {
        let own = sessions::user_id.eq(user_id).and(sessions::expires_at.gt(now));
        sessions::table.filter(own).count().get_result(conn).await
    }

    /// Extends a session that is refreshed.
    pub async fn extend(
        mut conn: &AsyncPgConnection,
        id: Uuid,
        expires_at: DateTime<Utc>,
        user_agent: Option<&str>,
        ip_address: Option<IpNet>,
    ) -> QueryResult<()> {
        let extend = diesel::update(sessions::table.find(id)).set((
            sessions::expires_at.eq(expires_at),
            sessions::last_seen_at.eq(now),
            sessions::user_agent.eq(user_agent),
            sessions::ip_address.eq(ip_address),
        ));
        Cached(extend).execute(&mut conn).await?;
        Ok(())
    }

    /// Stores how long ago sessions were last used, never moving the time back.
    pub async fn store_last_seen(conn: &mut AsyncPgConnection, seen: &[(Uuid, Duration)]) -> QueryResult<()> {
        use diesel::sql_types::{Array, Uuid as SqlUuid};

        let (ids, ages): (Vec<_>, Vec<_>) = seen.iter().map(|(id, age)| (*id, interval(*age))).unzip();
        // As SQL: the query builder has no UPDATE ... FROM, which updates all rows in one statement.
        let store = diesel::sql_query(
            "UPDATE sessions SET last_seen_at = now() - seen.age FROM unnest($1, $2) AS seen (id, age)
             WHERE sessions.id = seen.id AND sessions.last_seen_at < now() - seen.age",
        )
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<Interval>, _>(ages);
        Cached(store).execute(conn).await?;
        Ok(())
    }

    /// Ends one of a user's sessions; returns false if it does not exist.
    pub async fn end(conn: &mut AsyncPgConnection, user_id: Uuid, id: Uuid) -> QueryResult<bool> {
        let own = sessions::table.find(id).filter(sessions::user_id.eq(user_id));
        Ok(diesel::delete(own).execute(conn).await? > 0)
    }

    /// Ends all of a user's sessions except `except`; returns the ended ones.
    pub async fn end_all(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        except: Option<Uuid>,
    ) -> QueryResult<Vec<Uuid>> {
        let own =
            sessions::user_id.eq(user_id).and(sessions::id.is_distinct_from(except.unwrap_or(Uuid::nil())));
        diesel::delete(sessions::table.filter(own)).returning(sessions::id).get_results(conn).await
    }

    /// Loads a user's sessions but the first `skipped` ones, the most recently used first.
    pub async fn list_by_last_use(
        mut conn: &AsyncPgConnection,
        user_id: Uuid,
        skipped: i64,
    ) -> QueryResult<Vec<Uuid>> {
        let own = sessions::table.filter(sessions::user_id.eq(user_id));
        let latest_first = own.order((sessions::last_seen_at.desc(), sessions::id));
        latest_first.offset(skipped).select(sessions::id).load(&mut conn).await
    }

    /// Ends some of a user's sessions; returns the ended ones.
    pub async fn end_some(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        ids: &[Uuid],
    ) -> QueryResult<Vec<Uuid>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let own = sessions::user_id.eq(user_id).and(sessions::id.eq_any(ids));
        diesel::delete(sessions::table.filter(own)).returning(sessions::id).get_results(conn).await
    }
}

/// A session to be opened.
#[derive(Clone, Copy, Debug)]
pub struct NewSession<'a> {
    /// Identifier.
    pub id: Uuid,
    /// Owner.
    pub user_id: Uuid,
    /// Time until the session ends unless it is refreshed.
    pub lifetime: Duration,
    /// `User-Agent` of the client.
    pub user_agent: Option<&'a str>,
    /// Address of the client.
    pub ip_address: Option<IpNet>,
}

impl NewSession<'_> {
    /// Inserts the session.
    pub async fn insert(self, mut conn: &AsyncPgConnection) -> QueryResult<()> {
        let insert = diesel::insert_into(sessions::table).values((
            sessions::id.eq(self.id),
            sessions::user_id.eq(self.user_id),
            sessions::expires_at
                .eq(sql::<Timestamptz>("now() + ").bind::<Interval, _>(interval(self.lifetime))),
            sessions::user_agent.eq(self.user_agent),
            sessions::ip_address.eq(self.ip_address),
        ));
        Cached(insert).execute(&mut conn).await?;
        Ok(())
    }
}
