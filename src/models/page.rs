use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A position in a list ordered by time, latest first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Position {
    /// Time of the row.
    pub at: DateTime<Utc>,
    /// Identifier of the row, which breaks ties.
    pub id: Uuid,
}

/// A slice of a list, between two positions.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Page<P = Position> {
    count: u32,
    /// Position after which the page begins; `None` for the beginning of the list.
    pub after: Option<P>,
    /// Position before which the page ends; `None` for the end of the list.
    pub before: Option<P>,
    /// True for `last`: take rows from the end of the range.
    pub from_end: bool,
    /// True if rows at the positions belong to the range.
    pub(super) includes_bounds: bool,
}

impl<P> Page<P> {
    /// Returns the first `count` rows of a range.
    pub fn first(count: u32, after: Option<P>, before: Option<P>) -> Self {
        Self { count, after, before, from_end: false, includes_bounds: false }
    }

    /// Returns the last `count` rows of a range.
    pub fn last(count: u32, after: Option<P>, before: Option<P>) -> Self {
        Self { count, after, before, from_end: true, includes_bounds: false }
    }

    /// Returns the position at which reading starts; `None` for an end of the list.
    pub fn start(&self) -> Option<&P> {
        if self.from_end { self.before.as_ref() } else { self.after.as_ref() }
    }

    /// Returns the page of the nearest row behind the start, against the direction of reading. The row at the position counts.
    pub(super) fn behind(&self) -> Option<Self>
    where
        P: Clone,
    {
        let start = Some(self.start()?.clone());
        let (after, before) = if self.from_end { (start, None) } else { (None, start) };
        Some(Self { count: 0, after, before, from_end: !self.from_end, includes_bounds: true })
    }

    /// Returns the requested number of rows.
    pub fn size(&self) -> usize {
        self.count as usize
    }

    /// Returns the number of rows to read: one more than requested, to learn if there are more.
    pub(super) fn limit(&self) -> i64 {
        i64::from(self.count) + 1
    }
}
