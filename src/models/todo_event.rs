use async_graphql::Enum;
use async_graphql::resolver_utils::EnumType;
use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;
use uuid::Uuid;

use super::Page;
use crate::db::schema::{todo_event_counters, todo_events};

/// What happened to a todo.
#[derive(Clone, Copy, Debug, Enum, Eq, FromSqlRow, PartialEq)]
pub enum TodoEventKind {
    /// It was made.
    Created,
    /// Its content was changed.
    Updated,
    /// It was done.
    Completed,
    /// It is to be done again.
    Reopened,
    /// It was put into the trash.
    Deleted,
    /// It was taken out of the trash.
    Restored,
    /// It was deleted for good, by its owner or after its time in the trash.
    Purged,
}

impl FromSql<Text, Pg> for TodoEventKind {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<Text, Pg>>::from_sql(value)?;
        let item = Self::items().iter().find(|item| item.name == text);
        item.map(|item| item.value).ok_or_else(|| format!("there is no event {text}").into())
    }
}

/// Something that happened to a todo.
#[derive(Clone, Debug, HasQuery, QueryableByName)]
#[diesel(table_name = todo_events)]
#[diesel(check_for_backend(Pg))]
pub struct TodoEvent {
    /// Place among the events of its user.
    pub number: i64,
    /// Identifier.
    pub id: Uuid,
    /// Which todo; it may be gone.
    pub todo_id: Uuid,
    /// What happened.
    pub kind: TodoEventKind,
    /// When.
    pub created_at: DateTime<Utc>,
    /// The fields that changed, before.
    pub before: Option<Value>,
    /// The fields that changed, afterwards.
    pub after: Option<Value>,
}

impl TodoEvent {
    /// For each of a user's todos a page of what happened to it, the latest first.
    pub async fn of_todos(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        todo_ids: &[Uuid],
        page: &Page<i64>,
    ) -> QueryResult<Vec<Self>> {
        diesel::sql_query(
            "SELECT event.* FROM unnest($2) AS wanted (todo_id) CROSS JOIN LATERAL (
                 SELECT number, id, todo_id, kind, created_at, before, after FROM todo_events
                 WHERE user_id = $1 AND todo_id = wanted.todo_id AND ($3 IS NULL OR number < $3)
                 ORDER BY number DESC LIMIT $4
             ) AS event",
        )
        .bind::<SqlUuid, _>(user_id)
        .bind::<Array<SqlUuid>, _>(todo_ids)
        .bind::<Nullable<BigInt>, _>(page.after)
        .bind::<BigInt, _>(page.limit())
        .load(conn)
        .await
    }

    /// How much happened to each of a user's todos.
    pub async fn count(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        todo_ids: &[Uuid],
    ) -> QueryResult<Vec<(Uuid, i64)>> {
        todo_events::table
            .filter(todo_events::user_id.eq(user_id).and(todo_events::todo_id.eq_any(todo_ids)))
            .group_by(todo_events::todo_id)
            .select((todo_events::todo_id, diesel::dsl::count_star()))
            .load(conn)
            .await
    }

    /// What happened to a user's todos after an event, in order; at most so many events.
    pub async fn since(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        number: i64,
        limit: i64,
    ) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(todo_events::user_id.eq(user_id).and(todo_events::number.gt(number)))
            .order(todo_events::number)
            .limit(limit)
            .load(conn)
            .await
    }

    /// The place of one of a user's events.
    pub async fn number(conn: &mut AsyncPgConnection, user_id: Uuid, id: Uuid) -> QueryResult<Option<i64>> {
        todo_events::table
            .filter(todo_events::user_id.eq(user_id).and(todo_events::id.eq(id)))
            .select(todo_events::number)
            .first(conn)
            .await
            .optional()
    }

    /// The place of each user's last event; nothing for those who have none.
    pub async fn last_numbers(
        conn: &mut AsyncPgConnection,
        user_ids: &[Uuid],
    ) -> QueryResult<Vec<(Uuid, i64)>> {
        todo_event_counters::table
            .filter(todo_event_counters::user_id.eq_any(user_ids))
            .select((todo_event_counters::user_id, todo_event_counters::last_number))
            .load(conn)
            .await
    }
}
