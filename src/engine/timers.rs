//! When the sagas in memory have to be looked at again. One time a saga, so that a saga that ends
//! long before its timeout leaves nothing behind.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::saga::{SagaId, Timestamp};

/// The times of the sagas in memory, the earliest first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: Mutex<BTreeSet<(Timestamp, SagaId)>>,
    earlier: Notify,
}

impl Timers {
    /// Replaces a saga's time.
    pub(super) fn set(&self, id: SagaId, before: Option<Timestamp>, after: Option<Timestamp>) {
        if before == after {
            return;
        }
        let mut due = self.due.lock();
        if let Some(time) = before {
            due.remove(&(time, id));
        }
        if let Some(time) = after {
            due.insert((time, id));
            if due.first() == Some(&(time, id)) {
                self.earlier.notify_one();
            }
        }
    }

    /// Takes out up to `max` sagas whose time has come.
    pub(super) fn take_due(&self, now: Timestamp, max: usize) -> Vec<SagaId> {
        let mut due = self.due.lock();
        let mut taken = Vec::new();
        while taken.len() < max {
            match due.first().copied() {
                Some(first) if first.0 <= now => {
                    due.remove(&first);
                    taken.push(first.1);
                }
                Some(_) | None => break,
            }
        }
        taken
    }

    /// The earliest time.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.due.lock().first().map(|(time, _)| *time)
    }

    /// Waits until an earlier time than the first was set.
    pub(super) async fn earlier(&self) {
        self.earlier.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn id(n: u128) -> SagaId {
        SagaId(Uuid::from_u128(n))
    }

    #[test]
    fn the_earliest_goes_first_and_a_replaced_time_is_gone() {
        let timers = Timers::default();
        timers.set(id(1), None, Some(Timestamp(30)));
        timers.set(id(2), None, Some(Timestamp(20)));
        timers.set(id(1), Some(Timestamp(30)), Some(Timestamp(10)));
        assert_eq!(timers.first(), Some(Timestamp(10)));
        assert_eq!(timers.take_due(Timestamp(15), 10), vec![id(1)]);
        assert_eq!(timers.take_due(Timestamp(40), 10), vec![id(2)]);
        assert_eq!(timers.first(), None);
    }

    #[test]
    fn no_more_than_asked_for_are_taken_at_once() {
        let timers = Timers::default();
        for n in 0..10 {
            timers.set(id(n), None, Some(Timestamp(1)));
        }
        assert_eq!(timers.take_due(Timestamp(1), 4).len(), 4);
        assert_eq!(timers.take_due(Timestamp(1), 40).len(), 6);
    }
}
