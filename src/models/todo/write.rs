//! Writes of todos. Each write is one statement, for one todo or many: it applies to all of them or to none.

use std::collections::HashSet;

use diesel::dsl::{array, cardinality, sql};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use futures_util::future::try_join;
use uuid::Uuid;

use super::Todo;
use super::actor::{Actor, REQUEST_ID, WriteOutcome, WrittenTodo};
use super::changes::{NewTodo, TodoChanges};
use super::targets::TodoTargets;
use crate::db::Cached;
use crate::db::schema::todos;
use crate::models::functions::set_config;
use crate::models::todo_event::LastEvent;

/// A todo with the hash of its creation.
type CreatedTodo = (Todo, Option<Vec<u8>>);
type Condition<'a> = Box<dyn BoxableExpression<todos::table, Pg, SqlType = Bool> + 'a>;

diesel::alias! {
    // The same rows as the write's, read by its sub-select.
    const LOCKED: Alias<Locked> = todos as locked;
}

/// Selects the targets among a user's todos, provided that all of them exist at their expected versions. Locks them ordered by
/// identifier, so that two writers can't deadlock.
fn all_of(user_id: Uuid, targets: &TodoTargets) -> Condition<'_> {
    let TodoTargets { ids, expected_versions } = targets;
    // As SQL: diesel's query builder can't subscript an array with an expression that may be null.
    let has_expected_version = sql::<Bool>("locked.version = coalesce((")
        .bind::<Array<Nullable<BigInt>>, _>(expected_versions)
        .sql(")[array_position(")
        .bind::<Array<SqlUuid>, _>(ids)
        .sql(", locked.id)], locked.version)");
    let locked = LOCKED
        .filter(LOCKED.field(todos::user_id).eq(user_id))
        .filter(LOCKED.field(todos::id).eq_any(ids))
        .filter(has_expected_version)
        .order(LOCKED.field(todos::id))
        .select(LOCKED.field(todos::id))
        .for_update();
    let found = cardinality::<Array<SqlUuid>, _>(array::<SqlUuid, _>(locked));
    let owned = todos::user_id.eq(user_id).and(todos::id.eq_any(ids));
    // The count depends on no row of the write, so PostgreSQL takes it and the locks before it reads the first one.
    Box::new(owned.and(found.eq(cardinality::<Array<SqlUuid>, _>(ids))))
}

impl Actor<'_> {
    /// Creates todos. A todo that the same request created before is returned in its current state.
    pub async fn create(
        self,
        conn: &mut AsyncPgConnection,
        new: &[NewTodo],
    ) -> QueryResult<WriteOutcome<Vec<WrittenTodo>>> {
        let created = if new.iter().any(|todo| todo.repeatable) {
            match self.create_once(conn, new).await?.or_refusal() {
                Ok(created) => created,
                Err(refusal) => return Ok(refusal),
            }
        } else {
            self.insert(conn, new).await?
        };
        Ok(WriteOutcome::Done(self.add_events(conn, created, LastEvent::Creation).await?))
    }

    /// Creates those todos that the same request did not create before.
    async fn create_once(
        self,
        conn: &mut AsyncPgConnection,
        new: &[NewTodo],
    ) -> QueryResult<WriteOutcome<Vec<Todo>>> {
        let ids: HashSet<_> = new.iter().map(|todo| todo.id).collect();
        let mut conflict = None;
        let created = conn.transaction(async |conn| {
            loop {
                let conn: &AsyncPgConnection = conn;
                // In one round trip. Locks the known todos first, as every write does: an insert locks the counter of events.
                let sent = try_join(self.lock_created(conn, &ids), self.insert(conn, new));
                let (known, mut created) = sent.await?;
                // Otherwise one was created between the two statements, or purged as the second met it.
                if known.len() + created.len() == ids.len() {
                    conflict = find_conflict(new, &known)?;
                    created.extend(known.into_iter().map(|(todo, _)| todo));
                    return if conflict.is_none() { Ok(created) } else { Err(Error::RollbackTransaction) };
                }
            }
        });
        match (created.await, conflict) {
            (_, Some(todo)) => Ok(WriteOutcome::Conflict(todo)),
            (created, None) => created.map(WriteOutcome::Done),
        }
    }

    /// Inserts todos except those whose identifier is taken.
    async fn insert(self, mut conn: &AsyncPgConnection, new: &[NewTodo]) -> QueryResult<Vec<Todo>> {
        let mut rows = new.iter().map(|todo| todo.row(self.user_id)).collect::<QueryResult<Vec<_>>>()?;
        // In one order always, so that two writers of the same identifiers can't deadlock.
        rows.sort_by_key(|row| row.id);
        let insert = diesel::insert_into(todos::table)
            .values(&rows)
            .on_conflict((todos::user_id, todos::id))
            .do_nothing()
            .returning((Todo::as_returning(), self.set_request_id()));
        // The text depends on the number of rows; that of one is kept.
        let created = if rows.len() == 1 {
            Cached(insert).get_results(&mut conn).await
        } else {
            insert.get_results(&mut conn).await
        };
        Ok(drop_request_id(created?))
    }

    /// Finds and locks those of the todos that exist, each with the hash of its creation.
    async fn lock_created(
        self,
        mut conn: &AsyncPgConnection,
        ids: &HashSet<Uuid>,
    ) -> QueryResult<Vec<CreatedTodo>> {
        todos::table
            .filter(todos::user_id.eq(self.user_id).and(todos::id.eq_any(ids)))
            .order(todos::id)
            .select((Todo::as_select(), todos::creation_hash))
            .for_update()
            .load(&mut conn)
            .await
    }

    /// Changes todos, all or none. A todo at the version after the expected one that already is as asked counts as changed: an
    /// earlier attempt of the same request made it so, or another request did.
    pub async fn update(
        self,
        conn: &mut AsyncPgConnection,
        targets: &TodoTargets,
        changes: &TodoChanges,
    ) -> QueryResult<WriteOutcome<Vec<WrittenTodo>>> {
        let updated = self.update_all(conn, targets, changes).await?;
        if updated.len() == targets.ids.len() {
            return Ok(WriteOutcome::Done(self.add_events(conn, updated, LastEvent::OfTransaction).await?));
        }
        let made = self.find_made(conn, targets, changes).await?;
        let left = targets.without(&made);
        // Without a todo that already is as asked, a second attempt would fail like the first; with all of them so, nothing is
        // left to do.
        let updated = if made.is_empty() || left.ids.is_empty() {
            Vec::new()
        } else {
            self.update_all(conn, &left, changes).await?
        };
        if updated.len() < left.ids.len() {
            return self.refuse(conn, &left).await;
        }
        let mut written = self.add_events(conn, updated, LastEvent::OfTransaction).await?;
        written.extend(self.add_events(conn, made, LastEvent::Any).await?);
        Ok(WriteOutcome::Done(written))
    }

    /// Finds the targets at the version after the expected one that already are as asked.
    async fn find_made(
        self,
        conn: &mut AsyncPgConnection,
        targets: &TodoTargets,
        changes: &TodoChanges,
    ) -> QueryResult<Vec<Todo>> {
        if targets.expected_versions.iter().all(Option::is_none) {
            return Ok(Vec::new());
        }
        let mut found = Todo::lock_all(conn, self.user_id, &targets.ids).await?;
        found.retain(|todo| {
            // The first version was made by the creation.
            let expected = targets.expected_version(todo.id).filter(|version| *version >= 1);
            expected.is_some_and(|version| todo.version == version.saturating_add(1))
                && changes.are_made_in(todo)
        });
        Ok(found)
    }

    /// Changes todos if all of them exist at their expected versions; otherwise changes and returns none.
    async fn update_all(
        self,
        conn: &mut AsyncPgConnection,
        targets: &TodoTargets,
        changes: &TodoChanges,
    ) -> QueryResult<Vec<Todo>> {
        let update = diesel::update(todos::table.filter(all_of(self.user_id, targets)))
            .set(changes.changeset())
            .returning((Todo::as_returning(), self.set_request_id()));
        Ok(drop_request_id(Cached(update).get_results(conn).await?))
    }

    /// Deletes todos permanently, all or none.
    pub async fn purge(
        self,
        conn: &mut AsyncPgConnection,
        targets: &TodoTargets,
    ) -> QueryResult<WriteOutcome<()>> {
        let delete = diesel::delete(todos::table.filter(all_of(self.user_id, targets)));
        let deleted = Cached(delete.returning(self.set_request_id())).execute(conn).await?;
        if deleted == targets.ids.len() {
            Ok(WriteOutcome::Done(()))
        } else {
            self.refuse(conn, targets).await
        }
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
            .returning(self.set_request_id())
            .execute(conn)
            .await
    }

    /// `set_config` call for a `RETURNING` clause, which PostgreSQL evaluates before the triggers that read it.
    fn set_request_id(&self) -> set_config<&'static str, &str, bool> {
        set_config(REQUEST_ID, self.request_id, true)
    }

    /// Returns the reason why todos were not written: one is missing, or the first one that has another version.
    async fn refuse<T>(
        self,
        conn: &mut AsyncPgConnection,
        targets: &TodoTargets,
    ) -> QueryResult<WriteOutcome<T>> {
        let mut found = Todo::find_all(conn, self.user_id, &targets.ids).await?;
        if found.len() < targets.ids.len() {
            return Ok(WriteOutcome::Missing);
        }
        found.sort_by_key(|todo| targets.ids.iter().position(|id| *id == todo.id));
        let has_other_version =
            |todo: &Todo| targets.expected_version(todo.id).is_some_and(|version| version != todo.version);
        let conflict = found.into_iter().find(has_other_version);
        // Without a conflict, a todo was missing at the write and has been created since.
        Ok(conflict.map_or(WriteOutcome::Missing, |todo| WriteOutcome::Conflict(Box::new(todo))))
    }
}

/// Finds the first of the new todos whose identifier belongs to one that another request created.
fn find_conflict(new: &[NewTodo], known: &[CreatedTodo]) -> QueryResult<Option<Box<Todo>>> {
    for new in new {
        if let Some((todo, created_with)) = known.iter().find(|(todo, _)| todo.id == new.id)
            && created_with.as_deref() != Some(&new.creation_hash()?[..])
        {
            return Ok(Some(Box::new(todo.clone())));
        }
    }
    Ok(None)
}

fn drop_request_id(rows: Vec<(Todo, String)>) -> Vec<Todo> {
    rows.into_iter().map(|(todo, _)| todo).collect()
}
