//! One file per table: the types of its rows and the queries on them.
//!
//! Each query is a function that takes a connection, never the pool, so that the caller decides what
//! shares a transaction. Queries on rows that belong to somebody take the owner's id.

mod expired;
mod imported_user;
mod overview;
mod page;
mod refresh_token;
mod revoked_session;
mod security_event;
mod session;
mod throttle_bucket;
mod todo;
mod todo_event;
mod todo_list;
mod todo_write;
mod user;

pub use expired::{Expired, lock_expired};
pub use imported_user::ImportedUser;
pub use overview::AccountOverview;
pub use page::{Page, Position};
pub use refresh_token::{NewRefreshToken, RefreshTokenRow};
pub use revoked_session::RevokedSession;
pub use security_event::{EventKind, NewSecurityEvent, SecurityEvent};
pub use session::{NewSession, Session};
pub use throttle_bucket::ThrottleBucket;
pub use todo::{Priority, Todo};
pub use todo_event::{TodoEvent, TodoEventKind};
pub use todo_list::{KeyValue, TodoFilter, TodoKey, TodoOrder, TodoPosition};
pub use todo_write::{Author, NewTodo, TodoChanges, Written};
pub use user::{NewUser, User};
