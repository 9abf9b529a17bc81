//! The tasks that carry calls to participants: each follows one strand of a saga, call after call,
//! for as long as the last answer leads to another call.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::active::Entry;
use super::clock;
use super::guards::Leave;
use super::tenure::Tenure;
use crate::definition::model::{ReplyMode, StatusPattern, Step};
use crate::definition::request::Phase;
use crate::dispatch::{Attempt, Pass, Sent};
use crate::saga::{Attempted, Guard, InFlight, Input, Outcome, Prepared, SagaId, Timestamp};
use crate::telemetry::metrics::AttemptOutcome;
use crate::telemetry::traces::{AttemptSpan, TracedAttempt};

/// What became of a call.
enum Made {
    /// It came to an end.
    Ended(Attempted),
    /// Somebody has it until then, and a reply will tell.
    Accepted(InFlight, Timestamp),
    /// The process or the tenure ends: it is left to the next owner.
    Left,
}

impl Tenure {
    /// Carries calls out, each on a task of its own.
    pub(super) fn send(self: &Arc<Self>, entry: &Arc<Entry>, calls: Vec<Prepared>) {
        for call in calls {
            let tenure = Arc::clone(self);
            let entry = Arc::clone(entry);
            self.spawn_for(entry.id, async move {
                tenure.carry_out(entry, call, None).await
            });
        }
    }

    /// Runs a task of one saga. A panic in it is a bug of ours: the saga is set aside, and the
    /// rest goes on.
    pub(super) fn spawn_for(
        self: &Arc<Self>,
        id: SagaId,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let tenure = Arc::clone(self);
        let stopping = self.stopping();
        let task = async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(saga_id = %id, "a task panicked; the saga is set aside");
                tenure.set_aside(id);
            }
        };
        stopping.calls.spawn_on(task, &stopping.runtime);
    }

    /// Makes a call, takes its outcome in, and goes on with what follows from it. `resuming` is the
    /// leave to be one of those that recovery found; it is given back when a call has to wait.
    pub(super) async fn carry_out(
        self: Arc<Self>,
        entry: Arc<Entry>,
        first: Prepared,
        mut resuming: Option<OwnedSemaphorePermit>,
    ) {
        let mut next = first;
        loop {
            // What a drain or a lost lease leaves unsent, the next owner sends.
            if self.stopping().draining.is_cancelled() || self.ended.is_cancelled() {
                return;
            }
            let input = match self.leave(&entry, &next, &mut resuming).await {
                Leave::Granted(pass, held) => match self.make(&entry, next, pass, held).await {
                    Made::Ended(attempted) => Input::Attempt(attempted),
                    Made::Accepted(call, until) => {
                        return self.accepted(&entry, call, until).await;
                    }
                    Made::Left => return,
                },
                Leave::Held(held) => Input::Held(held),
                Leave::Left => return,
            };
            let Ok(submitted) = self.submit(&entry, input, None) else {
                return;
            };
            let durable = tokio::select! {
                biased;
                durable = self.durable(&entry, submitted) => durable,
                () = self.stopping().hard.cancelled() => return,
            };
            let Ok((_, _, mut calls)) = durable else {
                return;
            };
            let Some(following) = calls.pop() else { return };
            self.send(&entry, calls);
            next = following;
        }
    }

    /// Makes a call that was held back like that.
    async fn make(
        &self,
        entry: &Entry,
        prepared: Prepared,
        pass: Pass,
        held: Option<(Guard, Duration)>,
    ) -> Made {
        let call = prepared.call;
        let (attempt, span) = self.attempt(entry, prepared, held);
        let later = self.is_answered_later(&attempt);
        let mut span = Some(span);
        if later && let Some(span) = span.take() {
            entry.state.lock().await_reply(call, span);
        }
        let begun = Instant::now();
        let sent = tokio::select! {
            biased;
            sent = self.parts.dispatcher.send(pass, &attempt, clock::now()) => sent,
            () = self.stopping().hard.cancelled() => Sent::Unsent,
            () = self.ended.cancelled() => Sent::Unsent,
        };
        if let Sent::Accepted { until } = sent {
            return Made::Accepted(call, until);
        }
        if later {
            span = entry.state.lock().not_awaited(call);
        }
        let Sent::Ended(outcome) = sent else {
            return Made::Left;
        };
        if let Some(span) = span {
            span.ended(&outcome);
        }
        tell(&attempt, entry, &outcome);
        if let Some(participant) = entry.metrics.participant(call.step) {
            let came_to = AttemptOutcome::of(&outcome);
            participant.attempt_ended(call.phase, came_to, begun.elapsed());
        }
        Made::Ended(Attempted {
            step: call.step,
            phase: call.phase,
            attempt: call.attempt,
            outcome,
            draw: clock::draw(),
        })
    }

    /// Where the participant posts its reply to a call.
    fn callback(
        &self,
        saga: SagaId,
        step: Option<&Step>,
        call: InFlight,
        timeout_ms: Option<u64>,
    ) -> Option<String> {
        let callbacks = self.parts.callbacks.as_ref()?;
        let step = step?;
        let participant = step.action()?.participant.as_str();
        let timeout_ms =
            timeout_ms.unwrap_or_else(|| self.parts.dispatcher.timeout_ms(participant));
        let until = clock::now().plus_ms(timeout_ms);
        Some(callbacks.url(saga, &step.id, (call.phase, call.attempt), until))
    }

    /// What the dispatcher has to know of a call, and the span that the call is traced by.
    fn attempt(
        &self,
        entry: &Entry,
        prepared: Prepared,
        held: Option<(Guard, Duration)>,
    ) -> (Attempt, AttemptSpan) {
        let Prepared { call, request, .. } = prepared;
        let definition = &entry.definition;
        let saga = Arc::clone(&entry.state.lock().saga);
        let step = definition.step(call.step);
        let action = step.and_then(|step| step.action());
        let (timeout_ms, not_after, action_outcome) = match call.phase {
            Phase::Action => (
                action.and_then(|action| action.timeout_ms),
                saga.not_after(definition),
                None,
            ),
            Phase::Compensation => (
                step.and_then(|step| step.compensation())
                    .map(|undo| undo.timeout_ms),
                None,
                saga.step_state(call.step).action_outcome(),
            ),
        };
        let patterns =
            |patterns: Option<&Vec<StatusPattern>>| patterns.cloned().unwrap_or_default();
        let reference = definition.reference();
        let participant = action.map_or("", |action| action.participant.as_str());
        let callback = action
            .filter(|action| action.reply == ReplyMode::Async)
            .and_then(|_| self.callback(entry.id, step, call, timeout_ms));
        let traced = TracedAttempt {
            saga: entry.id,
            definition: &reference,
            step: step.map_or("", |step| step.id.as_str()),
            participant,
            phase: call.phase,
            number: call.attempt,
            held,
        };
        let traces = &self.parts.traces;
        let span = traces.attempt(&traces.of(entry.id, &saga.started), &traced);
        let attempt = Attempt {
            saga: entry.id,
            step: traced.step.into(),
            definition: reference.into(),
            participant: participant.into(),
            phase: call.phase,
            number: call.attempt,
            action_outcome,
            fence: entry.fence,
            traceparent: Some(span.traceparent.clone()),
            tracestate: span.tracestate.clone(),
            timeout_ms,
            not_after,
            request,
            refuse_on: patterns(action.map(|action| &action.refuse_on)),
            retry_on: patterns(action.map(|action| &action.retry_on)),
            callback,
        };
        (attempt, span)
    }
}

/// Tells of an attempt that came to nothing, for whoever looks closely. What the participant said
/// stays out of it: it may be of its customers.
fn tell(attempt: &Attempt, entry: &Entry, outcome: &Outcome) {
    let Some(error) = outcome.error() else { return };
    tracing::debug!(
        saga_id = %attempt.saga,
        trace_id = %entry.trace_id(),
        step = &*attempt.step,
        phase = attempt.phase.as_str(),
        participant = &*attempt.participant,
        attempt = attempt.number,
        outcome = outcome.as_str(),
        code = error.code,
        "an attempt did not succeed"
    );
}
