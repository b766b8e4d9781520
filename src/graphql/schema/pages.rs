//! Relay connections.

use std::sync::Arc;

use async_graphql::connection::PageInfo;
use async_graphql::{Context, OutputType, SimpleObject};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike, Utc};
use uuid::Uuid;

use super::security_events::SecurityEvent;
use super::sessions::Session;
use super::todos::{Todo, TodoEvent};
use crate::domain::Problem;
use crate::error::{AppError, FieldProblem};
use crate::models::{Page, Position};

/// Items of a page unless the client says how many.
const DEFAULT_FIRST: i32 = 20;
/// The most items of a page.
const MAX_FIRST: i32 = 100;

/// A page of a list, by the rules of Relay (<https://relay.dev/graphql/connections.htm>).
#[derive(SimpleObject)]
#[graphql(
    concrete(name = "SessionConnection", params(Session, SessionEdge)),
    concrete(name = "SecurityEventConnection", params(SecurityEvent, SecurityEventEdge)),
    concrete(name = "TodoConnection", params(Todo, TodoEdge)),
    concrete(name = "TodoEventConnection", params(TodoEvent, TodoEventEdge))
)]
pub(super) struct Connection<N: OutputType, E: OutputType> {
    /// The items with their places in the list.
    edges: Vec<E>,
    /// The items.
    nodes: Vec<Arc<N>>,
    /// Whether there is more, and from where to go on.
    page_info: PageInfo,
    /// How many items the whole list has.
    total_count: i64,
}

/// An item of a list and its place there.
#[derive(SimpleObject)]
#[graphql(
    concrete(name = "SessionEdge", params(Session)),
    concrete(name = "SecurityEventEdge", params(SecurityEvent)),
    concrete(name = "TodoEdge", params(Todo)),
    concrete(name = "TodoEventEdge", params(TodoEvent))
)]
pub(super) struct Edge<N: OutputType> {
    /// The place: give it as `after` to go on from here.
    cursor: String,
    /// The item.
    node: Arc<N>,
}

// The derive macro takes names only.
type SessionEdge = Edge<Session>;
type SecurityEventEdge = Edge<SecurityEvent>;
type TodoEdge = Edge<Todo>;
type TodoEventEdge = Edge<TodoEvent>;

/// Whether the client asks how long the list is, which costs a query of its own.
pub(super) fn asks_for_total(ctx: &Context<'_>) -> bool {
    ctx.look_ahead().field("totalCount").exists()
}

impl<N: OutputType> Connection<N, Edge<N>>
where
    Edge<N>: OutputType,
{
    /// The page that was asked for, from the rows that were found for it in the direction of reading.
    pub(super) fn new<R: Into<N>, P>(
        page: &Page<P>,
        mut rows: Vec<R>,
        total_count: i64,
        cursor: impl Fn(&R) -> String,
    ) -> Self {
        let wanted = page.wanted();
        let more = rows.len() > wanted;
        rows.truncate(wanted);
        if page.from_end {
            rows.reverse();
        }
        let edge = |row: R| Edge { cursor: cursor(&row), node: Arc::new(row.into()) };
        let edges: Vec<_> = rows.into_iter().map(edge).collect();
        let page_info = PageInfo {
            has_previous_page: if page.from_end { more } else { page.after.is_some() },
            has_next_page: if page.from_end { page.before.is_some() } else { more },
            start_cursor: edges.first().map(|edge| edge.cursor.clone()),
            end_cursor: edges.last().map(|edge| edge.cursor.clone()),
        };
        let nodes = edges.iter().map(|edge| Arc::clone(&edge.node)).collect();
        Self { edges, nodes, page_info, total_count }
    }
}

/// Which page a client asks for.
#[derive(Clone, Copy, Default)]
pub(super) struct PageArguments<'a> {
    pub(super) first: Option<i32>,
    pub(super) after: Option<&'a str>,
    pub(super) last: Option<i32>,
    pub(super) before: Option<&'a str>,
}

impl PageArguments<'_> {
    /// Checks the arguments, with a function that reads cursors of the list.
    pub(super) fn page<P>(self, decode: impl Fn(&str) -> Option<P>) -> Result<Page<P>, AppError> {
        let mut problems = Vec::new();
        let mut bad = |name: &'static str, message: String| {
            let problem = Problem { code: "INVALID", message };
            problems.push(FieldProblem { path: vec![name.into()], problem });
        };
        for (name, count) in [("first", self.first), ("last", self.last)] {
            if count.is_some_and(|count| !(0..=MAX_FIRST).contains(&count)) {
                bad(name, format!("A page has 0 to {MAX_FIRST} items."));
            }
        }
        if self.first.is_some() && self.last.is_some() {
            bad("last", "Give first or last, not both.".into());
        }
        let mut position = |name, cursor: Option<&str>| {
            let position = cursor.map(&decode);
            if let Some(None) = position {
                bad(name, "This is no cursor of this list.".into());
            }
            position.flatten()
        };
        let (after, before) = (position("after", self.after), position("before", self.before));
        if !problems.is_empty() {
            return Err(AppError::BadUserInput(problems));
        }
        Ok(match self.last {
            Some(last) => Page::last(last.unsigned_abs(), after, before),
            None => Page::first(self.first.unwrap_or(DEFAULT_FIRST).unsigned_abs(), after, before),
        })
    }
}

/// Checks which page of a list that is ordered by time a client asks for.
pub(super) fn page(first: Option<i32>, after: Option<&str>) -> Result<Page, AppError> {
    PageArguments { first, after, ..PageArguments::default() }.page(decode)
}

/// The last year that PostgreSQL and RFC 3339 can both write.
const LAST_YEAR: i32 = 9999;

/// Whether an instant can be written as RFC 3339 has it.
pub(super) fn is_writable(time: DateTime<Utc>) -> bool {
    (1..=LAST_YEAR).contains(&time.year())
}

/// The first byte of a cursor; another meaning of the rest gets another one.
const VERSION: u8 = 1;

/// The cursor of a row in a list that is ordered by time.
pub(super) fn encode(position: Position) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(position.at.timestamp_micros().to_be_bytes());
    bytes.extend(position.id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(cursor: &str) -> Option<Position> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (micros, id) = rest.split_first_chunk::<8>()?;
    let at = DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?;
    let id = Uuid::from_slice(id).ok()?;
    (*version == VERSION && is_writable(at)).then_some(Position { at, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_no_other_way() {
        let at = DateTime::from_timestamp_micros(1_764_000_000_123_456).unwrap();
        let position = Position { at, id: Uuid::from_u128(7) };
        let cursor = encode(position);
        assert_eq!(decode(&cursor), Some(position));
        for broken in ["", "x", &cursor[1..], &format!("{cursor}AAAA"), &cursor.replacen("AQ", "Ag", 1)] {
            assert!(decode(broken).is_none_or(|other| other != position), "{broken}");
        }
        let mut extreme = vec![VERSION];
        extreme.extend((-6_000_000_000_000_000_000_i64).to_be_bytes());
        extreme.extend([0; 16]);
        assert_eq!(decode(&URL_SAFE_NO_PAD.encode(extreme)), None);
    }
}
