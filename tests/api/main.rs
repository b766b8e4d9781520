//! The service as its clients see it: over real sockets, on a real PostgreSQL.

mod accounts;
mod configuration;
mod database;
mod embedded;
mod http;
mod migrations;
mod schema;
mod support;
mod tls;
mod tokens;
