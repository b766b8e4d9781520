//! Lists of todos: each order has an index that begins with the owner, and a page begins where its cursor points into it.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{Page, Priority, Todo};
use crate::db::schema::todos;
use crate::domain::Tags;

/// Which todos a list has.
#[derive(Clone, Debug, Default)]
pub struct TodoFilter {
    /// Those that are done, or those that are not.
    pub completed: Option<bool>,
    /// Those that are due before.
    pub due_before: Option<DateTime<Utc>>,
    /// Those that are due then or later.
    pub due_after: Option<DateTime<Utc>>,
    /// Those with one of these priorities.
    pub priorities: Option<Vec<Priority>>,
    /// Those with at least one of these tags.
    pub any_tags: Tags,
    /// Those with all of these tags.
    pub all_tags: Tags,
    /// Those with all of these words in title or description, the last one perhaps unfinished.
    pub search: Option<String>,
    /// Those in the trash, instead of the others.
    pub in_trash: bool,
}

/// By what a list is ordered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TodoKey {
    /// When they were made.
    CreatedAt,
    /// When they last changed.
    UpdatedAt,
    /// When they are due; those that never are come last in both directions.
    DueAt,
    /// How important they are.
    Priority,
    /// Their titles, whatever the case.
    Title,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TodoOrder {
    /// By what.
    pub key: TodoKey,
    /// Whether the largest comes first.
    pub descending: bool,
}

/// Where a todo stands in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct TodoPosition {
    /// The value by which the list is ordered.
    pub value: KeyValue,
    /// What tells todos with the same value apart.
    pub id: Uuid,
}

/// The value of a [`TodoKey`].
#[derive(Clone, Debug, PartialEq)]
pub enum KeyValue {
    /// A time, or none for never.
    Time(Option<DateTime<Utc>>),
    /// A priority.
    Priority(Priority),
    /// A title.
    Text(String),
}

impl TodoOrder {
    /// Where a todo stands in a list of this order.
    pub fn position(self, todo: &Todo) -> TodoPosition {
        let value = match self.key {
            TodoKey::CreatedAt => KeyValue::Time(Some(todo.created_at)),
            TodoKey::UpdatedAt => KeyValue::Time(Some(todo.updated_at)),
            TodoKey::DueAt => KeyValue::Time(todo.due_at),
            TodoKey::Priority => KeyValue::Priority(todo.priority),
            TodoKey::Title => KeyValue::Text(todo.title.clone()),
        };
        TodoPosition { value, id: todo.id }
    }

    /// The expression that the order's index has.
    fn expression(self) -> &'static str {
        match (self.key, self.descending) {
            (TodoKey::CreatedAt, _) => "created_at",
            (TodoKey::UpdatedAt, _) => "updated_at",
            (TodoKey::DueAt, false) => "coalesce(due_at, 'infinity')",
            (TodoKey::DueAt, true) => "coalesce(due_at, '-infinity')",
            (TodoKey::Priority, _) => "todo_rank(priority)",
            (TodoKey::Title, _) => "lower(title) COLLATE \"C\"",
        }
    }

    /// What stands after `ORDER BY`.
    fn clause(self, ascending: bool, searched: bool) -> String {
        let direction = if ascending { "ASC" } else { "DESC" };
        // What is searched for is rare, but PostgreSQL can't know: without an index for the order it starts with the words.
        let (open, close) = if searched { ("(SELECT ", ")") } else { ("", "") };
        format!("{open}{}{close} {direction}, id {direction}", self.expression())
    }

    /// What the value of a cursor is compared as: around it stands what the index has.
    fn value(self) -> (&'static str, &'static str) {
        match (self.key, self.descending) {
            (TodoKey::CreatedAt | TodoKey::UpdatedAt | TodoKey::Priority, _) => ("", ""),
            (TodoKey::DueAt, false) => ("coalesce(", ", 'infinity')"),
            (TodoKey::DueAt, true) => ("coalesce(", ", '-infinity')"),
            (TodoKey::Title, _) => ("lower(", ")"),
        }
    }
}

type Condition = Box<dyn BoxableExpression<todos::table, Pg, SqlType = Bool>>;

/// Those beyond a position: after it in the order of the list, or before it.
fn beyond(order: TodoOrder, position: &TodoPosition, after: bool) -> Condition {
    let (operator, (open, close)) = (if order.descending == after { "<" } else { ">" }, order.value());
    // Compared as a row, so that the index leads there also through many of the same value.
    let row = format!("({}, id) {operator} ({open}", order.expression());
    let (row, close, id) = (sql::<Bool>(&row), format!("{close}, "), position.id);
    match &position.value {
        KeyValue::Time(time) => {
            Box::new(row.bind::<Nullable<Timestamptz>, _>(*time).sql(&close).bind::<SqlUuid, _>(id).sql(")"))
        }
        KeyValue::Priority(priority) => {
            Box::new(row.bind::<SmallInt, _>(rank(*priority)).sql(&close).bind::<SqlUuid, _>(id).sql(")"))
        }
        KeyValue::Text(text) => {
            Box::new(row.bind::<Text, _>(text.clone()).sql(&close).bind::<SqlUuid, _>(id).sql(")"))
        }
    }
}

fn rank(priority: Priority) -> i16 {
    match priority {
        Priority::None => 0,
        Priority::Low => 1,
        Priority::Medium => 2,
        Priority::High => 3,
    }
}

impl TodoFilter {
    /// The conditions on a user's todos.
    fn conditions(&self, user_id: Uuid) -> Vec<Condition> {
        let mut all: Vec<Condition> =
            vec![Box::new(todos::user_id.eq(user_id)), Box::new(todos::in_trash.eq(self.in_trash))];
        match self.completed {
            Some(true) => all.push(Box::new(todos::completed_at.is_not_null())),
            Some(false) => all.push(Box::new(todos::completed_at.is_null())),
            None => {}
        }
        // As the indexes have it: what is never due is due at the end of time, or was at its beginning.
        if let Some(time) = self.due_before {
            let before = sql::<Bool>("coalesce(due_at, 'infinity') < ").bind::<Timestamptz, _>(time);
            all.push(Box::new(before));
        }
        if let Some(time) = self.due_after {
            let after = sql::<Bool>("coalesce(due_at, '-infinity') >= ").bind::<Timestamptz, _>(time);
            all.push(Box::new(after));
        }
        if let Some(priorities) = &self.priorities {
            let ranks: Vec<_> = priorities.iter().copied().map(rank).collect();
            // PostgreSQL before 17 does not use a list together with the order of an index, but it does use a range.
            if let (Some(least), Some(most)) = (ranks.iter().min(), ranks.iter().max()) {
                let between = sql::<Bool>("todo_rank(priority) BETWEEN ").bind::<SmallInt, _>(*least);
                all.push(Box::new(between.sql(" AND ").bind::<SmallInt, _>(*most)));
            }
            all.push(Box::new(todos::priority.eq_any(priorities.clone())));
        }
        for (tags, every) in [(&self.any_tags, false), (&self.all_tags, true)] {
            if !tags.as_slice().is_empty() {
                let tagged = sql::<Bool>("terms @@ todo_tagged(").bind::<SqlUuid, _>(user_id).sql(", ");
                let tagged = tagged.bind::<Array<Text>, _>(tags.as_slice().to_vec()).sql(", ");
                all.push(Box::new(tagged.bind::<Bool, _>(every).sql(")")));
            }
        }
        if let Some(text) = &self.search {
            let found = sql::<Bool>("terms @@ todo_search(").bind::<SqlUuid, _>(user_id).sql(", ");
            all.push(Box::new(found.bind::<Text, _>(text.clone()).sql(")")));
        }
        all
    }
}

impl Todo {
    /// A page of a user's todos, and perhaps one row more in the direction of reading.
    pub async fn list(
        conn: &mut AsyncPgConnection,
        user_id: Uuid,
        filter: &TodoFilter,
        order: TodoOrder,
        page: &Page<TodoPosition>,
    ) -> QueryResult<Vec<Self>> {
        let ascending = order.descending == page.from_end;
        let query = Self::query().limit(page.limit()).into_boxed();
        // diesel has a statement prepared once unless it contains SQL as text: the most common list contains none.
        let mut query = match (order.key, ascending) {
            (TodoKey::CreatedAt, true) if filter.search.is_none() => {
                query.order((todos::created_at.asc(), todos::id.asc()))
            }
            (TodoKey::CreatedAt, false) if filter.search.is_none() => {
                query.order((todos::created_at.desc(), todos::id.desc()))
            }
            _ => query.order(sql::<Text>(&order.clause(ascending, filter.search.is_some()))),
        };
        for condition in filter.conditions(user_id) {
            query = query.filter(condition);
        }
        if let Some(position) = &page.after {
            query = query.filter(beyond(order, position, true));
        }
        if let Some(position) = &page.before {
            query = query.filter(beyond(order, position, false));
        }
        query.load(conn).await
    }

    /// How many todos of a user a list has.
    pub async fn count(conn: &mut AsyncPgConnection, user_id: Uuid, filter: &TodoFilter) -> QueryResult<i64> {
        let mut query = todos::table.count().into_boxed();
        for condition in filter.conditions(user_id) {
            query = query.filter(condition);
        }
        query.get_result(conn).await
    }
}
