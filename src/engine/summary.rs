//! The summary row of a saga, and when it has to be written again: only when what lists and
//! recovery need of it has changed, so that a saga that just runs costs two row writes.

use crate::definition::Definition;
use crate::saga::{Rest, Saga, Status, Timestamp};
use crate::store::{self, SummaryWrite};

/// How far ahead of its time a saga is brought into memory. A wait that ends later than this is
/// not held in memory at all.
pub(super) const HORIZON_MS: u64 = 30_000;

/// What decides whether a summary row has to be written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Persisted {
    status: Status,
    suspended: bool,
    overdue: bool,
    stopped: bool,
    wake: Wake,
}

/// When recovery has to look at a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// At once, or within the horizon of the moment of writing: it is held in memory.
    Soon,
    /// At this time, far ahead.
    At(Timestamp),
    /// Not before something from outside reaches it.
    Never,
}

impl Persisted {
    /// What the row of `saga` should say at `now`; `flying` is whether attempts are under way.
    pub(super) fn of(saga: &Saga, flying: bool, now: Timestamp) -> Self {
        Self {
            status: saga.status(),
            suspended: saga.suspended,
            overdue: saga.overdue,
            stopped: saga.stop.is_some(),
            wake: wake(saga, flying, now),
        }
    }

    /// The row, as far as the engine knows it.
    pub(super) fn row(self, saga: &Saga, definition: &Definition) -> SummaryWrite {
        SummaryWrite {
            definition: saga.started.definition.clone(),
            version: saga.started.version,
            key: saga.started.key.clone(),
            status: self.status,
            suspended: self.suspended,
            overdue: self.overdue,
            failure: saga.failure().map(|failure| store::Failure {
                step: failure
                    .step
                    .and_then(|step| definition.step(step))
                    .map(|step| step.id.clone()),
                code: failure.code.clone(),
                message: failure.message.clone(),
            }),
            created_at: saga.created_at,
            finished_at: saga.finished_at,
            deadline: saga.started.deadline,
            wake_at: match self.wake {
                Wake::Soon => Some(saga.created_at),
                Wake::At(time) => Some(time),
                Wake::Never => None,
            },
        }
    }
}

/// What will wake the saga, as far as this replica has to care.
pub(super) fn rest(saga: &Saga, flying: bool) -> Rest {
    if flying || (saga.sends() && saga.in_hand().next().is_some()) {
        return Rest::Active;
    }
    match saga.next_time() {
        Some(time) => Rest::Until(time),
        None => Rest::Outside,
    }
}

fn wake(saga: &Saga, flying: bool, now: Timestamp) -> Wake {
    if saga.status().is_settled() {
        return Wake::Never;
    }
    match rest(saga, flying) {
        Rest::Active => Wake::Soon,
        Rest::Until(time) if time <= now.plus_ms(HORIZON_MS) => Wake::Soon,
        Rest::Until(time) => Wake::At(time),
        Rest::Outside => Wake::Never,
    }
}
