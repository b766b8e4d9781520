//! Reverting events. As SQL: the old values are JSON in the events, and diesel's query builder has no `UPDATE ... FROM`.

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::actor::{Actor, REQUEST_ID, WriteOutcome, WrittenTodo};
use super::changes::TodoChanges;
use super::{Todo, TodoEvent};
use crate::db::schema::todo_events;

/// SQL condition: `inverse` is a later event that reverts `event` of `todos`. Compares values as columns, since the JSON text
/// of a timestamp depends on the settings of the session that wrote the event.
const REVERTS: &str = "inverse.user_id = $1 AND inverse.todo_id = event.todo_id AND inverse.number > event.number
    AND CASE event.kind WHEN 'CREATED' THEN inverse.kind = 'DELETED'
        ELSE jsonb_populate_record(todos, inverse.after) IS NOT DISTINCT FROM jsonb_populate_record(todos, event.before)
            AND jsonb_populate_record(todos, inverse.before) IS NOT DISTINCT FROM jsonb_populate_record(todos, event.after)
        END";

/// The todo of a reverted event.
#[derive(QueryableByName)]
struct RevertedTodo {
    #[diesel(sql_type = SqlUuid)]
    reverted_id: Uuid,
    #[diesel(embed)]
    todo: Todo,
}

/// The event that reverted another one.
#[derive(QueryableByName)]
struct Inverse {
    #[diesel(sql_type = SqlUuid)]
    reverted_id: Uuid,
    #[diesel(embed)]
    event: TodoEvent,
}

/// Todos by the identifiers of the reverted events.
type Reverted = HashMap<Uuid, Todo>;

impl Actor<'_> {
    /// Reverts events, all or none, the latest first: their fields get the old values, unless one of them has changed since.
    /// The creation of a todo is reverted by a move to the trash, unless the todo has changed at all. Returns the todo of each
    /// event, also if the event has already been reverted.
    pub async fn undo(
        self,
        conn: &mut AsyncPgConnection,
        event_ids: &[Uuid],
    ) -> QueryResult<WriteOutcome<Vec<WrittenTodo>>> {
        let reverted = match event_ids {
            [_] => self.revert(conn, event_ids, event_ids).await?,
            _ => self.revert_in_rounds(conn, event_ids).await?,
        };
        let mut reverted = match reverted.or_refusal() {
            Ok(reverted) => reverted,
            Err(refusal) => return Ok(refusal),
        };
        let mut inverses =
            if self.returns_events { self.find_inverses(conn, event_ids).await? } else { HashMap::new() };
        let todos = event_ids.iter().filter_map(|id| {
            let todo = reverted.remove(id)?;
            Some(WrittenTodo { todo, event: inverses.remove(id) })
        });
        Ok(WriteOutcome::Done(todos.collect()))
    }

    /// Reverts several events, in rounds: an `UPDATE` changes a row only once, so each round reverts the latest event left of
    /// every todo.
    async fn revert_in_rounds(
        self,
        conn: &mut AsyncPgConnection,
        event_ids: &[Uuid],
    ) -> QueryResult<WriteOutcome<Reverted>> {
        let own = todo_events::user_id.eq(self.user_id).and(todo_events::id.eq_any(event_ids));
        let events: Vec<(Uuid, Uuid)> = todo_events::table
            .filter(own)
            .order(todo_events::number.desc())
            .select((todo_events::id, todo_events::todo_id))
            .load(conn)
            .await?;
        if events.len() < event_ids.len() {
            return Ok(WriteOutcome::Missing);
        }
        let mut by_todo: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
        for (id, todo_id) in &events {
            by_todo.entry(*todo_id).or_default().push(*id);
        }
        let todo_ids: Vec<_> = by_todo.keys().copied().collect();
        let mut refusal = WriteOutcome::Missing;
        let reverted = conn.transaction(async |conn| {
            // Locks in the same order as all writers, so that two can't deadlock.
            Todo::lock_all(conn, self.user_id, &todo_ids).await?;
            let mut todos: HashMap<Uuid, Todo> = HashMap::new();
            for round in 0..by_todo.values().map(Vec::len).max().unwrap_or(0) {
                let ids: Vec<_> = by_todo.values().filter_map(|ids| ids.get(round).copied()).collect();
                match self.revert(conn, &ids, event_ids).await? {
                    // Later rounds replace the state of earlier ones.
                    WriteOutcome::Done(reverted) => {
                        todos.extend(reverted.into_values().map(|todo| (todo.id, todo)));
                    }
                    other => {
                        refusal = other;
                        return Err(diesel::result::Error::RollbackTransaction);
                    }
                }
            }
            Ok(todos)
        });
        match reverted.await {
            Ok(todos) => {
                let todo_of = |(id, todo_id): (Uuid, Uuid)| Some((id, todos.get(&todo_id)?.clone()));
                Ok(WriteOutcome::Done(events.into_iter().filter_map(todo_of).collect()))
            }
            Err(diesel::result::Error::RollbackTransaction) => Ok(refusal),
            Err(error) => Err(error),
        }
    }

    /// Reverts events of different todos in one statement; `requested` are all events of the request.
    async fn revert(
        self,
        conn: &mut AsyncPgConnection,
        event_ids: &[Uuid],
        requested: &[Uuid],
    ) -> QueryResult<WriteOutcome<Reverted>> {
        let columns = TodoChanges::columns();
        let restored = columns.map(|column| format!("restored.{column}"));
        let statement = format!(
            "UPDATE todos SET ({}) = (
                 SELECT {} FROM jsonb_populate_record(
                     todos, coalesce(event.before, jsonb_build_object('deleted_at', clock_timestamp()))) AS restored
             )
             FROM todo_events AS event
             WHERE event.user_id = $1 AND event.id = ANY($2)
                 AND todos.user_id = $1 AND todos.id = event.todo_id
                 AND event.after IS NOT NULL AND jsonb_populate_record(todos, event.after) IS NOT DISTINCT FROM todos
                 AND (event.kind <> 'CREATED' OR todos.version = 1)
                 AND (SELECT set_config($3, $4, true)) IS NOT NULL
             RETURNING todos.*, event.id AS reverted_id",
            columns.join(", "),
            restored.join(", ")
        );
        let reverted = diesel::sql_query(statement)
            .bind::<SqlUuid, _>(self.user_id)
            .bind::<Array<SqlUuid>, _>(event_ids)
            .bind::<Text, _>(REQUEST_ID)
            .bind::<Text, _>(self.request_id)
            .load(conn)
            .await?;
        let mut reverted = by_event(reverted);
        if reverted.len() < event_ids.len() {
            let left: Vec<_> = event_ids.iter().filter(|id| !reverted.contains_key(id)).copied().collect();
            reverted.extend(self.find_reverted(conn, &left, requested).await?);
        }
        match event_ids.iter().find(|id| !reverted.contains_key(id)) {
            Some(id) => self.refuse_undo(conn, *id).await,
            None => Ok(WriteOutcome::Done(reverted)),
        }
    }

    /// Finds the todos of events that have already been reverted: a later event is the inverse, and the fields still have the
    /// old values. Ignores fields that the reversal of an earlier one of the `requested` events has changed again.
    async fn find_reverted(
        self,
        conn: &mut AsyncPgConnection,
        event_ids: &[Uuid],
        requested: &[Uuid],
    ) -> QueryResult<Reverted> {
        let statement = format!(
            "SELECT todos.*, event.id AS reverted_id
             FROM todos JOIN todo_events AS event ON event.user_id = $1 AND event.todo_id = todos.id
             WHERE todos.user_id = $1 AND event.id = ANY($2) AND event.after IS NOT NULL AND CASE event.kind
                 WHEN 'CREATED' THEN todos.version = 2 AND todos.in_trash
                 ELSE EXISTS (SELECT FROM todo_events AS inverse WHERE {REVERTS})
                     AND jsonb_populate_record(todos, event.before - ARRAY(
                         SELECT jsonb_object_keys(earlier.before) FROM todo_events AS earlier
                         WHERE earlier.user_id = $1 AND earlier.id = ANY($3)
                             AND earlier.todo_id = event.todo_id AND earlier.number < event.number
                     )) IS NOT DISTINCT FROM todos
                 END
             FOR UPDATE OF todos"
        );
        let reverted = diesel::sql_query(statement)
            .bind::<SqlUuid, _>(self.user_id)
            .bind::<Array<SqlUuid>, _>(event_ids)
            .bind::<Array<SqlUuid>, _>(requested)
            .load(conn)
            .await?;
        Ok(by_event(reverted))
    }

    /// Loads the latest inverse of each event, by the identifier of the reverted event.
    async fn find_inverses(
        self,
        conn: &mut AsyncPgConnection,
        event_ids: &[Uuid],
    ) -> QueryResult<HashMap<Uuid, TodoEvent>> {
        let statement = format!(
            "SELECT latest.*, event.id AS reverted_id
             FROM todos JOIN todo_events AS event ON event.user_id = $1 AND event.todo_id = todos.id
             CROSS JOIN LATERAL (
                 SELECT number, id, todo_id, kind, created_at, before, after FROM todo_events AS inverse
                 WHERE {REVERTS} ORDER BY number DESC LIMIT 1
             ) AS latest
             WHERE todos.user_id = $1 AND event.id = ANY($2)"
        );
        let inverses: Vec<Inverse> = diesel::sql_query(statement)
            .bind::<SqlUuid, _>(self.user_id)
            .bind::<Array<SqlUuid>, _>(event_ids)
            .load(conn)
            .await?;
        Ok(inverses.into_iter().map(|inverse| (inverse.reverted_id, inverse.event)).collect())
    }

    /// Returns the reason why an event was not reverted.
    async fn refuse_undo<T>(
        self,
        conn: &mut AsyncPgConnection,
        event_id: Uuid,
    ) -> QueryResult<WriteOutcome<T>> {
        let todo_id: Option<Uuid> = todo_events::table
            .filter(todo_events::user_id.eq(self.user_id).and(todo_events::id.eq(event_id)))
            .select(todo_events::todo_id)
            .first(conn)
            .await
            .optional()?;
        let Some(todo_id) = todo_id else { return Ok(WriteOutcome::Missing) };
        let todo = Todo::find(conn, self.user_id, todo_id).await?;
        Ok(todo.map_or(WriteOutcome::Missing, |todo| WriteOutcome::Conflict(Box::new(todo))))
    }
}

fn by_event(rows: Vec<RevertedTodo>) -> Reverted {
    rows.into_iter().map(|row| (row.reverted_id, row.todo)).collect()
}
