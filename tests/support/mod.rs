//! Fixtures: a PostgreSQL for the whole run, a database and a service for each test, and the poolers, proxies and servers of
//! the drills.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

mod app;
mod binary;
mod database;
mod doctor;
pub(crate) mod documents;
pub(crate) mod explained;
mod http_stream;
mod introspected;
mod owner;
mod pgbouncer;
mod proxy;
mod redis;
mod refusing;
mod server;
mod standby;
mod test_schema;
mod websocket;

pub(crate) use app::{Answer, PASSWORD, SECRET, TestApp};
pub(crate) use binary::Service;
pub(crate) use database::{TestDatabase, connector, rows, texts};
pub(crate) use doctor::Page;
pub(crate) use explained::Explained;
pub(crate) use http_stream::{Chunk, HttpStream};
pub(crate) use introspected::Introspected;
pub(crate) use owner::Owner;
pub(crate) use pgbouncer::{PgBouncer, Pooling, Version};
pub(crate) use proxy::Proxy;
pub(crate) use redis::RedisServer;
pub(crate) use refusing::{Login, RefusingProxy};
pub(crate) use server::{OwnServer, program};
pub(crate) use standby::Standby;
pub(crate) use test_schema::strict_schema;
pub(crate) use websocket::Client;
