//! The calls that wait for a gate in memory, by age: a saga's id says when it was made.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::gate::Pass;
use crate::saga::{Guard, SagaId};

/// A place in the room: the older saga comes first, and of one saga the call that came first.
pub(super) type Place = (SagaId, u64);

/// What becomes of a call that waits: it may go, or the guard that it is turned away for.
pub(super) type Turn = Result<Pass, Guard>;

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct Room {
    waiting: BTreeMap<Place, oneshot::Sender<Turn>>,
    next: u64,
}

impl Room {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether somebody younger than `saga` waits.
    pub(super) fn has_younger(&self, saga: SagaId) -> bool {
        let youngest = self.waiting.last_key_value();
        youngest.is_some_and(|(place, _)| place.0 > saga)
    }

    /// How many wait that are older than `saga`; no more than `max` are counted.
    pub(super) fn older(&self, saga: SagaId, max: usize) -> usize {
        self.waiting.range(..(saga, 0)).take(max).count()
    }

    /// Takes a call in.
    pub(super) fn enter(&mut self, saga: SagaId) -> (Place, oneshot::Receiver<Turn>) {
        let place = (saga, self.next);
        self.next += 1;
        let (tell, told) = oneshot::channel();
        self.waiting.insert(place, tell);
        (place, told)
    }

    /// The oldest leaves.
    pub(super) fn oldest(&mut self) -> Option<oneshot::Sender<Turn>> {
        self.waiting.pop_first().map(|(_, tell)| tell)
    }

    /// The youngest leaves.
    pub(super) fn youngest(&mut self) -> Option<oneshot::Sender<Turn>> {
        self.waiting.pop_last().map(|(_, tell)| tell)
    }

    /// Leaves a place; `false` when somebody else has emptied it before.
    pub(super) fn leave(&mut self, place: Place) -> bool {
        self.waiting.remove(&place).is_some()
    }
}
