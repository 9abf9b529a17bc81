//! Telling those who wait what became of their entries.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use super::batch::Follower;
use super::commit::Done;
use super::writer::Writer;
use super::{AppendError, Appended, Pending};
use crate::saga::id::SagaId;

impl Writer {
    /// Answers the entries that an earlier try has written after all.
    pub(super) fn settle_found(&self, part: &mut Vec<Pending>, same: &HashSet<(SagaId, u64)>) {
        if same.is_empty() {
            return;
        }
        for pending in std::mem::take(part) {
            if same.contains(&(pending.entry.saga, pending.entry.transition.seq)) {
                self.shared.settle(pending, Ok(Appended::Written));
            } else {
                part.push(pending);
            }
        }
    }

    /// Drops the starts that nobody wants any longer, unless they may have been written.
    pub(super) fn drop_withdrawn(&self, part: &mut Vec<Pending>, uncertain: bool) {
        if uncertain || !part.iter().any(Pending::is_withdrawn) {
            return;
        }
        let mut gone = HashSet::new();
        for pending in std::mem::take(part) {
            if pending.is_withdrawn() || gone.contains(&pending.entry.saga) {
                gone.insert(pending.entry.saga);
                self.shared.settle(pending, Err(AppendError::Withdrawn));
            } else {
                part.push(pending);
            }
        }
    }

    /// Answers a part that was committed. Those of it that are durable are told with the next
    /// batch under way, or at once where nothing waits.
    pub(super) fn settle(
        &mut self,
        part: Vec<Pending>,
        done: &Done,
        led: &mut HashMap<SagaId, Option<Appended>>,
    ) {
        if done.rows > 0 {
            self.shared.commits.fetch_add(1, Ordering::Relaxed);
            self.shared
                .rows
                .fetch_add(done.rows as u64, Ordering::Relaxed);
            self.shared.events.fetch_add(done.events, Ordering::Relaxed);
        }
        for pending in part {
            let saga = pending.entry.saga;
            let outcome = match done.seen.get(&saga) {
                // What else there is of a saga that was not made has nowhere to go.
                Some(_) if pending.entry.start.is_none() => Err(AppendError::Withdrawn),
                Some((owner, digest)) => Ok(Appended::KeySeen {
                    saga: *owner,
                    digest: *digest,
                }),
                None => Ok(Appended::Written),
            };
            if !led.is_empty()
                && pending.entry.start.is_some()
                && let (Some(place), Ok(appended)) = (led.get_mut(&saga), &outcome)
            {
                *place = Some(match (appended, &pending.entry.start) {
                    (Appended::Written, Some(start)) => Appended::KeySeen {
                        saga,
                        digest: start.key.as_ref().map_or([0; 32], |key| key.digest),
                    },
                    (seen, _) => *seen,
                });
            }
            match outcome {
                Ok(Appended::Written) => self.written.push(pending),
                outcome => self.shared.settle(pending, outcome),
            }
        }
    }

    /// Tells the sagas whose entries are durable.
    pub(super) fn tell_written(&mut self) {
        for pending in self.written.drain(..) {
            self.shared.settle(pending, Ok(Appended::Written));
        }
    }

    /// Those that came second with a key learn whose it is; where the first failed they have their
    /// own turn, before all that waits.
    pub(super) fn settle_followers(
        &self,
        followers: Vec<Follower>,
        led: &HashMap<SagaId, Option<Appended>>,
    ) {
        let mut again = Vec::new();
        for Follower { pending, leader } in followers {
            match led.get(&leader).copied().flatten() {
                Some(seen) => self.shared.settle(pending, Ok(seen)),
                None => again.push(pending),
            }
        }
        let mut queue = self.shared.queue();
        for pending in again.into_iter().rev() {
            queue.waiting.push_front(pending);
        }
    }

    /// What waits behind a failed entry of its saga fails with it: the journal has no gaps.
    pub(super) fn fail_waiting(&self, saga: SagaId, why: &AppendError) {
        let behind: Vec<Pending> = {
            let mut queue = self.shared.queue();
            let waiting = std::mem::take(&mut queue.waiting);
            let (behind, others): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .partition(|pending| pending.entry.saga == saga);
            queue.waiting = others.into();
            behind
        };
        for pending in behind {
            self.shared.settle(pending, Err(why.clone()));
        }
    }

    pub(super) fn without_failed(
        &self,
        part: Vec<Pending>,
        failed: &HashMap<SagaId, AppendError>,
    ) -> Vec<Pending> {
        if failed.is_empty() {
            return part;
        }
        let mut kept = Vec::with_capacity(part.len());
        for pending in part {
            match failed.get(&pending.entry.saga) {
                Some(why) => self.shared.settle(pending, Err(why.clone())),
                None => kept.push(pending),
            }
        }
        kept
    }
}
