use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::{Config, Host, SslMode as DriverSslMode};

/// A PostgreSQL URL as libpq spells it, checked and split into what the driver and TLS need.
///
/// `Debug` shows host and database only.
#[derive(Clone)]
pub struct DatabaseUrl {
    pub(super) config: Config,
    pub(super) ssl_mode: SslMode,
    pub(super) root_certificates: RootCertificates,
    text: SecretString,
}

/// The protection of a connection, in libpq's words, after the host has been considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS with a verified certificate, or else no TLS. For hosts on this machine only.
    Prefer,
    /// TLS with a certificate from a trusted authority, for any host name.
    VerifyCa,
    /// TLS with a certificate from a trusted authority for this host name.
    VerifyFull,
}

/// The trusted certificate authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RootCertificates {
    /// Mozilla's list for the web.
    Web,
    /// The operating system's list.
    System,
    /// A PEM file.
    File(PathBuf),
}

/// Parameters of libpq that are ignored: TLS always sends SNI, and text is always UTF-8.
const IGNORED: [&str; 5] =
    ["client_encoding", "fallback_application_name", "gssencmode", "pgbouncer", "sslsni"];

/// Defaults that have the kernel notice a dead connection within 5 seconds, so that nothing else has to.
///
/// `tcp_user_timeout` (in seconds here) is for data that the other side does not acknowledge; without it a request into a
/// black hole waits for TCP's own limit, about 15 minutes. It ends unanswered keepalives as well, so these are for a
/// connection that waits for an answer or idles: three are sent in the same 5 seconds. They are no queries and keep no
/// database awake. Without them such a connection is probed after two hours.
const DEFAULTS: [&str; 5] = [
    "application_name=todo-api",
    "keepalives_idle=2",
    "keepalives_interval=1",
    "keepalives_retries=3",
    "tcp_user_timeout=5",
];

/// Parameters that are passed on, as the error about an unknown one lists them.
const ALLOWED: &str = "sslmode, sslrootcert, channel_binding, sslnegotiation, options, application_name, \
    connect_timeout, tcp_user_timeout, keepalives, keepalives_idle, keepalives_interval, keepalives_retries, \
    hostaddr, target_session_attrs, load_balance_hosts";

impl DatabaseUrl {
    /// Parses a URL; the error names the mistake without repeating anything secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with(['"', '\'']) {
            return Err("is in quotes; remove them (docker run --env-file keeps quotes)".into());
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err("must begin with postgresql:// or postgres://".into());
        }
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut kept = Vec::new();
        let mut mode = None;
        let mut root = RootCertificates::Web;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or("has a parameter without a value")?;
            match key {
                "sslmode" => mode = Some(LibpqSslMode::from_str(value)?),
                "sslrootcert" if value == "system" => root = RootCertificates::System,
                "sslrootcert" => root = RootCertificates::File(percent_decode(value)?.into()),
                _ if IGNORED.contains(&key) => {}
                _ if ALLOWED.split(", ").any(|allowed| allowed == key) => kept.push(pair),
                _ => return Err(unknown_parameter(key, query)),
            }
        }
        for default in DEFAULTS {
            let names = |pair: &&str| pair.split('=').next() == default.split('=').next();
            if !kept.iter().any(names) {
                kept.push(default);
            }
        }
        let driver_url = format!("{base}?{}", kept.join("&"));
        let mut config = Config::from_str(&driver_url).map_err(|error| driver_message(&error))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err("names no host".into());
        }
        let ssl_mode = SslMode::resolve(mode, is_local(&config));
        config.ssl_mode(match ssl_mode {
            SslMode::Disable => DriverSslMode::Disable,
            SslMode::Prefer => DriverSslMode::Prefer,
            SslMode::VerifyCa | SslMode::VerifyFull => DriverSslMode::Require,
        });
        Ok(Self { config, ssl_mode, root_certificates: root, text: text.into() })
    }

    /// Bypasses Neon's pooler, whose host has the suffix `-pooler` in the first part of its name, as session locks do not
    /// hold through it. Other URLs stay.
    #[must_use]
    pub fn without_neon_pooler(self) -> Self {
        let Some((first, rest)) = self.config.get_hosts().first().and_then(|host| match host {
            Host::Tcp(name) if is_neon_pooler(name) => name.split_once('.'),
            _ => None,
        }) else {
            return self;
        };
        let direct = first.trim_end_matches("-pooler");
        let host = format!("{direct}.{rest}");
        let text = self.text.expose_secret().replacen(&format!("{first}.{rest}"), &host, 1);
        Self::parse(&text).unwrap_or(self)
    }

    /// Returns the protection of connections.
    pub fn ssl_mode(&self) -> SslMode {
        self.ssl_mode
    }

    /// Returns the driver's settings.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// True if every host is this machine.
    pub(crate) fn is_local(&self) -> bool {
        is_local(&self.config)
    }

    /// True if a URL may have the parameter.
    pub(crate) fn takes(key: &str) -> bool {
        ["sslmode", "sslrootcert"].contains(&key)
            || IGNORED.contains(&key)
            || ALLOWED.split(", ").any(|allowed| allowed == key)
    }

    /// Returns the part before the parameters, with `$PASSWORD` in place of the password, and the parameters as given.
    pub(crate) fn without_password(&self) -> (String, Vec<(&str, &str)>) {
        let text = self.text.expose_secret();
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let (scheme, rest) = base.split_once("://").unwrap_or_default();
        // The last `@`, as the password may contain one.
        let shown = match rest.rsplit_once('@') {
            Some((login, host)) => match login.split_once(':') {
                Some((user, _)) => format!("{user}:$PASSWORD@{host}"),
                None => format!("{login}@{host}"),
            },
            None => rest.to_owned(),
        };
        let parameters = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        (format!("{scheme}://{shown}"), parameters)
    }
}

/// True if a host is Neon's pooler.
pub(super) fn is_neon_pooler(host: &str) -> bool {
    host.ends_with(".neon.tech") && host.split('.').next().is_some_and(|first| first.ends_with("-pooler"))
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseUrl")
            .field("hosts", &self.config.get_hosts())
            .field("database", &self.config.get_dbname())
            .field("ssl_mode", &self.ssl_mode)
            .finish_non_exhaustive()
    }
}

/// `sslmode` as given.
#[derive(Clone, Copy)]
enum LibpqSslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl FromStr for LibpqSslMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => {
                return Err("has a wrong sslmode: disable, allow, prefer, require, verify-ca or \
                            verify-full"
                    .into());
            }
        })
    }
}

impl SslMode {
    /// Resolves `require` to `verify-full`, since encryption without verification does not protect from a server in the
    /// middle. So does `prefer`, the default, wherever the traffic leaves this machine.
    fn resolve(given: Option<LibpqSslMode>, local: bool) -> Self {
        match given.unwrap_or(LibpqSslMode::Prefer) {
            LibpqSslMode::Disable => Self::Disable,
            LibpqSslMode::Allow | LibpqSslMode::Prefer if local => Self::Prefer,
            LibpqSslMode::VerifyCa => Self::VerifyCa,
            _ => Self::VerifyFull,
        }
    }
}

fn is_local(config: &Config) -> bool {
    let named = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    });
    named && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
}

/// Shows the key only if it can't be the rest of a password with a `?` or `&` in it.
fn unknown_parameter(key: &str, query: &str) -> String {
    let plain = !query.contains('@') && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let shown = if plain {
        format!(" {key}")
    } else {
        " (special characters in a password are written %3F, %26, ...)".into()
    };
    format!("has an unknown parameter{shown}; allowed are {ALLOWED}")
}

/// Returns the driver's reason, which names options but never their values.
fn driver_message(error: &tokio_postgres::Error) -> String {
    let reason = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    format!("is not a PostgreSQL URL: {reason}")
}

fn percent_decode(text: &str) -> Result<String, String> {
    // The crate passes broken codes through; libpq refuses them.
    let is_code = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !text.split('%').skip(1).all(is_code) {
        return Err("has a broken percent sign in sslrootcert".into());
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| "has an sslrootcert that is not UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        DatabaseUrl::parse(url).unwrap().ssl_mode()
    }

    #[test]
    fn tls_is_required_for_other_hosts_unless_disabled_by_name() {
        let neon = "postgresql://u:p@ep-x-pooler.eu-central-1.aws.neon.tech/db";
        assert_eq!(mode(neon), SslMode::VerifyFull);
        for (given, meant) in [
            ("disable", SslMode::Disable),
            ("allow", SslMode::VerifyFull),
            ("prefer", SslMode::VerifyFull),
            ("require", SslMode::VerifyFull),
            ("verify-ca", SslMode::VerifyCa),
            ("verify-full", SslMode::VerifyFull),
        ] {
            assert_eq!(mode(&format!("{neon}?sslmode={given}&channel_binding=require")), meant, "{given}");
        }
    }

    #[test]
    fn on_this_machine_tls_is_optional() {
        for host in ["localhost", "127.0.0.1", "[::1]", "%2Fvar%2Frun%2Fpostgresql"] {
            assert_eq!(mode(&format!("postgres://u:p@{host}:5433/db")), SslMode::Prefer, "{host}");
        }
        assert_eq!(mode("postgres://localhost/db?sslmode=require"), SslMode::VerifyFull);
        assert_eq!(mode("postgres://localhost/db?hostaddr=192.0.2.1"), SslMode::VerifyFull);
    }

    #[test]
    fn libpqs_parameters_are_accepted() {
        let url = "postgresql://u:p@h/db?sslmode=verify-full&sslrootcert=%2Ftmp%2Froot%20ca.pem\
            &options=endpoint%3Dep-x&application_name=a&connect_timeout=5&gssencmode=disable";
        let url = DatabaseUrl::parse(url).unwrap();
        assert_eq!(url.root_certificates, RootCertificates::File("/tmp/root ca.pem".into()));
        assert_eq!(url.config.get_options(), Some("endpoint=ep-x"));
    }

    #[test]
    fn neons_pooler_is_bypassed_by_its_direct_host() {
        let host =
            |url: &str| match &DatabaseUrl::parse(url).unwrap().without_neon_pooler().config.get_hosts()[0] {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => panic!("{path:?}"),
            };
        let query = "sslmode=require&channel_binding=require";
        let pooled = format!("postgresql://u:p@ep-x-1-pooler.eu-central-1.aws.neon.tech/db?{query}");
        assert_eq!(host(&pooled), "ep-x-1.eu-central-1.aws.neon.tech");
        assert_eq!(host(&pooled.replace("-pooler", "")), "ep-x-1.eu-central-1.aws.neon.tech");
        assert_eq!(host("postgres://u:p@db-pooler.example.com/db"), "db-pooler.example.com");
    }

    #[test]
    fn errors_name_the_mistake_and_no_secret() {
        for (url, expected) in [
            ("mysql://root:hunter2@h/db", "must begin with"),
            ("postgres://u:hunter2@h/db?sslmode=full", "verify-full"),
            ("postgres://u:hunter2@h/db?statement_timeout=5", "statement_timeout"),
            ("postgres://u:hunter2@h:port/db", "port"),
            ("postgres://u:pass?hunter2@h/db", "without a value"),
            ("postgres://u:pass?hunter2=@h/db", "%3F"),
            ("postgres://u:pass?hunter=two@h/db", "%3F"),
            ("postgres:///db", "no host"),
            ("postgres://u:hunter2@h/db?sslrootcert=50%2", "broken percent sign"),
            ("postgres://u:hunter2@h/db?sslrootcert=%ff", "not UTF-8"),
        ] {
            let message = DatabaseUrl::parse(url).unwrap_err();
            assert!(message.contains(expected), "{url}: {message}");
            assert!(!message.contains("hunter"), "{url}: {message}");
        }
        let url = DatabaseUrl::parse("postgres://u:hunter2@h/db").unwrap();
        assert!(!format!("{url:?}").contains("hunter2"));
    }
}
