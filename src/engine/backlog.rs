//! How long what could go on has been waiting for this replica: sagas whose time has come and that
//! nobody has taken up, those that recovery lets go on one after the other, and what waits for the
//! database.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::clock;
use super::tenure::Tenure;
use crate::saga::Timestamp;

/// The sagas that recovery has found and not let go on yet, by the time since when they could.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    since: Mutex<BTreeMap<Timestamp, usize>>,
    /// How far recovery has come in reading what is due; none when it has read all.
    unread: Mutex<Option<Timestamp>>,
}

/// One saga's place in the backlog; it leaves with this.
#[derive(Debug)]
pub(super) struct Place<'a> {
    backlog: &'a Backlog,
    since: Timestamp,
}

impl Backlog {
    /// A saga waits its turn.
    pub(super) fn enter(&self, since: Timestamp) -> Place<'_> {
        *self.since.lock().entry(since).or_default() += 1;
        Place {
            backlog: self,
            since,
        }
    }

    /// Recovery has read what is due up to here, or all.
    pub(super) fn read_up_to(&self, unread: Option<Timestamp>) {
        *self.unread.lock() = unread;
    }

    fn oldest(&self) -> Option<Timestamp> {
        let waiting = self.since.lock().first_key_value().map(|(since, _)| *since);
        let unread = *self.unread.lock();
        waiting.into_iter().chain(unread).min()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut since = self.backlog.since.lock();
        if let Some(count) = since.get_mut(&self.since) {
            *count -= 1;
            if *count == 0 {
                since.remove(&self.since);
            }
        }
    }
}

impl Tenure {
    /// How long the saga that could go on has been waiting longest, in milliseconds.
    pub(super) fn oldest_runnable_ms(&self) -> u64 {
        let candidates = [
            self.timers.first(),
            self.backlog.oldest(),
            self.journal.waiting_since(),
        ];
        let oldest = candidates.into_iter().flatten().min();
        oldest.map_or(0, |since| since.ms_until(clock::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_the_one_that_still_waits() {
        let backlog = Backlog::default();
        assert_eq!(backlog.oldest(), None);
        let young = backlog.enter(Timestamp(20));
        let old = backlog.enter(Timestamp(10));
        let as_old = backlog.enter(Timestamp(10));
        assert_eq!(backlog.oldest(), Some(Timestamp(10)));
        drop(old);
        assert_eq!(backlog.oldest(), Some(Timestamp(10)));
        drop(as_old);
        backlog.read_up_to(Some(Timestamp(15)));
        assert_eq!(backlog.oldest(), Some(Timestamp(15)));
        backlog.read_up_to(None);
        assert_eq!(backlog.oldest(), Some(Timestamp(20)));
        drop(young);
        assert_eq!(backlog.oldest(), None);
    }
}
