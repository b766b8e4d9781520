//! The service as its clients see it: over real sockets, on a real PostgreSQL.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::format_collect,
    reason = "a test ends where something is not as expected"
)]

mod abuse;
mod accounts;
mod configuration;
mod database;
mod embedded;
mod graphql_over_http;
mod http;
mod migrations;
mod persisted;
mod schema;
mod sessions;
mod support;
mod tls;
mod tokens;
mod websocket;
