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
            | Event::AttemptAccepted { .. }
            | Event::AttemptDeadLettered { .. }
            | Event::ReplyTaken { .. }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde_json::Value;
    use uuid::Uuid;

    use super::*;
    use crate::definition::request::Phase;
    use crate::definition::{Definition, check};
    use crate::saga::{
        Attempted, Command, Decision, Input, Outcome, SagaId, Started, StepError, Timestamp,
        decide, start,
    };

    const NOW: Timestamp = Timestamp(1_000);

    fn definition() -> Arc<Definition> {
        let document = "
name: order
version: 1
steps:
  - { id: a, participant: shop, action: { command: a }, compensation: { command: b } }
";
        check(document, None).definition.unwrap()
    }

    fn started(definition: &Definition) -> Decision {
        let started = Started {
            definition: "order".to_owned(),
            version: 1,
            key: None,
            labels: BTreeMap::new(),
            input: Arc::new(Value::Null),
            deadline: None,
            traceparent: None,
            tracestate: None,
            actor: String::new(),
        };
        start(definition, SagaId(Uuid::from_u128(7)), started, NOW)
    }

    fn ended(phase: Phase, outcome: Outcome) -> Input {
        Input::Attempt(Attempted {
            step: StepIndex(0),
            phase,
            attempt: 1,
            outcome,
            draw: 0.0,
        })
    }

    /// Decides inputs one after the other, and tallies each.
    fn tallies(inputs: Vec<Input>) -> Vec<Tally> {
        let definition = definition();
        let Decision { events, saga, .. } = started(&definition);
        let mut tallies = vec![Tally::of(&events, None, &saga)];
        let mut before = saga;
        for input in inputs {
            let decision = decide(&definition, &before, input, NOW).unwrap();
            tallies.push(Tally::of(&decision.events, Some(&before), &decision.saga));
            before = decision.saga;
        }
        tallies
    }

    fn done() -> Outcome {
        Outcome::Succeeded {
            output: Value::Null,
        }
    }

    #[test]
    fn a_saga_is_finished_once_whatever_comes_late() {
        let again = ended(Phase::Action, done());
        let tallies = tallies(vec![ended(Phase::Action, done()), again]);
        let [start, end, late] = tallies.as_slice() else {
            panic!("{tallies:?}")
        };
        assert!(start.from.is_none() && start.finish().is_none());
        assert_eq!(end.finish(), Some(Finish::Completed));
        assert_eq!(late.finish(), None);
        assert_eq!(late.late, [StepIndex(0)]);
        assert_eq!(late.from, Some(late.to));
    }

    #[test]
    fn a_compensation_that_is_refused_fails_the_saga_until_somebody_settles_it() {
        let actor = String::new;
        let cancel = Input::Command {
            command: Command::Cancel { reason: None },
            actor: actor(),
        };
        let no = Outcome::Refused(StepError::new("no", "no"));
        let resolve = Input::Command {
            command: Command::Resolve {
                step: StepIndex(0),
                resolution: crate::saga::Resolution::Compensated,
                note: String::new(),
                output: Value::Null,
            },
            actor: actor(),
        };
        let tallies = tallies(vec![
            cancel,
            ended(Phase::Action, done()),
            ended(Phase::Compensation, no),
            resolve,
        ]);
        let [_, turned, _, failed, settled] = tallies.as_slice() else {
            panic!("{tallies:?}")
        };
        assert_eq!(turned.to.status(), Status::Compensating);
        assert_eq!(
            (failed.failed, failed.undone.as_slice()),
            (1, &[Undoing::Failed][..])
        );
        assert_eq!(
            (failed.to.status(), failed.finish()),
            (Status::Failed, None)
        );
        assert_eq!(settled.finish(), Some(Finish::Compensated));
        assert!(settled.undone.is_empty(), "a person did that");
    }
}
