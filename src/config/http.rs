use std::net::IpAddr;
use std::time::Duration;

use axum::http::HeaderValue;
use clap::Args;
use ipnet::IpNet;

use super::origins::origin;
use super::values::{duration, integer, list, seconds};

/// Addresses, origins, proxies and time limits of HTTP.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct HttpSettings {
    /// IP address to listen on; 0.0.0.0 for all IPv4 interfaces, :: for all interfaces
    #[arg(long, env, default_value = "127.0.0.1", value_parser = host)]
    pub host: IpAddr,

    /// Port to listen on; 0 picks a free port
    #[arg(long, env, default_value = "8000", value_parser = integer(0..=u16::MAX))]
    pub port: u16,

    /// Origins whose pages may call the service, separated by commas; null for sandboxed frames and files; * for all
    /// [default: none; in development pages of this machine on any port, Apollo Sandbox and the app of Altair]
    #[arg(long, env, default_value = "", hide_default_value = true, value_parser = list(origin))]
    pub cors_allowed_origins: std::vec::Vec<HeaderValue>,

    /// Proxies whose X-Forwarded-For is trusted: addresses or networks such as 10.0.0.0/8, separated by commas
    #[arg(long, env, default_value = "", hide_default_value = true, value_parser = list(network))]
    pub trusted_proxies: std::vec::Vec<IpNet>,

    /// Time limit for a whole request
    #[arg(long, env, default_value = "30s", value_parser = duration(seconds(1)..=seconds(600)))]
    pub request_timeout: Duration,

    /// Maximum number of open connections; others wait in the backlog
    #[arg(long, env, default_value = "4000", value_parser = integer(1..=1_000_000_usize))]
    pub max_connections: usize,

    /// Time limit for a client to send the head of a request, to send the body, and to accept the response
    #[arg(long, env, default_value = "10s",
        value_parser = duration(Duration::from_millis(100)..=seconds(600)))]
    pub read_timeout: Duration,

    /// Time limit at shutdown for requests that are in progress
    #[arg(long, env, default_value = "30s", value_parser = duration(seconds(0)..=seconds(600)))]
    pub shutdown_timeout: Duration,
}

fn host(text: &str) -> Result<IpAddr, String> {
    let text = if text == "localhost" { "127.0.0.1" } else { text };
    text.parse().map_err(|_| "expected an IP address such as 127.0.0.1, 0.0.0.0 or ::".into())
}

fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| "expected an IP address or a network such as 10.0.0.0/8".into())
}
