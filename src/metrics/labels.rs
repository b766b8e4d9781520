//! The values of labels: closed sets, so that no client decides how many series there are.

use async_graphql::parser::types::OperationType;

/// A label whose values are known beforehand.
pub(super) trait Label: Copy + 'static {
    /// All values; their series are there from the start.
    const ALL: &'static [Self];

    fn as_str(self) -> &'static str;
}

/// What a GraphQL operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// It reads.
    Query,
    /// It writes.
    Mutation,
    /// It listens.
    Subscription,
    /// Not known: it was refused before that.
    Unknown,
}

impl OperationKind {
    /// As it stands in metrics, logs and traces.
    pub fn as_str(self) -> &'static str {
        Label::as_str(self)
    }
}

impl From<OperationType> for OperationKind {
    fn from(kind: OperationType) -> Self {
        match kind {
            OperationType::Query => Self::Query,
            OperationType::Mutation => Self::Mutation,
            OperationType::Subscription => Self::Subscription,
        }
    }
}

impl Label for OperationKind {
    const ALL: &'static [Self] = &[Self::Query, Self::Mutation, Self::Subscription, Self::Unknown];

    fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Subscription => "subscription",
            Self::Unknown => "unknown",
        }
    }
}

/// What is done with a password off the async threads.
#[derive(Clone, Copy, Debug)]
pub enum PasswordWork {
    /// Guessing how easily it is guessed.
    Judge,
    /// Making the hash to be stored.
    Hash,
    /// Comparing it with a stored hash.
    Verify,
}

impl Label for PasswordWork {
    const ALL: &'static [Self] = &[Self::Judge, Self::Hash, Self::Verify];

    fn as_str(self) -> &'static str {
        match self {
            Self::Judge => "judge",
            Self::Hash => "hash",
            Self::Verify => "verify",
        }
    }
}

/// What is limited in number.
#[derive(Clone, Copy, Debug)]
pub enum Throttled {
    /// A login.
    Login,
    /// A registration.
    Register,
    /// A refresh of a session.
    Refresh,
    /// A password that is asked for again within a session.
    Confirm,
}

impl Label for Throttled {
    const ALL: &'static [Self] = &[Self::Login, Self::Register, Self::Refresh, Self::Confirm];

    fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Register => "register",
            Self::Refresh => "refresh",
            Self::Confirm => "confirm",
        }
    }
}

/// How it went with a login.
#[derive(Clone, Copy, Debug)]
pub enum LoginOutcome {
    /// A session began.
    Succeeded,
    /// The address or the password was wrong.
    Failed,
    /// Too many attempts.
    Throttled,
}

impl Label for LoginOutcome {
    const ALL: &'static [Self] = &[Self::Succeeded, Self::Failed, Self::Throttled];

    fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Throttled => "throttled",
        }
    }
}

/// What a unit of work on the database failed of.
#[derive(Clone, Copy, Debug)]
pub enum DatabaseFailure {
    /// No connection was free in time.
    Wait,
    /// No connection could be opened.
    Connect,
    /// It took longer than a unit of work may.
    Work,
    /// The connection was lost, or the server could not work just then.
    Lost,
    /// The statement was refused, and nobody expected that.
    Statement,
}

impl Label for DatabaseFailure {
    const ALL: &'static [Self] = &[Self::Wait, Self::Connect, Self::Work, Self::Lost, Self::Statement];

    fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Connect => "connect",
            Self::Work => "work",
            Self::Lost => "lost",
            Self::Statement => "statement",
        }
    }
}

/// How it went with a look into the cache.
#[derive(Clone, Copy, Debug)]
pub enum CacheOutcome {
    /// What was looked for was there.
    Hit,
    /// It was not; the database answered, for the cache too.
    Miss,
    /// Another look for the same was under way in this process, and was waited for.
    Joined,
    /// The database answered instead, as the cache was out of use or another process took too long.
    Bypassed,
    /// Redis failed: too slow, lost, refused, or rubbish in it. Counts beside the others.
    Error,
}

impl Label for CacheOutcome {
    const ALL: &'static [Self] = &[Self::Hit, Self::Miss, Self::Joined, Self::Bypassed, Self::Error];

    fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Joined => "joined",
            Self::Bypassed => "bypassed",
            Self::Error => "error",
        }
    }
}
