//! How many sagas of this replica stand where: in memory or not, by what is durable.
//!
//! What holds: for each process, and at any moment at which nothing is on its way to the journal,
//! sagas taken over + started = finished + standing. What was taken over is counted by the
//! database when its shard is, before anything of it can change; from then on each durable
//! transition moves one. With the lease all of it is dropped, and counted anew with the next;
//! a commit whose answer was lost together with the lease is in the new count, and was in none before.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::saga::{Saga, Status};
use crate::telemetry::metrics::SagasStanding;

/// Where one saga stands, as far as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    status: Status,
    overdue: bool,
}

impl Stand {
    /// Where a saga stands.
    pub(super) fn of(saga: &Saga) -> Self {
        Self {
            status: saga.status(),
            overdue: saga.overdue,
        }
    }

    /// The status.
    pub(super) fn status(self) -> Status {
        self.status
    }
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Standing {
    running: AtomicI64,
    compensating: AtomicI64,
    failed: AtomicI64,
    overdue: AtomicI64,
}

impl Standing {
    /// Counts what a shard that was taken over has.
    pub(super) fn take_over(&self, found: SagasStanding) {
        for (count, found) in [
            (&self.running, found.running),
            (&self.compensating, found.compensating),
            (&self.failed, found.failed),
            (&self.overdue, found.overdue),
        ] {
            let found = i64::try_from(found).unwrap_or(i64::MAX);
            count.fetch_add(found, Ordering::Relaxed);
        }
    }

    /// A saga stands elsewhere than it did; one that just started stood nowhere. The moves of one
    /// saga may be told in any order, so a count may be below zero for a moment.
    pub(super) fn moved(&self, from: Option<Stand>, to: Stand) {
        if from == Some(to) {
            return;
        }
        for count in self.counts_of(to) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        for count in from.into_iter().flat_map(|from| self.counts_of(from)) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A saga was set aside in the database, where it stood so.
    pub(super) fn set_aside(&self, status: Status, overdue: bool) {
        let from = Stand { status, overdue };
        let to = Stand {
            status: Status::Failed,
            overdue,
        };
        self.moved(Some(from), to);
    }

    /// What stands now.
    pub(super) fn read(&self) -> SagasStanding {
        let read =
            |count: &AtomicI64| u64::try_from(count.load(Ordering::Relaxed)).unwrap_or_default();
        SagasStanding {
            running: read(&self.running),
            compensating: read(&self.compensating),
            failed: read(&self.failed),
            overdue: read(&self.overdue),
        }
    }

    fn counts_of(&self, stand: Stand) -> impl Iterator<Item = &AtomicI64> {
        let by_status = match stand.status {
            Status::Running => Some(&self.running),
            Status::Compensating => Some(&self.compensating),
            Status::Failed => Some(&self.failed),
            Status::Completed | Status::Compensated => None,
        };
        let overdue = (stand.overdue && !stand.status.is_finished()).then_some(&self.overdue);
        by_status.into_iter().chain(overdue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stand(status: Status, overdue: bool) -> Stand {
        Stand { status, overdue }
    }

    #[test]
    fn sagas_are_counted_where_they_stand() {
        let standing = Standing::default();
        standing.take_over(SagasStanding {
            running: 2,
            failed: 1,
            overdue: 1,
            ..SagasStanding::default()
        });
        standing.moved(None, stand(Status::Running, false));
        standing.moved(
            Some(stand(Status::Running, false)),
            stand(Status::Running, true),
        );
        standing.moved(
            Some(stand(Status::Failed, true)),
            stand(Status::Completed, true),
        );
        standing.moved(
            Some(stand(Status::Running, false)),
            stand(Status::Compensating, false),
        );
        standing.set_aside(Status::Compensating, false);
        let expected = SagasStanding {
            running: 2,
            compensating: 0,
            failed: 1,
            overdue: 1,
        };
        assert_eq!(standing.read(), expected);
    }

    #[test]
    fn moves_may_be_told_in_any_order() {
        let standing = Standing::default();
        let back = stand(Status::Compensating, false);
        standing.moved(Some(back), stand(Status::Compensated, false));
        standing.moved(Some(stand(Status::Running, false)), back);
        standing.moved(None, stand(Status::Running, false));
        assert_eq!(standing.read(), SagasStanding::default());
    }
}
