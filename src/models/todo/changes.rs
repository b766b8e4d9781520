//! The content of writes: new todos and changes.

use chrono::{DateTime, SecondsFormat, Utc};
use diesel::dsl::{case_when, sql};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::QueryFragment;
use diesel::sql_types::{Bool, Nullable, Timestamptz, Varchar};
use serde::Serialize;
use uuid::Uuid;

use super::{Priority, TextColumn, TextEnum, Todo};
use crate::crypto;
use crate::db::schema::todos;
use crate::domain::{Description, Patch, Tags, Title};
use crate::models::functions::{clock_timestamp, coalesce};

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

/// The columns of a new row. Not by the columns' defaults: each set of them would be another statement to prepare.
#[derive(Insertable)]
#[diesel(table_name = todos)]
#[diesel(treat_none_as_default_value = false)]
pub(super) struct NewTodoRow<'a> {
    user_id: Uuid,
    pub(super) id: Uuid,
    title: &'a str,
    description: &'a str,
    priority: TextColumn<Priority>,
    due_at: Option<DateTime<Utc>>,
    tags: &'a [String],
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
    pub(super) fn creation_hash(&self) -> QueryResult<[u8; 32]> {
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

    pub(super) fn row(&self, user_id: Uuid) -> QueryResult<NewTodoRow<'_>> {
        let hash = self.repeatable.then(|| self.creation_hash()).transpose()?;
        let Self { id, repeatable: _, title, description, priority, due_at, tags } = self;
        Ok(NewTodoRow {
            user_id,
            id: *id,
            title: title.as_str(),
            description: description.as_ref().map_or("", Description::as_str),
            priority: TextColumn(priority.unwrap_or(Priority::None)),
            due_at: *due_at,
            tags: tags.as_ref().map_or(&[], Tags::as_slice),
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
    /// Completes the todo or reopens it; a completed todo keeps its time.
    pub completed: Option<bool>,
    /// Moves the todo to the trash or takes it out; a todo in the trash keeps its time.
    pub in_trash: Option<bool>,
}

impl TodoChanges {
    /// Assigns each column its new value or the one that it has: one text for all changes, which a connection prepares once.
    pub(super) fn changeset(
        &self,
    ) -> impl AsChangeset<Target = todos::table, Changeset: QueryFragment<Pg> + Send> + use<'_> {
        let Self { title, description, priority, due_at, tags, completed, in_trash } = self;
        let due_at = match *due_at {
            Patch::Keep => None,
            Patch::Clear => Some(None),
            Patch::Set(time) => Some(Some(time)),
        };
        // With the column's length, or PostgreSQL would check it, and store a long text anew with each change of another column.
        let description = sql::<Nullable<Varchar>>("CAST(")
            .bind::<Nullable<Varchar>, _>(description.as_ref().map(Description::as_str))
            .sql(&format!(" AS varchar({}))", Description::MAX_CHARS));
        (
            todos::title.eq(coalesce(title.as_ref().map(Title::as_str), todos::title)),
            todos::description.eq(coalesce(description, todos::description)),
            todos::priority.eq(coalesce(priority.map(TextColumn), todos::priority)),
            todos::due_at.eq(case_when(
                due_at.is_some().into_sql::<Bool>(),
                due_at.flatten().into_sql::<Nullable<Timestamptz>>(),
            )
            .otherwise(todos::due_at)),
            todos::tags.eq(coalesce(tags.as_ref().map(Tags::as_slice), todos::tags)),
            // The trigger adds the time.
            todos::completed.eq(coalesce(*completed, todos::completed)),
            // By the database's clock, which also empties the trash.
            todos::deleted_at.eq(case_when(
                (*in_trash == Some(true)).into_sql::<Bool>(),
                clock_timestamp().nullable(),
            )
            .when(
                (*in_trash == Some(false)).into_sql::<Bool>(),
                None::<DateTime<Utc>>.into_sql::<Nullable<Timestamptz>>(),
            )
            .otherwise(todos::deleted_at)),
        )
    }

    /// Returns true if a todo already is as these changes would make it; false if they change nothing, so that no earlier
    /// attempt of them can have made its version.
    pub(super) fn are_made_in(&self, todo: &Todo) -> bool {
        let Self { title, description, priority, due_at, tags, completed, in_trash } = self;
        let due_at = match *due_at {
            Patch::Keep => None,
            Patch::Clear => Some(todo.due_at.is_none()),
            Patch::Set(time) => Some(todo.due_at == Some(time)),
        };
        let made = [
            title.as_ref().map(|title| todo.title == title.as_str()),
            description.as_ref().map(|description| todo.description == description.as_str()),
            priority.map(|priority| todo.priority.0 == priority),
            due_at,
            tags.as_ref().map(|tags| todo.tags.iter().flatten().eq(tags.as_slice())),
            completed.map(|completed| todo.completed_at.is_some() == completed),
            in_trash.map(|in_trash| todo.deleted_at.is_some() == in_trash),
        ];
        let mut asked = made.into_iter().flatten().peekable();
        asked.peek().is_some() && asked.all(|made| made)
    }

    /// Returns the names of all columns that a change can assign, for SQL beyond the query builder.
    pub(super) fn columns() -> [&'static str; 7] {
        // Destructured so that a new field does not compile without its column here.
        let Self { title: _, description: _, priority: _, due_at: _, tags: _, completed: _, in_trash: _ } =
            Self::default();
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
            description: Some(Description::parse("two\nlitres").unwrap()),
            priority: Some(Priority::High),
            due_at: DateTime::from_timestamp_micros(1_764_000_000_123_456),
            tags: Some(Tags::parse(&["home".into(), "shop".into()]).unwrap()),
            ..new_todo()
        };
        let content = r#"{"description":"two\nlitres","due_at":"2025-11-24T16:00:00.123456Z","priority":"HIGH","tags":["home","shop"],"title":"Buy milk"}"#;
        assert_eq!(hash(&full), crypto::sha256(content.as_bytes()));
    }
}
