//! What is shown of a saga beyond its journal: what its owner knows of it in memory. Nothing here is
//! ever journaled.

use crate::saga::guard::Guard;
use crate::saga::id::Timestamp;
use crate::saga::state::{InFlight, Saga, StepState};

impl Saga {
    /// Shows an attempt that waits for a guard in its owner's memory, where the journal says that
    /// it has begun. For what is shown only: nothing of it is journaled.
    pub fn show_held(&mut self, call: InFlight, guard: Guard) {
        if !self.in_flight().any(|flying| flying == call) {
            return;
        }
        let at = self.updated_at;
        let since = self.record(call.step).map_or(at, |record| record.since);
        if self
            .attempt_held(call.step, call.phase, (guard, at), false)
            .is_err()
        {
            return;
        }
        let Ok(record) = self.record_mut(call.step) else {
            return;
        };
        record.since = since;
        record.state = match record.state {
            StepState::Held(guard, _) => StepState::Held(guard, None),
            StepState::CompensationHeld(outcome, guard, _) => {
                StepState::CompensationHeld(outcome, guard, None)
            }
            other @ (StepState::Pending
            | StepState::Running
            | StepState::Retrying(_)
            | StepState::AwaitingSignal(_)
            | StepState::AwaitingTime(_)
            | StepState::Ended(_)
            | StepState::Skipped
            | StepState::Compensating(_)
            | StepState::CompensationRetrying(..)
            | StepState::Compensated(_)
            | StepState::CompensationFailed(_)) => other,
        };
    }

    /// Shows an attempt as accepted that is so in its owner's memory only. For what is shown: nothing
    /// of it is journaled.
    pub fn show_awaited(&mut self, call: InFlight, until: Timestamp) {
        if !self.in_flight().any(|flying| flying == call) {
            return;
        }
        if let Ok(record) = self.record_untouched(call.step) {
            record.awaited_until.get_or_insert(until);
        }
    }
}
