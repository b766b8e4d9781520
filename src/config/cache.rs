use anyhow::anyhow;
use clap::Args;
use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, IntoConnectionInfo};
use secrecy::{ExposeSecret, SecretString};

/// What is kept in memory beside the database.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cache")]
pub struct CacheSettings {
    /// Redis in which rows that are often read are kept for up to a second, for all processes [default: none is used]
    #[arg(long, env = "REDIS_URL", global = true, hide_env_values = true, value_parser = super::values::secret)]
    redis_url: Option<SecretString>,
}

impl CacheSettings {
    /// The way to Redis, if one is used. It is not looked for yet.
    pub fn client(&self) -> anyhow::Result<Option<Client>> {
        self.redis_url.as_ref().map(|url| parse(url.expose_secret().trim())).transpose()
    }
}

fn parse(url: &str) -> anyhow::Result<Client> {
    // What the library says of a URL may repeat parts of it.
    let info = url.into_connection_info().ok();
    // #insecure would verify nothing.
    let info = info.filter(|info| !matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }));
    // By default a command waits until the one before it has arrived (Nagle): as long again as Redis is away.
    let info = info.map(|info| info.set_tcp_settings(TcpSettings::default().set_nodelay(true)));
    info.and_then(|info| Client::open(info).ok()).ok_or_else(|| {
        anyhow!(
            "REDIS_URL is no URL of a Redis; one such as redis://user:password@host:6379/0 is needed, or rediss:// for \
             TLS with verified certificates"
        )
    })
}
