use anyhow::{anyhow, ensure};
use clap::Args;
use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, IntoConnectionInfo};
use secrecy::{ExposeSecret, SecretString};

/// Settings of the cache.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cache")]
pub struct CacheSettings {
    /// URL of a Redis that caches users for up to a second, shared by all processes [default: no cache]
    #[arg(long, env, value_parser = super::values::secret)]
    redis_url: Option<SecretString>,
}

impl CacheSettings {
    /// Returns a client for Redis, which has not connected yet; `None` without `REDIS_URL`.
    pub fn client(&self) -> anyhow::Result<Option<Client>> {
        self.redis_url.as_ref().map(|url| parse(url.expose_secret().trim())).transpose()
    }
}

fn parse(url: &str) -> anyhow::Result<Client> {
    ensure!(!super::is_quoted(url.as_bytes()), "REDIS_URL is in quotes; remove them");
    // The library's own error may repeat parts of the URL.
    let info = url.into_connection_info().ok();
    // `rediss://...#insecure` would skip the verification of certificates.
    let info = info.filter(|info| !matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }));
    // By default Nagle's algorithm holds a command back until the one before it is acknowledged: a round trip more.
    let info = info.map(|info| info.set_tcp_settings(TcpSettings::default().set_nodelay(true)));
    info.and_then(|info| Client::open(info).ok()).ok_or_else(|| {
        anyhow!(
            "REDIS_URL is not a Redis URL; expected redis://user:password@host:6379/0, or rediss:// for TLS with \
             verified certificates"
        )
    })
}
