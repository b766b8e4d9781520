//! Metrics of GraphQL operations. Clients choose the names, so the number of names with series of their own is bounded.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use strum::VariantArray;

use super::labels::OperationKind;

/// Names with series of their own; a name counts once for each kind of operation that has it.
const MAX_NAMES: usize = 100;
/// Longest name with series of its own, in bytes.
const MAX_NAME_LENGTH: usize = 64;
/// Label of operations without a name.
const ANONYMOUS: &str = "anonymous";
/// Label of names without series of their own.
const OTHER: &str = "other";
/// Series that exist from the start.
const RESERVED: usize = OperationKind::VARIANTS.len() * 2;
/// Code of operations without errors.
const OK: &str = "OK";

/// An operation that ended or was refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedOperation<'a> {
    /// Name, chosen by the client.
    pub(crate) name: Option<&'a str>,
    pub(crate) kind: OperationKind,
    /// Code of the first error; `None` if there was none.
    pub(crate) code: Option<&'static str>,
    /// True if the document is valid; names from other documents do not become labels.
    pub(crate) valid: bool,
    /// Time from the request's arrival to the answer.
    pub(crate) took: Duration,
}

pub(crate) struct Operations {
    requests: Family<RequestLabels, Counter>,
    durations: Family<OperationLabels, Histogram>,
    series: RwLock<BTreeMap<OperationKind, HashMap<Box<str>, Series>>>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OperationLabels {
    kind: &'static str,
    operation: Arc<str>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    code: &'static str,
    #[prometheus(flatten)]
    operation: OperationLabels,
}

/// Handles of one name and kind, resolved once: recording a success hashes its name only.
struct Series {
    labels: OperationLabels,
    /// `None` for the unknown kind, which only refused requests have.
    ok: Option<Counter>,
    /// `None` for subscriptions, whose clients decide how long they last.
    duration: Option<Histogram>,
}

impl Operations {
    pub(super) fn new(registry: &mut Registry, new_duration: fn() -> Histogram) -> Self {
        let operations = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(new_duration),
            series: RwLock::default(),
        };
        let help = "GraphQL operations that ended, over any transport; code is OK or that of the first error";
        registry.register("requests", help, operations.requests.clone());
        let help = "Durations of queries, mutations and refused requests";
        registry.register("request_duration_seconds", help, operations.durations.clone());
        for kind in OperationKind::VARIANTS {
            operations.add_series(ANONYMOUS, *kind, RESERVED);
            operations.add_series(OTHER, *kind, RESERVED);
        }
        operations
    }

    /// Records an operation under its name if that has series or gets them, otherwise under [`OTHER`].
    pub(crate) fn record(&self, operation: &EndedOperation<'_>) {
        let name = match operation.name {
            None => ANONYMOUS,
            Some(ANONYMOUS) => OTHER,
            Some(name) => name,
        };
        if !self.record_as(name, operation) {
            let may_add = operation.valid && name.len() <= MAX_NAME_LENGTH;
            let added = may_add && self.add_series(name, operation.kind, RESERVED + MAX_NAMES);
            self.record_as(if added { name } else { OTHER }, operation);
        }
    }

    /// Records an operation under a name. Returns false if that has no series.
    fn record_as(&self, name: &str, operation: &EndedOperation<'_>) -> bool {
        let all = self.series.read();
        let Some(series) = all.get(&operation.kind).and_then(|names| names.get(name)) else {
            return false;
        };
        match (&series.ok, operation.code) {
            (Some(ok), None) => ok.inc(),
            (_, code) => self.requests.get_or_create(&series.labels.with_code(code.unwrap_or(OK))).inc(),
        };
        if let Some(duration) = &series.duration {
            duration.observe(operation.took.as_secs_f64());
        }
        true
    }

    /// Gives a name series of its own. Returns false if there are `limit` already.
    fn add_series(&self, name: &str, kind: OperationKind, limit: usize) -> bool {
        let mut series = self.series.write();
        let has_room = series.values().map(HashMap::len).sum::<usize>() < limit;
        if has_room {
            let names = series.entry(kind).or_default();
            names.entry(name.into()).or_insert_with(|| self.create_series(name, kind));
        }
        has_room
    }

    fn create_series(&self, name: &str, kind: OperationKind) -> Series {
        let labels = OperationLabels { kind: kind.as_str(), operation: name.into() };
        let ok = || self.requests.get_or_create_owned(&labels.with_code(OK));
        let duration = || self.durations.get_or_create_owned(&labels);
        Series {
            ok: (kind != OperationKind::Unknown).then(ok),
            duration: (kind != OperationKind::Subscription).then(duration),
            labels,
        }
    }
}

impl OperationLabels {
    fn with_code(&self, code: &'static str) -> RequestLabels {
        RequestLabels { code, operation: self.clone() }
    }
}
