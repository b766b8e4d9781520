//! Makes metrics and enters them into a registry.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    Result,
};

use super::labels::Label;

const NAMESPACE: &str = "todo_api";

/// Upper ends of the buckets of times, in seconds: from what a read by key takes to where patience ends.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// A registry that makes what it holds.
pub(super) struct Families(pub(super) Registry);

impl Families {
    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter> {
        self.enter(IntCounter::with_opts(opts(name, help))?)
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
        self.enter(IntCounterVec::new(opts(name, help), labels)?)
    }

    /// Counters by one label, all of them at zero.
    pub(super) fn counters_by<L: Label>(&self, name: &str, help: &str, label: &str) -> Result<IntCounterVec> {
        let counters = self.counters(name, help, &[label])?;
        for value in L::ALL {
            counters.with_label_values(&[value.as_str()]);
        }
        Ok(counters)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge> {
        self.enter(IntGauge::with_opts(opts(name, help))?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        self.enter(IntGaugeVec::new(opts(name, help), labels)?)
    }

    pub(super) fn seconds(&self, name: &str, help: &str) -> Result<Histogram> {
        self.enter(Histogram::with_opts(histogram_opts(name, help))?)
    }

    pub(super) fn seconds_by(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec> {
        self.enter(HistogramVec::new(histogram_opts(name, help), labels)?)
    }

    pub(super) fn enter<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

pub(super) fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

fn histogram_opts(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help).namespace(NAMESPACE).buckets(SECONDS.to_vec())
}
