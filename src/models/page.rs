use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Where a row stands in a list that is ordered by time, the latest first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Position {
    /// The time by which the list is ordered.
    pub at: DateTime<Utc>,
    /// What tells rows of the same time apart.
    pub id: Uuid,
}

/// A piece of a list.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Page<P = Position> {
    count: u32,
    /// The row after which it begins; none for the beginning of the list.
    pub after: Option<P>,
    /// The row before which it ends; none for the end of the list.
    pub before: Option<P>,
    /// Whether it is the last rows of what is between those that are wanted, not the first ones.
    pub from_end: bool,
}

impl<P> Page<P> {
    /// The first rows after one, or of the list.
    pub fn first(count: u32, after: Option<P>, before: Option<P>) -> Self {
        Self { count, after, before, from_end: false }
    }

    /// The last rows before one, or of the list.
    pub fn last(count: u32, after: Option<P>, before: Option<P>) -> Self {
        Self { count, after, before, from_end: true }
    }

    /// How many rows are wanted.
    pub fn wanted(&self) -> usize {
        self.count as usize
    }

    /// How many rows to read: one more tells whether there are more.
    pub(super) fn limit(&self) -> i64 {
        i64::from(self.count) + 1
    }
}
