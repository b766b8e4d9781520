use std::time::Duration;

use clap::Args;

use super::values::{duration, seconds, whole};

/// WebSockets at `/graphql/ws`.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "WebSockets")]
pub struct SocketSettings {
    /// How long a client may take to say who it is
    #[arg(id = "socket_init_timeout", long = "socket-init-timeout", env = "SOCKET_INIT_TIMEOUT", global = true,
        hide_env_values = true, value_name = "SOCKET_INIT_TIMEOUT", default_value = "5s",
        value_parser = duration(Duration::from_millis(10)..=seconds(600)))]
    pub init_timeout: Duration,

    /// How often a socket is pinged; one that has not answered by the next time is closed
    #[arg(id = "socket_ping_interval", long = "socket-ping-interval", env = "SOCKET_PING_INTERVAL", global = true,
        hide_env_values = true, value_name = "SOCKET_PING_INTERVAL", default_value = "25s",
        value_parser = duration(Duration::from_millis(10)..=seconds(3600)))]
    pub ping_interval: Duration,

    /// How long a client may take to accept a message before it is cut off as too slow
    #[arg(id = "socket_send_timeout", long = "socket-send-timeout", env = "SOCKET_SEND_TIMEOUT", global = true,
        hide_env_values = true, value_name = "SOCKET_SEND_TIMEOUT", default_value = "5s",
        value_parser = duration(Duration::from_millis(10)..=seconds(600)))]
    pub send_timeout: Duration,

    /// Sockets of this process
    #[arg(long, env = "MAX_SOCKETS", global = true, hide_env_values = true, default_value = "1000",
        value_parser = whole(1..=1_000_000_usize))]
    pub max_sockets: usize,

    /// Sockets of one user in this process
    #[arg(long, env = "MAX_SOCKETS_PER_USER", global = true, hide_env_values = true, default_value = "20",
        value_parser = whole(1..=1_000_000_usize))]
    pub max_sockets_per_user: usize,

    /// Operations under way on one socket
    #[arg(long, env = "MAX_OPERATIONS_PER_SOCKET", global = true, hide_env_values = true, default_value = "50",
        value_parser = whole(1..=100_000_usize))]
    pub max_operations_per_socket: usize,
}
