//! How the engine is: what it shows at a scrape, whether it is well, and whether it can still make
//! progress at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Engine, Parts, Readiness};
use crate::dispatch::broker::BrokerHealth;
use crate::store::StoreError;
use crate::telemetry::metrics::Readings;

/// How often the engine's runtime shows that it runs.
const BEAT: Duration = Duration::from_secs(1);
/// After how much silence the process counts as stuck. Longer than a machine that is short of
/// everything keeps a task waiting.
const STUCK_AFTER: Duration = Duration::from_secs(20);
/// How long the database may take to say that it is there.
const PING_WITHIN: Duration = Duration::from_secs(2);

/// Shows that the runtime runs and that the journal takes entries.
#[derive(Debug)]
pub(super) struct Pulse {
    begun: Instant,
    /// When everything was last well, in milliseconds from the beginning.
    well_at_ms: AtomicU64,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            well_at_ms: AtomicU64::new(0),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_well(&self) {
        self.well_at_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn silent_for(&self) -> Duration {
        let well_at_ms = self.well_at_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.now_ms().saturating_sub(well_at_ms))
    }
}

/// Beats until the process stops. A journal that has closed although the lease is held makes no
/// beat: its thread is gone, and nothing will be written any more.
pub(super) async fn beat(parts: Arc<Parts>) {
    while !parts.stopping.stopped.is_cancelled() {
        let journal_is_closed = {
            let tenure = parts.tenure.read();
            tenure
                .as_ref()
                .is_some_and(|tenure| tenure.journal.is_closed())
        };
        if !journal_is_closed {
            parts.pulse.is_well();
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            () = parts.stopping.stopped.cancelled() => return,
        }
    }
}

/// How the engine and its database are.
#[derive(Debug)]
pub struct Health {
    /// Whether it may get traffic, and why not.
    pub readiness: Readiness,
    /// Its database.
    pub database: DatabaseHealth,
    /// Its brokers; none where none is configured.
    pub brokers: Vec<BrokerHealth>,
    /// What it shows at a scrape, too.
    pub readings: Readings,
}

/// How the database is.
#[derive(Debug)]
pub enum DatabaseHealth {
    /// It answers, within this time.
    Answers(Duration),
    /// It answers, and the journal cannot write to it.
    CannotWrite,
    /// It does not answer.
    Away(StoreError),
}

impl Engine {
    /// What is, for a scrape. From here on every definition that is published has its series.
    #[must_use]
    pub fn readings(&self) -> Readings {
        for (_, versions) in self.parts.catalogue.all() {
            for published in versions {
                self.parts.metrics.sagas_of(&published.definition);
            }
        }
        let tenure = self.parts.tenure.read().clone();
        let of_process = Readings {
            guards: self.guards(),
            dead_letters: self.dead_letters(),
            ..Readings::default()
        };
        match tenure {
            Some(tenure) => Readings {
                sagas: tenure.standing.read(),
                oldest_runnable_ms: tenure.oldest_runnable_ms(),
                journal_pending: tenure.journal.pending(),
                shards_owned: tenure.owned().len(),
                ..of_process
            },
            None => of_process,
        }
    }

    /// How it is, with a question to the database.
    pub async fn health(&self) -> Health {
        let asked = Instant::now();
        let answer = match tokio::time::timeout(PING_WITHIN, self.parts.store.ping()).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(StoreError::Silent { after: PING_WITHIN }),
        };
        let took = asked.elapsed();
        let tenure = self.parts.tenure.read().clone();
        let writes = tenure.is_none_or(|tenure| *tenure.journal.available().borrow());
        Health {
            readiness: self.readiness(),
            database: match answer {
                Ok(()) if writes => DatabaseHealth::Answers(took),
                Ok(()) => DatabaseHealth::CannotWrite,
                Err(error) => DatabaseHealth::Away(error),
            },
            brokers: self.parts.dispatcher.messaging(),
            readings: self.readings(),
        }
    }

    /// Whether this process can still make progress: its runtime runs tasks, and its journal takes
    /// entries. That the database is away is no reason to end it, and a stop is under way by
    /// itself.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let stops = self.parts.stopping.draining.is_cancelled();
        stops || self.parts.pulse.silent_for() < STUCK_AFTER
    }

    /// The id under which this replica holds its lease; a new one with each lease.
    #[must_use]
    pub fn replica_id(&self) -> Option<Uuid> {
        let tenure = self.parts.tenure.read();
        tenure.as_ref().map(|tenure| tenure.lease.id())
    }

    /// `active` or `preview`.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.parts.settings.replica.role
    }
}
