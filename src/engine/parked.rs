//! The attempts that wait in the journal for a guard, as far as this replica owns their sagas: only
//! which they are, by participant and age. The sagas themselves need not be in memory.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::definition::StepIndex;
use crate::definition::request::Phase;
use crate::saga::{Guard, SagaId};

/// An attempt that waits in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ParkedCall {
    pub(super) saga: SagaId,
    pub(super) step: StepIndex,
    pub(super) phase: Phase,
    pub(super) guard: Guard,
}

/// Who waits, by participant.
#[derive(Debug)]
pub(super) struct Parked {
    places: HashMap<String, Place>,
}

/// Who waits for one participant, the oldest saga first.
#[derive(Debug, Default)]
struct Place {
    calls: Mutex<BTreeMap<(SagaId, StepIndex), (Phase, Guard)>>,
    arrived: Notify,
}

impl Parked {
    /// A place for each participant.
    pub(super) fn new<'a>(participants: impl IntoIterator<Item = &'a str>) -> Self {
        let places = participants.into_iter();
        let places = places.map(|name| (name.to_owned(), Place::default()));
        Self {
            places: places.collect(),
        }
    }

    /// Notes that an attempt waits. Nobody waits for a participant that is not configured.
    pub(super) fn park(&self, participant: &str, call: ParkedCall) {
        let Some(place) = self.places.get(participant) else {
            return;
        };
        let key = (call.saga, call.step);
        place.calls.lock().insert(key, (call.phase, call.guard));
        place.arrived.notify_one();
    }

    /// Notes that an attempt waits no more.
    pub(super) fn unpark(&self, participant: &str, saga: SagaId, step: StepIndex) {
        if let Some(place) = self.places.get(participant) {
            place.calls.lock().remove(&(saga, step));
        }
    }

    /// The oldest saga that waits for a participant.
    pub(super) fn oldest(&self, participant: &str) -> Option<SagaId> {
        let place = self.places.get(participant)?;
        let calls = place.calls.lock();
        calls.first_key_value().map(|((saga, _), _)| *saga)
    }

    /// Takes the oldest out.
    pub(super) fn take(&self, participant: &str, count: usize) -> Vec<ParkedCall> {
        let Some(place) = self.places.get(participant) else {
            return Vec::new();
        };
        let mut calls = place.calls.lock();
        let taken = std::iter::from_fn(|| calls.pop_first()).take(count);
        let call = |((saga, step), (phase, guard))| ParkedCall {
            saga,
            step,
            phase,
            guard,
        };
        taken.map(call).collect()
    }

    /// How many wait for a participant.
    pub(super) fn len(&self, participant: &str) -> usize {
        let place = self.places.get(participant);
        place.map_or(0, |place| place.calls.lock().len())
    }

    /// How many wait for one of its guards.
    pub(super) fn waiting_for(&self, participant: &str, guard: Guard) -> usize {
        self.places.get(participant).map_or(0, |place| {
            let calls = place.calls.lock();
            calls.values().filter(|(_, held)| *held == guard).count()
        })
    }

    /// Waits until another one comes.
    pub(super) async fn arrived(&self, participant: &str) {
        match self.places.get(participant) {
            Some(place) => place.arrived.notified().await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(saga: u128) -> ParkedCall {
        ParkedCall {
            saga: SagaId(uuid::Uuid::from_u128(saga)),
            step: StepIndex(1),
            phase: Phase::Action,
            guard: Guard::RateLimit,
        }
    }

    #[test]
    fn the_oldest_come_first_whenever_they_came() {
        let parked = Parked::new(["a", "b"]);
        for saga in [3, 1, 2] {
            parked.park("a", call(saga));
        }
        parked.park("a", call(2));
        parked.park("nobody", call(4));
        assert_eq!(parked.len("a"), 3);
        assert_eq!(parked.waiting_for("a", Guard::RateLimit), 3);
        assert_eq!(parked.waiting_for("a", Guard::Bulkhead), 0);
        assert_eq!(parked.oldest("a"), Some(call(1).saga));
        assert_eq!(parked.take("a", 2), [call(1), call(2)]);
        parked.unpark("a", call(3).saga, StepIndex(1));
        assert_eq!(parked.oldest("a"), None);
        assert_eq!(parked.len("b") + parked.len("nobody"), 0);
    }
}
