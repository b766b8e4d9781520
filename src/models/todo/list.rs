//! Keyset pagination of todos. Each order has an index that begins with the owner, so a page costs the same wherever it
//! begins.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{BoxedSelectStatement, FromClause};
use diesel::sql_types::{Array, Bool, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{Page, Priority, TextColumn, Todo};
use crate::db::schema::todos;
use crate::domain::Tags;

/// Conditions on the todos of a list, all of which must hold.
#[derive(Clone, Debug, Default)]
pub struct TodoFilter {
    /// True for completed todos, false for open ones.
    pub completed: Option<bool>,
    /// Exclusive upper bound of the due time.
    pub due_before: Option<DateTime<Utc>>,
    /// Inclusive lower bound of the due time.
    pub due_after: Option<DateTime<Utc>>,
    /// Accepted priorities; empty for no condition.
    pub priorities: Vec<Priority>,
    /// Tags of which a todo must have at least one; empty for no condition.
    pub any_tags: Tags,
    /// Tags all of which a todo must have; empty for no condition.
    pub all_tags: Tags,
    /// Words all of which must occur in title or description; the last one is matched as a prefix. Folded in SQL, as the
    /// rows are.
    pub search: Option<String>,
    /// True for the todos in the trash, false for the others.
    pub in_trash: bool,
}

/// A sort key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TodoSortKey {
    /// Time of creation.
    CreatedAt,
    /// Time of the last change.
    UpdatedAt,
    /// Due time; todos without one come last in both directions.
    DueAt,
    /// Importance.
    Priority,
    /// Title, case-insensitively.
    Title,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TodoOrder {
    /// Sort key.
    pub key: TodoSortKey,
    /// True for descending order.
    pub descending: bool,
}

/// The position of a todo in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct TodoPosition {
    /// Value of the sort key.
    pub value: TodoSortValue,
    /// Identifier of the todo, which breaks ties.
    pub id: Uuid,
}

/// The value of a [`TodoSortKey`].
#[derive(Clone, Debug, PartialEq)]
pub enum TodoSortValue {
    /// A time; `None` for todos that are never due.
    Time(Option<DateTime<Utc>>),
    /// A priority.
    Priority(Priority),
    /// A title.
    Text(String),
}

impl TodoOrder {
    /// Returns the position of a todo in a list of this order.
    pub fn position(self, todo: &Todo) -> TodoPosition {
        let value = match self.key {
            TodoSortKey::CreatedAt => TodoSortValue::Time(Some(todo.created_at)),
            TodoSortKey::UpdatedAt => TodoSortValue::Time(Some(todo.updated_at)),
            TodoSortKey::DueAt => TodoSortValue::Time(todo.due_at),
            TodoSortKey::Priority => TodoSortValue::Priority(todo.priority.0),
            TodoSortKey::Title => TodoSortValue::Text(todo.title.clone()),
        };
        TodoPosition { value, id: todo.id }
    }

    /// Returns the SQL expression that the order's index is on.
    fn expression(self) -> &'static str {
        match (self.key, self.descending) {
            (TodoSortKey::CreatedAt, _) => "created_at",
            (TodoSortKey::UpdatedAt, _) => "updated_at",
            (TodoSortKey::DueAt, false) => "coalesce(due_at, 'infinity')",
            (TodoSortKey::DueAt, true) => "coalesce(due_at, '-infinity')",
            (TodoSortKey::Priority, _) => "todo_rank(priority)",
            (TodoSortKey::Title, _) => "lower(title) COLLATE \"C\"",
        }
    }

    /// Returns the `ORDER BY` list.
    fn clause(self, ascending: bool, searched: bool) -> String {
        let direction = if ascending { "ASC" } else { "DESC" };
        // PostgreSQL overestimates how many todos match a search and would walk the order's index. The sub-select hides
        // the index, so that the plan starts from the words.
        let (open, close) = if searched { ("(SELECT ", ")") } else { ("", "") };
        format!("{open}{}{close} {direction}, id {direction}", self.expression())
    }

    /// Returns the SQL before and after a cursor's value that makes it comparable with the index's expression.
    fn value(self) -> (&'static str, &'static str) {
        match (self.key, self.descending) {
            (TodoSortKey::CreatedAt | TodoSortKey::UpdatedAt | TodoSortKey::Priority, _) => ("", ""),
            (TodoSortKey::DueAt, false) => ("coalesce(", ", 'infinity')"),
            (TodoSortKey::DueAt, true) => ("coalesce(", ", '-infinity')"),
            (TodoSortKey::Title, _) => ("lower(", ")"),
        }
    }
}

type Condition = Box<dyn BoxableExpression<todos::table, Pg, SqlType = Bool>>;

/// Selects the rows after a position in the order of the list, or before it; with `or_at` also the row at it.
fn bounded_by(order: TodoOrder, position: &TodoPosition, after: bool, or_at: bool) -> Condition {
    let operator = match (order.descending == after, or_at) {
        (true, false) => "<",
        (true, true) => "<=",
        (false, false) => ">",
        (false, true) => ">=",
    };
    let (open, close) = order.value();
    // As a row comparison, which the index can seek to even among many equal values.
    let row = format!("({}, id) {operator} ({open}", order.expression());
    let row = sql::<Bool>(&row);
    let close = format!("{close}, ");
    let id = position.id;
    match &position.value {
        TodoSortValue::Time(time) => {
            Box::new(row.bind::<Nullable<Timestamptz>, _>(*time).sql(&close).bind::<SqlUuid, _>(id).sql(")"))
        }
        TodoSortValue::Priority(priority) => {
            Box::new(row.bind::<SmallInt, _>(rank(*priority)).sql(&close).bind::<SqlUuid, _>(id).sql(")"))
        }
        TodoSortValue::Text(text) => {
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
    /// Returns the conditions on a user's todos.
    fn conditions(&self, user_id: Uuid) -> Vec<Condition> {
        let mut all: Vec<Condition> =
            vec![Box::new(todos::user_id.eq(user_id)), Box::new(todos::in_trash.eq(self.in_trash))];
        match self.completed {
            Some(true) => all.push(Box::new(todos::completed_at.is_not_null())),
            Some(false) => all.push(Box::new(todos::completed_at.is_null())),
            None => {}
        }
        // The indexes' expressions: a todo without due time counts as due at the end or the beginning of time.
        if let Some(time) = self.due_before {
            let before = sql::<Bool>("coalesce(due_at, 'infinity') < ").bind::<Timestamptz, _>(time);
            all.push(Box::new(before));
        }
        if let Some(time) = self.due_after {
            let after = sql::<Bool>("coalesce(due_at, '-infinity') >= ").bind::<Timestamptz, _>(time);
            all.push(Box::new(after));
        }
        let ranks: Vec<_> = self.priorities.iter().copied().map(rank).collect();
        if let (Some(least), Some(most)) = (ranks.iter().min(), ranks.iter().max()) {
            // PostgreSQL before 17 can't combine `= ANY` with the order of an index, but it can use a range.
            let between = sql::<Bool>("todo_rank(priority) BETWEEN ").bind::<SmallInt, _>(*least);
            all.push(Box::new(between.sql(" AND ").bind::<SmallInt, _>(*most)));
            let priorities = self.priorities.iter().copied().map(TextColumn);
            all.push(Box::new(todos::priority.eq_any(priorities.collect::<Vec<_>>())));
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
            // The terms of scripts without spaces are pairs of characters, so longer runs are compared with the text. For
            // any other search there are no phrases, and the planner reduces the condition to true.
            let contained = sql::<Bool>("todo_contains(title, description, todo_phrases(todo_fold(");
            all.push(Box::new(contained.bind::<Text, _>(text.clone()).sql("))) IS NOT FALSE")));
        }
        all
    }
}

/// A query on todos whose conditions are known at run time only.
type Query<'a, Selected> = BoxedSelectStatement<'a, Selected, FromClause<todos::table>, Pg>;

/// Restricts a query to a page of a user's todos in the direction of reading, plus one row if there are more.
pub(super) fn restrict_to_page<'a, Selected>(
    query: Query<'a, Selected>,
    user_id: Uuid,
    filter: &TodoFilter,
    order: TodoOrder,
    page: &Page<TodoPosition>,
) -> Query<'a, Selected> {
    let ascending = order.descending == page.from_end;
    let query = query.limit(page.limit());
    // diesel caches a prepared statement unless it contains raw SQL, so the most common list contains none.
    let mut query = match (order.key, ascending) {
        (TodoSortKey::CreatedAt, true) if filter.search.is_none() => {
            query.order((todos::created_at.asc(), todos::id.asc()))
        }
        (TodoSortKey::CreatedAt, false) if filter.search.is_none() => {
            query.order((todos::created_at.desc(), todos::id.desc()))
        }
        _ => query.order(sql::<Text>(&order.clause(ascending, filter.search.is_some()))),
    };
    for condition in filter.conditions(user_id) {
        query = query.filter(condition);
    }
    if let Some(position) = &page.after {
        query = query.filter(bounded_by(order, position, true, page.includes_bounds));
    }
    if let Some(position) = &page.before {
        query = query.filter(bounded_by(order, position, false, page.includes_bounds));
    }
    query
}

impl Todo {
    /// Counts a user's todos that match a filter.
    pub async fn count(conn: &mut AsyncPgConnection, user_id: Uuid, filter: &TodoFilter) -> QueryResult<i64> {
        let mut query = todos::table.count().into_boxed();
        for condition in filter.conditions(user_id) {
            query = query.filter(condition);
        }
        query.get_result(conn).await
    }
}
