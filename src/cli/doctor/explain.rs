//! What the texts of failed connections mean, and what to do. Codes would not do: Neon's proxy has one for all.

use super::address::{host_of, is_address};
use crate::db::{DatabaseUrl, pooler};

/// The line that fixes it.
pub(super) fn fix(text: &str, url: &DatabaseUrl) -> String {
    if pooler::is_lost_statement(text) {
        return pooler::LOSES_STATEMENTS_FIX.into();
    }
    let has = |part: &str| text.contains(part);
    let (host, role) = (host_of(url), url.config().get_user().unwrap_or_default().to_owned());
    let database = url.config().get_dbname().unwrap_or_default().to_owned();
    if has("Endpoint ID is not specified") || has("channel binding") && is_address(url) && !url.is_local() {
        format!(
            "use the host's name, not its address, so that TLS names the endpoint (SNI); &hostaddr={host} keeps the address"
        )
    } else if has("channel binding") {
        "leave channel_binding=require out: the server, or a pooler such as PgBouncer before it, has none"
            .into()
    } else if has("password missing") {
        format!("write the password into the URL: postgresql://{role}:$PASSWORD@{host}/{database}")
    } else if has("password authentication failed") {
        format!("give the right password; in psql, as an administrator: \\password {role}")
    } else if has("database \"") && has("does not exist") {
        format!("name a database that is there (psql -l), or make it: CREATE DATABASE \"{database}\";")
    } else if has("role \"") && has("does not exist") {
        format!("name a role that is there, or make it: CREATE ROLE \"{role}\" LOGIN PASSWORD '...';")
    } else if has("unsupported startup parameter") {
        "leave options out of the URL and set them on the role: ALTER ROLE ... SET ...".into()
    } else if has("certificate") {
        certificate(text)
    } else if has("no encryption") || has("connection is insecure") {
        "sslmode=require in the URL".into()
    } else if has("does not support TLS") {
        "switch TLS on at the server, or only in a network you trust: sslmode=disable without channel_binding"
            .into()
    } else if has("pg_hba.conf") {
        format!("let {role} in from here in the server's pg_hba.conf")
    } else if has("onnection refused") {
        "look whether the server runs, and correct host and port".into()
    } else if has("lookup") || has("Name or service not known") {
        format!("correct the host {host}; no such name is known")
    } else if has("connections") || has("connection slots") {
        "smaller DATABASE_POOL_SIZE and DATABASE_POOL_OVERFLOW, or fewer processes".into()
    } else if has("timed out") {
        format!(
            "look whether a firewall is between, and whether {host} is right; DATABASE_CONNECT_TIMEOUT=30s if it wakes up slowly"
        )
    } else if has("ontrol plane") || has("quota") || has("compute node") {
        "look at the endpoint in Neon's console: whether it is there, enabled and within its quota".into()
    } else {
        "see what the server's log says at this time".into()
    }
}

fn certificate(text: &str) -> String {
    if text.contains("UnknownIssuer") {
        "sslrootcert=/path/to/ca.pem in the URL, with the authority that signed it (sslrootcert=system for the system's)".into()
    } else if text.contains("not valid for name") || text.contains("NotValidForName") {
        "use the host name that the certificate is for (hostaddr=ADDRESS keeps the address), or sslmode=verify-ca".into()
    } else if text.contains("xpired") || text.contains("not valid yet") || text.contains("NotValidYet") {
        "renew the server's certificate; if it is in date, set this machine's clock".into()
    } else {
        "give the server a certificate of an authority that is trusted here, or name it with sslrootcert=/path/to/ca.pem".into()
    }
}
