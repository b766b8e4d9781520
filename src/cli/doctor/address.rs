//! Checks of a URL, before anything is sent.

use std::net::IpAddr;

use tokio_postgres::config::{ChannelBinding, Host};

use super::report::Report;
use super::report::Severity::{self, Error, Fine, Note, Warning};
use super::spelling;
use crate::db::{DatabaseUrl, SslMode};

/// A judgement: check, severity, condition, found and fix. Its texts may quote the URL, as in `{host}`.
type Rule = (&'static str, Severity, fn(&DatabaseUrl) -> bool, &'static str, &'static str);

/// The first rule of a check that applies is its finding.
#[rustfmt::skip] // A table is easier to read with a row on one or two lines.
const RULES: [Rule; 15] = [
    ("host", Fine, DatabaseUrl::is_local, "{host}, this machine", ""),
    ("host", Error, |url| is_ip_address(url) && looks_like_neon(url),
        "{host} is an IP address: TLS sends no server name (SNI), and Neon cannot identify the endpoint",
        "use the host name, ep-NAME.REGION.aws.neon.tech; &hostaddr={host} keeps the address"),
    ("host", Note, is_ip_address,
        "{host} is an IP address: TLS sends no server name (SNI), and the certificate must be issued for that address",
        "use the server's name as host, and hostaddr={host} if needed"),
    ("host", Warning, |url| looks_like_neon(url) && !is_neon_host(url),
        "{host} does not look like a host of Neon", "copy it from Neon's console: ep-NAME[-pooler].REGION.aws.neon.tech"),
    ("host", Fine, is_neon_pooler, "{host}, Neon's pooler", ""),
    ("host", Fine, |_| true, "{host}", ""),
    ("TLS", Fine, |url| has_no_tls(url) && url.is_local(), "none, on this machine", ""),
    ("TLS", Warning, has_no_tls,
        "none (sslmode=disable): passwords and data can be read on the network", "sslmode=require in the URL"),
    ("TLS", Fine, |url| url.ssl_mode() == SslMode::Prefer, "with a verified certificate, otherwise none", ""),
    ("TLS", Fine, |url| url.ssl_mode() == SslMode::VerifyCa, "required; the host name is not verified", ""),
    ("TLS", Fine, |_| true, "required; certificate and host name are verified", ""),
    ("channel binding", Fine, |url| !requires_channel_binding(url), "not required", ""),
    ("channel binding", Error, has_no_tls, "required, but impossible without TLS", "sslmode=require in the URL"),
    ("channel binding", Note, is_neon_pooler,
        "required on Neon's pooled host, where it may not wake a suspended compute (neondatabase/neon#12897)",
        "if connecting times out, leave channel_binding out, or DATABASE_URL=\"{unpooled}\""),
    ("channel binding", Fine, |_| true, "required", ""),
];

/// Checks the URL without connecting.
pub(super) fn check(url: &DatabaseUrl, report: &mut Report) {
    let mut rules: Vec<_> = RULES.iter().filter(|(_, _, applies, ..)| applies(url)).collect();
    rules.dedup_by_key(|(name, ..)| *name);
    for (name, severity, _, found, fix) in rules {
        report.add(name, *severity, fill(found, url), fill(fix, url));
    }
}

/// Replaces the placeholders of a text by parts of the URL: `{role}` and `{db}` are quoted for SQL.
pub(super) fn fill(text: &str, url: &DatabaseUrl) -> String {
    let user = url.config().get_user().unwrap_or_default();
    // As the server does.
    let database = url.config().get_dbname().unwrap_or(user);
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let host = host_of(url);
    let first_label = host.split('.').next().unwrap_or_default();
    let endpoint = first_label.trim_end_matches("-pooler");
    let shown = spelling::url_for_service(url);
    text.replace("{host}", &host)
        .replace("{port}", &ports(url).first().map(u16::to_string).unwrap_or_default())
        .replace("{user}", user)
        .replace("{role}", &quoted(user))
        .replace("{database}", database)
        .replace("{db}", &quoted(database))
        .replace("{endpoint}", endpoint)
        .replace("{authority}", &authority(url).unwrap_or_default())
        .replace("{pooled}", &shown.replacen(first_label, &format!("{endpoint}-pooler"), 1))
        .replace("{unpooled}", &spelling::url_for_service(&url.clone().without_neon_pooler()))
}

/// Parts of a URL that tell the route to a database.
#[derive(PartialEq)]
pub(super) struct Endpoint<'a> {
    hosts: &'a [Host],
    addresses: &'a [IpAddr],
    ports: Vec<u16>,
    user: Option<&'a str>,
    database: Option<&'a str>,
}

pub(super) fn endpoint(url: &DatabaseUrl) -> Endpoint<'_> {
    let config = url.config();
    Endpoint {
        hosts: config.get_hosts(),
        addresses: config.get_hostaddrs(),
        ports: ports(url),
        user: config.get_user(),
        database: config.get_dbname(),
    }
}

fn ports(url: &DatabaseUrl) -> Vec<u16> {
    let given = url.config().get_ports();
    if given.is_empty() { vec![5432] } else { given.to_vec() }
}

/// Returns the first host, unresolved.
pub(super) fn host_of(url: &DatabaseUrl) -> String {
    match url.config().get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => url.config().get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
    }
}

/// True if the URLs differ in nothing.
pub(super) fn is_same(a: &DatabaseUrl, b: &DatabaseUrl) -> bool {
    a.without_password() == b.without_password() && has_same_password(a, b)
}

pub(super) fn has_same_user(a: &DatabaseUrl, b: &DatabaseUrl) -> bool {
    a.config().get_user() == b.config().get_user()
}

pub(super) fn has_same_password(a: &DatabaseUrl, b: &DatabaseUrl) -> bool {
    a.config().get_password() == b.config().get_password()
}

pub(super) fn is_ip_address(url: &DatabaseUrl) -> bool {
    host_of(url).parse::<IpAddr>().is_ok()
}

pub(super) fn is_neon_pooler(url: &DatabaseUrl) -> bool {
    host_of(url) != host_of(&url.clone().without_neon_pooler())
}

pub(super) fn requires_channel_binding(url: &DatabaseUrl) -> bool {
    url.config().get_channel_binding() == ChannelBinding::Require
}

fn has_no_tls(url: &DatabaseUrl) -> bool {
    url.ssl_mode() == SslMode::Disable
}

pub(super) fn is_neon_host(url: &DatabaseUrl) -> bool {
    let host = host_of(url);
    host.starts_with("ep-") && host.ends_with(".neon.tech")
}

/// True if the URL names a file of certificate authorities.
pub(super) fn has_authority(url: &DatabaseUrl) -> bool {
    authority(url).is_some()
}

fn authority(url: &DatabaseUrl) -> Option<String> {
    let (_, parameters) = url.without_password();
    let file = |(key, value): &(&str, &str)| *key == "sslrootcert" && *value != "system";
    let (_, path) = parameters.into_iter().rfind(file)?;
    Some(percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned())
}

/// True if the URL seems to be meant for Neon, even if its host is wrong.
fn looks_like_neon(url: &DatabaseUrl) -> bool {
    let options = url.config().get_options().unwrap_or_default();
    options.contains("endpoint=")
        || options.contains("project=")
        || url.config().get_user() == Some("neondb_owner")
        || url.config().get_dbname() == Some("neondb")
        || host_of(url).contains("neon")
}
