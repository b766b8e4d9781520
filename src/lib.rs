//! A GraphQL backend for a todo application: accounts, sessions and private todos on PostgreSQL.
//!
//! A request walks one way, and nothing points back:
//!
//! ```text
//! http  ->  graphql  ->  auth | models  ->  db
//! ```
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`cli`] | the command line: `serve`, `migrate`, `doctor`, `user`, `import-users`, `keys`, `schema` |
//! | [`config`] | settings from the environment, `.env` and flags, parsed and checked |
//! | [`state`] | what a request may reach |
//! | [`http`] | routes, middleware, the transport of GraphQL, health, shutdown |
//! | [`graphql`] | the schema: one file per topic, thin resolvers |
//! | [`auth`] | the rules of accounts and sessions: passwords, tokens, who asks |
//! | [`cache`] | rows that are often read, kept in Redis where one is used |
//! | [`models`] | rows and the queries on them, one file per table |
//! | [`domain`] | parsed values such as an email address; no input or output |
//! | [`db`] | pool, TLS, URL, migrations, the embedded server |
//! | [`import`] | takes over the users of the original system |
//! | [`feed`] | tells subscribers of changes, across processes |
//! | [`metrics`] | what is counted and measured |
//! | [`housekeeping`] | deletes what has had its time |
//! | [`error`] | the failures a client may see, each with its code |

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
