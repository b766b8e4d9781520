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
mod doctor;
mod embedded;
mod graphql_over_http;
mod health;
mod housekeeping;
mod http;
mod import;
mod isolation;
mod keys;
mod language;
mod metrics;
mod migrations;
mod operators;
mod persisted;
mod pooler;
mod profile;
mod reliability;
mod replicas;
mod request_log;
mod schema;
mod sessions;
mod stopping;
mod support;
mod throttle;
mod tls;
mod todo_lists;
mod todo_live;
mod todo_model;
mod todo_plans;
mod todos;
mod tokens;
mod traces;
mod websocket;
