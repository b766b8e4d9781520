use std::time::Duration;

use clap::Args;

use super::values::{duration, integer, seconds};

/// WebSockets at `/graphql` and `/graphql/ws`.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "WebSockets")]
pub struct SocketSettings {
    /// Time between pings; a socket that has not answered by the next one is closed
    #[arg(long, env, default_value = "25s",
        value_parser = duration(Duration::from_millis(10)..=seconds(3600)))]
    pub socket_ping_interval: Duration,

    /// Maximum number of open sockets and streams over HTTP in this process
    #[arg(long, env, default_value = "1000", value_parser = integer(1..=1_000_000_usize))]
    pub max_sockets: usize,

    /// Maximum number of open sockets and streams over HTTP of one user in this process
    #[arg(long, env, default_value = "20", value_parser = integer(1..=1_000_000_usize))]
    pub max_sockets_per_user: usize,
}
