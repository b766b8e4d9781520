//! A GraphQL backend for a todo application: accounts, sessions and private todos on PostgreSQL.
//!
//! A request walks one way:
//!
//! ```text
//! http  ->  transport  ->  graphql  ->  auth | models  ->  db
//! ```
//!
//! Imports follow the same direction. `docs/architecture.md` lists the arrows that are allowed, and a test fails on any other.
//!
//! | module | purpose |
//! | --- | --- |
//! | [`cli`] | command line and composition root: builds the state and starts the listeners, housekeeping and the embedded PostgreSQL |
//! | [`http`] | listener, routes, middleware, health, metrics endpoint, the IDE's page |
//! | `transport` | GraphQL over HTTP and WebSocket |
//! | [`graphql`] | the schema with thin resolvers, and the engine that validates, plans and executes |
//! | [`auth`] | rules of accounts and sessions: passwords, tokens, rate limits, revocation |
//! | [`models`] | rows and their queries, one file per table |
//! | [`domain`] | parsed values such as an email address; no input or output |
//! | [`db`] | connections, pool, reconnect, replicas, TLS, migrations, the embedded server |
//! | [`config`] | settings from the environment, `.env` and flags, parsed and checked |
//! | [`state`] | state shared by all requests |
//! | [`error`] | expected failures of an operation |
//! | [`cache`] | users, cached in Redis where one is configured |
//! | [`feed`] | notifications of changed todos and ended sessions, across processes |
//! | [`housekeeping`] | deletes expired rows |
//! | [`import`] | takes over the users of the original system |
//! | [`metrics`] | counters and histograms |
//! | `telemetry` | logs and traces |
//! | [`crypto`] | TLS provider, hashes, random bytes |
//! | [`data_dir`] | directory of generated secrets and of the embedded PostgreSQL |
//! | [`Clock`] | source of the time |

pub mod auth;
pub mod cache;
pub mod cli;
mod clock;
pub mod config;
pub mod crypto;
pub mod data_dir;
pub mod db;
pub mod domain;
pub mod error;
pub mod feed;
pub mod graphql;
pub mod housekeeping;
pub mod http;
pub mod import;
pub mod metrics;
pub mod models;
pub mod state;
mod telemetry;
mod transport;

pub use clock::Clock;
