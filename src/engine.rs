//! Runs sagas: feeds inputs to `saga`, hands events to `store`'s journal, and when they are
//! durable, effects to `dispatch`. It knows no SQL, no wire format and no web framework.

//!
//! `start` and `inputs` are the ways in; `advance` decides and makes durable; `calls` carries out
//! what follows; `recovery`, `ownership` and `tenure` say which sagas are this replica's.

mod active;
mod advance;
mod audit;
mod awaited;
mod backlog;
#[cfg(test)]
mod bed;
pub mod callbacks;
mod calls;
pub mod catalogue;
pub mod clock;
mod dead_letters;
mod drain;
mod guards;
mod inbox;
mod inputs;
mod lifecycle;
mod mail;
mod ownership;
mod parked;
mod recovery;
pub mod replies;
mod standing;
mod start;
mod summary;
mod tally;
mod tenure;
mod timers;
mod vitals;
pub mod watching;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use serde_json::Value;

use crate::definition::Definition;
use crate::definition::input::InputProblem;
use crate::dispatch::{Dispatcher, GuardReading};
use crate::saga::{Rejection, Saga, Timestamp};
use crate::store::{self, AuditAction, AuditRecord, ReplicaInfo, Store};
use crate::telemetry::metrics::DeadLetters;
use crate::telemetry::{Metrics, Traces};
use active::Entry;
use callbacks::Callbacks;
use catalogue::Catalogue;
pub use dead_letters::DeadLetterError;
pub use drain::Drained;
use drain::Stopping;
pub use lifecycle::Lifecycle;
use tenure::Tenure;
use vitals::Pulse;
pub use vitals::{DatabaseHealth, Health};
use watching::Watchers;

/// Runs the sagas of this replica. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    parts: Arc<Parts>,
}

/// What an engine is made of.
pub struct EngineParts {
    /// Where everything is durable.
    pub store: Store,
    /// The way to participants.
    pub dispatcher: Dispatcher,
    /// What sagas can be started from.
    pub catalogue: Catalogue,
    /// Bounds and times.
    pub settings: EngineSettings,
    /// Where what happens is counted.
    pub metrics: Arc<Metrics>,
    /// Where it is traced.
    pub traces: Traces,
    /// Where participants post replies; `None` where that is not configured.
    pub callbacks: Option<Callbacks>,
}

/// The bounds and times of an engine.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// How many shards there are; the same for every replica of a database.
    pub shards: u16,
    /// How long a lease lasts, in milliseconds.
    pub lease_ms: u64,
    /// How many sagas may be running or compensating in this replica.
    pub active_sagas_max: usize,
    /// How long a drain waits for exchanges under way.
    pub drain_timeout: Duration,
    /// How this replica shows itself to the others.
    pub replica: ReplicaInfo,
}

/// What lives as long as the process.
struct Parts {
    store: Store,
    dispatcher: Dispatcher,
    catalogue: Catalogue,
    settings: EngineSettings,
    metrics: Arc<Metrics>,
    traces: Traces,
    callbacks: Option<Callbacks>,
    pulse: Pulse,
    stopping: Stopping,
    tenure: RwLock<Option<Arc<Tenure>>>,
    watchers: Watchers,
    database_up: AtomicBool,
    /// As they were counted last.
    dead_letters: RwLock<Vec<DeadLetters>>,
}

impl Parts {
    fn tenure(&self) -> Option<Arc<Tenure>> {
        self.tenure
            .read()
            .clone()
            .filter(|tenure| tenure.owns_any())
    }

    fn database_answers(&self, tenure: &Tenure) -> bool {
        self.database_up.load(Ordering::Relaxed) && *tenure.journal.available().borrow()
    }
}

/// A saga at a moment at which everything it shows was durable.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What it is.
    pub definition: Arc<Definition>,
    /// Where it stands.
    pub saga: Arc<Saga>,
}

/// A start, its body already read.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// The definition's name.
    pub definition: String,
    /// A version; none is the newest that is not paused.
    pub version: Option<u32>,
    /// The business key.
    pub key: Option<String>,
    /// The input.
    pub input: Value,
    /// The saga's own labels.
    pub labels: BTreeMap<String, String>,
    /// Makes the start once.
    pub idempotency: Option<Idempotency>,
    /// W3C trace context of the caller.
    pub traceparent: Option<String>,
    /// The vendor part of it.
    pub tracestate: Option<String>,
    /// Who starts it.
    pub actor: Actor,
}

/// Who asks for something, as the journal and the audit name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name of a key, the subject of a token, `anonymous`, or `system`.
    pub name: String,
    /// The address that the request came from; none for what the process does by itself.
    pub remote: Option<IpAddr>,
}

impl Actor {
    /// The coordinator itself.
    pub(crate) fn system() -> Self {
        Self {
            name: store::SYSTEM.to_owned(),
            remote: None,
        }
    }

    /// The audit of something that this one does.
    fn record(&self, action: AuditAction, at: Timestamp) -> AuditRecord {
        AuditRecord::new(action, at, &self.name, self.remote)
    }
}

/// The idempotency key of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The key, 1 to 255 characters.
    pub key: String,
    /// SHA-256 of the body's JSON value in a canonical form.
    pub digest: [u8; 32],
}

/// A start that was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The saga, durable.
    pub snapshot: Snapshot,
    /// Whether the same start was seen before and this is the first one's saga.
    pub replayed: bool,
    /// What was made of it, unless it was there before. It shows how the saga has ended even when
    /// that has left memory.
    entry: Option<Arc<Entry>>,
}

/// Why a start was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No such definition, or no such version of it.
    #[error("there is no definition `{name}`{}", version.map(|v| format!(" with version {v}")).unwrap_or_default())]
    DefinitionNotFound {
        /// What was asked for.
        name: String,
        /// The version asked for.
        version: Option<u32>,
    },
    /// The version asked for takes no new starts, or none of them does.
    #[error("the definition `{name}`{} is paused", version.map(|v| format!(" with version {v}")).unwrap_or_default())]
    DefinitionPaused {
        /// What was asked for.
        name: String,
        /// The version asked for.
        version: Option<u32>,
    },
    /// The input does not fit the definition's schema; pointers are from the input's root.
    #[error("the input does not fit the definition's schema")]
    InputInvalid(Vec<InputProblem>),
    /// The idempotency key was used with another body.
    #[error("the idempotency key was used before with another body")]
    KeyReused,
    /// As many sagas are active as may be.
    #[error("too many sagas are active")]
    TooManySagas,
    /// This replica owns no shard.
    #[error("this replica owns no shard")]
    NotReady,
    /// This replica is stopping.
    #[error("this replica is draining")]
    Draining,
    /// The database does not answer.
    #[error("the database is not available")]
    DatabaseUnavailable,
    /// A bug, or a database that refuses the row.
    #[error("the saga could not be written")]
    Internal,
}

/// Why a command or a signal was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No such saga.
    #[error("there is no such saga")]
    NotFound,
    /// The saga has no step of that id.
    #[error("the saga's definition has no step `{0}`")]
    StepNotFound(String),
    /// Its state does not allow it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Its journal cannot be read; the saga is set aside.
    #[error("the saga's journal cannot be read")]
    JournalUnreadable,
    /// This replica does not own the saga.
    #[error("this replica does not own the saga")]
    NotReady,
    /// This replica is stopping.
    #[error("this replica is draining")]
    Draining,
    /// The database does not answer.
    #[error("the database is not available")]
    DatabaseUnavailable,
    /// A bug, or a database that refuses the row.
    #[error("the input could not be written")]
    Internal,
}

/// Whether this replica may get traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It owns shards and its database answers.
    Ready,
    /// It has not finished starting, or owns no shard.
    Standby,
    /// Its database does not answer.
    DatabaseAway,
    /// It is stopping.
    Draining,
}

impl Engine {
    /// Begins to own shards and to run their sagas, on tasks of the current runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn launch(parts: EngineParts) -> Self {
        let EngineParts {
            store,
            dispatcher,
            catalogue,
            settings,
            metrics,
            traces,
            callbacks,
        } = parts;
        let stopping = Stopping::new(tokio::runtime::Handle::current());
        let parts = Arc::new(Parts {
            store,
            dispatcher,
            catalogue,
            settings,
            metrics,
            traces,
            callbacks,
            pulse: Pulse::new(),
            stopping,
            tenure: RwLock::new(None),
            watchers: Watchers::default(),
            database_up: AtomicBool::new(true),
            dead_letters: RwLock::default(),
        });
        let tasks = &parts.stopping.tasks;
        for gate in parts.dispatcher.gates() {
            let stop = parts.stopping.stopped.child_token();
            tasks.spawn(Arc::clone(gate).keep_time(stop));
        }
        tasks.spawn(ownership::own(Arc::clone(&parts)));
        tasks.spawn(follow_publications(Arc::clone(&parts)));
        tasks.spawn(vitals::beat(Arc::clone(&parts)));
        tasks.spawn(dead_letters::count(Arc::clone(&parts)));
        Self { parts }
    }

    /// Whether this replica may get traffic.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        if self.parts.stopping.draining.is_cancelled() {
            return Readiness::Draining;
        }
        let up = self.parts.database_up.load(Ordering::Relaxed);
        match self.parts.tenure() {
            Some(tenure) if self.parts.database_answers(&tenure) => Readiness::Ready,
            None if up => Readiness::Standby,
            Some(_) | None => Readiness::DatabaseAway,
        }
    }

    /// How the guards of each configured participant stand, those that wait in the journal
    /// included.
    #[must_use]
    pub fn guards(&self) -> Vec<GuardReading> {
        let tenure = self.parts.tenure();
        let mut readings: Vec<GuardReading> = self.parts.dispatcher.guards().collect();
        for reading in &mut readings {
            for (guard, waiting) in &mut reading.waiting {
                let parked = tenure.as_ref().map(|tenure| &tenure.parked);
                *waiting +=
                    parked.map_or(0, |parked| parked.waiting_for(&reading.participant, *guard));
            }
        }
        readings
    }

    /// The longest that an attempt at a participant may take where the step does not say.
    #[must_use]
    pub fn timeout_ms(&self, participant: &str) -> u64 {
        self.parts.dispatcher.timeout_ms(participant)
    }

    /// What checks the tokens of callbacks; `None` where none are given out.
    #[must_use]
    pub fn callbacks(&self) -> Option<&Callbacks> {
        self.parts.callbacks.as_ref()
    }

    /// The published definitions.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.parts.catalogue
    }
}

/// Learns what other replicas publish and pause, until the process stops.
async fn follow_publications(parts: Arc<Parts>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(catalogue::REFRESH_EVERY) => {}
            () = parts.stopping.stopped.cancelled() => return,
        }
        if let Err(error) = parts.catalogue.refresh().await {
            tracing::debug!(%error, "the published definitions could not be looked at");
        }
    }
}
