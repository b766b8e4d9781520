//! The spelling of a URL: repairs for this service, and libpq's form for the diesel CLI.

use super::report::{Report, Severity};
use crate::db::{DatabaseUrl, SslMode};

const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

pub(super) const FORM: &str = "\"postgresql://user:$PASSWORD@host/database?sslmode=require\"";

/// Parameters that do not belong in the URL, with the message and the replacement.
const MISPLACED: [(&str, &str, Option<&str>); 4] = [
    ("ssl", "has ssl, which is called sslmode", Some("sslmode=require")),
    (
        "statement_timeout lock_timeout idle_in_transaction_session_timeout",
        "has the parameter {key}, which belongs to the role (ALTER ROLE ... SET {key})",
        None,
    ),
    (
        "connection_limit pool_timeout pool_size",
        "has the parameter {key}; use DATABASE_POOL_SIZE and DATABASE_POOL_TIMEOUT",
        None,
    ),
    (
        "dbname gssdelegation gsslib host krbsrvname max_protocol_version min_protocol_version passfile password port \
         replication require_auth requirepeer service ssl_max_protocol_version ssl_min_protocol_version sslcert \
         sslcertmode sslcompression sslcrl sslkey user",
        "has the parameter {key}, which libpq and the diesel CLI accept but this service does not",
        None,
    ),
];

/// Parses a setting; if its spelling is wrong, parses what was probably meant.
pub(super) fn read(setting: &str, text: &str, report: &mut Report) -> Option<DatabaseUrl> {
    let text = text.trim();
    let (repaired, mistakes) = repair(text);
    let base = repaired.split('?').next().unwrap_or_default();
    let is_ambiguous = base.matches('@').count() > 1;
    let parsed =
        if is_ambiguous { Err("has more than one @".to_owned()) } else { DatabaseUrl::parse(&repaired) };
    match &parsed {
        Ok(url) if DatabaseUrl::parse(text).is_ok() => {
            report.add(setting, Severity::Fine, url_for_service(url), "");
        }
        Ok(url) => {
            let fix = format!("{setting}=\"{}\"", url_for_service(url));
            report.add(setting, Severity::Error, mistakes.join("; "), fix);
        }
        Err(reason) => {
            let fix =
                format!("{setting}={FORM}, in the password with %40 for @, %2F for /, %3F for ?, %23 for #");
            report.add(setting, Severity::Error, reason, fix);
        }
    }
    parsed.ok()
}

/// Returns the URL with its mistakes repaired, and the mistakes. The mistakes contain no values, which may be secret.
fn repair(text: &str) -> (String, Vec<String>) {
    let mut mistakes = Vec::new();
    let unquoted = text.strip_prefix("psql ").unwrap_or(text).trim().trim_matches(['\'', '"']);
    if unquoted != text {
        mistakes.push("has quotes or a command around the URL".into());
    }
    let Some((scheme, rest)) = unquoted.split_once("://").filter(|(scheme, _)| scheme.contains("postgres"))
    else {
        return (unquoted.to_owned(), mistakes);
    };
    let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
    // Text after a question mark in a password is not a parameter, and must not be shown.
    if query.contains('@') {
        return (unquoted.to_owned(), mistakes);
    }
    let scheme = if ["postgres", "postgresql"].contains(&scheme) {
        scheme
    } else {
        mistakes.push("must begin with postgresql:// alone".into());
        "postgresql"
    };
    let parameters = query.split('&').filter(|pair| !pair.is_empty());
    let parameters = parameters.filter_map(|pair| {
        check_parameter(pair).map_or(Some(pair.to_owned()), |(mistake, replacement)| {
            mistakes.push(mistake);
            replacement
        })
    });
    let parameters: Vec<_> = parameters.collect();
    (join(&format!("{scheme}://{base}"), &parameters), mistakes)
}

/// Returns the mistake in a parameter, if there is one, and its replacement.
fn check_parameter(pair: &str) -> Option<(String, Option<String>)> {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if key == "sslmode" && !MODES.contains(&value) {
        let normal = value.to_ascii_lowercase().replace('_', "-");
        let mode = MODES.into_iter().find(|mode| *mode == normal).unwrap_or("require");
        let mistake = format!("has an invalid sslmode: allowed are {}", MODES.join(", "));
        return Some((mistake, Some(format!("sslmode={mode}"))));
    }
    if !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Some(("has an invalid parameter".into(), None));
    }
    if DatabaseUrl::takes(key) {
        return None;
    }
    let row = MISPLACED.iter().find(|(keys, ..)| keys.split(' ').any(|misplaced| misplaced == key));
    let (_, mistake, replacement) = row.unwrap_or(&("", "has the unknown parameter {key}", None));
    Some((mistake.replace("{key}", key), replacement.map(str::to_owned)))
}

/// Returns the URL for this service, without the password.
pub(super) fn url_for_service(url: &DatabaseUrl) -> String {
    let (base, parameters) = url.without_password();
    let parameters: Vec<_> = parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
    join(&base, &parameters)
}

/// Returns the URL in libpq's spelling, without the password. Some of the driver's parameters have other names or units
/// there, and `sslmode` is explicit, as libpq's `require` protects less than ours.
pub(super) fn url_for_libpq(url: &DatabaseUrl) -> String {
    let (base, given) = url.without_password();
    let has_authorities = given.iter().any(|(key, _)| *key == "sslrootcert");
    let mode = match url.ssl_mode() {
        SslMode::Disable => "disable",
        SslMode::Prefer => "prefer",
        SslMode::VerifyCa => "verify-ca",
        SslMode::VerifyFull if has_authorities => "verify-full",
        // By default libpq reads a file of authorities that is rarely there; it knows `system` from version 16.
        SslMode::VerifyFull if given.contains(&("sslmode", "verify-full")) => {
            "verify-full&sslrootcert=system"
        }
        SslMode::VerifyFull => "require",
    };
    let parameters = given.iter().filter_map(|(key, value)| match *key {
        "sslmode" | "pgbouncer" => None,
        "keepalives_retries" => Some(format!("keepalives_count={value}")),
        "tcp_user_timeout" => Some(format!("{key}={value}000")),
        _ => Some(format!("{key}={value}")),
    });
    let parameters: Vec<_> = std::iter::once(format!("sslmode={mode}")).chain(parameters).collect();
    join(&base, &parameters)
}

fn join(base: &str, parameters: &[String]) -> String {
    let question = if parameters.is_empty() { "" } else { "?" };
    format!("{base}{question}{}", parameters.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repaired_url_is_suggested_without_its_password() {
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
            let mut report = Report::default();
            let url = read("DATABASE_URL", text, &mut report);
            let finding = report.findings.remove(0);
            assert_eq!(finding.severity, Severity::Error, "{text}");
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
            let mut report = Report::default();
            read("DATABASE_URL", text, &mut report);
            let shown = format!("{report:?}");
            assert!(!shown.contains("hunter2"), "{text}: {shown}");
        }
    }

    #[test]
    fn the_diesel_cli_gets_the_url_in_libpqs_spelling() {
        let url =
            |query: &str| url_for_libpq(&DatabaseUrl::parse(&format!("postgres://u:p@h/db{query}")).unwrap());
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
