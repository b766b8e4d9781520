//! Writing todos. Each write is one statement, whether for one todo or for many: it is done whole or not at all.

use std::collections::HashSet;

use chrono::{DateTime, SecondsFormat, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Priority, Todo};
use crate::crypto;
use crate::db::schema::{todo_events, todos};
use crate::domain::{Description, Tags, Title};

/// A todo to be made.
#[derive(Clone, Debug)]
pub struct NewTodo {
    /// Identifier.
    pub id: Uuid,
    /// Whether the client made the identifier, so that it can repeat the request.
    pub repeatable: bool,
    /// What is to be done.
    pub title: Title,
    /// What else there is to say.
    pub description: Description,
    /// How important it is.
    pub priority: Priority,
    /// By when it is to be done.
    pub due_at: Option<DateTime<Utc>>,
    /// Words to sort it by.
    pub tags: Tags,
}

impl NewTodo {
    fn content(&self) -> Value {
        json!({
            "title": self.title.as_str(),
            "description": self.description.as_str(),
            "priority": self.priority,
            "due_at": self.due_at.map(precise),
            "tags": self.tags.as_slice(),
        })
    }

    /// What tells whether a request to make it is a repetition.
    fn hash(&self) -> [u8; 32] {
        crypto::sha256(self.content().to_string().as_bytes())
    }

    /// The columns of the row.
    fn row(&self) -> Value {
        // As PostgreSQL writes bytes.
        let hex =
            |hash: [u8; 32]| hash.iter().fold("\\x".to_owned(), |text, byte| format!("{text}{byte:02x}"));
        let mut row = self.content();
        if let Value::Object(columns) = &mut row {
            columns.insert("id".into(), json!(self.id));
            columns.insert("creation_hash".into(), json!(self.repeatable.then(|| hex(self.hash()))));
        }
        row
    }
}

/// What of a todo is to change; all else stays.
#[derive(Clone, Debug, Default)]
pub struct TodoChanges(Map<String, Value>);

impl TodoChanges {
    fn with(mut self, column: &str, value: Value) -> Self {
        self.0.insert(column.to_owned(), value);
        self
    }

    /// Another title.
    #[must_use]
    pub fn title(self, title: &Title) -> Self {
        self.with("title", title.as_str().into())
    }

    /// Another description.
    #[must_use]
    pub fn description(self, description: &Description) -> Self {
        self.with("description", description.as_str().into())
    }

    /// Another priority.
    #[must_use]
    pub fn priority(self, priority: Priority) -> Self {
        self.with("priority", priority.as_str().into())
    }

    /// Another time by when it is to be done, or none.
    #[must_use]
    pub fn due_at(self, due_at: Option<DateTime<Utc>>) -> Self {
        self.with("due_at", json!(due_at.map(precise)))
    }

    /// Other tags.
    #[must_use]
    pub fn tags(self, tags: &Tags) -> Self {
        self.with("tags", tags.as_slice().into())
    }

    /// Done at a time, or not done; what was done before keeps its time.
    #[must_use]
    pub fn completed_at(self, completed_at: Option<DateTime<Utc>>) -> Self {
        self.with("completed_at", json!(completed_at.map(precise)))
    }

    /// Put into the trash at a time, or taken out; what was there before keeps its time.
    #[must_use]
    pub fn deleted_at(self, deleted_at: Option<DateTime<Utc>>) -> Self {
        self.with("deleted_at", json!(deleted_at.map(precise)))
    }
}

/// A time as exactly as PostgreSQL stores it.
fn precise(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Written<T> {
    /// It was done.
    Done(T),
    /// There is no such thing, or it is somebody else's; nothing was written.
    Missing,
    /// It is not as expected, but like this; nothing was written.
    Conflict(Box<Todo>),
}

/// Who writes, and in which request.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// Whose todos.
    pub user_id: Uuid,
    /// Names the request, for the history.
    pub request_id: &'a str,
}

/// What a todo is read from.
const COLUMNS: &str = "id, title, description, priority, due_at, tags, version, created_at, updated_at, completed_at, \
    deleted_at";

/// Finds the todos $2 of the user $1, at version $3 if that is given, and locks them in an order that is always the same,
/// so that nobody waits for each other. The rest of the statement has to do nothing unless all were found.
const WANTED: &str = "WITH wanted AS MATERIALIZED (
        SELECT id FROM todos WHERE user_id = $1 AND id = ANY ($2) AND ($3 IS NULL OR version = $3)
        ORDER BY id FOR UPDATE
    )";

/// Whether all were found. Also tells the triggers which request it is, $4, until the transaction ends.
const ALL_WANTED: &str = "user_id = $1 AND id = ANY ($2)
    AND (SELECT count(*) FROM wanted) = cardinality($2)
    AND (SELECT set_config('todo_api.request_id', $4, true)) IS NOT NULL";

impl Author<'_> {
    /// Makes todos; where one was made before by the same request, that one is given back.
    pub async fn create(
        self,
        conn: &mut AsyncPgConnection,
        new: &[NewTodo],
    ) -> QueryResult<Written<Vec<Todo>>> {
        if !new.iter().any(|todo| todo.repeatable) {
            return Ok(Written::Done(self.insert(conn, new).await?));
        }
        let mut conflict = None;
        let made = conn.transaction(async |conn| {
            let mut made = self.insert(conn, new).await?;
            let ids: HashSet<_> = made.iter().map(|todo| todo.id).collect();
            for known in new.iter().filter(|new| !ids.contains(&new.id)) {
                match self.made_before(conn, known).await? {
                    Written::Done(todo) => made.push(todo),
                    Written::Conflict(todo) => {
                        conflict = Some(todo);
                        return Err(diesel::result::Error::RollbackTransaction);
                    }
                    // It was there a moment ago: whoever repeats the request makes it anew.
                    Written::Missing => return Err(diesel::result::Error::RollbackTransaction),
                }
            }
            Ok(made)
        });
        match (made.await, conflict) {
            (_, Some(todo)) => Ok(Written::Conflict(todo)),
            (made, None) => made.map(Written::Done),
        }
    }

    async fn insert(self, conn: &mut AsyncPgConnection, new: &[NewTodo]) -> QueryResult<Vec<Todo>> {
        let rows: Value = new.iter().map(NewTodo::row).collect();
        let statement = format!(
            "INSERT INTO todos (user_id, id, title, description, priority, due_at, tags, creation_hash)
             SELECT $1, new.id, new.title, new.description, new.priority, new.due_at, new.tags, new.creation_hash
             FROM jsonb_populate_recordset(NULL::todos, $2) AS new
             WHERE (SELECT set_config('todo_api.request_id', $3, true)) IS NOT NULL
             ORDER BY new.id
             ON CONFLICT (user_id, id) DO NOTHING
             RETURNING {COLUMNS}"
        );
        diesel::sql_query(statement)
            .bind::<SqlUuid, _>(self.user_id)
            .bind::<Jsonb, _>(rows)
            .bind::<Text, _>(self.request_id)
            .get_results(conn)
            .await
    }

    /// The todo that has the identifier of a new one, if it was made with the same content.
    async fn made_before(self, conn: &mut AsyncPgConnection, new: &NewTodo) -> QueryResult<Written<Todo>> {
        let found: Option<(Todo, Option<Vec<u8>>)> = todos::table
            .find((self.user_id, new.id))
            .select((Todo::as_select(), todos::creation_hash))
            .first(conn)
            .await
            .optional()?;
        Ok(match found {
            Some((todo, Some(hash))) if hash == new.hash() => Written::Done(todo),
            Some((todo, _)) => Written::Conflict(Box::new(todo)),
            None => Written::Missing,
        })
    }

    /// Changes todos, all of them or none.
    pub async fn update(
        self,
        conn: &mut AsyncPgConnection,
        ids: &[Uuid],
        expected_version: Option<i64>,
        changes: &TodoChanges,
    ) -> QueryResult<Written<Vec<Todo>>> {
        let statement = format!(
            "{WANTED}
             UPDATE todos SET (title, description, priority, due_at, tags, completed_at, deleted_at) = (
                 SELECT changed.title, changed.description, changed.priority, changed.due_at, changed.tags,
                     changed.completed_at, changed.deleted_at
                 FROM jsonb_populate_record(todos, $5) AS changed
             )
             WHERE {ALL_WANTED}
             RETURNING {COLUMNS}"
        );
        let updated: Vec<Todo> = diesel::sql_query(statement)
            .bind::<SqlUuid, _>(self.user_id)
            .bind::<Array<SqlUuid>, _>(ids)
            .bind::<Nullable<BigInt>, _>(expected_version)
            .bind::<Text, _>(self.request_id)
            .bind::<Jsonb, _>(Value::Object(changes.0.clone()))
            .get_results(conn)
            .await?;
        if updated.len() == ids.len() { Ok(Written::Done(updated)) } else { self.refusal(conn, ids).await }
    }

    /// Deletes todos for good, all of them or none.
    pub async fn purge(
        self,
        conn: &mut AsyncPgConnection,
        ids: &[Uuid],
        expected_version: Option<i64>,
    ) -> QueryResult<Written<()>> {
        let deleted = diesel::sql_query(format!("{WANTED} DELETE FROM todos WHERE {ALL_WANTED}"))
            .bind::<SqlUuid, _>(self.user_id)
            .bind::<Array<SqlUuid>, _>(ids)
            .bind::<Nullable<BigInt>, _>(expected_version)
            .bind::<Text, _>(self.request_id)
            .execute(conn)
            .await?;
        if deleted == ids.len() { Ok(Written::Done(())) } else { self.refusal(conn, ids).await }
    }

    /// Deletes for good what is in the trash; returns how many todos that were.
    pub async fn empty_trash(self, conn: &mut AsyncPgConnection) -> QueryResult<usize> {
        diesel::sql_query(
            "WITH wanted AS MATERIALIZED (
                 SELECT id FROM todos WHERE user_id = $1 AND in_trash ORDER BY id FOR UPDATE
             )
             DELETE FROM todos WHERE user_id = $1 AND in_trash AND id IN (SELECT id FROM wanted)
                 AND (SELECT set_config('todo_api.request_id', $2, true)) IS NOT NULL",
        )
        .bind::<SqlUuid, _>(self.user_id)
        .bind::<Text, _>(self.request_id)
        .execute(conn)
        .await
    }

    /// Takes back what an event did to its todo, unless the same fields have changed since. What was made goes into the
    /// trash, unless it was changed at all.
    pub async fn undo(self, conn: &mut AsyncPgConnection, event_id: Uuid) -> QueryResult<Written<Todo>> {
        let columns = COLUMNS.split(", ").map(|name| format!("todos.{name}")).collect::<Vec<_>>().join(", ");
        let statement = format!(
            "UPDATE todos SET (title, description, priority, due_at, tags, completed_at, deleted_at) = (
                 SELECT restored.title, restored.description, restored.priority, restored.due_at, restored.tags,
                     restored.completed_at, restored.deleted_at
                 FROM jsonb_populate_record(
                     todos, coalesce(event.before, jsonb_build_object('deleted_at', clock_timestamp()))) AS restored
             )
             FROM todo_events AS event
             WHERE event.user_id = $1 AND event.id = $2
                 AND todos.user_id = $1 AND todos.id = event.todo_id
                 AND event.after IS NOT NULL AND todo_difference(event.after, todo_content(todos)) IS NULL
                 AND (event.kind <> 'CREATED' OR todos.version = 1)
                 AND (SELECT set_config('todo_api.request_id', $3, true)) IS NOT NULL
             RETURNING {columns}"
        );
        let undone: Option<Todo> = diesel::sql_query(statement)
            .bind::<SqlUuid, _>(self.user_id)
            .bind::<SqlUuid, _>(event_id)
            .bind::<Text, _>(self.request_id)
            .get_result(conn)
            .await
            .optional()?;
        if let Some(todo) = undone {
            return Ok(Written::Done(todo));
        }
        let todo_id: Option<Uuid> = todo_events::table
            .filter(todo_events::user_id.eq(self.user_id).and(todo_events::id.eq(event_id)))
            .select(todo_events::todo_id)
            .first(conn)
            .await
            .optional()?;
        self.refusal(conn, todo_id.as_slice()).await
    }

    /// Why todos were not written.
    async fn refusal<T>(self, conn: &mut AsyncPgConnection, ids: &[Uuid]) -> QueryResult<Written<T>> {
        let found = Todo::find_all(conn, self.user_id, ids).await?;
        let all = found.len() == ids.len();
        Ok(match found.into_iter().next().filter(|_| all) {
            Some(todo) => Written::Conflict(Box::new(todo)),
            None => Written::Missing,
        })
    }
}
