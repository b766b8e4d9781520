use deadpool::managed::PoolError;
use diesel::ConnectionError;
use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// A database error, classified here only.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection in time, so nothing was done: a later retry may succeed.
    #[error("the database is unavailable: {0}")]
    Unreachable(String),
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
    /// Anything else: a bug.
    #[error(transparent)]
    Query(DieselError),
}

/// Messages of PostgreSQL and PgBouncer when the statement was right but the server could not serve it.
///
/// diesel drops the SQLSTATE of these (<https://github.com/diesel-rs/diesel/issues/2342>), so the English
/// text decides; under another `lc_messages` they count as unexpected errors.
const TEMPORARY: [&str; 9] = [
    "the database system is",
    "canceling statement due to statement timeout",
    "canceling statement due to lock timeout",
    "could not extend file",
    "No space left on device",
    "query_wait_timeout",
    "server login has been failing",
    "pgbouncer cannot connect to server",
    "server_login_retry",
];

/// PostgreSQL's message for a statement that was prepared before a migration changed the type of a column. It comes
/// before anything is executed.
const STALE_PLAN: &str = "cached plan must not change result type";

/// Messages after which an immediate retry is right: the transaction lost a deadlock, or the prepared statement is
/// stale or gone.
const REFUSED: [&str; 4] = ["deadlock detected", STALE_PLAN, "prepared statement ", "bind message supplies"];

/// Messages at the end of a connection. A commit just before may have taken effect: Neon's commits wait for other
/// machines, and a server that stops ends that wait.
const LOST: [&str; 4] =
    ["terminating connection", "server conn crashed", "server closed the connection", "unexpected eof"];

/// Messages of a server that works but takes no more connections.
const CROWDED: [&str; 4] =
    ["remaining connection slots", "too many connections", "too many clients", "no more connections allowed"];

fn says(message: &str, texts: &[&str]) -> bool {
    texts.iter().any(|text| message.contains(text))
}

/// True for PostgreSQL's message that a statement was prepared on another connection, or by another client on this one:
/// a pooler in transaction mode does not keep prepared statements.
pub fn is_lost_statement(message: &str) -> bool {
    let named = message.contains("prepared statement \"");
    named && (message.contains("does not exist") || message.contains("already exists"))
        || message.contains("bind message supplies")
}

/// Names the doctor in the reason of an error that a pooler causes.
fn with_hint(reason: String) -> String {
    if is_lost_statement(&reason) {
        format!("{reason} (a pooler may be losing prepared statements: run `todo-api doctor`)")
    } else {
        reason
    }
}

impl Error {
    pub(super) fn connecting(error: &ConnectionError) -> Self {
        Self::Unavailable(with_hint(error.to_string()))
    }

    pub(super) fn timeout(what: &str) -> Self {
        Self::Unavailable(format!("timed out {what}"))
    }

    /// Returns the cause without the words about the outage.
    pub fn reason(&self) -> String {
        match self {
            Self::Unreachable(reason)
            | Self::Unavailable(reason)
            | Self::Lost(reason)
            | Self::Refused(reason) => reason.clone(),
            error => error.to_string(),
        }
    }

    /// True if the server takes no more connections, so that one of the open ones has to be waited for.
    pub(super) fn is_crowded(&self) -> bool {
        matches!(self, Self::Unavailable(reason) if says(reason, &CROWDED))
    }

    /// True if a migration has changed the result of a prepared statement.
    pub(super) fn is_stale_plan(&self) -> bool {
        matches!(self, Self::Refused(reason) if reason.contains(STALE_PLAN))
    }

    /// True if the database, not the request, is the cause.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Unavailable(_) | Self::Lost(_) | Self::Refused(_))
    }

    /// True if the work may have taken effect: its outcome is unknown. A refused attempt did nothing, but an earlier one
    /// of the same work may have been lost.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Lost(_) | Self::Refused(_))
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        let DieselError::DatabaseError(kind, info) = &error else {
            return match error {
                DieselError::BrokenTransactionManager => Self::Lost(error.to_string()),
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
            // A connection to a former primary; a new connection may lead to the present one.
            DatabaseErrorKind::ReadOnlyTransaction | DatabaseErrorKind::SerializationFailure => {
                Self::Refused(error.to_string())
            }
            _ if says(info.message(), &LOST) => Self::Lost(error.to_string()),
            _ if says(info.message(), &REFUSED) => Self::Refused(with_hint(error.to_string())),
            _ if says(info.message(), &TEMPORARY) || says(info.message(), &CROWDED) => {
                Self::Unavailable(error.to_string())
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
