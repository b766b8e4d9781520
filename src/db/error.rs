use deadpool::managed::PoolError;
use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// What can go wrong between the service and its database; the one place where its errors are judged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection in time, a limit that was reached, or a server that can't work just now: trying later may help.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The connection was lost. Whether what was under way took effect is not known.
    #[error("the connection to the database was lost: {0}")]
    Lost(String),
    /// The server did nothing of what was asked, for a reason that has passed by now or is the connection's alone.
    #[error("the database did not do it: {0}")]
    Refused(String),
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
const PASSING: [&str; 9] = [
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

/// What PostgreSQL says of a statement that was prepared before a migration changed a table.
const STALE_PLAN: &str = "cached plan must not change result type";

/// What they say where another try at once is right: the transaction lost to another one, or the statement as it was
/// prepared does not fit any more. A migration has changed a table, which only a new preparation mends, or a pooler has
/// lost the statement.
const REFUSED: [&str; 4] = ["deadlock detected", STALE_PLAN, "prepared statement ", "bind message supplies"];

/// The end of a connection in PostgreSQL's and PgBouncer's words. What was committed just before may have taken effect:
/// Neon's commits wait for other machines, and a server that stops ends that wait.
const LOST: [&str; 4] =
    ["terminating connection", "server conn crashed", "server closed the connection", "unexpected eof"];

/// What they say where there are too many connections: those that there are work.
const CROWDED: [&str; 4] =
    ["remaining connection slots", "too many connections", "too many clients", "no more connections allowed"];

fn says(message: &str, texts: &[&str]) -> bool {
    texts.iter().any(|text| message.contains(text))
}

impl Error {
    pub(super) fn timeout(what: &str) -> Self {
        Self::Unavailable(format!("timed out {what}"))
    }

    /// What happened, without saying that it is an outage.
    pub fn reason(&self) -> String {
        match self {
            Self::Unavailable(reason) | Self::Lost(reason) | Self::Refused(reason) => reason.clone(),
            error => error.to_string(),
        }
    }

    /// Whether other connections that were there with it are no better: lost with it, or with the same stale plan.
    pub(super) fn spoils_others(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            _ => self.is_stale_plan(),
        }
    }

    /// Whether there are too many connections to open another one.
    pub(super) fn is_crowded(&self) -> bool {
        matches!(self, Self::Unavailable(reason) if says(reason, &CROWDED))
    }

    /// Whether a migration has changed what a statement was prepared for.
    pub(super) fn is_stale_plan(&self) -> bool {
        matches!(self, Self::Refused(reason) if reason.contains(STALE_PLAN))
    }

    /// Whether the database, and not the request, is why it failed.
    pub fn is_outage(&self) -> bool {
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
            DatabaseErrorKind::UniqueViolation => Self::UniqueViolation { constraint: constraint() },
            DatabaseErrorKind::ForeignKeyViolation => Self::ForeignKeyViolation,
            DatabaseErrorKind::CheckViolation => Self::CheckViolation { constraint: constraint() },
            DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection => {
                Self::Lost(error.to_string())
            }
            // A connection to what was the primary once; a new one may lead to what is it now.
            DatabaseErrorKind::ReadOnlyTransaction | DatabaseErrorKind::SerializationFailure => {
                Self::Refused(error.to_string())
            }
            _ if says(info.message(), &LOST) => Self::Lost(error.to_string()),
            _ if says(info.message(), &REFUSED) => Self::Refused(error.to_string()),
            _ if says(info.message(), &PASSING) || says(info.message(), &CROWDED) => {
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
