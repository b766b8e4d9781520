//! Writes of todos. Each write is one statement, for one todo or many: it applies to all of them or to none.

use std::collections::HashSet;

use chrono::{DateTime, SecondsFormat, Utc};
use diesel::dsl::{array, cardinality};
use diesel::expression::AsExpression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, SqlType, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use uuid::Uuid;

use super::{Priority, Stored, TextEnum, Todo};
use crate::crypto;
use crate::db::schema::{todo_events, todos};
use crate::domain::{Description, Patch, Tags, Title};

/// A todo to be created. `None` stands for a field that the client did not send.
#[derive(Clone, Debug)]
pub struct NewTodo {
    /// Identifier.
    pub id: Uuid,
    /// True if the client made the identifier, which makes the request idempotent.
    pub repeatable: bool,
    /// Title.
    pub title: Title,
    /// Notes; empty by default.
    pub description: Option<Description>,
    /// Importance; `NONE` by default.
    pub priority: Option<Priority>,
    /// Due time.
    pub due_at: Option<DateTime<Utc>>,
    /// Labels; none by default.
    pub tags: Option<Tags>,
}

/// The columns of a new row. For `None` the database fills in the column's default.
#[derive(Insertable)]
#[diesel(table_name = todos)]
struct NewTodoRow<'a> {
    user_id: Uuid,
    id: Uuid,
    title: &'a str,
    description: Option<&'a str>,
    priority: Option<Stored<Priority>>,
    due_at: Option<DateTime<Utc>>,
    tags: Option<&'a [String]>,
    creation_hash: Option<Vec<u8>>,
}

/// The fields that a client sent, in the form in which `todos.creation_hash` covers them.
///
/// Hashes outlive deployments, and during one two versions of the service compare them. So this form only ever grows:
/// a field added later stands at the end and is skipped if it was not sent. The first five stand in every hash, with
/// the values that mean "not sent".
#[derive(Serialize)]
struct Sent<'a> {
    description: &'a str,
    due_at: Option<String>,
    priority: &'static str,
    tags: &'a [String],
    title: &'a str,
}

impl NewTodo {
    /// Returns the SHA-256 of what the client sent, by which a repeated request is recognised.
    fn creation_hash(&self) -> QueryResult<[u8; 32]> {
        let Self { id: _, repeatable: _, title, description, priority, due_at, tags } = self;
        let sent = Sent {
            description: description.as_ref().map_or("", Description::as_str),
            due_at: due_at.map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true)),
            priority: priority.unwrap_or(Priority::None).as_str(),
            tags: tags.as_ref().map_or(&[], Tags::as_slice),
            title: title.as_str(),
        };
        let text = serde_json::to_vec(&sent);
        Ok(crypto::sha256(&text.map_err(|error| diesel::result::Error::SerializationError(error.into()))?))
    }

    fn row(&self, user_id: Uuid) -> QueryResult<NewTodoRow<'_>> {
        let hash = self.repeatable.then(|| self.creation_hash()).transpose()?;
        let Self { id, repeatable: _, title, description, priority, due_at, tags } = self;
        Ok(NewTodoRow {
            user_id,
            id: *id,
            title: title.as_str(),
            description: description.as_ref().map(Description::as_str),
            priority: priority.map(Stored),
            due_at: *due_at,
            tags: tags.as_ref().map(Tags::as_slice),
            creation_hash: hash.map(Vec::from),
        })
    }
}

/// A change of todos. By default all fields keep their values.
#[derive(Clone, Debug, Default)]
pub struct TodoChanges {
    /// New title.
    pub title: Option<Title>,
    /// New notes.
    pub description: Option<Description>,
    /// New importance.
    pub priority: Option<Priority>,
    /// Due time.
    pub due_at: Patch<DateTime<Utc>>,
    /// New labels.
    pub tags: Option<Tags>,
    /// Time of completion; a completed todo keeps its time.
    pub completed_at: Patch<DateTime<Utc>>,
    /// Time of the move to the trash; a todo in the trash keeps its time.
    pub deleted_at: Patch<DateTime<Utc>>,
}

/// The columns that a change assigns.
#[derive(AsChangeset)]
#[diesel(table_name = todos)]
struct TodoChangeset<'a> {
    title: Option<&'a str>,
    description: Option<&'a str>,
    priority: Option<Stored<Priority>>,
    #[diesel(embed)]
    due_at: Assignment<todos::due_at, DateTime<Utc>>,
    tags: Option<&'a [String]>,
    #[diesel(embed)]
    completed_at: Assignment<todos::completed_at, DateTime<Utc>>,
    #[diesel(embed)]
    deleted_at: Assignment<todos::deleted_at, DateTime<Utc>>,
}

/// An assignment to a nullable column; `None` keeps its value.
type Assignment<C, T> = Option<diesel::dsl::Eq<C, Option<T>>>;

fn assign<C, T>(column: C, patch: Patch<T>) -> Assignment<C, T>
where
    C: ExpressionMethods,
    C::SqlType: SqlType,
    Option<T>: AsExpression<C::SqlType>,
{
    match patch {
        Patch::Keep => None,
        Patch::Clear => Some(column.eq(None)),
        Patch::Set(value) => Some(column.eq(Some(value))),
    }
}

impl TodoChanges {
    fn changeset(&self) -> TodoChangeset<'_> {
        let Self { title, description, priority, due_at, tags, completed_at, deleted_at } = self;
        TodoChangeset {
            title: title.as_ref().map(Title::as_str),
            description: description.as_ref().map(Description::as_str),
            priority: priority.map(Stored),
            due_at: assign(todos::due_at, *due_at),
            tags: tags.as_ref().map(Tags::as_slice),
            completed_at: assign(todos::completed_at, *completed_at),
            deleted_at: assign(todos::deleted_at, *deleted_at),
        }
    }

    /// Returns the names of all columns that a change can assign, for SQL beyond the query builder.
    fn columns() -> [&'static str; 7] {
        // Destructured so that a new field does not compile without its column here.
        let Self {
            title: _,
            description: _,
            priority: _,
            due_at: _,
            tags: _,
            completed_at: _,
            deleted_at: _,
        } = Self::default();
        [
            todos::title::NAME,
            todos::description::NAME,
            todos::priority::NAME,
            todos::due_at::NAME,
            todos::tags::NAME,
            todos::completed_at::NAME,
            todos::deleted_at::NAME,
        ]
    }
}

diesel::define_sql_function! {
    /// PostgreSQL's `set_config`; with `local` the setting ends with the transaction.
    fn set_config(name: Text, value: Text, local: Bool) -> Text;
}

/// The setting in which the triggers find the request that they note in the history.
const REQUEST_ID: &str = "todo_api.request_id";

/// The outcome of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Written<T> {
    /// Written.
    Done(T),
    /// Not written: a todo or event does not exist or belongs to another user.
    Missing,
    /// Not written: the todo is not in the expected state. Holds its current state.
    Conflict(Box<Todo>),
}

/// The owner of the todos to write, and the request that writes.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// Owner of the todos.
    pub user_id: Uuid,
    /// Identifier of the request, for the history.
    pub request_id: &'a str,
}

type Condition<'a> = Box<dyn BoxableExpression<todos::table, Pg, SqlType = Bool> + 'a>;

diesel::alias! {
    // The same rows as the write's, read by its sub-select.
    const LOCKED: Alias<Locked> = todos as locked;
}

/// Selects the todos `ids` of a user, provided that all of them exist, at the expected version if one is given. Locks them
/// ordered by identifier, so that two writers can't deadlock.
fn all_of(user_id: Uuid, ids: &[Uuid], expected_version: Option<i64>) -> Condition<'_> {
    let any_version = expected_version.into_sql::<Nullable<BigInt>>().is_null();
    let same_version = LOCKED.field(todos::version).nullable().eq(expected_version);
    let locked = LOCKED
        .filter(LOCKED.field(todos::user_id).eq(user_id))
        .filter(LOCKED.field(todos::id).eq_any(ids))
        .filter(any_version.or(same_version))
        .order(LOCKED.field(todos::id))
        .select(LOCKED.field(todos::id))
        .for_update();
    let found = cardinality::<Array<SqlUuid>, _>(array::<SqlUuid, _>(locked));
    let owned = todos::user_id.eq(user_id).and(todos::id.eq_any(ids));
    // The count depends on no row of the write, so PostgreSQL takes it and the locks before it reads the first one.
    Box::new(owned.and(found.eq(cardinality::<Array<SqlUuid>, _>(ids))))
}

impl Author<'_> {
    /// Creates todos. A todo that the same request created before is returned in its current state.
    pub async fn create(
        self,
        conn: &mut AsyncPgConnection,
        new: &[NewTodo],
    ) -> QueryResult<Written<Vec<Todo>>> {
        if !new.iter().any(|todo| todo.repeatable) {
            return Ok(Written::Done(self.insert(conn, new).await?));
        }
        let mut conflict = None;
        let created = conn.transaction(async |conn| {
            let mut created = self.insert(conn, new).await?;
            let ids: HashSet<_> = created.iter().map(|todo| todo.id).collect();
            for known in new.iter().filter(|new| !ids.contains(&new.id)) {
                match self.find_created(conn, known).await? {
                    Written::Done(todo) => created.push(todo),
                    Written::Conflict(todo) => {
                        conflict = Some(todo);
                        return Err(diesel::result::Error::RollbackTransaction);
                    }
                    // Purged since the insert met it: a retry of the request creates it anew.
                    Written::Missing => return Err(diesel::result::Error::RollbackTransaction),
                }
            }
            Ok(created)
        });
        match (created.await, conflict) {
            (_, Some(todo)) => Ok(Written::Conflict(todo)),
            (created, None) => created.map(Written::Done),
        }
    }

    /// Inserts todos except those whose identifier is taken.
    async fn insert(self, conn: &mut AsyncPgConnection, new: &[NewTodo]) -> QueryResult<Vec<Todo>> {
        let mut rows = new.iter().map(|todo| todo.row(self.user_id)).collect::<QueryResult<Vec<_>>>()?;
        // In one order always, so that two writers of the same identifiers can't deadlock.
        rows.sort_by_key(|row| row.id);
        let created = diesel::insert_into(todos::table)
            .values(&rows)
            .on_conflict((todos::user_id, todos::id))
            .do_nothing()
            .returning((Todo::as_returning(), self.request_note()))
            .get_results(conn)
            .await?;
        Ok(without_note(created))
    }

    /// Finds the todo that has the identifier of a new one; a conflict unless the same request created it.
    async fn find_created(self, conn: &mut AsyncPgConnection, new: &NewTodo) -> QueryResult<Written<Todo>> {
        let found: Option<(Todo, Option<Vec<u8>>)> = todos::table
            .find((self.user_id, new.id))
            .select((Todo::as_select(), todos::creation_hash))
            .first(conn)
            .await
            .optional()?;
        let hash = new.creation_hash()?;
        Ok(match found {
            Some((todo, Some(created_with))) if created_with == hash => Written::Done(todo),
            Some((todo, _)) => Written::Conflict(Box::new(todo)),
            None => Written::Missing,
        })
    }

    /// Changes todos, all or none.
    pub async fn update(
        self,
        conn: &mut AsyncPgConnection,
        ids: &[Uuid],
        expected_version: Option<i64>,
        changes: &TodoChanges,
    ) -> QueryResult<Written<Vec<Todo>>> {
        let updated = diesel::update(todos::table.filter(all_of(self.user_id, ids, expected_version)))
            // An UPDATE needs an assignment even if nothing changes; the trigger keeps the version.
            .set((todos::version.eq(todos::version), changes.changeset()))
            .returning((Todo::as_returning(), self.request_note()))
            .get_results(conn)
            .await?;
        if updated.len() == ids.len() {
            return Ok(Written::Done(without_note(updated)));
        }
        self.refusal(conn, ids).await
    }

    /// Deletes todos permanently, all or none.
    pub async fn purge(
        self,
        conn: &mut AsyncPgConnection,
        ids: &[Uuid],
        expected_version: Option<i64>,
    ) -> QueryResult<Written<()>> {
        let deleted = diesel::delete(todos::table.filter(all_of(self.user_id, ids, expected_version)))
            .returning(self.request_note())
            .execute(conn)
            .await?;
        if deleted == ids.len() { Ok(Written::Done(())) } else { self.refusal(conn, ids).await }
    }

    /// Permanently deletes the todos in the trash; returns their number.
    pub async fn empty_trash(self, conn: &mut AsyncPgConnection) -> QueryResult<usize> {
        let locked = LOCKED
            .filter(LOCKED.field(todos::user_id).eq(self.user_id))
            .filter(LOCKED.field(todos::in_trash))
            .order(LOCKED.field(todos::id))
            .select(LOCKED.field(todos::id))
            .for_update();
        let trash = todos::user_id.eq(self.user_id).and(todos::in_trash);
        diesel::delete(todos::table.filter(trash.and(todos::id.eq_any(locked))))
            .returning(self.request_note())
            .execute(conn)
            .await
    }

    /// Reverts an event: its fields get their old values, unless one of them has changed since. The creation of a todo is
    /// reverted by a move to the trash, unless the todo has changed at all.
    pub async fn undo(self, conn: &mut AsyncPgConnection, event_id: Uuid) -> QueryResult<Written<Todo>> {
        // As SQL: the old values are the event's JSON, and the query builder has no UPDATE ... FROM that reads them.
        let columns = TodoChanges::columns();
        let restored = columns.map(|column| format!("restored.{column}"));
        let statement = format!(
            "UPDATE todos SET ({}) = (
                 SELECT {} FROM jsonb_populate_record(
                     todos, coalesce(event.before, jsonb_build_object('deleted_at', clock_timestamp()))) AS restored
             )
             FROM todo_events AS event
             WHERE event.user_id = $1 AND event.id = $2
                 AND todos.user_id = $1 AND todos.id = event.todo_id
                 AND event.after IS NOT NULL AND todo_difference(event.after, todo_content(todos)) IS NULL
                 AND (event.kind <> 'CREATED' OR todos.version = 1)
                 AND (SELECT set_config($3, $4, true)) IS NOT NULL
             RETURNING todos.*",
            columns.join(", "),
            restored.join(", ")
        );
        let undone: Option<Todo> = diesel::sql_query(statement)
            .bind::<SqlUuid, _>(self.user_id)
            .bind::<SqlUuid, _>(event_id)
            .bind::<Text, _>(REQUEST_ID)
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

    /// Returns an expression that tells the triggers which request writes, for a `RETURNING` clause: PostgreSQL
    /// evaluates that before it runs the triggers, which belong to the statement.
    fn request_note(&self) -> set_config<&'static str, &str, bool> {
        set_config(REQUEST_ID, self.request_id, true)
    }

    /// Returns the reason why todos were not written.
    async fn refusal<T>(self, conn: &mut AsyncPgConnection, ids: &[Uuid]) -> QueryResult<Written<T>> {
        let found = Todo::find_all(conn, self.user_id, ids).await?;
        let all = found.len() == ids.len();
        Ok(match found.into_iter().next().filter(|_| all) {
            Some(todo) => Written::Conflict(Box::new(todo)),
            None => Written::Missing,
        })
    }
}

fn without_note(rows: Vec<(Todo, String)>) -> Vec<Todo> {
    rows.into_iter().map(|(todo, _)| todo).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_todo() -> NewTodo {
        NewTodo {
            id: Uuid::nil(),
            repeatable: true,
            title: Title::parse("Buy milk").unwrap(),
            description: None,
            priority: None,
            due_at: None,
            tags: None,
        }
    }

    /// Rows in every database hold these hashes: a change of one would turn repeated requests into conflicts.
    #[test]
    fn creation_hashes_never_change() {
        let hash = |todo: &NewTodo| todo.creation_hash().unwrap();
        let content = r#"{"description":"","due_at":null,"priority":"NONE","tags":[],"title":"Buy milk"}"#;
        assert_eq!(hash(&new_todo()), crypto::sha256(content.as_bytes()));
        let full = NewTodo {
            description: Some(Description::parse("two\nlitres".into()).unwrap()),
            priority: Some(Priority::High),
            due_at: DateTime::from_timestamp_micros(1_764_000_000_123_456),
            tags: Some(Tags::parse(&["home".into(), "shop".into()]).unwrap()),
            ..new_todo()
        };
        let content = r#"{"description":"two\nlitres","due_at":"2025-11-24T16:00:00.123456Z","priority":"HIGH","tags":["home","shop"],"title":"Buy milk"}"#;
        assert_eq!(hash(&full), crypto::sha256(content.as_bytes()));
    }
}
