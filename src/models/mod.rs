//! One file per table: the types of its rows and the queries on them.
//!
//! Each query is a function that takes a connection, never the pool, so that the caller decides what
//! shares a transaction. Queries on rows that belong to somebody take the owner's id.

mod session;
mod user;

pub use session::NewSession;
pub use user::{NewUser, User};
