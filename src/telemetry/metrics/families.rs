//! Families of metrics: one name, one sentence, and labels whose number the compiler holds.

use prometheus::core::Collector;
use prometheus::{Gauge, Opts, Registry};
use prometheus::{GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec};

/// Why the metrics could not be made: two of one name, or a name that is none. A bug.
#[derive(Debug, thiserror::Error)]
#[error("the metrics could not be made")]
pub struct MetricsError(#[from] prometheus::Error);

/// The name of a family and what it tells.
pub(super) type Described = (&'static str, &'static str);

/// Puts a collector into the registry, and gives it back.
fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, MetricsError> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// What only grows.
#[derive(Clone, Debug)]
pub(super) struct Counters<const N: usize>(IntCounterVec);

impl<const N: usize> Counters<N> {
    pub(super) fn new(
        registry: &Registry,
        (name, help): Described,
        labels: [&str; N],
    ) -> Result<Self, MetricsError> {
        let family = IntCounterVec::new(Opts::new(name, help), &labels)?;
        registered(registry, family).map(Self)
    }

    /// The series with these values; from now on it exists.
    pub(super) fn at(&self, values: [&str; N]) -> IntCounter {
        self.0.with_label_values(&values)
    }
}

/// How long something took, or how many there were of something.
#[derive(Clone, Debug)]
pub(super) struct Histograms<const N: usize>(HistogramVec);

impl<const N: usize> Histograms<N> {
    pub(super) fn new(
        registry: &Registry,
        (name, help): Described,
        labels: [&str; N],
        buckets: &[f64],
    ) -> Result<Self, MetricsError> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        registered(registry, HistogramVec::new(options, &labels)?).map(Self)
    }

    /// The series with these values; from now on it exists.
    pub(super) fn at(&self, values: [&str; N]) -> Histogram {
        self.0.with_label_values(&values)
    }
}

/// What is.
#[derive(Clone, Debug)]
pub(super) struct Gauges<const N: usize>(GaugeVec);

impl<const N: usize> Gauges<N> {
    pub(super) fn new(
        registry: &Registry,
        (name, help): Described,
        labels: [&str; N],
    ) -> Result<Self, MetricsError> {
        let family = GaugeVec::new(Opts::new(name, help), &labels)?;
        registered(registry, family).map(Self)
    }

    /// The series with these values; from now on it exists.
    pub(super) fn at(&self, values: [&str; N]) -> Gauge {
        self.0.with_label_values(&values)
    }

    /// Forgets every series.
    pub(super) fn clear(&self) {
        self.0.reset();
    }
}
