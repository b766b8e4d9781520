use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Where a row stands in a list that is ordered by time, the latest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The time by which the list is ordered.
    pub at: DateTime<Utc>,
    /// What tells rows of the same time apart.
    pub id: Uuid,
}

/// A piece of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    first: u32,
    /// The row after which it begins; none for the beginning of the list.
    pub after: Option<Position>,
}

impl Page {
    /// So many rows, after one or from the beginning.
    pub fn new(first: u32, after: Option<Position>) -> Self {
        Self { first, after }
    }

    /// How many rows are wanted.
    pub fn wanted(self) -> usize {
        self.first as usize
    }

    /// How many rows to read: one more tells whether there is a next page.
    pub(super) fn limit(self) -> i64 {
        i64::from(self.first) + 1
    }
}
