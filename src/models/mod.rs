//! Row types and their queries: one file or folder per table, named after its row type.
//!
//! - `users` is [`User`], with [`ImportedUser`] for the import and [`AccountOverview`] for operators.
//! - `todo_event_counters` only numbers the rows of `todo_events` and is read in that file.
//! - `write_positions` belongs to the replicas in [`crate::db`].
//! - Some files hold no table: `page` is a slice of a list, `expiry` deletes rows in batches, `expired` lists the tables where
//!   it does, `text_enum` has text columns, `functions` declares SQL functions, and `owned_row` finds rows of several tables by
//!   identifier.
//!
//! Each query is a function that takes a connection, never the pool, so that the caller decides which queries share a
//! transaction. Queries on a user's rows take the owner's id.

mod expired;
mod expiry;
mod functions;
mod owned_row;
mod page;
mod refresh_token;
mod revoked_session;
mod security_event;
mod session;
mod text_enum;
mod throttle_bucket;
mod todo;
mod todo_event;
mod user;

pub use expired::{Expired, lock_expired};
pub use owned_row::OwnedRow;
pub use page::{Page, Position};
pub use refresh_token::{NewRefreshToken, RefreshTokenRow};
pub use revoked_session::RevokedSession;
pub use security_event::{NewSecurityEvent, SecurityEvent, SecurityEventKind};
pub use session::{NewSession, Session};
pub use text_enum::{TextColumn, TextEnum};
pub use throttle_bucket::ThrottleBucket;
pub use todo::{
    Actor, NewTodo, Noted, PartialTodo, Priority, Todo, TodoChanges, TodoColumn, TodoColumns, TodoFilter,
    TodoOrder, TodoPosition, TodoSortKey, TodoSortValue, TodoTargets, WriteOutcome, WrittenTodo,
};
pub use todo_event::{TodoEvent, TodoEventKind};
pub use user::{AccountOverview, ImportedUser, NewUser, User};
