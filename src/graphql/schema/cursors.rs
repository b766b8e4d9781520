//! The codec of cursors: opaque text for clients, the position of a row inside.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::Title;
use crate::graphql::scalars::is_representable;
use crate::models::{Position, Priority, TextEnum, TodoOrder, TodoPosition, TodoSortKey, TodoSortValue};

/// A layout of cursors for one kind of list.
///
/// Clients keep cursors across deployments: a layout never changes, a new one gets a new `LAYOUT`.
pub trait Cursors {
    /// Position of a row in the list.
    type Position;

    /// First byte of each cursor.
    const LAYOUT: u8;

    /// Appends a position.
    fn write(&self, position: &Self::Position, bytes: &mut Vec<u8>);

    /// Reads a position; returns `None` if the bytes are not one of this list.
    fn read(&self, bytes: &[u8]) -> Option<Self::Position>;

    /// Returns the cursor of a position.
    fn encode(&self, position: &Self::Position) -> String {
        let mut bytes = vec![Self::LAYOUT];
        self.write(position, &mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Returns the position of a cursor; `None` if it belongs to another list or is broken.
    fn decode(&self, cursor: &str) -> Option<Self::Position> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (layout, position) = bytes.split_first()?;
        if *layout == Self::LAYOUT { self.read(position) } else { None }
    }
}

/// Cursors of lists ordered by time: the time, then the identifier.
pub(super) struct ByTime;

impl Cursors for ByTime {
    type Position = Position;

    const LAYOUT: u8 = 1;

    fn write(&self, position: &Position, bytes: &mut Vec<u8>) {
        bytes.extend(position.at.timestamp_micros().to_be_bytes());
        bytes.extend(position.id.as_bytes());
    }

    fn read(&self, bytes: &[u8]) -> Option<Position> {
        let (at, id) = bytes.split_first_chunk::<8>()?;
        Some(Position { at: read_time(*at)?, id: Uuid::from_slice(id).ok()? })
    }
}

/// Cursors of histories: the number of the event.
pub(super) struct ByNumber;

impl Cursors for ByNumber {
    type Position = i64;

    const LAYOUT: u8 = 2;

    fn write(&self, number: &i64, bytes: &mut Vec<u8>) {
        bytes.extend(number.to_be_bytes());
    }

    fn read(&self, bytes: &[u8]) -> Option<i64> {
        Some(i64::from_be_bytes(bytes.try_into().ok()?))
    }
}

/// Cursors of todos: the order, the identifier, then the value of the sort key.
impl Cursors for TodoOrder {
    type Position = TodoPosition;

    const LAYOUT: u8 = 3;

    fn write(&self, position: &TodoPosition, bytes: &mut Vec<u8>) {
        bytes.push(order_tag(*self));
        bytes.extend(position.id.as_bytes());
        match &position.value {
            TodoSortValue::Time(None) => {}
            TodoSortValue::Time(Some(time)) => bytes.extend(time.timestamp_micros().to_be_bytes()),
            TodoSortValue::Priority(priority) => bytes.extend(priority.as_str().as_bytes()),
            TodoSortValue::Text(text) => bytes.extend(text.as_bytes()),
        }
    }

    fn read(&self, bytes: &[u8]) -> Option<TodoPosition> {
        let (tag, rest) = bytes.split_first()?;
        let (id, value) = rest.split_first_chunk::<16>()?;
        if *tag != order_tag(*self) {
            return None;
        }
        let value = match self.key {
            TodoSortKey::DueAt if value.is_empty() => TodoSortValue::Time(None),
            TodoSortKey::CreatedAt | TodoSortKey::UpdatedAt | TodoSortKey::DueAt => {
                TodoSortValue::Time(Some(read_time(value.try_into().ok()?)?))
            }
            TodoSortKey::Priority => {
                TodoSortValue::Priority(Priority::parse(std::str::from_utf8(value).ok()?)?)
            }
            TodoSortKey::Title => {
                // Not parsed as a title: rows may be older than its rules, or written by SQL.
                let text = std::str::from_utf8(value).ok()?;
                if text.contains('\0') || text.chars().count() > Title::MAX_CHARS {
                    return None;
                }
                TodoSortValue::Text(text.to_owned())
            }
        };
        Some(TodoPosition { value, id: Uuid::from_bytes(*id) })
    }
}

/// Returns the byte that tells the cursors of one order from those of another.
fn order_tag(order: TodoOrder) -> u8 {
    let key = match order.key {
        TodoSortKey::CreatedAt => 0,
        TodoSortKey::UpdatedAt => 1,
        TodoSortKey::DueAt => 2,
        TodoSortKey::Priority => 3,
        TodoSortKey::Title => 4,
    };
    key * 2 + u8::from(order.descending)
}

fn read_time(micros: [u8; 8]) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(i64::from_be_bytes(micros)).filter(|time| is_representable(*time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time() -> DateTime<Utc> {
        DateTime::from_timestamp_micros(1_764_000_000_123_456).unwrap()
    }

    #[test]
    fn a_cursor_by_time_decodes_to_its_position_only() {
        let position = Position { at: time(), id: Uuid::from_u128(7) };
        let cursor = ByTime.encode(&position);
        assert_eq!(ByTime.decode(&cursor), Some(position));
        for broken in ["", "x", &cursor[1..], &format!("{cursor}AAAA"), &cursor.replacen("AQ", "Ag", 1)] {
            assert!(ByTime.decode(broken).is_none_or(|other| other != position), "{broken}");
        }
        let mut extreme = vec![ByTime::LAYOUT];
        extreme.extend((-6_000_000_000_000_000_000_i64).to_be_bytes());
        extreme.extend([0; 16]);
        assert_eq!(ByTime.decode(&URL_SAFE_NO_PAD.encode(extreme)), None);
    }

    #[test]
    fn a_cursor_of_todos_decodes_in_its_own_order_only() {
        let orders = [
            (TodoSortKey::CreatedAt, TodoSortValue::Time(Some(time()))),
            (TodoSortKey::DueAt, TodoSortValue::Time(None)),
            (TodoSortKey::Priority, TodoSortValue::Priority(Priority::Medium)),
            (TodoSortKey::Title, TodoSortValue::Text("Über".into())),
        ];
        for (key, value) in orders {
            let order = TodoOrder { key, descending: true };
            let position = TodoPosition { value, id: Uuid::from_u128(7) };
            let cursor = order.encode(&position);
            assert_eq!(order.decode(&cursor), Some(position.clone()));
            assert_eq!(TodoOrder { key, descending: false }.decode(&cursor), None);
            for broken in ["", "x", &cursor[2..], &cursor[..cursor.len() / 2], "Aw"] {
                assert_eq!(order.decode(broken), None, "{broken}");
            }
        }
        let order = TodoOrder { key: TodoSortKey::Title, descending: false };
        let control_character = TodoPosition { value: TodoSortValue::Text("a\0".into()), id: Uuid::nil() };
        assert_eq!(order.decode(&order.encode(&control_character)), None);
    }

    /// Clients hold cursors like these: they stay readable.
    #[test]
    fn layouts_never_change() {
        let id = Uuid::from_u128(7);
        assert_eq!(ByTime.encode(&Position { at: time(), id }), "AQAGRFlBZCJAAAAAAAAAAAAAAAAAAAAABw");
        assert_eq!(ByNumber.encode(&7), "AgAAAAAAAAAH");
        let order = TodoOrder { key: TodoSortKey::Priority, descending: true };
        let position = TodoPosition { value: TodoSortValue::Priority(Priority::High), id };
        assert_eq!(order.encode(&position), "AwcAAAAAAAAAAAAAAAAAAAAHSElHSA");
    }
}
