//! Known causes of failed connections, by SQLSTATE, and by text where there is none: Neon's proxy and PgBouncer use one
//! SQLSTATE for everything, and TLS and the network have none.

use std::time::Duration;

use super::address::{fill, has_authority, is_ip_address, is_neon_host, is_neon_pooler};
use crate::db::{DatabaseUrl, pooler};

const NO_SNI: &str = "Endpoint ID is not specified";

/// A cause: URLs that it applies to, parts of the error in lower case (`&`: all of them, `|`: one of them), and the fix.
type Cause = (fn(&DatabaseUrl) -> bool, &'static str, &'static str);

/// The first row that fits counts.
#[rustfmt::skip] // A table is easier to read with a row on one or two lines.
const CAUSES: [Cause; 53] = [
    // The URL's files.
    (any, "sslrootcert=system", "install this system's certificate authorities (package ca-certificates), or sslrootcert=/path/to/ca.pem"),
    (any, "sslrootcert: ",
        "put the certificate of the authority that signed the server's into {authority}, as PEM (-----BEGIN CERTIFICATE-----) and readable \
         for this user; or correct sslrootcert in the URL"),
    // Neon's proxy.
    (any, "endpoint id is not specified", "use the host name, so that TLS names the endpoint (SNI); &hostaddr={host} keeps the address"),
    (any, "endpoint is disabled|endpoint has been disabled",
        "enable the endpoint by Neon's API: curl -X PATCH https://console.neon.tech/api/v2/projects/$PROJECT_ID/endpoints/{endpoint} \
         -H \"Authorization: Bearer $NEON_API_KEY\" -H \"Content-Type: application/json\" -d '{\"endpoint\":{\"disabled\":false}}'"),
    (any, "endpoint|project|branch & cannot be found|could not be found|not found",
        "there is no endpoint {endpoint}, perhaps no more: copy the URL of the branch from Neon's console (Connect)"),
    (any, "vpc endpoint", "allow the VPC endpoint in Neon's console (Settings > Network Security)"),
    (any, "blocked network", "allow connections from this network in Neon's console (Settings > Network Security)"),
    (any, "ip address & not allowed", "add this machine's address to the allowed ones in Neon's console (Settings > Network Security > IP Allow)"),
    (any, "concurrently active endpoints|active_endpoints_limit|active endpoints limit",
        "suspend another compute of the project in Neon's console (Branches), or have Neon raise the limit"),
    (any, "too many connections to this endpoint",
        "wait a minute, as Neon limits logins per endpoint; then reduce DATABASE_POOL_OVERFLOW, or run fewer processes"),
    (any, "too many connections attempts|failed to acquire permit|rate limit|rate_limit",
        "wait a minute, as Neon limits how often an endpoint is asked for; then start fewer processes at once"),
    (any, "concurrency limit|concurrency_limit|running operations|running_operations|lock_already_taken",
        "wait a minute: Neon is changing the project (Operations in its console)"),
    (any, "temporarily unavailable & quota",
        "compare the project's usage with its limits in Neon's console (Billing), and upgrade the plan; if it is within them, it may be under \
         maintenance: wait some minutes, and see https://neonstatus.com"),
    (any, "maintenance", "wait some minutes, as Neon ends the maintenance by itself; https://neonstatus.com tells more"),
    (any, "quota|exceeded the",
        "raise the limit in Neon's console (Billing: upgrade the plan; or the project's quota), or wait for the next billing period"),
    (any, "couldn't connect to compute",
        "try again: the compute did not start in time; if it never does, see Operations in Neon's console and https://neonstatus.com"),
    (any, "control plane request failed|console request failed",
        "try again in a minute; if it lasts, see the endpoint {endpoint} in Neon's console, and https://neonstatus.com"),
    (is_neon_host, "sqlstate=28p01|password authentication failed",
        "copy the URL from Neon's console (Connect): Neon answers so to a wrong password, and to an unknown endpoint or role"),
    (is_unpooled_neon, "sqlstate=53300|connection slots|too many connections|too many clients", "use Neon's pooler: DATABASE_URL=\"{pooled}\""),
    // PgBouncer.
    (any, "unsupported startup parameter", "remove options from the URL and set them on the role: ALTER ROLE {role} SET ..."),
    (any, "no more connections allowed", "raise max_client_conn in pgbouncer.ini, or run fewer processes"),
    (any, "no such database", "add {database} to [databases] in pgbouncer.ini"),
    (any, "no such user", "add {user} to PgBouncer's auth_file"),
    // TLS.
    (any, "channel binding", "remove channel_binding=require: the server, or a pooler such as PgBouncer in front of it, does not support it"),
    (has_authority, "certificate & unknownissuer|badsignature",
        "sslrootcert={authority} holds another authority: put the certificate of the one that signed the server's there"),
    (any, "certificate & unknownissuer",
        "trust the authority that signed it: sslrootcert=/path/to/ca.pem in the URL (sslrootcert=system for the system's)"),
    (any, "certificate & not valid for name|notvalidforname",
        "use the certificate's host name (hostaddr=ADDRESS keeps the address), or sslmode=verify-ca"),
    (any, "certificate & xpired|not valid yet|notvalidyet", "renew the server's certificate; if it is in date, correct this machine's clock"),
    (any, "certificate & causedasendentity",
        "give the server a certificate of its own, signed by the authority: it presents the authority's"),
    (any, "certificate", "use one of an authority that is trusted here, or trust its own: sslrootcert=/path/to/ca.pem"),
    (any, "no encryption|connection is insecure", "sslmode=require in the URL"),
    (any, "does not support tls", "enable TLS on the server or, only in a trusted network, sslmode=disable without channel_binding"),
    // Logins to PostgreSQL, which have an SQLSTATE.
    (any, "pg_hba.conf", "allow {user} to connect from here in the server's pg_hba.conf; then: SELECT pg_reload_conf();"),
    (any, "password missing", "add it to the URL: postgresql://{user}:$PASSWORD@{host}/{database}"),
    (any, "sqlstate=28p01|password authentication failed",
        "correct it; or set it, as an administrator in psql: \\password {user} (also if it has expired: ALTER ROLE {role} VALID UNTIL 'infinity';)"),
    (any, "not permitted to log in", "ALTER ROLE {role} LOGIN;"),
    (any, "role \" & does not exist", "use an existing one, or create it: CREATE ROLE {role} LOGIN PASSWORD '...';"),
    (any, "authentication failed for user",
        "have the server's pg_hba.conf ask {user} for a password (scram-sha-256) from here; then: SELECT pg_reload_conf();"),
    (any, "sqlstate=28000", "ALTER ROLE {role} LOGIN; if the role does not exist: CREATE ROLE {role} LOGIN PASSWORD '...';"),
    (any, "sqlstate=3d000|database \"\" does not exist",
        "use an existing one (psql -l), or create it: CREATE DATABASE {db} ENCODING 'UTF8' TEMPLATE template0;"),
    (any, "sqlstate=42501|permission denied for database", "GRANT CONNECT ON DATABASE {db} TO {role};"),
    (any, "sqlstate=55000|not currently accepting connections", "ALTER DATABASE {db} ALLOW_CONNECTIONS true;"),
    (any, "conversion between & not supported",
        "create a database in UTF8, and have the URL lead there: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C';"),
    (any, "too many connections for role",
        "ALTER ROLE {role} CONNECTION LIMIT -1; or reduce DATABASE_POOL_SIZE and DATABASE_POOL_OVERFLOW, or run fewer processes"),
    (any, "too many connections for database",
        "ALTER DATABASE {db} CONNECTION LIMIT -1; or reduce DATABASE_POOL_SIZE and DATABASE_POOL_OVERFLOW, or run fewer processes"),
    (any, "sqlstate=53300|connection slots|too many connections|too many clients",
        "reduce DATABASE_POOL_SIZE and DATABASE_POOL_OVERFLOW, run fewer processes, put a pooler such as PgBouncer in front, or raise the server's \
         max_connections; an administrator sees who holds the connections:\n\
         SELECT usename, application_name, client_addr, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC;"),
    (any, "sqlstate=57p03|the database system is", "wait until the server has started; its log tells how far it is"),
    (any, "server login has been failing|server_login_retry|pgbouncer cannot connect|query_wait_timeout",
        "check that PostgreSQL runs behind PgBouncer, whose log names the cause"),
    // The network.
    (any, "connection refused", "start the server, or correct host and port, {host}:{port}"),
    (any, "lookup|name or service not known|no address associated", "correct the host {host}: the name does not resolve"),
    (any, "no such file", "start the server, or correct the socket's directory, {host}"),
    (any, "timed out", "check for a firewall, and that {host} is correct; DATABASE_CONNECT_TIMEOUT=30s if it wakes up slowly"),
    (any, "connection closed|unexpected eof|connection reset",
        "see the log of the server, or of a proxy before it, at this time; and check that {host}:{port} is PostgreSQL's"),
];

/// Errors of a compute of Neon that wakes up, and the time for which they may last.
const WAKING: &str = "timed out|couldn't connect to compute|running operations|concurrency limit|connection closed|\
    unexpected eof|connection reset";
pub(super) const WAKE_LIMIT: Duration = Duration::from_secs(24);
/// Errors of any server that pass by themselves, and the time for which they are waited for.
const PASSING: &str = "sqlstate=53300|too many clients|connection slots|sqlstate=57p03|the database system is|\
    too many connections to this endpoint";
const PASSING_LIMIT: Duration = Duration::from_secs(5);

/// Returns the fix for an error of a connection to `url`.
pub(super) fn fix(error: &str, url: &DatabaseUrl) -> String {
    if pooler::is_lost_statement(error) {
        return pooler::LOSES_STATEMENTS_FIX.into();
    }
    let error = comparable(error);
    // A server that gets no name in TLS may have no certificate to bind the channel to.
    let is_sni_missing = error.contains("channel binding") && is_ip_address(url) && !url.is_local();
    let error = if is_sni_missing { NO_SNI.to_lowercase() } else { error };
    let found = CAUSES.iter().find(|(applies, parts, _)| fits(&error, parts) && applies(url));
    fill(found.map_or("check the server's log at this time", |(.., fix)| fix), url)
}

/// Returns the time within which another attempt may succeed without any change; zero if that is unlikely.
pub(super) fn patience(error: &str, url: &DatabaseUrl) -> Duration {
    let error = comparable(error);
    if is_neon_host(url) && (fits(&error, WAKING) || error.ends_with("request failed")) {
        WAKE_LIMIT
    } else if fits(&error, PASSING) {
        PASSING_LIMIT
    } else {
        Duration::ZERO
    }
}

/// Adds the SQLSTATE to an error, unless it says nothing.
pub(super) fn with_sqlstate(error: String, sqlstate: Option<String>) -> String {
    match sqlstate {
        Some(code) if !["XX000", "08P01"].contains(&code.as_str()) => format!("{error} (SQLSTATE={code})"),
        _ => error,
    }
}

/// Returns the error in lower case and without quoted names, which may be those of anything.
fn comparable(error: &str) -> String {
    let parts = error.split('"').enumerate();
    let unquoted: Vec<_> = parts.map(|(index, part)| if index % 2 == 0 { part } else { "" }).collect();
    unquoted.join("\"").to_lowercase()
}

fn fits(error: &str, parts: &str) -> bool {
    parts.split(" & ").all(|part| part.split('|').any(|spelling| error.contains(spelling)))
}

fn any(_: &DatabaseUrl) -> bool {
    true
}

fn is_unpooled_neon(url: &DatabaseUrl) -> bool {
    is_neon_host(url) && !is_neon_pooler(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEON: &str = "postgresql://u:p@ep-x-1.eu-central-1.aws.neon.tech/db?sslmode=require";
    const OTHER: &str = "postgresql://app:p@db.example.com:5433/todos?sslrootcert=/etc/ca%20s.pem";

    fn assert_fix(url: &str, error: &str, parts: &[&str]) {
        let fix = fix(error, &DatabaseUrl::parse(url).unwrap());
        for part in parts {
            assert!(fix.contains(part), "{error}: {fix}");
        }
        assert!(!fix.contains('{') || fix.contains("-d '{"), "{error}: {fix}");
    }

    #[test]
    fn what_neons_proxy_says_has_its_fix() {
        let requests = "ERROR: Control plane request failed";
        for (error, parts) in [
            (
                &*format!("{requests}: endpoint is disabled"),
                &["enable", "endpoints/ep-x-1 ", "\"disabled\":false"][..],
            ),
            (
                "ERROR: The endpoint has been disabled. Enable it using Neon API and retry.",
                &["\"disabled\":false"],
            ),
            (&format!("{requests}: endpoint cannot be found"), &["no endpoint ep-x-1", "Neon's console"]),
            (
                "ERROR: The requested endpoint could not be found, or you don't have access to it.",
                &["no endpoint ep-x-1"],
            ),
            (
                &format!(
                    "{requests}: endpoint is temporarily unavailable. Check your quotas and/or contact our support."
                ),
                &["Billing", "maintenance"],
            ),
            (requests, &["try again", "neonstatus.com"]),
            (
                "ERROR: This IP address 192.0.2.7 is not allowed to connect to this endpoint. Please add it to the allowed list",
                &["IP Allow"],
            ),
            (
                "ERROR: This connection is trying to access this endpoint from a blocked network.",
                &["Network Security"],
            ),
            (
                "ERROR: This VPC endpoint id vpce-1 is not allowed to connect to this endpoint.",
                &["VPC endpoint"],
            ),
            (
                "ERROR: Too many connections to this endpoint. Please try again later.",
                &["wait a minute", "DATABASE_POOL_OVERFLOW"],
            ),
            ("ERROR: Too many connections attempts", &["wait a minute", "fewer processes"]),
            (
                "ERROR: Failed to acquire permit to connect to the database. Too many database connection attempts",
                &["wait a minute"],
            ),
            ("ERROR: RATE_LIMIT_EXCEEDED", &["wait a minute"]),
            ("ERROR: CONCURRENCY_LIMIT_REACHED", &["wait a minute", "Operations"]),
            ("ERROR: PROJECT_UNDER_MAINTENANCE", &["maintenance", "wait some minutes"]),
            ("ERROR: project is currently under maintenance", &["maintenance", "wait some minutes"]),
            (
                "ERROR: Your account or project has exceeded the compute time quota. Upgrade your plan",
                &["upgrade", "Billing"],
            ),
            (
                "ERROR: You have exceeded the limit of concurrently active endpoints.",
                &["suspend another compute"],
            ),
            ("ERROR: Couldn't connect to compute node", &["try again", "Operations"]),
            ("ERROR: password authentication failed for user 'u'", &["Neon's console", "unknown endpoint"]),
            ("FATAL: sorry, too many clients already", &["@ep-x-1-pooler.eu-central-1.aws.neon.tech/db"]),
            (
                "FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute",
                &["-pooler."],
            ),
        ] {
            assert_fix(NEON, error, parts);
            assert_fix(NEON, &error.to_uppercase(), parts);
        }
    }

    #[test]
    fn a_refused_login_has_its_fix_in_every_language() {
        for (error, parts) in [
            (
                "FATAL: Passwort-Authentifizierung fehlgeschlagen (SQLSTATE=28P01)",
                &["\\password app", "VALID UNTIL"][..],
            ),
            (
                "FATAL: role \"app\" is not permitted to log in (SQLSTATE=28000)",
                &["ALTER ROLE \"app\" LOGIN;"],
            ),
            (
                "FATAL: Rolle »app« hat keine Berechtigung zum Einloggen (SQLSTATE=28000)",
                &["ALTER ROLE \"app\" LOGIN;"],
            ),
            (
                "FATAL: Peer authentication failed for user \"app\" (SQLSTATE=28000)",
                &["pg_hba.conf", "scram-sha-256"],
            ),
            (
                "FATAL: server login has been failing, cached error: role \"app\" is not permitted to log in (server_login_retry)",
                &["ALTER ROLE \"app\" LOGIN;"],
            ),
            (
                "FATAL: server login has been failing, cached error: connect failed (server_login_retry)",
                &["behind PgBouncer"],
            ),
            ("FATAL: kein pg_hba.conf-Eintrag für Host (SQLSTATE=28000)", &["pg_hba.conf", "pg_reload_conf"]),
            ("FATAL: Datenbank »todos« existiert nicht (SQLSTATE=3D000)", &["CREATE DATABASE \"todos\""]),
            (
                "FATAL: keine Berechtigung für Datenbank »todos« (SQLSTATE=42501)",
                &["GRANT CONNECT ON DATABASE \"todos\" TO \"app\";"],
            ),
            (
                "FATAL: Datenbank »todos« akzeptiert keine Verbindungen (SQLSTATE=55000)",
                &["ALLOW_CONNECTIONS true"],
            ),
            (
                "FATAL: tut mir leid, schon zu viele Verbindungen (SQLSTATE=53300)",
                &["max_connections", "pg_stat_activity"],
            ),
            (
                "FATAL: sorry, too many clients already (SQLSTATE=53300)",
                &["DATABASE_POOL_SIZE", "max_connections", "PgBouncer"],
            ),
            (
                "FATAL: too many connections for role \"app\" (SQLSTATE=53300)",
                &["ALTER ROLE \"app\" CONNECTION LIMIT"],
            ),
            (
                "FATAL: too many connections for database \"todos\"",
                &["ALTER DATABASE \"todos\" CONNECTION LIMIT"],
            ),
            ("FATAL: das Datenbanksystem startet (SQLSTATE=57P03)", &["wait until the server has started"]),
            ("FATAL: database \"maintenance quota\" does not exist", &["CREATE DATABASE"]),
        ] {
            assert_fix(OTHER, error, parts);
        }
    }

    #[test]
    fn a_missing_or_wrong_file_of_authorities_is_named() {
        for (error, parts) in [
            (
                "sslrootcert: /etc/ca s.pem can't be read: No such file or directory",
                &["into /etc/ca s.pem,", "PEM"][..],
            ),
            ("sslrootcert: /etc/ca s.pem holds no certificate", &["into /etc/ca s.pem,"]),
            ("sslrootcert: /etc/ca s.pem is not PEM: x", &["into /etc/ca s.pem,"]),
            (
                "error performing TLS handshake: invalid peer certificate: UnknownIssuer",
                &["sslrootcert=/etc/ca s.pem holds another"],
            ),
            ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", &["certificate of its own"]),
        ] {
            assert_fix(OTHER, error, parts);
        }
        assert_fix(NEON, "invalid peer certificate: UnknownIssuer", &["sslrootcert=/path/to/ca.pem"]);
    }

    #[test]
    fn only_failures_that_pass_by_themselves_are_retried() {
        for (url, error, limit) in [
            (NEON, "timed out connecting", WAKE_LIMIT),
            (NEON, "ERROR: Couldn't connect to compute node", WAKE_LIMIT),
            (NEON, "ERROR: Control plane request failed", WAKE_LIMIT),
            (NEON, "ERROR: Control plane request failed: endpoint is disabled", Duration::ZERO),
            (NEON, "ERROR: Too many connections to this endpoint. Please try again later.", PASSING_LIMIT),
            (NEON, "ERROR: password authentication failed for user 'u'", Duration::ZERO),
            (NEON, "ERROR: Your project has exceeded the data transfer quota.", Duration::ZERO),
            (OTHER, "timed out connecting", Duration::ZERO),
            (OTHER, "FATAL: zu viele Verbindungen (SQLSTATE=53300)", PASSING_LIMIT),
            (OTHER, "FATAL: the database system is starting up (SQLSTATE=57P03)", PASSING_LIMIT),
            (OTHER, "error connecting to server: Connection refused (os error 111)", Duration::ZERO),
        ] {
            assert_eq!(patience(error, &DatabaseUrl::parse(url).unwrap()), limit, "{error}");
        }
    }
}
