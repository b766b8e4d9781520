//! Settings from flags, the environment and `.env`, in this order of precedence, parsed and checked.
//!
//! Each group is a struct that clap fills. A field has the name of its setting: `max_depth` is the flag `--max-depth`
//! and the variable `MAX_DEPTH`, and its doc comment is the text of `todo-api --help`. An invalid value stops the start,
//! and the error names the setting and the allowed values. Secrets have types that cannot be printed.

mod auth;
mod cache;
mod database;
mod dotenv;
mod graphql;
mod http;
mod limits;
mod log;
mod metrics;
mod origins;
mod same_site;
mod sockets;
mod todos;
mod values;
mod warnings;

use std::path::PathBuf;

pub use auth::{AuthSettings, MAX_ACCESS_TOKEN_TTL};
pub use cache::CacheSettings;
use clap::{Args, ValueEnum};
pub use database::DatabaseSettings;
pub(crate) use dotenv::load as load_dotenv;
pub use graphql::GraphqlSettings;
pub use http::HttpSettings;
pub use limits::Limits;
pub use log::{LogFormat, LogSettings};
pub use metrics::MetricsSettings;
pub(crate) use origins::origin;
pub use same_site::SameSite;
pub use sockets::SocketSettings;
pub use todos::TodoSettings;
pub(crate) use values::{is_quoted, secret};

/// Settings of the service.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Environment that the service runs in
    #[arg(long, env, default_value = "development")]
    pub app_env: AppEnv,

    /// Directory of the embedded PostgreSQL and of generated secrets [default: /var/lib/todo-api for root,
    /// ~/.local/share/todo-api for others]
    #[arg(long, env = "TODO_DATA_DIR")]
    pub data_dir: Option<PathBuf>,

    /// See [`HttpSettings`].
    #[command(flatten)]
    pub http: HttpSettings,

    /// See [`GraphqlSettings`].
    #[command(flatten)]
    pub graphql: GraphqlSettings,

    /// See [`Limits`].
    #[command(flatten)]
    pub limits: Limits,

    /// See [`SocketSettings`].
    #[command(flatten)]
    pub sockets: SocketSettings,

    /// See [`DatabaseSettings`].
    #[command(flatten)]
    pub database: DatabaseSettings,

    /// See [`CacheSettings`].
    #[command(flatten)]
    pub cache: CacheSettings,

    /// See [`AuthSettings`].
    #[command(flatten)]
    pub auth: AuthSettings,

    /// See [`TodoSettings`].
    #[command(flatten)]
    pub todos: TodoSettings,

    /// See [`LogSettings`].
    #[command(flatten)]
    pub log: LogSettings,

    /// See [`MetricsSettings`].
    #[command(flatten)]
    pub metrics: MetricsSettings,
}

/// Environment that the service runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AppEnv {
    /// Convenient: missing secrets are generated and kept in the data directory
    Development,
    /// Strict: requires JWT_SECRET or JWT_KEY_FILES; introspection, suggestions and the IDE are off by default
    Production,
}

impl Config {
    /// True if introspection and suggestions in errors are on.
    pub fn introspection(&self) -> bool {
        self.graphql.introspection.map_or(self.app_env == AppEnv::Development, Switch::is_on)
    }

    /// Returns a warning about settings that may not work together.
    pub fn warning(&self) -> Option<String> {
        warnings::same_site(&self.auth, &self.http)
    }

    /// True if the IDE is served.
    pub fn graphiql(&self) -> bool {
        self.graphql.graphiql.map_or(self.app_env == AppEnv::Development, Switch::is_on)
    }
}

/// A setting that is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Switched on
    On,
    /// Switched off
    Off,
}

impl Switch {
    /// True for [`Switch::On`].
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}
