//! What a transition is counted as, once it is durable.

use super::active::Entry;
use super::standing::Stand;
use super::tenure::Tenure;
use crate::definition::StepIndex;
use crate::saga::{Event, Saga, Status};
use crate::telemetry::metrics::{Finish, Undoing};
use crate::telemetry::traces::trace_id;

/// What a transition is counted as.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tally {
    /// Where the saga stood before; nowhere, when it starts.
    from: Option<Stand>,
    /// Where it stands after.
    to: Stand,
    /// How often it came to need a person.
    failed: u32,
    /// What became of compensations.
    undone: Vec<Undoing>,
    /// The steps that a reply came too late for.
    late: Vec<StepIndex>,
}

impl Tally {
    /// Of the events that made `after` of `before`.
    pub(super) fn of(events: &[Event], before: Option<&Saga>, after: &Saga) -> Self {
        let mut tally = Self {
            from: before.map(Stand::of),
            to: Stand::of(after),
            failed: 0,
            undone: Vec::new(),
            late: Vec::new(),
        };
        for event in events {
            tally.take(event);
        }
        tally
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::StepCompensated { .. } => self.undone.push(Undoing::Compensated),
            Event::CompensationFailed { .. } => self.undone.push(Undoing::Failed),
            Event::SagaFailed { .. } => self.failed += 1,
            Event::LateReply { step, .. } => self.late.push(*step),
            Event::SagaStarted(_)
            | Event::AttemptStarted { .. }
            | Event::AttemptFailed { .. }
            | Event::AttemptHeld { .. }
            | Event::WaitStarted { .. }
            | Event::DelayStarted { .. }
            | Event::SignalTaken { .. }
            | Event::StepSucceeded { .. }
            | Event::StepRefused { .. }
            | Event::StepUnknown { .. }
            | Event::StepSkipped { .. }
            | Event::SagaCompensating { .. }
            | Event::SagaWentForward
            | Event::SagaOverdue
            | Event::SagaUnblocked
            | Event::SagaCompleted { .. }
            | Event::SagaCompensated
            | Event::SagaCancelled { .. }
            | Event::SagaSuspended { .. }
            | Event::SagaResumed { .. }
            | Event::SagaRetried { .. }
            | Event::StepResolved { .. }
            | Event::SignalReceived { .. } => {}
        }
    }

    /// How the saga finished with this transition.
    fn finish(&self) -> Option<Finish> {
        let finish = match self.to.status() {
            Status::Completed => Finish::Completed,
            Status::Compensated => Finish::Compensated,
            Status::Running | Status::Compensating | Status::Failed => return None,
        };
        let was_finished = self.from.is_some_and(|from| from.status().is_finished());
        (!was_finished).then_some(finish)
    }
}

impl Tenure {
    /// Counts a transition of a saga that is durable.
    pub(super) fn count(&self, entry: &Entry, saga: &Saga, tally: &Tally) {
        let metrics = &entry.metrics;
        self.standing.moved(tally.from, tally.to);
        if tally.from.is_none() {
            metrics.started();
        }
        for outcome in &tally.undone {
            metrics.compensation(*outcome);
        }
        for _ in 0..tally.failed {
            metrics.failed();
            tell_of_failure(entry, saga);
        }
        for participant in tally
            .late
            .iter()
            .filter_map(|step| metrics.participant(*step))
        {
            participant.late_reply();
        }
        if let Some(finish) = tally.finish() {
            metrics.finished(finish, saga.created_at.ms_until(saga.updated_at));
            self.parts.traces.finished(saga);
        }
    }
}

/// Tells of a saga that needs a person: without one it stays as it is for ever.
fn tell_of_failure(entry: &Entry, saga: &Saga) {
    let failure = saga.failure();
    let step = failure
        .and_then(|failure| failure.step)
        .and_then(|step| entry.definition.step(step));
    tracing::warn!(
        saga_id = %saga.id,
        trace_id = %trace_id(saga.id, &saga.started),
        step = step.map(|step| step.id.as_str()),
        definition = saga.started.definition,
        code = failure.map(|failure| failure.code.as_str()),
        "a saga has failed and waits for a person"
    );
}
