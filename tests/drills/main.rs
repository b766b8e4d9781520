//! The service among poolers, Redis, replicas and faults, in real seconds: `cargo test --features drills`.
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

mod cache;
mod database;
mod doctor;
mod health;
mod housekeeping;
mod keys;
mod pooler;
mod reliability;
mod replicas;
mod streams;
