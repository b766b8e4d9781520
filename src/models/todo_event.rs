use chrono::{DateTime, Utc};
use diesel::dsl::exists;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;
use uuid::Uuid;

use super::expiry::Expiry;
use super::{Page, TextColumn, TextEnum};
use crate::db::Cached;
use crate::db::schema::{todo_event_counters, todo_events};

/// A kind of change of a todo.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TodoEventKind {
    /// Created.
    Created,
    /// Content changed.
    Updated,
    /// Completed.
    Completed,
    /// Reopened after completion.
    Reopened,
    /// Moved to the trash.
    Deleted,
    /// Taken out of the trash.
    Restored,
    /// Deleted permanently, by the owner or by expiry of the trash.
    Purged,
}

impl TextEnum for TodoEventKind {
    const ALL: &'static [Self] = &[
        Self::Created,
        Self::Updated,
        Self::Completed,
        Self::Reopened,
        Self::Deleted,
        Self::Restored,
        Self::Purged,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Updated => "UPDATED",
            Self::Completed => "COMPLETED",
            Self::Reopened => "REOPENED",
            Self::Deleted => "DELETED",
            Self::Restored => "RESTORED",
            Self::Purged => "PURGED",
        }
    }
}

/// A change of a todo, written by triggers.
#[derive(Clone, Debug, HasQuery, QueryableByName)]
#[diesel(table_name = todo_events)]
#[diesel(check_for_backend(Pg))]
pub struct TodoEvent {
    /// Position among the events of its user, from 1 without gaps.
    pub number: i64,
    /// Identifier.
    pub id: Uuid,
    /// Identifier of the todo, which may have been purged.
    pub todo_id: Uuid,
    /// Kind of change.
    pub kind: TextColumn<TodoEventKind>,
    /// Time of the change.
    pub created_at: DateTime<Utc>,
    /// Changed columns with their old values.
    pub before: Option<Value>,
    /// Changed columns with their new values.
    pub after: Option<Value>,
}

/// Condition on a todo's last event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LastEvent {
    /// The last event of any kind.
    Any,
    /// The last creation: a todo can be created again after a purge.
    Creation,
    /// The last event, if the current transaction wrote it, outside of a savepoint.
    OfTransaction,
}

impl TodoEvent {
    pub(super) const EXPIRY: Expiry = Expiry {
        action: "DELETE FROM todo_events",
        table: "todo_events",
        condition: "created_at < now() - $1",
    };

    /// Loads the same page of the history of several todos of a user, latest events first.
    pub async fn list_by_todo(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        todo_ids: &[Uuid],
        page: &Page<i64>,
    ) -> QueryResult<Vec<Self>> {
        // As SQL: the query builder has no LATERAL, which limits the rows per todo. With `$3 IS NULL OR number < $3` the number
        // would be no condition of the index in a plan that is kept.
        let query = diesel::sql_query(
            "SELECT event.* FROM unnest($2) AS wanted (todo_id) CROSS JOIN LATERAL (
                 SELECT number, id, todo_id, kind, created_at, before, after FROM todo_events
                 WHERE user_id = $1 AND todo_id = wanted.todo_id
                     AND number < coalesce($3, 9223372036854775807) AND number >= coalesce($5, 0)
                 ORDER BY number DESC LIMIT $4
             ) AS event",
        )
        .bind::<SqlUuid, _>(user_id)
        .bind::<Array<SqlUuid>, _>(todo_ids)
        .bind::<Nullable<BigInt>, _>(page.after)
        .bind::<BigInt, _>(page.limit())
        // Of a page behind another one only.
        .bind::<Nullable<BigInt>, _>(page.before);
        Cached(query).load(conn).await
    }

    /// Loads the last event of each of several todos of a user, except where it does not meet the condition.
    pub(super) async fn last_by_todo(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        todo_ids: &[Uuid],
        event: LastEvent,
    ) -> QueryResult<Vec<Self>> {
        let kind = (event == LastEvent::Creation).then_some(TodoEventKind::Created.as_str());
        let query = diesel::sql_query(
            "SELECT event.* FROM unnest($2) AS wanted (todo_id) CROSS JOIN LATERAL (
                 SELECT number, id, todo_id, kind, created_at, before, after, xmin AS written_by FROM todo_events
                 WHERE user_id = $1 AND todo_id = wanted.todo_id AND ($3 IS NULL OR kind = $3)
                 ORDER BY number DESC LIMIT 1
             ) AS event
             WHERE NOT $4 OR event.written_by = pg_current_xact_id()::xid",
        )
        .bind::<SqlUuid, _>(user_id)
        .bind::<Array<SqlUuid>, _>(todo_ids)
        .bind::<Nullable<Text>, _>(kind)
        .bind::<Bool, _>(event == LastEvent::OfTransaction);
        Cached(query).load(conn).await
    }

    /// Finds those of a user's events that exist among `ids`, in no particular order.
    pub(super) async fn find_all(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        ids: &[Uuid],
    ) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(todo_events::user_id.eq(user_id).and(todo_events::id.eq_any(ids)))
            .load(conn)
            .await
    }

    /// Returns those of several todos of a user that have events behind the start of a page.
    pub async fn todos_behind(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        todo_ids: &[Uuid],
        page: &Page<i64>,
    ) -> QueryResult<Vec<Uuid>> {
        let Some(behind) = page.behind() else { return Ok(Vec::new()) };
        let events = Self::list_by_todo(conn, user_id, todo_ids, &behind).await?;
        Ok(events.into_iter().map(|event| event.todo_id).collect())
    }

    /// Counts the events of each of several todos of a user.
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

    /// Loads up to `limit` events of a user after the event `number`, in order.
    pub async fn list_after(
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

    /// Returns the number of a user's event, or `None` if it is unknown or a later one has been deleted. Accepts any result
    /// of [`last_id`](Self::last_id).
    pub async fn number(conn: &mut AsyncPgConnection, user_id: Uuid, id: Uuid) -> QueryResult<Option<i64>> {
        let own = todo_events::table.filter(todo_events::user_id.eq(user_id));
        let Some(number) = stand_in_number(id) else {
            let event = own.filter(todo_events::id.eq(id)).select(todo_events::number);
            return event.first(conn).await.optional();
        };
        let is_last = Self::last_number(conn, user_id).await? == number;
        let next = own.filter(todo_events::number.eq(number.saturating_add(1)));
        let is_known = is_last || diesel::select(exists(next)).get_result(conn).await?;
        Ok(is_known.then_some(number))
    }

    /// Returns the identifier of a user's last event, or one that stands for it: before the first event, and after the last
    /// one has been deleted.
    pub async fn last_id(conn: &mut AsyncPgConnection, user_id: Uuid) -> QueryResult<Uuid> {
        let is_last = todo_events::user_id
            .eq(todo_event_counters::user_id)
            .and(todo_events::number.eq(todo_event_counters::last_number));
        let last: Option<(i64, Option<Uuid>)> = todo_event_counters::table
            .left_join(todo_events::table.on(is_last))
            .filter(todo_event_counters::user_id.eq(user_id))
            .select((todo_event_counters::last_number, todo_events::id.nullable()))
            .first(conn)
            .await
            .optional()?;
        let (number, id) = last.unwrap_or_default();
        Ok(id.unwrap_or_else(|| stand_in(number)))
    }

    /// Returns the number of a user's last event, 0 before the first one.
    pub async fn last_number(conn: &mut AsyncPgConnection, user_id: Uuid) -> QueryResult<i64> {
        let last = Self::last_numbers(conn, &[user_id]).await?;
        Ok(last.as_slice().first().map_or(0, |(_, number)| *number))
    }

    /// Returns the number of each user's last event; users without events are left out.
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

/// Returns the identifier that stands for the event of a number where there is none. Those of events are random, so their upper
/// half is never zero.
fn stand_in(number: i64) -> Uuid {
    Uuid::from_u64_pair(0, number.unsigned_abs())
}

/// Returns the number in an identifier made by [`stand_in`].
fn stand_in_number(id: Uuid) -> Option<i64> {
    let (upper, lower) = id.as_u64_pair();
    i64::try_from(lower).ok().filter(|_| upper == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_identifiers_made_for_it_stand_for_a_number() {
        for number in [0, 1, i64::MAX] {
            assert_eq!(stand_in_number(stand_in(number)), Some(number));
        }
        assert_eq!(stand_in(0), Uuid::nil());
        for id in [Uuid::new_v4(), Uuid::now_v7(), Uuid::max(), Uuid::from_u64_pair(0, u64::MAX)] {
            assert_eq!(stand_in_number(id), None, "{id}");
        }
    }
}
