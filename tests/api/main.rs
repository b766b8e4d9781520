//! The service as its clients see it: over real sockets, on a real PostgreSQL. Needs what `cargo run` needs.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::format_collect,
    reason = "tests fail by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod abuse;
mod accounts;
mod architecture;
mod browser_mode;
mod clocks;
mod configuration;
mod connections;
mod database;
mod doctor;
mod embedded;
mod graphql_over_http;
mod health;
mod housekeeping;
mod http;
mod import;
mod introspection;
mod isolation;
mod keys;
mod language;
mod legacy_socket;
mod metrics;
mod migrations;
mod nodes;
mod operators;
mod origins;
mod output;
mod persisted;
mod profile;
mod request_log;
mod requirements;
mod restore;
mod schema;
mod search;
mod sessions;
mod sql_settings;
mod starting;
mod statement_plans;
mod stopping;
mod stream_lifetimes;
mod streams;
mod throttle;
mod tls;
mod todo_columns;
mod todo_lists;
mod todo_live;
mod todo_model;
mod todo_plans;
mod todo_repeats;
mod todo_undo;
mod todo_versions;
mod todos;
mod tokens;
mod traces;
mod websocket;
mod written;
