//! What will wake a saga, and when (I9).

use super::{Progress, Rest, Saga, StepState};
use crate::definition::StepIndex;
use crate::definition::request::Phase;
use crate::saga::guard::Guard;
use crate::saga::id::Timestamp;

impl Saga {
    /// What will wake it.
    #[must_use]
    pub fn rest(&self) -> Rest {
        match self.progress {
            Progress::Completed | Progress::Compensated => return Rest::Outside,
            Progress::Forward
            | Progress::Back
            | Progress::StoppedForward
            | Progress::StoppedBack => {}
        }
        if self.in_hand().next().is_some() {
            return Rest::Active;
        }
        match self.next_time() {
            Some(time) => Rest::Until(time),
            None => Rest::Outside,
        }
    }

    /// The earliest time at which something of it is due.
    #[must_use]
    pub fn next_time(&self) -> Option<Timestamp> {
        self.next_time_but_held()
            .into_iter()
            .chain(self.held_until())
            .min()
    }

    /// The same without the attempts that guards hold back: for whoever wakes those by other means.
    #[must_use]
    pub fn next_time_but_held(&self) -> Option<Timestamp> {
        let forward = match self.progress {
            Progress::Forward => true,
            Progress::Back => false,
            Progress::StoppedForward
            | Progress::StoppedBack
            | Progress::Completed
            | Progress::Compensated => return None,
        };
        let sends = self.sends();
        let deadline = self
            .started
            .deadline
            .filter(|_| forward && !self.overdue && !self.timed_out);
        let awaited = self.steps.iter().filter_map(|record| record.awaited_until);
        let steps = self.steps.iter().filter_map(|record| match record.state {
            StepState::Retrying(at) | StepState::CompensationRetrying(_, at) => sends.then_some(at),
            StepState::AwaitingSignal(until) => until,
            StepState::AwaitingTime(until) => Some(until),
            StepState::Pending
            | StepState::Held(..)
            | StepState::CompensationHeld(..)
            | StepState::Running
            | StepState::Ended(_)
            | StepState::Skipped
            | StepState::Compensating(_)
            | StepState::Compensated(_)
            | StepState::CompensationFailed(_) => None,
        });
        steps.chain(awaited).chain(deadline).min()
    }

    /// The attempts that guards hold back and that may be sent, each with its guard.
    pub fn held(&self) -> impl Iterator<Item = (StepIndex, Phase, Guard)> + '_ {
        let sends = self.sends();
        let records = self.steps.iter().zip(0_u16..).filter(move |_| sends);
        records.filter_map(|(record, index)| {
            let (phase, guard, _) = record.state.held()?;
            Some((StepIndex(index), phase, guard))
        })
    }

    fn held_until(&self) -> Option<Timestamp> {
        let held = self.steps.iter().filter(|_| self.sends());
        held.filter_map(|record| record.state.held()?.2).min()
    }
}
