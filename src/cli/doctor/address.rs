//! What a URL says of host, TLS and channel binding, before anything is sent.

use tokio_postgres::config::{ChannelBinding, Host};

use super::report::Finding;
use super::spelling::service;
use crate::db::{DatabaseUrl, SslMode};

/// What can be said of a URL by itself.
pub(super) fn check(url: &DatabaseUrl) -> Vec<Finding> {
    vec![host(url), tls(url), channel_binding(url)]
}

/// The first host, as written.
pub(super) fn host_of(url: &DatabaseUrl) -> String {
    match url.config().get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => url.config().get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
    }
}

/// Whether TLS can't name the server (SNI), since the URL doesn't.
pub(super) fn is_address(url: &DatabaseUrl) -> bool {
    host_of(url).parse::<std::net::IpAddr>().is_ok()
}

/// Whether it is Neon's pooler.
pub(super) fn is_neon_pooler(url: &DatabaseUrl) -> bool {
    let host = host_of(url);
    host.ends_with(".neon.tech") && host.split('.').next().is_some_and(|first| first.ends_with("-pooler"))
}

pub(super) fn requires_channel_binding(url: &DatabaseUrl) -> bool {
    url.config().get_channel_binding() == ChannelBinding::Require
}

/// Whether something else than the host says that it is Neon's.
fn looks_like_neon(url: &DatabaseUrl) -> bool {
    let config = url.config();
    let option = config.get_options().unwrap_or_default();
    option.contains("endpoint=")
        || option.contains("project=")
        || config.get_user() == Some("neondb_owner")
        || config.get_dbname() == Some("neondb")
        || host_of(url).contains("neon")
}

fn host(url: &DatabaseUrl) -> Finding {
    let host = host_of(url);
    if url.is_local() {
        return Finding::ok("host", format!("{host}, this machine"));
    }
    if is_address(url) && looks_like_neon(url) {
        return Finding::error(
            "host",
            format!(
                "{host} is an address: TLS names no server (SNI), and Neon can't tell which endpoint is meant"
            ),
            format!(
                "use the name as host: ep-NAME.REGION.aws.neon.tech, and if it must be that address &hostaddr={host}"
            ),
        );
    }
    if is_address(url) {
        let found =
            format!("{host} is an address: TLS names no server (SNI), and the certificate must be for it");
        return Finding::note(
            "host",
            found,
            format!("use the server's name as host, and hostaddr={host} if needed"),
        );
    }
    let neon = host.ends_with(".neon.tech");
    if looks_like_neon(url) && !(neon && host.starts_with("ep-")) {
        return Finding::warning(
            "host",
            format!("{host} is spelled unlike Neon's hosts"),
            "copy it from Neon's console: ep-NAME[-pooler].REGION.aws.neon.tech",
        );
    }
    Finding::ok("host", if is_neon_pooler(url) { format!("{host}, Neon's pooler") } else { host })
}

fn tls(url: &DatabaseUrl) -> Finding {
    match url.ssl_mode() {
        SslMode::Disable if url.is_local() => Finding::ok("TLS", "none, on this machine"),
        SslMode::Disable => Finding::warning(
            "TLS",
            "none (sslmode=disable): passwords and data can be read on the way",
            "sslmode=require in the URL",
        ),
        SslMode::Prefer => Finding::ok("TLS", "with a verified certificate, or else none, on this machine"),
        SslMode::VerifyCa => {
            Finding::ok("TLS", "required; the certificate is verified, the host's name is not")
        }
        SslMode::VerifyFull => Finding::ok("TLS", "required; certificate and host name are verified"),
    }
}

fn channel_binding(url: &DatabaseUrl) -> Finding {
    let name = "channel binding";
    if !requires_channel_binding(url) {
        return Finding::ok(name, "not required");
    }
    if url.ssl_mode() == SslMode::Disable {
        return Finding::error(name, "required, and there is none without TLS", "sslmode=require in the URL");
    }
    if is_neon_pooler(url) {
        let direct = service(&url.clone().without_neon_pooler());
        return Finding::note(
            name,
            "required on Neon's pooled host: there it may not wake a suspended compute (neondatabase/neon#12897)",
            format!("if connecting times out, leave channel_binding out, or DATABASE_URL=\"{direct}\""),
        );
    }
    Finding::ok(name, "required")
}
