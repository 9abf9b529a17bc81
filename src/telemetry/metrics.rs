//! Metrics, in the words of the domain. Each name, label and value is a contract
//! (operations.md, "Telemetry").
//!
//! What happens is counted where it happens, in series that are looked up once: for a saga with
//! [`Metrics::sagas_of`], which also has those of its steps' participants. What *is* (gauges) is
//! read when somebody asks, by [`Metrics::text`]. Labels are closed sets, or names from the
//! configuration and the published definitions.

mod buckets;
mod families;
mod http;
mod messages;
mod participants;
mod readings;
mod sagas;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Histogram, IntCounter, Registry, TextEncoder};

pub use families::MetricsError;
pub use http::Method;
pub use messages::Receiving;
pub use participants::{AttemptOutcome, ParticipantMetrics};
pub use readings::{DeadLetters, Readings, SagasStanding};
pub use sagas::{Finish, SagaMetrics, Undoing};

use super::build;
use crate::definition::Definition;
use crate::dispatch::PublishResult;
use crate::dispatch::broker::BrokerKind;
use families::{Counters, Gauges, Histograms};
use http::HttpMetrics;
use messages::MessageMetrics;
use participants::ParticipantFamilies;
use readings::ReadingGauges;
use sagas::SagaFamilies;

/// Every metric of this process. Share one.
#[derive(Debug)]
pub struct Metrics {
    on: bool,
    registry: Registry,
    saga_families: SagaFamilies,
    participant_families: ParticipantFamilies,
    sagas: RwLock<HashMap<String, BTreeMap<u32, Arc<SagaMetrics>>>>,
    participants: RwLock<HashMap<String, Arc<ParticipantMetrics>>>,
    gauges: ReadingGauges,
    http: HttpMetrics,
    messages: MessageMetrics,
    journal_commit: Histogram,
    journal_batch: Histogram,
    lease_lost: IntCounter,
}

impl Metrics {
    /// The metrics of a process with these participants.
    ///
    /// # Errors
    /// When two metrics have one name: a bug.
    pub fn new<'a>(participants: impl IntoIterator<Item = &'a str>) -> Result<Self, MetricsError> {
        Self::made(participants, true)
    }

    /// Metrics that count nothing of what happens: what a bench measures the others against.
    ///
    /// # Errors
    /// When two metrics have one name: a bug.
    pub fn silent() -> Result<Self, MetricsError> {
        Self::made([], false)
    }

    fn made<'a>(
        participants: impl IntoIterator<Item = &'a str>,
        on: bool,
    ) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let one = |name, help, buckets: &[f64]| -> Result<Histogram, MetricsError> {
            Ok(Histograms::new(&registry, (name, help), [], buckets)?.at([]))
        };
        let metrics = Self {
            on,
            saga_families: SagaFamilies::new(&registry)?,
            participant_families: ParticipantFamilies::new(&registry)?,
            sagas: RwLock::default(),
            participants: RwLock::default(),
            gauges: ReadingGauges::new(&registry)?,
            http: HttpMetrics::new(&registry)?,
            messages: MessageMetrics::new(&registry)?,
            journal_commit: one(
                "amends_journal_commit_seconds",
                "How long a durable commit of the journal took.",
                &buckets::COMMIT_SECONDS,
            )?,
            journal_batch: one(
                "amends_journal_batch_events",
                "How many events shared a commit of the journal.",
                &buckets::BATCH_EVENTS,
            )?,
            lease_lost: Counters::new(
                &registry,
                (
                    "amends_lease_lost_total",
                    "How often another replica took over from this one.",
                ),
                [],
            )?
            .at([]),
            registry,
        };
        let info = (
            "amends_build_info",
            "What this process was built from; always 1.",
        );
        Gauges::new(&metrics.registry, info, ["version", "commit"])?
            .at([build::VERSION, build::COMMIT])
            .set(1.0);
        metrics
            .registry
            .register(Box::new(ProcessCollector::for_self()))
            .map_err(MetricsError::from)?;
        for participant in participants {
            metrics.participant(participant);
        }
        Ok(metrics)
    }

    /// What is counted of the sagas of a definition. From now on its series exist.
    pub fn sagas_of(&self, definition: &Definition) -> Arc<SagaMetrics> {
        let (name, version) = (definition.name.as_str(), definition.version);
        let known = |sagas: &HashMap<String, BTreeMap<u32, Arc<SagaMetrics>>>| {
            sagas.get(name)?.get(&version).map(Arc::clone)
        };
        if let Some(known) = known(&self.sagas.read()) {
            return known;
        }
        let steps = definition
            .steps
            .iter()
            .map(|step| Some(self.participant(&step.action()?.participant)))
            .collect();
        let made = Arc::new(self.saga_families.of(name, steps, self.on));
        let mut sagas = self.sagas.write();
        let versions = sagas.entry(name.to_owned()).or_default();
        Arc::clone(versions.entry(version).or_insert(made))
    }

    /// A saga came to where it needs a person, although its definition cannot be had.
    pub fn saga_unreadable(&self, definition: &str) {
        self.saga_families
            .of(definition, Vec::new(), self.on)
            .failed();
    }

    /// What is counted of a participant. From now on its series exist.
    pub fn participant(&self, name: &str) -> Arc<ParticipantMetrics> {
        if let Some(known) = self.participants.read().get(name) {
            return Arc::clone(known);
        }
        self.gauges.know(name);
        let made = Arc::new(self.participant_families.of(name, self.on));
        let mut participants = self.participants.write();
        Arc::clone(participants.entry(name.to_owned()).or_insert(made))
    }

    /// So many events became durable together, in so much time.
    pub fn committed(&self, events: u64, took: Duration) {
        if !self.on {
            return;
        }
        self.journal_commit.observe(took.as_secs_f64());
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        self.journal_batch.observe(f64::from(events));
    }

    /// Another replica took over from this one.
    pub fn lease_lost(&self) {
        self.lease_lost.inc();
    }

    /// The API has this route.
    pub fn route_known(&self, method: Method, route: Option<&str>) {
        self.http.know(method, route);
    }

    /// The API answered a request; `route` is the pattern that it matched.
    pub fn request_answered(
        &self,
        method: Method,
        route: Option<&str>,
        status: u16,
        took: Duration,
    ) {
        if self.on {
            self.http.answered(method, route, status, took);
        }
    }

    /// A command was given to a broker.
    pub fn message_published(&self, broker: BrokerKind, result: PublishResult) {
        self.messages.published(broker, result);
    }

    /// A reply came through a broker.
    pub fn message_received(&self, broker: BrokerKind, result: Receiving) {
        self.messages.received(broker, result);
    }

    /// Everything in Prometheus's text format, with what `readings` shows.
    ///
    /// # Errors
    /// When a family cannot be written: a bug.
    pub fn text(&self, readings: &Readings) -> Result<String, MetricsError> {
        self.gauges.show(readings);
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

/// The content type of [`Metrics::text`].
pub const TEXT_FORMAT: &str = prometheus::TEXT_FORMAT;
