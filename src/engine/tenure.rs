//! A tenure: the time during which this replica holds a lease under one epoch, and everything
//! that is only good for that long. When the lease is lost the tenure ends, all of it is dropped,
//! and a new one begins from the journal.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::active::Active;
use super::awaited::Lingering;
use super::backlog::Backlog;
use super::parked::Parked;
use super::standing::Standing;
use super::timers::Timers;
use super::{Parts, Stopping};
use crate::saga::SagaId;
use crate::store::{Journal, Lease, OwnedShard};

/// How many sagas that a restart found in flight are sent again at the same time.
const RESUMED_AT_ONCE_MAX: usize = 256;
/// Over how many locks the loading of sagas is spread.
const LOADING_STRIPES: usize = 64;

/// One epoch of this replica.
pub(super) struct Tenure {
    /// What outlives it.
    pub(super) parts: Arc<Parts>,
    /// The lease that makes it.
    pub(super) lease: Arc<Lease>,
    /// Where events become durable.
    pub(super) journal: Journal,
    /// The sagas in memory.
    pub(super) active: Active,
    /// When they have to be looked at.
    pub(super) timers: Timers,
    /// Ends with the tenure.
    pub(super) ended: CancellationToken,
    /// Lets the sagas that recovery found go on a few at a time.
    pub(super) resuming: Arc<Semaphore>,
    /// Sagas that running or compensating here, in memory or not: what admission counts.
    pub(super) unfinished: AtomicUsize,
    /// The attempts that wait in the journal for a guard.
    pub(super) parked: Parked,
    /// How many sagas stand where, in memory or not.
    pub(super) standing: Standing,
    /// The sagas that could go on and have to wait their turn.
    pub(super) backlog: Backlog,
    /// The attempts that were accepted and are not journaled so.
    pub(super) lingering: Lingering,
    shards: RwLock<BTreeMap<u16, i64>>,
    next_shard: AtomicUsize,
    aside: Mutex<HashSet<SagaId>>,
    loading: Vec<tokio::sync::Mutex<()>>,
}

impl Tenure {
    /// A tenure that owns no shard yet.
    pub(super) fn new(
        parts: Arc<Parts>,
        lease: Arc<Lease>,
        journal: Journal,
        ended: CancellationToken,
    ) -> Arc<Self> {
        let gates = parts.dispatcher.gates();
        let parked = Parked::new(gates.map(|gate| gate.participant()));
        Arc::new(Self {
            parts,
            parked,
            lease,
            journal,
            active: Active::default(),
            timers: Timers::default(),
            ended,
            resuming: Arc::new(Semaphore::new(RESUMED_AT_ONCE_MAX)),
            unfinished: AtomicUsize::new(0),
            standing: Standing::default(),
            backlog: Backlog::default(),
            lingering: Lingering::default(),
            shards: RwLock::default(),
            next_shard: AtomicUsize::new(0),
            aside: Mutex::default(),
            loading: (0..LOADING_STRIPES)
                .map(|_| tokio::sync::Mutex::new(()))
                .collect(),
        })
    }

    /// What says when to stop.
    pub(super) fn stopping(&self) -> &Stopping {
        &self.parts.stopping
    }

    /// Takes shards in, after their sagas were recovered.
    pub(super) fn take_in(&self, shards: &[OwnedShard]) {
        self.shards
            .write()
            .extend(shards.iter().map(|owned| (owned.shard, owned.fence)));
    }

    /// Whether it owns any shard.
    pub(super) fn owns_any(&self) -> bool {
        !self.shards.read().is_empty()
    }

    /// The fence of a shard, when it is owned.
    pub(super) fn fence(&self, shard: u16) -> Option<i64> {
        self.shards.read().get(&shard).copied()
    }

    /// The shards that are owned.
    pub(super) fn owned(&self) -> Vec<u16> {
        self.shards.read().keys().copied().collect()
    }

    /// The shard for a new saga: each in its turn.
    pub(super) fn shard_for_start(&self) -> Option<OwnedShard> {
        let shards = self.shards.read();
        if shards.is_empty() {
            return None;
        }
        let turn = self.next_shard.fetch_add(1, Ordering::Relaxed) % shards.len();
        shards.iter().nth(turn).map(|(shard, fence)| OwnedShard {
            shard: *shard,
            fence: *fence,
        })
    }

    /// Counts a saga in for admission; `false` when there are too many already.
    pub(super) fn admit(&self) -> bool {
        let max = self.parts.settings.active_sagas_max;
        self.unfinished
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < max).then_some(count + 1)
            })
            .is_ok()
    }

    /// Whether admission would take another saga.
    pub(super) fn has_room(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed) < self.parts.settings.active_sagas_max
    }

    /// Counts sagas in, whatever the bound.
    pub(super) fn count_in(&self, sagas: usize) {
        self.unfinished.fetch_add(sagas, Ordering::Relaxed);
    }

    /// Counts a saga out.
    pub(super) fn count_out(&self) {
        let counted = self
            .unfinished
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                count.checked_sub(1)
            });
        debug_assert!(
            counted.is_ok(),
            "a saga was counted out that was not counted in"
        );
    }

    /// Sets a saga aside until the next start: something about it is broken, and the rest goes on.
    pub(super) fn set_aside(&self, id: SagaId) {
        let entry = self.active.get(id);
        self.active.remove(id);
        // Its other strands end with their next input.
        if let Some(mut state) = entry.as_ref().and_then(|entry| entry.state.try_lock()) {
            state.left = true;
            state.waiters.clear();
        }
        self.aside.lock().insert(id);
    }

    /// Whether a saga was set aside.
    pub(super) fn is_aside(&self, id: SagaId) -> bool {
        self.aside.lock().contains(&id)
    }

    /// Held while a saga is brought into memory, so that two who want it get the same one, and
    /// nobody gets one that was read before it changed.
    pub(super) async fn loading(&self, id: SagaId) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let stripe = usize::try_from(id.0.as_u128() % (LOADING_STRIPES as u128)).unwrap_or(0);
        match self.loading.get(stripe) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        }
    }

    /// The same for every saga at once, while a page of them is brought in.
    pub(super) async fn loading_any(&self) -> Vec<tokio::sync::MutexGuard<'_, ()>> {
        let mut held = Vec::with_capacity(LOADING_STRIPES);
        for lock in &self.loading {
            held.push(lock.lock().await);
        }
        held
    }
}
