//! How a URL is written, and what it should be.

use super::report::Finding;
use crate::db::{DatabaseUrl, SslMode};

/// Parameters of libpq, and so of the diesel CLI, that have no meaning here.
const LIBPQ_ONLY: [&str; 22] = [
    "dbname",
    "gssdelegation",
    "gsslib",
    "host",
    "krbsrvname",
    "max_protocol_version",
    "min_protocol_version",
    "passfile",
    "password",
    "port",
    "replication",
    "require_auth",
    "requirepeer",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslkey",
    "user",
];

/// What to use for a URL that can't even be guessed at.
const FORM: &str = "postgresql://user:$PASSWORD@host/database?sslmode=require";

/// Reads a setting, and where its spelling is wrong tries what was probably meant.
pub(super) fn read(setting: &'static str, text: &str) -> (Option<DatabaseUrl>, Finding) {
    let text = text.trim();
    let mut mistakes = Vec::new();
    let meant = repair(text, &mut mistakes);
    let host_part = meant.split('?').next().unwrap_or_default();
    let unclear = host_part.matches('@').count() > 1;
    let parsed = if unclear { Err("has more than one @".to_owned()) } else { DatabaseUrl::parse(&meant) };
    match (parsed, DatabaseUrl::parse(text)) {
        (Ok(url), Ok(_)) => {
            let finding = Finding::ok(setting, service(&url));
            (Some(url), finding)
        }
        (Ok(url), Err(_)) => {
            let fix = format!("{setting}=\"{}\"", service(&url));
            (Some(url), Finding::error(setting, mistakes.join("; "), fix))
        }
        (Err(reason), _) => {
            let fix = format!(
                "{setting}=\"{FORM}\", with %40 for @ in the password, %2F for /, %3F for ?, %23 for #"
            );
            (None, Finding::error(setting, reason, fix))
        }
    }
}

/// What was probably meant; a list of the differences, without values that may be secret.
fn repair(text: &str, mistakes: &mut Vec<String>) -> String {
    let bare = text.strip_prefix("psql ").unwrap_or(text).trim().trim_matches(['\'', '"']);
    if bare != text {
        mistakes.push("has quotes or a command around the URL".into());
    }
    let (scheme, rest) = bare.split_once("://").unwrap_or(("", bare));
    let scheme = match scheme {
        "postgres" | "postgresql" => scheme,
        _ if scheme.contains("postgres") => {
            mistakes.push("must begin with postgresql:// alone".into());
            "postgresql"
        }
        _ => return bare.to_owned(),
    };
    let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
    // What follows a question mark in a password is none of our parameters, and must not be shown.
    if query.contains('@') {
        return bare.to_owned();
    }
    let mut kept: Vec<String> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match parameter(pair) {
            Ok(pair) => kept.push(pair),
            Err((mistake, instead)) => {
                mistakes.push(mistake);
                kept.extend(instead);
            }
        }
    }
    let question = if kept.is_empty() { "" } else { "?" };
    format!("{scheme}://{base}{question}{}", kept.join("&"))
}

/// A parameter, or what is wrong with it and what to write instead.
fn parameter(pair: &str) -> Result<String, (String, Option<String>)> {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    let readable = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !readable {
        return Err(("has a parameter that is none".into(), None));
    }
    match key {
        "sslmode" if !MODES.contains(&value) => {
            let normal = value.to_ascii_lowercase().replace('_', "-");
            let meant = MODES.into_iter().find(|mode| *mode == normal).unwrap_or("require");
            Err((
                format!("has a wrong sslmode: {} are allowed", MODES.join(", ")),
                Some(format!("sslmode={meant}")),
            ))
        }
        "ssl" => Err(("has ssl, which is called sslmode".into(), Some("sslmode=require".into()))),
        _ if DatabaseUrl::takes(key) => Ok(pair.to_owned()),
        "statement_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => Err((
            format!("has the parameter {key}, which belongs to the role (ALTER ROLE ... SET {key})"),
            None,
        )),
        "connection_limit" | "pool_timeout" | "pool_size" => Err((
            format!("has the parameter {key}; DATABASE_POOL_SIZE and DATABASE_POOL_TIMEOUT set that"),
            None,
        )),
        _ if LIBPQ_ONLY.contains(&key) => Err((
            format!("has the parameter {key}, which libpq and the diesel CLI take and this service does not"),
            None,
        )),
        _ => Err((format!("has the unknown parameter {key}"), None)),
    }
}

const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// The URL for this service.
pub(super) fn service(url: &DatabaseUrl) -> String {
    let (base, parameters) = url.without_password();
    join(&base, parameters.iter().map(|(key, value)| format!("{key}={value}")).collect())
}

/// The same URL in the words of libpq: some of the driver's parameters have other names or units there, and a mode
/// that this service takes for more protection than libpq does is named outright.
pub(super) fn libpq(url: &DatabaseUrl) -> String {
    let (base, written) = url.without_password();
    let authorities = written.iter().find(|(key, _)| *key == "sslrootcert").map(|(_, value)| *value);
    let mut parameters = Vec::new();
    for (key, value) in &written {
        match *key {
            "sslmode" | "pgbouncer" => {}
            "keepalives_retries" => parameters.push(format!("keepalives_count={value}")),
            "tcp_user_timeout" => parameters.push(format!("{key}={value}000")),
            _ => parameters.push(format!("{key}={value}")),
        }
    }
    let mode = match url.ssl_mode() {
        SslMode::Disable => "disable",
        SslMode::Prefer => "prefer",
        SslMode::VerifyCa => "verify-ca",
        // libpq looks for a file of authorities that nobody has, and understands `system` from version 16.
        SslMode::VerifyFull if authorities.is_none() && written.contains(&("sslmode", "verify-full")) => {
            "verify-full&sslrootcert=system"
        }
        SslMode::VerifyFull if authorities.is_none() => "require",
        SslMode::VerifyFull => "verify-full",
    };
    parameters.insert(0, format!("sslmode={mode}"));
    join(&base, parameters)
}

fn join(base: &str, parameters: Vec<String>) -> String {
    let question = if parameters.is_empty() { "" } else { "?" };
    format!("{base}{question}{}", parameters.join("&"))
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn what_was_meant_is_proposed_without_the_password() {
        for (text, expected) in [
            (
                "postgres://u:hunter2@h/db?sslmode=verify_full",
                "postgres://u:$PASSWORD@h/db?sslmode=verify-full",
            ),
            ("postgres://u:hunter2@h/db?sslmode=on", "postgres://u:$PASSWORD@h/db?sslmode=require"),
            ("postgres://u:hunter2@h/db?ssl=true", "postgres://u:$PASSWORD@h/db?sslmode=require"),
            ("postgres://u:hunter2@h/db?statement_timeout=5", "postgres://u:$PASSWORD@h/db"),
            (
                "postgres://u:hunter2@h/db?sslcert=x&sslmode=require",
                "postgres://u:$PASSWORD@h/db?sslmode=require",
            ),
            ("psql 'postgresql://u:hunter2@h/db'", "postgresql://u:$PASSWORD@h/db"),
            ("jdbc:postgresql://u:hunter2@h/db", "postgresql://u:$PASSWORD@h/db"),
        ] {
            let (url, finding) = read("DATABASE_URL", text);
            assert_eq!(finding.status, Status::Error, "{text}");
            assert_eq!(finding.fix.unwrap(), format!("DATABASE_URL=\"{expected}\""), "{text}");
            assert!(url.is_some() && !finding.found.contains("hunter2"), "{}", finding.found);
        }
    }

    #[test]
    fn a_password_with_special_characters_is_not_shown() {
        for text in [
            "postgres://u:hunter2?x=1@h/db",
            "postgres://u:hunter2/@h/db?y=2",
            "postgres://u:p@hunter2@h/db",
            "hunter2",
            "mysql://u:hunter2@h/db",
        ] {
            let (_, finding) = read("DATABASE_URL", text);
            let shown = format!("{finding:?}");
            assert!(!shown.contains("hunter2"), "{text}: {shown}");
        }
    }

    #[test]
    fn the_diesel_cli_gets_libpqs_words() {
        let url = |query: &str| libpq(&DatabaseUrl::parse(&format!("postgres://u:p@h/db{query}")).unwrap());
        assert_eq!(url(""), "postgres://u:$PASSWORD@h/db?sslmode=require");
        assert_eq!(
            url("?sslmode=require&sslrootcert=system&channel_binding=require"),
            "postgres://u:$PASSWORD@h/db?sslmode=verify-full&sslrootcert=system&channel_binding=require"
        );
        assert_eq!(
            url("?sslmode=disable&keepalives_retries=3&tcp_user_timeout=5&pgbouncer=true"),
            "postgres://u:$PASSWORD@h/db?sslmode=disable&keepalives_count=3&tcp_user_timeout=5000"
        );
    }
}
