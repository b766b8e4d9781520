//! What the tests stand on: a PostgreSQL for the whole run, a database and a service for each test.

mod app;
mod binary;
mod database;
mod proxy;
mod server;

pub use app::{Answer, PASSWORD, SECRET, TestApp};
pub use binary::Service;
pub use database::{TestDatabase, connector};
pub use proxy::Proxy;
pub use server::OwnServer;
