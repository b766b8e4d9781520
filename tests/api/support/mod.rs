//! What the tests stand on: a PostgreSQL for the whole run, a database and a service for each test.

mod app;
mod binary;
mod database;
pub(crate) mod documents;
mod introspected;
mod pgbouncer;
mod proxy;
mod redis;
mod server;
mod standby;
mod test_schema;

pub(crate) use app::{Answer, PASSWORD, SECRET, TestApp};
pub(crate) use binary::Service;
pub(crate) use database::{TestDatabase, connector, rows, texts};
pub(crate) use introspected::Introspected;
pub(crate) use pgbouncer::{PgBouncer, Pooling, Version};
pub(crate) use proxy::Proxy;
pub(crate) use redis::RedisServer;
pub(crate) use server::{OwnServer, program};
pub(crate) use standby::Standby;
pub(crate) use test_schema::strict_schema;
