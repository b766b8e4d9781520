//! Settings from flags, the environment and `.env`, in this order of precedence, parsed and checked.
//!
//! Each group is a struct that clap fills; `todo-api --help` lists them all. A bad value stops the start with
//! the name of the setting and what is allowed. Secrets are kept in types that can't be printed.

mod auth;
mod cache;
mod database;
mod graphql;
mod http;
mod limits;
mod log;
mod metrics;
mod sockets;
mod todos;
mod values;

use std::path::PathBuf;

pub use auth::AuthSettings;
pub use cache::CacheSettings;
use clap::{Args, ValueEnum};
pub use database::DatabaseSettings;
pub use graphql::GraphqlSettings;
pub use http::HttpSettings;
pub use limits::Limits;
pub use log::{LogFormat, LogSettings};
pub use metrics::MetricsSettings;
pub use sockets::SocketSettings;
pub use todos::TodoSettings;
pub(crate) use values::secret;

/// All settings.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// What the service runs for
    #[arg(long, env = "APP_ENV", global = true, hide_env_values = true, default_value = "development")]
    pub app_env: AppEnv,

    /// Where the embedded PostgreSQL and generated secrets are kept [default: /var/lib/todo-api for root, or else
    /// ~/.local/share/todo-api]
    #[arg(long, env = "TODO_DATA_DIR", global = true, hide_env_values = true, value_name = "TODO_DATA_DIR")]
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

/// What the service runs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AppEnv {
    /// Convenient: secrets that are missing are generated and kept in the data directory
    Development,
    /// Strict: no start without JWT_SECRET; no introspection, suggestions or IDE unless asked for
    Production,
}

impl Config {
    /// Whether the schema describes itself, in answers to introspection and in suggestions.
    pub fn introspection(&self) -> bool {
        self.graphql.introspection.map_or(self.app_env == AppEnv::Development, Switch::is_on)
    }

    /// Whether the IDE is served.
    pub fn graphiql(&self) -> bool {
        self.graphql.graphiql.map_or(self.app_env == AppEnv::Development, Switch::is_on)
    }
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is
    On,
    /// It is not
    Off,
}

impl Switch {
    /// Whether it is.
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}
