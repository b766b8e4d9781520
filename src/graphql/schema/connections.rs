//! Relay connections.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::connection::{EmptyFields, PageInfo};
use async_graphql::{Context, ObjectType, OutputType, SimpleObject, TypeName};

use super::cursors::{ByTime, Cursors};
use crate::domain::Problem;
use crate::error::{AppError, FieldProblem};
use crate::models::Page;

/// Default page size.
const DEFAULT_FIRST: i32 = 20;
/// Maximum page size.
const MAX_FIRST: i32 = 100;

/// A page of a list, as specified by Relay (<https://relay.dev/graphql/connections.htm>), with additional fields `F`.
#[derive(SimpleObject)]
#[graphql(name_type)]
pub(in crate::graphql) struct Connection<N: OutputType, F: ObjectType = EmptyFields> {
    /// The items of the page with their cursors.
    edges: Vec<Edge<N>>,
    /// The items of the page.
    nodes: Vec<Arc<N>>,
    /// Information for loading further pages.
    page_info: PageInfo,
    /// Number of items in the whole list.
    total_count: i64,
    #[graphql(flatten)]
    fields: F,
}

/// An item and its position in a list.
#[derive(SimpleObject)]
#[graphql(name_type)]
pub(in crate::graphql) struct Edge<N: OutputType> {
    /// Cursor of the item: pass it as `after` to continue from here.
    cursor: String,
    /// The item.
    node: Arc<N>,
}

impl<N: OutputType, F: ObjectType> TypeName for Connection<N, F> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", N::type_name()).into()
    }
}

impl<N: OutputType> TypeName for Edge<N> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", N::type_name()).into()
    }
}

/// True for each field of a connection that the client selects and that costs a query of its own.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(in crate::graphql) struct Selected {
    pub(in crate::graphql) total_count: bool,
    /// `hasPreviousPage`, or for `last` `hasNextPage`, unless the page starts at an end of the list.
    pub(in crate::graphql) has_more_behind: bool,
}

impl Selected {
    pub(super) fn of<P>(ctx: &Context<'_>, page: &Page<P>) -> Self {
        let connection = ctx.look_ahead();
        let behind = if page.from_end { "hasNextPage" } else { "hasPreviousPage" };
        Self {
            total_count: connection.field("totalCount").exists(),
            has_more_behind: page.start().is_some() && connection.field("pageInfo").field(behind).exists(),
        }
    }
}

/// Results of the queries of [`Selected`] fields.
#[derive(Clone, Copy, Default)]
pub(super) struct Extras {
    pub(super) total_count: i64,
    /// True if the list has items behind the start of the page.
    pub(super) has_more_behind: bool,
}

/// The rows of a page in the order of the list.
pub(in crate::graphql) struct Rows<R> {
    pub(in crate::graphql) items: Vec<R>,
    pub(in crate::graphql) has_previous_page: bool,
    pub(in crate::graphql) has_next_page: bool,
}

impl<R> Rows<R> {
    /// Puts rows read for a page, in the direction of reading, in the order of the list, without the one beyond the page.
    pub(super) fn arrange<P>(page: &Page<P>, mut rows: Vec<R>, extras: Extras) -> Self {
        let more = rows.len() > page.size();
        rows.truncate(page.size());
        if page.from_end {
            rows.reverse();
        }
        let behind = extras.has_more_behind;
        let (has_previous_page, has_next_page) = if page.from_end { (more, behind) } else { (behind, more) };
        Self { items: rows, has_previous_page, has_next_page }
    }

    /// Converts the rows; fails if one can't be converted.
    pub(super) fn try_map<T, E>(self, convert: impl Fn(R) -> Result<T, E>) -> Result<Rows<T>, E> {
        let Self { items, has_previous_page, has_next_page } = self;
        let items = items.into_iter().map(convert).collect::<Result<_, _>>()?;
        Ok(Rows { items, has_previous_page, has_next_page })
    }
}

impl<N: OutputType> Connection<N> {
    /// Builds a page from the rows read for it, in the direction of reading.
    pub(super) fn new<R: Into<N>, P>(
        page: &Page<P>,
        rows: Vec<R>,
        extras: Extras,
        cursor: impl Fn(&R) -> String,
    ) -> Self {
        Self::from_rows(Rows::arrange(page, rows, extras), extras.total_count, cursor, R::into)
    }

    /// Builds a page from its rows.
    pub(super) fn from_rows<R>(
        rows: Rows<R>,
        total_count: i64,
        cursor: impl Fn(&R) -> String,
        node: impl Fn(R) -> N,
    ) -> Self {
        let Rows { items, has_previous_page, has_next_page } = rows;
        let edge = |row: R| Edge { cursor: cursor(&row), node: Arc::new(node(row)) };
        let edges: Vec<_> = items.into_iter().map(edge).collect();
        let page_info = PageInfo {
            has_previous_page,
            has_next_page,
            start_cursor: edges.first().map(|edge| edge.cursor.clone()),
            end_cursor: edges.last().map(|edge| edge.cursor.clone()),
        };
        let nodes = edges.iter().map(|edge| Arc::clone(&edge.node)).collect();
        Self { edges, nodes, page_info, total_count, fields: EmptyFields }
    }

    /// Adds fields.
    pub(super) fn with_fields<F: ObjectType>(self, fields: F) -> Connection<N, F> {
        let Self { edges, nodes, page_info, total_count, fields: EmptyFields } = self;
        Connection { edges, nodes, page_info, total_count, fields }
    }
}

/// The arguments that select a page.
#[derive(Clone, Copy, Default)]
pub(in crate::graphql) struct PageArguments<'a> {
    pub(in crate::graphql) first: Option<i32>,
    pub(in crate::graphql) after: Option<&'a str>,
    pub(in crate::graphql) last: Option<i32>,
    pub(in crate::graphql) before: Option<&'a str>,
}

impl PageArguments<'_> {
    /// Parses the arguments.
    pub(super) fn parse<C: Cursors>(self, cursors: &C) -> Result<Page<C::Position>, AppError> {
        let mut problems = Vec::new();
        let mut bad = |name: &'static str, message: String| {
            let problem = Problem { code: "INVALID", message };
            problems.push(FieldProblem { path: vec![name.into()], problem });
        };
        for (name, count) in [("first", self.first), ("last", self.last)] {
            if count.is_some_and(|count| !(0..=MAX_FIRST).contains(&count)) {
                bad(name, format!("The page size must be 0 to {MAX_FIRST}."));
            }
        }
        if self.first.is_some() && self.last.is_some() {
            bad("last", "Give first or last, not both.".into());
        }
        let mut position = |name, cursor: Option<&str>| {
            let position = cursor.map(|cursor| cursors.decode(cursor));
            if let Some(None) = position {
                bad(name, "This cursor does not belong to this list.".into());
            }
            position.flatten()
        };
        let after = position("after", self.after);
        let before = position("before", self.before);
        if !problems.is_empty() {
            return Err(AppError::BadUserInput(problems));
        }
        Ok(match self.last {
            Some(last) => Page::last(last.unsigned_abs(), after, before),
            None => Page::first(self.first.unwrap_or(DEFAULT_FIRST).unsigned_abs(), after, before),
        })
    }
}

/// Parses the arguments of a list ordered by time.
pub(super) fn parse_by_time(first: Option<i32>, after: Option<&str>) -> Result<Page, AppError> {
    PageArguments { first, after, ..PageArguments::default() }.parse(&ByTime)
}
