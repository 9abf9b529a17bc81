//! What comes after an attempt was accepted: its reply, its time, or the news that nobody could
//! take it (execution.md, "Late and repeated messages"; participants.md, "Dead letters").

use super::Deciding;
use crate::definition::StepIndex;
use crate::definition::request::Phase;
use crate::saga::event::Event;
use crate::saga::id::Timestamp;
use crate::saga::input::{DeadLettered, Fate, REPLIES_KEPT_MAX, Rejection, Replied};
use crate::saga::outcome::{Outcome, StepError};
use crate::saga::state::{InFlight, Progress, StepState};

/// The code of an attempt that was not answered in time.
const TIMEOUT: &str = "timeout";

impl Deciding<'_> {
    /// Somebody has an attempt for good. One that is not in flight changes nothing (I8): its reply
    /// may have been faster.
    pub(super) fn accepted(&mut self, call: InFlight, until: Timestamp) {
        let InFlight { step, phase, .. } = call;
        if self.saga.in_hand().any(|flying| flying == call) {
            self.emit(Event::AttemptAccepted { step, phase, until });
        }
    }

    /// Takes in what a participant says, whichever attempt it answers. The same reply twice is one
    /// (I8), and one for a step that has ended is recorded and changes nothing.
    ///
    /// # Errors
    /// When no participant is ever asked for that step and phase.
    pub(super) fn reply(&mut self, replied: Replied) -> Result<(), Rejection> {
        let Replied {
            id,
            step,
            phase,
            outcome,
            draw,
        } = replied;
        let declared = self.definition.step(step);
        let asks = declared.is_some_and(|step| match phase {
            Phase::Action => step.action().is_some(),
            Phase::Compensation => step.compensation().is_some(),
        });
        let Some(record) = self.saga.record(step).filter(|_| asks) else {
            return Err(Rejection::NothingAsked);
        };
        if record.seen(&id).is_some() {
            return Ok(());
        }
        let (attempt, kept) = (record.attempt(phase), record.replies.len());
        match self.waits_for_reply(step, phase) {
            Waits::InFlight => {
                self.emit(Event::ReplyTaken { step, phase, id });
                self.ended(step, phase, outcome, draw);
            }
            Waits::ToTryAgain => {
                self.emit(Event::ReplyTaken { step, phase, id });
                // That it has to be tried again is known.
                if !matches!(outcome, Outcome::Transient { .. }) {
                    self.ended(step, phase, outcome, draw);
                }
            }
            // So many of them say nothing new, and the journal is no place for a flood.
            Waits::Not if kept >= REPLIES_KEPT_MAX => {}
            Waits::Not => {
                let call = InFlight {
                    step,
                    phase,
                    attempt,
                };
                self.late_reply(call, &outcome, Some(id));
            }
        }
        Ok(())
    }

    fn waits_for_reply(&self, step: StepIndex, phase: Phase) -> Waits {
        let asked = self
            .saga
            .record(step)
            .is_some_and(|record| record.attempt(phase) > 0 || record.may_be_sent);
        match (phase, self.saga.step_state(step)) {
            (Phase::Action, StepState::Running)
            | (Phase::Compensation, StepState::Compensating(_)) => Waits::InFlight,
            (Phase::Action, StepState::Retrying(_))
            | (Phase::Compensation, StepState::CompensationRetrying(..)) => Waits::ToTryAgain,
            // Held back, or let go on by a person: there were attempts before.
            (Phase::Action, StepState::Held(..) | StepState::Pending)
            | (Phase::Compensation, StepState::CompensationHeld(..))
                if asked =>
            {
                Waits::ToTryAgain
            }
            (
                Phase::Action | Phase::Compensation,
                StepState::Pending
                | StepState::Running
                | StepState::Retrying(_)
                | StepState::Held(..)
                | StepState::AwaitingSignal(_)
                | StepState::AwaitingTime(_)
                | StepState::Ended(_)
                | StepState::Skipped
                | StepState::Compensating(_)
                | StepState::CompensationRetrying(..)
                | StepState::CompensationHeld(..)
                | StepState::Compensated(_)
                | StepState::CompensationFailed(_),
            ) => Waits::Not,
        }
    }

    /// No consumer could take the command of an attempt. One that is not in flight any more changes
    /// nothing (I8).
    pub(super) fn dead_lettered(&mut self, letter: DeadLettered) {
        let DeadLettered {
            call,
            error,
            fate,
            draw,
        } = letter;
        let InFlight { step, phase, .. } = call;
        if !self.saga.in_flight().any(|flying| flying == call) {
            return;
        }
        match fate {
            Fate::Unknown => self.ended(step, phase, Outcome::Unknown(error), draw),
            Fate::Retried => {
                self.ended(step, phase, Outcome::transient(error), draw);
            }
            Fate::Held => {
                let known = self.saga.record(step).is_some_and(|own| own.dead_lettered);
                if !known {
                    self.emit(Event::AttemptDeadLettered { step, phase, error });
                }
            }
        }
    }

    /// Gives up the attempts whose replies did not come in time.
    pub(super) fn give_up_waiting(&mut self, draw: f64) {
        match self.saga.progress {
            Progress::Forward | Progress::Back => {}
            Progress::StoppedForward
            | Progress::StoppedBack
            | Progress::Completed
            | Progress::Compensated => return,
        }
        let late: Vec<InFlight> = self
            .saga
            .in_flight()
            .filter(|call| {
                let until = self.saga.awaited_until(call.step);
                until.is_some_and(|until| until <= self.now)
            })
            .collect();
        for InFlight { step, phase, .. } in late {
            let error = StepError::new(TIMEOUT, "no reply came in time");
            self.ended(step, phase, Outcome::transient(error), draw);
        }
    }
}

/// What a step does with a reply.
enum Waits {
    /// An attempt is in flight: the reply ends it.
    InFlight,
    /// An attempt failed, and the next is due: what is certain needs no next.
    ToTryAgain,
    /// It has ended, or was never asked.
    Not,
}
