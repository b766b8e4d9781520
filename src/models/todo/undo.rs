//! Reverting events. As SQL: the old values are JSON in the events, and diesel's query builder has no `UPDATE ... FROM`.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::actor::{Actor, REQUEST_ID, WriteOutcome, WrittenTodo};
use super::changes::TodoChanges;
use super::{Todo, TodoEvent};
use crate::db::Cached;

/// An event to revert.
#[derive(QueryableByName)]
struct RequestedEvent {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    todo_id: Uuid,
    /// Event that has already reverted it.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    inverse_id: Option<Uuid>,
    /// True if one of its fields has changed since, or since it was reverted.
    #[diesel(sql_type = Bool)]
    is_outdated: bool,
}

impl Actor<'_> {
    /// Reverts events, all or none: their fields get the values from before, unless one of them has changed since. The creation of
    /// a todo is reverted by a move to the trash, unless the todo has changed at all. Several events of a todo are reverted by one
    /// event. Returns the todo of each event, also if the event has already been reverted.
    pub async fn undo(
        self,
        conn: &mut AsyncPgConnection,
        event_ids: &[Uuid],
    ) -> QueryResult<WriteOutcome<Vec<WrittenTodo>>> {
        conn.transaction(async |conn| self.undo_locked(conn, event_ids).await).await
    }

    async fn undo_locked(
        self,
        conn: &mut AsyncPgConnection,
        event_ids: &[Uuid],
    ) -> QueryResult<WriteOutcome<Vec<WrittenTodo>>> {
        let mut todos = self.lock_todos_of(conn, event_ids).await?;
        let requested = self.find_requested(conn, event_ids).await?;
        if requested.len() < event_ids.len() {
            return Ok(WriteOutcome::Missing);
        }
        for event in &requested {
            match todos.get(&event.todo_id) {
                None => return Ok(WriteOutcome::Missing),
                Some(todo) if event.is_outdated => return Ok(WriteOutcome::Conflict(Box::new(todo.clone()))),
                Some(_) => {}
            }
        }
        let left = requested.iter().filter(|event| event.inverse_id.is_none());
        let left: Vec<_> = left.map(|event| event.id).collect();
        let mut changed = Vec::new();
        for todo in self.revert(conn, &left).await? {
            // Events that cancel each other out change nothing.
            if todos.insert(todo.id, todo.clone()).is_some_and(|before| before.version != todo.version) {
                changed.push(todo.id);
            }
        }
        let written = self.link_inverses(conn, &left, &changed).await?;
        let written: HashMap<_, _> = written.into_iter().map(|event| (event.todo_id, event)).collect();
        let earlier = self.find_earlier_inverses(conn, &requested).await?;
        let undone = requested.into_iter().filter_map(|event| {
            let inverse = match event.inverse_id {
                Some(id) => earlier.iter().find(|earlier| earlier.id == id),
                None => written.get(&event.todo_id),
            };
            let event_of_undo = inverse.filter(|_| self.returns_events).cloned();
            Some(WrittenTodo { todo: todos.get(&event.todo_id)?.clone(), event: event_of_undo })
        });
        Ok(WriteOutcome::Done(undone.collect()))
    }

    /// Locks the todos of events; returns them by their identifiers.
    async fn lock_todos_of(
        self,
        conn: &mut AsyncPgConnection,
        event_ids: &[Uuid],
    ) -> QueryResult<HashMap<Uuid, Todo>> {
        let events = TodoEvent::find_all(conn, self.user_id, event_ids).await?;
        let ids: Vec<_> = events.iter().map(|event| event.todo_id).collect();
        // Locks in the same order as all writers, so that two can't deadlock.
        let todos = Todo::lock_all(conn, self.user_id, &ids).await?;
        Ok(todos.into_iter().map(|todo| (todo.id, todo)).collect())
    }

    /// Finds the events, in the order given. Requested events and events that revert such do not make others outdated.
    async fn find_requested(
        self,
        conn: &mut AsyncPgConnection,
        event_ids: &[Uuid],
    ) -> QueryResult<Vec<RequestedEvent>> {
        let query = diesel::sql_query(
            "SELECT event.id, event.todo_id, inverse.id AS inverse_id, event.after IS NULL OR EXISTS (
                 SELECT FROM todo_events AS later
                 WHERE later.user_id = $1 AND later.todo_id = event.todo_id
                     AND later.number > coalesce(inverse.number, event.number)
                     AND later.id <> ALL ($2) AND NOT coalesce(later.reverts && $2, FALSE)
                     AND (event.kind = 'CREATED' OR later.after ?| ARRAY(SELECT jsonb_object_keys(event.after)))
             ) AS is_outdated
             FROM todo_events AS event LEFT JOIN LATERAL (
                 SELECT id, number FROM todo_events AS inverse
                 WHERE inverse.user_id = $1 AND inverse.todo_id = event.todo_id AND inverse.number > event.number
                     AND event.id = ANY (inverse.reverts)
                 ORDER BY number DESC LIMIT 1
             ) AS inverse ON TRUE
             WHERE event.user_id = $1 AND event.id = ANY ($2)
             ORDER BY array_position($2, event.id)",
        )
        .bind::<SqlUuid, _>(self.user_id)
        .bind::<Array<SqlUuid>, _>(event_ids);
        Cached(query).load(conn).await
    }

    /// Gives the fields of events the values from before the first of them; returns the todos.
    async fn revert(self, conn: &mut AsyncPgConnection, event_ids: &[Uuid]) -> QueryResult<Vec<Todo>> {
        if event_ids.is_empty() {
            return Ok(Vec::new());
        }
        let columns = TodoChanges::columns();
        let restored = columns.map(|column| format!("restored.{column}"));
        // Of equal keys, jsonb_object_agg keeps the last value: that of the earliest event.
        let statement = format!(
            "UPDATE todos SET ({}) = (SELECT {} FROM jsonb_populate_record(todos, original.fields) AS restored)
             FROM (
                 SELECT event.todo_id, jsonb_object_agg(field.key, field.value ORDER BY event.number DESC) AS fields
                 FROM todo_events AS event CROSS JOIN jsonb_each(
                     coalesce(event.before, jsonb_build_object('deleted_at', clock_timestamp()))) AS field
                 WHERE event.user_id = $1 AND event.id = ANY ($2)
                 GROUP BY event.todo_id
             ) AS original
             WHERE todos.user_id = $1 AND todos.id = original.todo_id
                 AND (SELECT set_config($3, $4, true)) IS NOT NULL
             RETURNING todos.*",
            columns.join(", "),
            restored.join(", ")
        );
        diesel::sql_query(statement)
            .bind::<SqlUuid, _>(self.user_id)
            .bind::<Array<SqlUuid>, _>(event_ids)
            .bind::<Text, _>(REQUEST_ID)
            .bind::<Text, _>(self.request_id)
            .load(conn)
            .await
    }

    /// Links the last events of todos to those that they revert; returns them.
    async fn link_inverses(
        self,
        conn: &mut AsyncPgConnection,
        event_ids: &[Uuid],
        todo_ids: &[Uuid],
    ) -> QueryResult<Vec<TodoEvent>> {
        if todo_ids.is_empty() {
            return Ok(Vec::new());
        }
        // Not kept prepared: its generic plan reads all events of the todos.
        diesel::sql_query(
            "UPDATE todo_events AS inverse SET reverts = ARRAY(
                 SELECT event.id FROM todo_events AS event
                 WHERE event.user_id = $1 AND event.id = ANY ($2) AND event.todo_id = inverse.todo_id
             )
             FROM unnest($3) AS changed (todo_id) CROSS JOIN LATERAL (
                 SELECT number FROM todo_events
                 WHERE user_id = $1 AND todo_id = changed.todo_id ORDER BY number DESC LIMIT 1
             ) AS last
             WHERE inverse.user_id = $1 AND inverse.number = last.number
             RETURNING inverse.number, inverse.id, inverse.todo_id, inverse.kind, inverse.created_at, inverse.before,
                 inverse.after",
        )
        .bind::<SqlUuid, _>(self.user_id)
        .bind::<Array<SqlUuid>, _>(event_ids)
        .bind::<Array<SqlUuid>, _>(todo_ids)
        .load(conn)
        .await
    }

    /// Loads the events that have already reverted requested ones, if the actor returns them.
    async fn find_earlier_inverses(
        self,
        conn: &mut AsyncPgConnection,
        requested: &[RequestedEvent],
    ) -> QueryResult<Vec<TodoEvent>> {
        let ids: Vec<_> = requested.iter().filter_map(|event| event.inverse_id).collect();
        if ids.is_empty() || !self.returns_events {
            return Ok(Vec::new());
        }
        TodoEvent::find_all(conn, self.user_id, &ids).await
    }
}
