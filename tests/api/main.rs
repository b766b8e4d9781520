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
mod browser_mode;
mod cache;
mod configuration;
mod database;
mod embedded;
mod graphql_over_http;
mod housekeeping;
mod http;
mod import;
mod isolation;
mod keys;
mod migrations;
mod operators;
mod persisted;
mod profile;
mod schema;
mod sessions;
mod support;
mod throttle;
mod tls;
mod todo_lists;
mod todo_live;
mod todo_model;
mod todo_plans;
mod todos;
mod tokens;
mod websocket;
