//! The tasks that carry calls to participants: each follows one strand of a saga, call after call,
//! for as long as the last answer leads to another call.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;

use super::active::Entry;
use super::clock;
use super::tenure::Tenure;
use crate::definition::model::StatusPattern;
use crate::definition::request::Phase;
use crate::dispatch::Attempt;
use crate::saga::{Attempted, Input, Prepared, SagaId};

impl Tenure {
    /// Carries calls out, each on a task of its own.
    pub(super) fn send(self: &Arc<Self>, entry: &Arc<Entry>, calls: Vec<Prepared>) {
        for call in calls {
            let tenure = Arc::clone(self);
            let entry = Arc::clone(entry);
            self.spawn_for(entry.id, async move { tenure.carry_out(entry, call).await });
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

    /// Makes a call, takes its outcome in, and goes on with what follows from it.
    pub(super) async fn carry_out(self: Arc<Self>, entry: Arc<Entry>, first: Prepared) {
        let mut next = first;
        loop {
            // What a drain or a lost lease leaves unsent, the next owner sends.
            if self.stopping().draining.is_cancelled() || self.ended.is_cancelled() {
                return;
            }
            let call = next.call;
            let attempt = self.attempt(&entry, next);
            let outcome = tokio::select! {
                biased;
                outcome = self.parts.dispatcher.call(&attempt, clock::now()) => outcome,
                () = self.stopping().hard.cancelled() => return,
                () = self.ended.cancelled() => return,
            };
            let input = Input::Attempt(Attempted {
                step: call.step,
                phase: call.phase,
                attempt: call.attempt,
                outcome,
                draw: clock::draw(),
            });
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

    /// What the dispatcher has to know of a call.
    fn attempt(&self, entry: &Entry, prepared: Prepared) -> Attempt {
        let Prepared { call, request } = prepared;
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
        Attempt {
            saga: entry.id,
            definition: definition.reference().into(),
            step: step.map_or("", |step| step.id.as_str()).into(),
            participant: action
                .map_or("", |action| action.participant.as_str())
                .into(),
            phase: call.phase,
            number: call.attempt,
            action_outcome,
            fence: entry.fence,
            traceparent: saga.started.traceparent.clone(),
            tracestate: saga.started.tracestate.clone(),
            timeout_ms,
            not_after,
            request,
            refuse_on: patterns(action.map(|action| &action.refuse_on)),
            retry_on: patterns(action.map(|action| &action.retry_on)),
        }
    }
}
