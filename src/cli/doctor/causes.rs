//! Known causes of failed connections, by the text of the error: Neon's proxy uses one SQLSTATE for all of them.

use super::address::{fill, is_ip_address};
use crate::db::{DatabaseUrl, pooler};

const NO_SNI: &str = "Endpoint ID is not specified";

/// Parts of errors (`&`: all of them, `|`: one of them) and the fix. The first row that fits counts.
#[rustfmt::skip] // A table is easier to read with a row on one or two lines.
const CAUSES: [(&str, &str); 20] = [
    (NO_SNI, "use the host name, so that TLS names the endpoint (SNI); &hostaddr={host} keeps the address"),
    ("channel binding", "remove channel_binding=require: the server, or a pooler such as PgBouncer in front of it, does not support it"),
    ("password missing", "add it to the URL: postgresql://{user}:$PASSWORD@{host}/{database}"),
    ("password authentication failed", "correct it; or set it, as an administrator in psql: \\password {user}"),
    ("database \" & does not exist", "use an existing one (psql -l), or create it: CREATE DATABASE \"{database}\";"),
    ("role \" & does not exist", "use an existing one, or create it: CREATE ROLE \"{user}\" LOGIN PASSWORD '...';"),
    ("permission denied & __diesel", "GRANT SELECT ON __diesel_schema_migrations TO \"{user}\";"),
    ("unsupported startup parameter", "remove options from the URL and set them on the role: ALTER ROLE ... SET ..."),
    ("certificate & UnknownIssuer",
        "trust the authority that signed it: sslrootcert=/path/to/ca.pem in the URL (sslrootcert=system for the system's)"),
    ("certificate & not valid for name|NotValidForName",
        "use the certificate's host name (hostaddr=ADDRESS keeps the address), or sslmode=verify-ca"),
    ("certificate & xpired|not valid yet|NotValidYet",
        "renew the server's certificate; if it is in date, correct this machine's clock"),
    ("certificate", "use one of an authority that is trusted here, or trust its own: sslrootcert=/path/to/ca.pem"),
    ("no encryption|connection is insecure", "sslmode=require in the URL"),
    ("does not support TLS",
        "enable TLS on the server or, only in a trusted network, sslmode=disable without channel_binding"),
    ("pg_hba.conf", "allow {user} to connect from here in the server's pg_hba.conf"),
    ("onnection refused", "check that the server runs, and correct host and port"),
    ("lookup|Name or service not known", "correct the host {host}: the name does not resolve"),
    ("connections|connection slots", "reduce DATABASE_POOL_SIZE and DATABASE_POOL_OVERFLOW, or run fewer processes"),
    ("timed out",
        "check for a firewall, and that {host} is correct; DATABASE_CONNECT_TIMEOUT=30s if it wakes up slowly"),
    ("ontrol plane|quota|compute node", "check in Neon's console that the endpoint exists, is enabled and within its quota"),
];

/// Returns the fix for an error of a connection to `url`.
pub(super) fn fix(error: &str, url: &DatabaseUrl) -> String {
    if pooler::is_lost_statement(error) {
        return pooler::LOSES_STATEMENTS_FIX.into();
    }
    // A server that gets no name in TLS may have no certificate to bind the channel to.
    let is_sni_missing = error.contains("channel binding") && is_ip_address(url) && !url.is_local();
    let error = if is_sni_missing { NO_SNI } else { error };
    let fits = |(parts, _): &&(&str, &str)| {
        parts.split(" & ").all(|part| part.split('|').any(|spelling| error.contains(spelling)))
    };
    fill(CAUSES.iter().find(fits).map_or("check the server's log at this time", |(_, fix)| fix), url)
}
