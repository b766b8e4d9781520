use async_graphql::Enum;
use async_graphql::resolver_utils::EnumType;
use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::db::schema::todos;

/// How important a todo is.
#[derive(AsExpression, Clone, Copy, Debug, Default, Enum, Eq, FromSqlRow, PartialEq)]
#[diesel(sql_type = Text)]
#[graphql(name = "TodoPriority")]
pub enum Priority {
    /// Nothing is said about it.
    #[default]
    None,
    /// It can wait.
    Low,
    /// As important as most.
    Medium,
    /// Before all else.
    High,
}

impl Priority {
    /// The priority as it is stored and as clients read it, such as `HIGH`.
    pub fn as_str(self) -> &'static str {
        Self::items().iter().find(|item| item.value == self).map_or("", |item| item.name)
    }
}

impl Serialize for Priority {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl ToSql<Text, Pg> for Priority {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <str as ToSql<Text, Pg>>::to_sql(self.as_str(), out)
    }
}

impl FromSql<Text, Pg> for Priority {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<Text, Pg>>::from_sql(value)?;
        let item = Self::items().iter().find(|item| item.name == text);
        item.map(|item| item.value).ok_or_else(|| format!("there is no priority {text}").into())
    }
}

/// Something to be done.
#[derive(Clone, Debug, HasQuery, PartialEq, QueryableByName)]
#[diesel(table_name = todos)]
#[diesel(check_for_backend(Pg))]
pub struct Todo {
    /// Identifier, unique among those of its owner.
    pub id: Uuid,
    /// What is to be done, in a line.
    pub title: String,
    /// What else there is to say.
    pub description: String,
    /// How important it is.
    pub priority: Priority,
    /// By when it is to be done.
    pub due_at: Option<DateTime<Utc>>,
    /// Words to sort it by; none of them is null.
    pub tags: Vec<Option<String>>,
    /// Raised by every change.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was done.
    pub completed_at: Option<DateTime<Utc>>,
    /// When it was put into the trash.
    pub deleted_at: Option<DateTime<Utc>>,
}

impl Todo {
    /// One of a user's todos, also from the trash.
    pub async fn find(conn: &mut AsyncPgConnection, user_id: Uuid, id: Uuid) -> QueryResult<Option<Self>> {
        Self::query().find((user_id, id)).first(conn).await.optional()
    }

    /// Those of a user's todos that have one of the identifiers, also from the trash, in no order.
    pub async fn find_all(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        ids: &[Uuid],
    ) -> QueryResult<Vec<Self>> {
        Self::query().filter(todos::user_id.eq(user_id).and(todos::id.eq_any(ids))).load(conn).await
    }
}
