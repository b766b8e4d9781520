//! Values of labels: closed sets, so that no client decides how many series exist. docs/operations.md explains them.

use std::marker::PhantomData;
use std::ops::Deref;

use async_graphql::parser::types::OperationType;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Metric, Registry};
use strum::{IntoStaticStr, VariantArray};

/// Name and value of a label.
type Label = (&'static str, &'static str);

/// A metric by the values of one label, all of which exist from the start.
pub struct Labelled<L, M> {
    label: &'static str,
    family: Family<[Label; 1], M>,
    values: PhantomData<L>,
}

impl<L, M> Labelled<L, M>
where
    L: Copy + Into<&'static str> + VariantArray,
    Family<[Label; 1], M>: Metric,
{
    pub(super) fn new(
        registry: &mut Registry,
        name: &str,
        help: &str,
        label: &'static str,
        new_metric: fn() -> M,
    ) -> Self {
        let family = Family::new_with_constructor(new_metric);
        registry.register(name, help, family.clone());
        let labelled = Self { label, family, values: PhantomData };
        for value in L::VARIANTS {
            drop(labelled.get(*value));
        }
        labelled
    }

    /// Returns the metric of a value.
    pub fn get(&self, value: L) -> impl Deref<Target = M> {
        self.family.get_or_create(&[(self.label, value.into())])
    }
}

/// Kind of a GraphQL operation.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, Ord, PartialEq, PartialOrd, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum OperationKind {
    Query,
    Mutation,
    Subscription,
    /// Refused before the kind was known.
    Unknown,
}

impl OperationKind {
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
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

/// Processing of a password: estimate how guessable it is, compute its hash, compare it with a stored hash.
#[derive(Clone, Copy, Debug, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum PasswordWork {
    Judge,
    Hash,
    Verify,
}

/// Attempts that have a rate limit.
#[derive(Clone, Copy, Debug, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum ThrottledAction {
    Login,
    Register,
    Refresh,
    /// The password, asked for again within a session.
    Confirm,
}

/// Outcome of a login attempt.
#[derive(Clone, Copy, Debug, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum LoginOutcome {
    Succeeded,
    Failed,
    Throttled,
}

/// Reason why a unit of work on the database failed.
#[derive(Clone, Copy, Debug, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum DatabaseFailure {
    /// No connection became free in time.
    Wait,
    /// No connection could be opened.
    Connect,
    /// The unit of work timed out.
    Work,
    /// The connection was lost, or the server was temporarily unable to work.
    Lost,
    /// A statement failed unexpectedly.
    Statement,
}

/// Outcome of a cache lookup.
#[derive(Clone, Copy, Debug, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CacheOutcome {
    /// The cache had the entry.
    Hit,
    /// The database answered, and the cache was filled.
    Miss,
    /// A lookup of the same entry was in progress in this process; its result was shared.
    Joined,
    /// The database answered instead, as the cache was out of use.
    Bypassed,
    /// Redis timed out, was lost, refused the command, or held an invalid entry. Counted in addition to the others.
    Error,
}
