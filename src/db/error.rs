use deadpool::managed::PoolError;
use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// What can go wrong between the service and its database; the one place where its errors are judged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection in time, a lost one, or a server that can't work just now: a retry may help.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// A unique index refused a row.
    #[error("the unique index {constraint} refused the row")]
    UniqueViolation {
        /// Name of the index.
        constraint: String,
    },
    /// A check refused a row.
    #[error("the check {constraint} refused the row")]
    CheckViolation {
        /// Name of the constraint.
        constraint: String,
    },
    /// What a row belongs to is gone.
    #[error("what the row belongs to is gone")]
    ForeignKeyViolation,
    /// Anything else: a mistake of ours.
    #[error(transparent)]
    Query(DieselError),
}

/// What PostgreSQL and PgBouncer say where the statement was right but the server could not serve it.
///
/// diesel drops the SQLSTATE of these (<https://github.com/diesel-rs/diesel/issues/2342>), so the English
/// text decides; under another `lc_messages` they count as unexpected errors.
const PASSING: [&str; 15] = [
    "deadlock detected",
    "terminating connection",
    "the database system is",
    "remaining connection slots",
    "too many connections",
    "too many clients",
    "canceling statement due to statement timeout",
    "canceling statement due to lock timeout",
    "could not extend file",
    "No space left on device",
    "query_wait_timeout",
    "server login has been failing",
    "server conn crashed",
    "pgbouncer cannot connect to server",
    "cached plan must not change result type",
];

impl Error {
    pub(super) fn timeout(what: &str) -> Self {
        Self::Unavailable(format!("timed out {what}"))
    }

    /// Whether the connection on which it happened may still be used.
    pub(super) fn spoils_connection(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        let DieselError::DatabaseError(kind, info) = &error else {
            return match error {
                DieselError::BrokenTransactionManager => Self::Unavailable(error.to_string()),
                _ => Self::Query(error),
            };
        };
        let constraint = || info.constraint_name().unwrap_or_default().to_owned();
        match kind {
            DatabaseErrorKind::UniqueViolation => Self::UniqueViolation { constraint: constraint() },
            DatabaseErrorKind::ForeignKeyViolation => Self::ForeignKeyViolation,
            DatabaseErrorKind::CheckViolation => Self::CheckViolation { constraint: constraint() },
            DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::ReadOnlyTransaction
            | DatabaseErrorKind::SerializationFailure => Self::Unavailable(error.to_string()),
            _ if PASSING.iter().any(|text| info.message().contains(text)) => {
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
