//! The sagas that this replica holds in memory: those that have something to do now or soon.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Snapshot;
use super::awaited::AwaitedCall;
use super::guards::HeldCall;
use super::summary::Persisted;
use crate::definition::Definition;
use crate::saga::{InFlight, Saga, SagaId, Timestamp};
use crate::telemetry::metrics::SagaMetrics;
use crate::telemetry::traces::{TraceId, trace_id};

/// A saga in memory.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its id.
    pub(super) id: SagaId,
    /// What it is.
    pub(super) definition: Arc<Definition>,
    /// The shard it lies on.
    pub(super) shard: u16,
    /// The shard's fence under this owner.
    pub(super) fence: i64,
    /// What is counted of it.
    pub(super) metrics: Arc<SagaMetrics>,
    /// Where it stands.
    pub(super) state: Mutex<EntryState>,
}

/// Where a saga in memory stands.
#[derive(Debug)]
pub(super) struct EntryState {
    /// After everything that was decided, durable or not.
    pub(super) saga: Arc<Saga>,
    /// After everything that is durable; what anybody outside may see.
    pub(super) durable: Arc<Saga>,
    /// The attempts that were handed to a task (or will be, once they are durable).
    pub(super) flying: HashSet<InFlight>,
    /// Those of them that wait at a gate in memory.
    pub(super) held: Vec<HeldCall>,
    /// Those of them that a reply will tell of.
    pub(super) awaited: Vec<AwaitedCall>,
    /// What its summary row says.
    pub(super) persisted: Persisted,
    /// Its time in the timers.
    pub(super) timer: Option<Timestamp>,
    /// Who waits for it to settle.
    pub(super) waiters: Vec<oneshot::Sender<Snapshot>>,
    /// It left memory: whoever still holds the entry has to look for the saga anew.
    pub(super) left: bool,
}

impl Entry {
    /// An entry for a saga whose state is durable up to `saga`.
    pub(super) fn new(
        definition: Arc<Definition>,
        shard: u16,
        fence: i64,
        metrics: Arc<SagaMetrics>,
        saga: Arc<Saga>,
        persisted: Persisted,
    ) -> Arc<Self> {
        let state = EntryState {
            durable: Arc::clone(&saga),
            saga,
            flying: HashSet::new(),
            held: Vec::new(),
            awaited: Vec::new(),
            persisted,
            timer: None,
            waiters: Vec::new(),
            left: false,
        };
        let id = state.saga.id;
        Arc::new(Self {
            id,
            definition,
            shard,
            fence,
            metrics,
            state: Mutex::new(state),
        })
    }

    /// The id of its trace, for log lines.
    pub(super) fn trace_id(&self) -> TraceId {
        let saga = Arc::clone(&self.state.lock().durable);
        trace_id(self.id, &saga.started)
    }

    /// What anybody outside may see of it.
    pub(super) fn snapshot(&self) -> Snapshot {
        let saga = Arc::clone(&self.state.lock().durable);
        self.shown(saga)
    }
}

/// The sagas in memory by id.
#[derive(Debug, Default)]
pub(super) struct Active {
    entries: Mutex<HashMap<SagaId, Arc<Entry>>>,
}

impl Active {
    pub(super) fn get(&self, id: SagaId) -> Option<Arc<Entry>> {
        self.entries.lock().get(&id).cloned()
    }

    pub(super) fn contains(&self, id: SagaId) -> bool {
        self.entries.lock().contains_key(&id)
    }

    pub(super) fn insert(&self, entry: Arc<Entry>) {
        self.entries.lock().insert(entry.id, entry);
    }

    pub(super) fn remove(&self, id: SagaId) {
        self.entries.lock().remove(&id);
    }
}
