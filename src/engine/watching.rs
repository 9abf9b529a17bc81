//! Who follows sagas as they go, and how they are told that there is something new. Nothing is
//! carried but the news that there is some: whoever is told reads the journal, so only what is
//! durable is ever seen, and nobody who is slow holds anything back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{Engine, Parts};
use crate::saga::SagaId;

/// How many may follow sagas at the same time.
pub const WATCHES_MAX: usize = 500;

/// The sagas that somebody follows.
pub(super) struct Watchers {
    places: Arc<Semaphore>,
    /// How many sagas are followed, so that a commit of one that is not costs no more than a look.
    count: AtomicUsize,
    sagas: Mutex<HashMap<SagaId, (watch::Sender<()>, usize)>>,
}

impl Default for Watchers {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(WATCHES_MAX)),
            count: AtomicUsize::new(0),
            sagas: Mutex::default(),
        }
    }
}

impl Watchers {
    /// Tells whoever follows the saga that its journal has grown.
    pub(super) fn tell(&self, id: SagaId) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some((told, _)) = self.sagas.lock().get(&id) {
            told.send_replace(());
        }
    }

    fn enter(&self, id: SagaId) -> watch::Receiver<()> {
        let mut sagas = self.sagas.lock();
        let (told, watching) = sagas.entry(id).or_default();
        *watching += 1;
        let told = told.subscribe();
        self.count.store(sagas.len(), Ordering::SeqCst);
        told
    }

    /// The last one out puts the light off.
    fn leave(&self, id: SagaId) {
        let mut sagas = self.sagas.lock();
        // Counted under the lock: how many receivers there are says nothing of two that leave at
        // the same moment.
        if let Some((_, watching)) = sagas.get_mut(&id) {
            *watching = watching.saturating_sub(1);
            if *watching == 0 {
                sagas.remove(&id);
            }
        }
        self.count.store(sagas.len(), Ordering::SeqCst);
    }
}

/// What ended a wait for news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The saga's journal has grown here.
    News,
    /// The time is up; another replica may have written.
    Quiet,
    /// A drain has begun: whoever follows has to leave.
    Draining,
}

/// Follows one saga. What it held is free when it is dropped.
pub struct Watch {
    id: SagaId,
    told: watch::Receiver<()>,
    parts: Arc<Parts>,
    _place: OwnedSemaphorePermit,
}

impl Engine {
    /// Follows a saga, here or not; `None` when as many follow already as may. Read the journal
    /// after this, not before: what is committed from here on is told of.
    #[must_use]
    pub fn watch(&self, id: SagaId) -> Option<Watch> {
        let parts = Arc::clone(&self.parts);
        let place = Arc::clone(&parts.watchers.places)
            .try_acquire_owned()
            .ok()?;
        let told = parts.watchers.enter(id);
        Some(Watch {
            id,
            told,
            parts,
            _place: place,
        })
    }
}

impl Watch {
    /// Waits for news, at most so long.
    pub async fn wait(&mut self, within: Duration) -> Woken {
        tokio::select! {
            biased;
            () = self.parts.stopping.draining.cancelled() => Woken::Draining,
            // The sender stays as long as there is a receiver.
            _news = self.told.changed() => Woken::News,
            () = tokio::time::sleep(within) => Woken::Quiet,
        }
    }

    /// Whether this replica advances the sagas of a shard, so that it has news of them.
    #[must_use]
    pub fn is_told_of(&self, shard: u16) -> bool {
        let tenure = self.parts.tenure();
        tenure.is_some_and(|tenure| tenure.fence(shard).is_some())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.parts.watchers.leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_follows_is_told_and_nothing_is_left_behind() {
        let watchers = Watchers::default();
        let (one, other) = (SagaId(uuid::Uuid::nil()), SagaId(uuid::Uuid::max()));
        watchers.tell(one);
        let mut first = watchers.enter(one);
        let mut second = watchers.enter(one);
        watchers.tell(other);
        assert!(!first.has_changed().unwrap());
        watchers.tell(one);
        watchers.tell(one);
        assert!(first.has_changed().unwrap() && second.has_changed().unwrap());
        first.mark_unchanged();
        assert!(
            !first.has_changed().unwrap(),
            "news that nobody took is one"
        );

        watchers.leave(one);
        watchers.tell(one);
        assert!(second.has_changed().unwrap(), "the other one stays");
        second.mark_unchanged();
        // Both are still there, as when two leave at the same moment.
        watchers.leave(one);
        drop((first, second));
        assert_eq!(watchers.sagas.lock().len(), 0);
        assert_eq!(watchers.count.load(Ordering::SeqCst), 0);
    }
}
