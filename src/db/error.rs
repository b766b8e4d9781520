use deadpool::managed::PoolError;
use diesel::ConnectionError;
use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::wire::{ServerError, Wire};

/// A database error, classified here only.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection in time, so nothing was done: a later retry may succeed.
    #[error("the database is unavailable: {0}")]
    Unreachable(String),
    /// The server takes no more connections, so one of the open ones has to be waited for.
    #[error("the database takes no more connections: {0}")]
    Crowded(String),
    /// A time limit that passed, or a server that can't work just now: a later retry may succeed.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The connection was lost; the outcome of the work under way is unknown.
    #[error("the connection to the database was lost: {0}")]
    Lost(String),
    /// The server did nothing, for a reason that has passed by now or is the connection's alone: an immediate retry may
    /// succeed.
    #[error("the database refused the work: {0}")]
    Refused(String),
    /// A statement that was prepared before a migration changed its result; the server did nothing.
    #[error("the database refused the work: {0}")]
    StalePlan(String),
    /// A unique index refused a row.
    #[error("the unique index {constraint} of {table} refused the row")]
    UniqueViolation {
        /// Name of the table.
        table: String,
        /// Name of the index.
        constraint: String,
    },
    /// A check refused a row.
    #[error("the check {constraint} refused the row")]
    CheckViolation {
        /// Name of the constraint.
        constraint: String,
    },
    /// The row that a new row refers to is gone.
    #[error("the row that a new row refers to is gone")]
    ForeignKeyViolation,
    /// The work asked for a rollback.
    #[error("the work was rolled back")]
    RolledBack,
    /// Anything else: a bug.
    #[error(transparent)]
    Query(DieselError),
}

/// Meaning of an error that the server raised in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Lost,
    Refused,
    LostStatement,
    StalePlan,
    Unavailable,
    Bug,
}

/// PostgreSQL's function that finds a plan stale. The code alone is that of any unsupported feature.
const FINDS_STALE_PLANS: &str = "RevalidateCachedQuery";

/// PostgreSQL's files that read and write others. They have no code for some failures, such as an exhausted quota.
const STORAGE: [&str; 5] = ["md.c", "fd.c", "slru.c", "buffile.c", "xlog.c"];

/// Messages of PgBouncer while it has no connection to the server. Its errors have one code, and are always English.
const POOLER_WAITS: [&str; 4] = [
    "query_wait_timeout",
    "server login has been failing",
    "pgbouncer cannot connect to server",
    "server_login_retry",
];

/// Messages, in lower case, of a server or a proxy that works but takes no more connections. Neon's proxy has one code
/// for every error before a session begins.
const CROWDED: [&str; 4] =
    ["remaining connection slots", "too many connections", "too many clients", "no more connections allowed"];

/// Follows the reason of an error that a pooler causes.
const POOLER_HINT: &str = "(a pooler may be losing prepared statements: run `todo-api doctor`)";

/// True for the text of an error that a statement was prepared on another connection, or by another client on this one:
/// a pooler in transaction mode does not keep prepared statements.
pub fn is_lost_statement(message: &str) -> bool {
    let named = message.contains("prepared statement \"");
    named && (message.contains("does not exist") || message.contains("already exists"))
        || message.contains("bind message supplies")
        || message.ends_with(POOLER_HINT)
}

impl Meaning {
    /// Classifies by the SQLSTATE (<https://www.postgresql.org/docs/current/errcodes-appendix.html>), as the server may
    /// speak any language.
    fn of(error: &ServerError) -> Self {
        let ServerError { code, routine, file, message } = error;
        match code.as_str() {
            "0A000" if routine == FINDS_STALE_PLANS => Self::StalePlan,
            // The prepared statement is not there, or is there already, or is another one.
            "26000" | "42P05" => Self::LostStatement,
            "08P01" if message.contains("bind message supplies") => Self::LostStatement,
            "08P01" if POOLER_WAITS.iter().any(|text| message.contains(text)) => Self::Unavailable,
            // A deadlock; a serialization failure; a former primary, where a new connection may lead to the present one.
            "40P01" | "40001" | "25006" => Self::Refused,
            // The session ended: while idle, while idle in a transaction, by an administrator, in a crash. A commit just
            // before may have taken effect: Neon's commits wait for other machines, and a server that stops ends that wait.
            "25P03" | "25P04" | "40003" | "57P01" | "57P02" | "57P04" | "57P05" => Self::Lost,
            "55P03" => Self::Unavailable,
            "XX000" if STORAGE.contains(&file.as_str()) => Self::Unavailable,
            code => match code.get(..2) {
                Some("08") => Self::Lost,
                // Insufficient resources, intervention by an operator, errors of the system.
                Some("53" | "57" | "58") => Self::Unavailable,
                _ => Self::Bug,
            },
        }
    }
}

fn is_crowded(code: Option<&str>, message: &str) -> bool {
    let message = message.to_lowercase();
    code == Some("53300") || CROWDED.iter().any(|text| message.contains(text))
}

impl Error {
    /// Classifies an error before a session has begun, by its text: Neon's proxy has one code for all of them.
    pub(super) fn connecting(error: &tokio_postgres::Error) -> Self {
        // The driver's own text leaves the cause out.
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        let reason = format!("{error}{cause}");
        let code = error.code().map(tokio_postgres::error::SqlState::code);
        if is_crowded(code, &reason) { Self::Crowded(reason) } else { Self::Unavailable(reason) }
    }

    /// Classifies an error of the first statements of a session.
    pub(super) fn beginning(error: ConnectionError, wire: &Wire) -> Self {
        let reason = error.to_string();
        if is_crowded(None, &reason) {
            return Self::Crowded(reason);
        }
        match error {
            ConnectionError::CouldntSetupConfiguration(error) => match Self::in_session(error, wire) {
                error @ Self::Refused(_) => error,
                error => Self::Unavailable(error.reason()),
            },
            _ => Self::Unavailable(reason),
        }
    }

    /// Classifies an error of a statement by what its connection has observed.
    pub(super) fn in_session(error: DieselError, wire: &Wire) -> Self {
        let classified = match &error {
            DieselError::DatabaseError(_, info) => {
                wire.error(info.message()).map(|found| (Meaning::of(&found), error.to_string()))
            }
            _ => None,
        };
        match classified {
            Some((Meaning::Lost, reason)) => Self::Lost(reason),
            Some((Meaning::Refused, reason)) => Self::Refused(reason),
            Some((Meaning::LostStatement, reason)) => Self::Refused(format!("{reason} {POOLER_HINT}")),
            Some((Meaning::StalePlan, reason)) => Self::StalePlan(reason),
            Some((Meaning::Unavailable, reason)) => Self::Unavailable(reason),
            Some((Meaning::Bug, _)) | None => match (Self::from(error), wire.failure()) {
                (Self::Lost(reason), Some(failure)) => Self::Lost(format!("{reason}: {}", failure.reason)),
                (error, _) => error,
            },
        }
    }

    pub(super) fn timeout(what: &str) -> Self {
        Self::Unavailable(format!("timed out {what}"))
    }

    /// Returns the cause without the words about the outage.
    pub fn reason(&self) -> String {
        match self {
            Self::Unreachable(reason)
            | Self::Crowded(reason)
            | Self::Unavailable(reason)
            | Self::Lost(reason)
            | Self::Refused(reason)
            | Self::StalePlan(reason) => reason.clone(),
            error => error.to_string(),
        }
    }

    /// True if the server certainly did nothing, and an immediate retry may succeed.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::StalePlan(_))
    }

    /// True if the database, not the request, is the cause.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Crowded(_)) || self.is_unknown()
    }

    /// True if the work may have taken effect: its outcome is unknown. A refused attempt did nothing, but an earlier one
    /// of the same work may have been lost.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Lost(_)) || self.is_refusal()
    }
}

/// Classifies by what the driver tells, for connections that are not observed.
impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        let DieselError::DatabaseError(kind, info) = &error else {
            return match error {
                DieselError::BrokenTransactionManager => Self::Lost(error.to_string()),
                DieselError::RollbackTransaction => Self::RolledBack,
                _ => Self::Query(error),
            };
        };
        let constraint = || info.constraint_name().unwrap_or_default().to_owned();
        match kind {
            DatabaseErrorKind::UniqueViolation => {
                let table = info.table_name().unwrap_or_default().to_owned();
                Self::UniqueViolation { table, constraint: constraint() }
            }
            DatabaseErrorKind::ForeignKeyViolation => Self::ForeignKeyViolation,
            DatabaseErrorKind::CheckViolation => Self::CheckViolation { constraint: constraint() },
            DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection => {
                Self::Lost(error.to_string())
            }
            DatabaseErrorKind::ReadOnlyTransaction | DatabaseErrorKind::SerializationFailure => {
                Self::Refused(error.to_string())
            }
            _ => Self::Query(error),
        }
    }
}

impl From<PoolError<Self>> for Error {
    fn from(error: PoolError<Self>) -> Self {
        match error {
            PoolError::Backend(error) => error,
            error => Self::Unavailable(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_classified_by_code_in_any_language() {
        let meaning = |code: &str, message: &str| {
            Meaning::of(&ServerError { code: code.into(), message: message.into(), ..ServerError::default() })
        };
        for (codes, expected) in [
            (vec!["40001", "40P01", "25006"], Meaning::Refused),
            (vec!["26000", "42P05"], Meaning::LostStatement),
            (
                vec!["08000", "08006", "57P01", "57P02", "57P04", "57P05", "25P03", "25P04", "40003"],
                Meaning::Lost,
            ),
            (vec!["53000", "53100", "53200", "53300", "53400", "55P03"], Meaning::Unavailable),
            (vec!["57000", "57014", "57P03", "58000", "58030", "58P01"], Meaning::Unavailable),
            (vec!["22012", "42601", "42P01", "0A000", "XX000", "P0001", "25P02", "", "5"], Meaning::Bug),
        ] {
            for code in codes {
                assert_eq!(meaning(code, "Etwas ist schiefgegangen"), expected, "{code}");
            }
        }
        let stale = ServerError {
            code: "0A000".into(),
            routine: FINDS_STALE_PLANS.into(),
            message: "gecachter Plan darf den Ergebnistyp nicht ändern".into(),
            ..ServerError::default()
        };
        assert_eq!(Meaning::of(&stale), Meaning::StalePlan);
        let quota = ServerError {
            code: "XX000".into(),
            file: "md.c".into(),
            message: "konnte Datei nicht erweitern: Disk quota exceeded".into(),
            ..ServerError::default()
        };
        assert_eq!(Meaning::of(&quota), Meaning::Unavailable);
        // PgBouncer's errors.
        assert_eq!(meaning("08P01", "query_wait_timeout"), Meaning::Unavailable);
        assert_eq!(meaning("08P01", "server conn crashed?"), Meaning::Lost);
        let bind = "bind message supplies 0 parameters, but prepared statement \"s1\" requires 1";
        assert_eq!(meaning("08P01", bind), Meaning::LostStatement);
    }

    #[test]
    fn a_server_without_free_connections_is_told_by_code_or_by_text_in_any_case() {
        for message in [
            "Too many connections to this endpoint. Please try again later.",
            "FATAL: sorry, too many clients already",
            "remaining connection slots are reserved",
            "no more connections allowed (max_client_conn)",
        ] {
            assert!(is_crowded(Some("XX000"), message), "{message}");
        }
        assert!(is_crowded(Some("53300"), "tut mir leid, schon zu viele Verbindungen"));
        assert!(!is_crowded(Some("XX000"), "Control plane request failed: endpoint is disabled"));
    }
}
