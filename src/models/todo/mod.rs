//! Todos: rows, lists and writes.

mod actor;
mod changes;
mod columns;
mod list;
mod targets;
mod undo;
mod write;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

pub use self::actor::{Actor, Noted, WriteOutcome, WrittenTodo};
pub use self::changes::{NewTodo, TodoChanges};
pub use self::columns::{PartialTodo, TodoColumn, TodoColumns};
pub use self::list::{TodoFilter, TodoOrder, TodoPosition, TodoSortKey, TodoSortValue};
pub use self::targets::TodoTargets;
use super::expiry::Expiry;
use super::{Page, TextColumn, TextEnum, TodoEvent};
use crate::db::schema::todos;

/// The importance of a todo.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Priority {
    /// No priority.
    #[default]
    None,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
}

impl TextEnum for Priority {
    const ALL: &'static [Self] = &[Self::None, Self::Low, Self::Medium, Self::High];

    fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
        }
    }
}

/// A row of `todos`.
#[derive(Clone, Debug, HasQuery, PartialEq, QueryableByName)]
#[diesel(table_name = todos)]
#[diesel(check_for_backend(Pg))]
pub struct Todo {
    /// Identifier, unique per owner.
    pub id: Uuid,
    /// Title, one line.
    pub title: String,
    /// Notes; may be empty.
    pub description: String,
    /// Importance.
    pub priority: TextColumn<Priority>,
    /// Due time.
    pub due_at: Option<DateTime<Utc>>,
    /// Labels, in the order given; never null.
    pub tags: Vec<Option<String>>,
    /// Number of the last change, from 1.
    pub version: i64,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
    /// Time of the last change.
    pub updated_at: DateTime<Utc>,
    /// Time of completion; `None` while the todo is open.
    pub completed_at: Option<DateTime<Utc>>,
    /// Time of the move to the trash; `None` outside of it.
    pub deleted_at: Option<DateTime<Utc>>,
}

impl Todo {
    pub(super) const TRASH_EXPIRY: Expiry =
        Expiry { action: "DELETE FROM todos", table: "todos", condition: "deleted_at < now() - $1" };

    /// Finds one of a user's todos, including the trash.
    pub async fn find(conn: &mut AsyncPgConnection, user_id: Uuid, id: Uuid) -> QueryResult<Option<Self>> {
        Self::query().find((user_id, id)).first(conn).await.optional()
    }

    /// Finds those of a user's todos that exist among `ids`, including the trash, in no particular order.
    pub async fn find_all(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        ids: &[Uuid],
    ) -> QueryResult<Vec<Self>> {
        Self::query().filter(todos::user_id.eq(user_id).and(todos::id.eq_any(ids))).load(conn).await
    }

    /// Like [`find_all`](Self::find_all), and locks the todos, ordered by identifier, so that two writers can't deadlock.
    async fn lock_all(conn: &mut AsyncPgConnection, user_id: Uuid, ids: &[Uuid]) -> QueryResult<Vec<Self>> {
        let own = todos::user_id.eq(user_id).and(todos::id.eq_any(ids));
        Self::query().filter(own).order(todos::id).for_update().load(conn).await
    }
}
