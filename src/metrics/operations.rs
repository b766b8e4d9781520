//! GraphQL operations, by names that clients make up: so only so many names are told apart.

use std::collections::HashMap;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use async_graphql::resolver_utils::EnumType;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Result};

use super::families::Families;
use super::labels::{Label, OperationKind};
use crate::error::ErrorCode;

/// Names with series of their own, each counted once for each kind of operation that has it.
const MAX_NAMES: usize = 100;
/// The longest of them, in bytes.
const MAX_NAME: usize = 64;
/// The label of operations without a name.
const ANONYMOUS: &str = "anonymous";
/// The label of all names beyond those that are told apart.
const OTHER: &str = "other";
/// The label of what went well.
const OK: &str = "OK";

/// An operation that has ended.
#[derive(Clone, Copy, Debug)]
pub struct EndedOperation<'a> {
    /// Its name, made up by the client.
    pub name: Option<&'a str>,
    /// What it does.
    pub kind: OperationKind,
    /// The code of its first error; none if there was none.
    pub code: Option<ErrorCode>,
    /// Whether its document fits the schema: others could be anything.
    pub valid: bool,
    /// How long it took.
    pub took: Duration,
}

pub(super) struct Operations {
    families: OperationFamilies,
    anonymous: ByKind<Series>,
    other: ByKind<Series>,
    named: RwLock<ByKind<HashMap<Box<str>, Series>>>,
}

struct OperationFamilies {
    requests: IntCounterVec,
    seconds: HistogramVec,
}

/// One of something for each kind of operation.
struct ByKind<T> {
    query: T,
    mutation: T,
    subscription: T,
    unknown: T,
}

impl<T> ByKind<T> {
    fn of(mut make: impl FnMut(OperationKind) -> T) -> Self {
        Self {
            query: make(OperationKind::Query),
            mutation: make(OperationKind::Mutation),
            subscription: make(OperationKind::Subscription),
            unknown: make(OperationKind::Unknown),
        }
    }

    fn get(&self, kind: OperationKind) -> &T {
        match kind {
            OperationKind::Query => &self.query,
            OperationKind::Mutation => &self.mutation,
            OperationKind::Subscription => &self.subscription,
            OperationKind::Unknown => &self.unknown,
        }
    }

    fn get_mut(&mut self, kind: OperationKind) -> &mut T {
        match kind {
            OperationKind::Query => &mut self.query,
            OperationKind::Mutation => &mut self.mutation,
            OperationKind::Subscription => &mut self.subscription,
            OperationKind::Unknown => &mut self.unknown,
        }
    }
}

/// The series of one name and kind. Looking them up by their labels would cost each request some hashes.
struct Series {
    /// By code: first that of success, then those of errors.
    requests: Box<[OnceLock<IntCounter>]>,
    /// None for subscriptions: how long they last is for clients to say.
    seconds: Option<Histogram>,
}

impl Series {
    fn new(families: &OperationFamilies, name: &str, kind: OperationKind) -> Self {
        let codes = 1 + ErrorCode::items().len();
        let timed = kind != OperationKind::Subscription;
        let seconds = timed.then(|| families.seconds.with_label_values(&[name, kind.as_str()]));
        Self { requests: std::iter::repeat_with(OnceLock::new).take(codes).collect(), seconds }
    }

    fn count(&self, families: &OperationFamilies, name: &str, operation: &EndedOperation<'_>) {
        let EndedOperation { kind, code, took, .. } = operation;
        let place = code.map_or(0, |code| 1 + code as usize);
        if let Some(requests) = self.requests.get(place) {
            let new = || {
                let code = code.map_or(OK, ErrorCode::as_str);
                families.requests.with_label_values(&[name, kind.as_str(), code])
            };
            requests.get_or_init(new).inc();
        }
        if let Some(seconds) = &self.seconds {
            seconds.observe(took.as_secs_f64());
        }
    }
}

impl Operations {
    pub(super) fn new(families: &Families) -> Result<Self> {
        let families = OperationFamilies {
            requests: families.counters(
                "requests_total",
                "GraphQL operations that have ended, by whatever way they came; OK or the code of the first error.",
                &["operation", "kind", "code"],
            )?,
            seconds: families.seconds_by(
                "request_duration_seconds",
                "How long queries, mutations and refusals took.",
                &["operation", "kind"],
            )?,
        };
        for kind in [OperationKind::Query, OperationKind::Mutation, OperationKind::Subscription] {
            for name in [ANONYMOUS, OTHER] {
                families.requests.with_label_values(&[name, kind.as_str(), OK]);
            }
        }
        let series = |name| ByKind::of(|kind| Series::new(&families, name, kind));
        let (anonymous, other) = (series(ANONYMOUS), series(OTHER));
        Ok(Self { families, anonymous, other, named: RwLock::new(ByKind::of(|_| HashMap::new())) })
    }

    pub(super) fn count(&self, operation: &EndedOperation<'_>) {
        let kind = operation.kind;
        let Some(name) = operation.name else {
            return self.anonymous.get(kind).count(&self.families, ANONYMOUS, operation);
        };
        if self.count_known(name, operation) {
            return;
        }
        if operation.valid && is_admissible(name) && self.admit(name, kind) {
            self.count_known(name, operation);
        } else {
            self.other.get(kind).count(&self.families, OTHER, operation);
        }
    }

    /// Counts an operation whose name has series; whether it has.
    fn count_known(&self, name: &str, operation: &EndedOperation<'_>) -> bool {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        let series = named.get(operation.kind).get(name);
        series.inspect(|series| series.count(&self.families, name, operation)).is_some()
    }

    /// Gives a name series of its own; whether there was room.
    fn admit(&self, name: &str, kind: OperationKind) -> bool {
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        let taken: usize = OperationKind::ALL.iter().map(|kind| named.get(*kind).len()).sum();
        let free = taken < MAX_NAMES;
        if free {
            let series = || Series::new(&self.families, name, kind);
            named.get_mut(kind).entry(name.into()).or_insert_with(series);
        }
        free
    }
}

/// Whether a name is one by GraphQL's grammar, not too long, and none that means something else here.
fn is_admissible(name: &str) -> bool {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    let goes_on = bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    begins && goes_on && name.len() <= MAX_NAME && ![ANONYMOUS, OTHER].contains(&name)
}
