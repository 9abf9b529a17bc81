//! Attempts that somebody has for good: a broker has the command, or a participant answered 202. A
//! reply tells what came of them.
//!
//! That an attempt was accepted is journaled only when its reply takes long: until then a crash
//! sends it again, under the same number and the same key, which costs less than a row and a commit
//! for each. What is journaled needs no memory and is not sent again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::active::{Entry, EntryState};
use super::clock;
use super::tenure::Tenure;
use crate::definition::StepIndex;
use crate::definition::request::Phase;
use crate::dispatch::Attempt;
use crate::saga::{Event, InFlight, Input, Saga, SagaId, StepError, Timestamp};
use crate::telemetry::metrics::AttemptOutcome;
use crate::telemetry::traces::AttemptSpan;

/// How long a reply may take before that it is awaited is journaled.
const LINGER: Duration = Duration::from_secs(1);
/// How many that are due are journaled at the same time.
const AT_ONCE_MAX: usize = 1_000;

/// An attempt whose reply is awaited in memory.
#[derive(Debug)]
pub(super) struct AwaitedCall {
    /// Which.
    pub(super) call: InFlight,
    /// When it is given up; none until it was accepted.
    pub(super) until: Option<Timestamp>,
    span: AttemptSpan,
    begun: Instant,
}

/// The attempts that were accepted and are not journaled so, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    queue: Mutex<VecDeque<(Instant, SagaId, InFlight)>>,
    came: Notify,
}

impl Lingering {
    fn add(&self, saga: SagaId, call: InFlight) {
        let mut queue = self.queue.lock();
        queue.push_back((Instant::now(), saga, call));
        if queue.len() == 1 {
            self.came.notify_one();
        }
    }

    /// Takes out those that have lingered for so long.
    fn take(&self, least: Duration) -> Vec<(SagaId, InFlight)> {
        let mut queue = self.queue.lock();
        let now = Instant::now();
        let due = queue.iter().take(AT_ONCE_MAX);
        let due = due
            .take_while(|(since, ..)| now.duration_since(*since) >= least)
            .count();
        queue
            .drain(..due)
            .map(|(_, saga, call)| (saga, call))
            .collect()
    }

    /// When the oldest is due.
    fn next(&self) -> Option<Instant> {
        self.queue.lock().front().map(|(since, ..)| *since + LINGER)
    }
}

/// What a reply says, as far as it is counted and traced.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// Which call of which step it is about, whichever attempt.
    step: StepIndex,
    phase: Phase,
    /// The reply's own id, where it is one.
    reply: Option<String>,
    outcome: AttemptOutcome,
    error: Option<StepError>,
}

impl Said {
    /// Its own id and the step, where it is a reply.
    pub(super) fn reply(&self) -> Option<(&str, StepIndex)> {
        Some((self.reply.as_deref()?, self.step))
    }

    /// What this input says of an attempt that somebody has; none of others.
    pub(super) fn by(input: &Input) -> Option<Self> {
        match input {
            Input::Reply(replied) => Some(Self {
                step: replied.step,
                phase: replied.phase,
                reply: Some(replied.id.clone()),
                outcome: AttemptOutcome::of(&replied.outcome),
                error: replied.outcome.error().cloned(),
            }),
            Input::DeadLettered(letter) => Some(Self {
                step: letter.call.step,
                phase: letter.call.phase,
                reply: None,
                outcome: AttemptOutcome::Transient,
                error: Some(letter.error.clone()),
            }),
            Input::Attempt(_)
            | Input::Held(_)
            | Input::LetThrough { .. }
            | Input::Accepted { .. }
            | Input::Wake { .. }
            | Input::Signal { .. }
            | Input::Command { .. } => None,
        }
    }
}

impl EntryState {
    /// Begins to await the reply of an attempt that is about to be sent: it may be faster than the
    /// news that the attempt was accepted.
    pub(super) fn await_reply(&mut self, call: InFlight, span: AttemptSpan) {
        self.awaited.push(AwaitedCall {
            call,
            until: None,
            span,
            begun: Instant::now(),
        });
    }

    /// An attempt ended by itself: nobody awaits a reply to it. Its span, unless that is gone.
    pub(super) fn not_awaited(&mut self, call: InFlight) -> Option<AttemptSpan> {
        let place = self
            .awaited
            .iter()
            .position(|awaited| awaited.call == call)?;
        Some(self.awaited.swap_remove(place).span)
    }

    /// Forgets what is awaited of attempts that are not in flight any more, and tells of the one
    /// that a reply has ended.
    pub(super) fn answered(&mut self, entry: &Entry, after: &Saga, said: Option<&Said>) {
        let ended = |call: InFlight| !after.in_flight().any(|flying| flying == call);
        self.flying.retain(|call| !ended(*call));
        let mut place = 0;
        while let Some(awaited) = self.awaited.get(place) {
            let call = awaited.call;
            if !ended(call) {
                place += 1;
                continue;
            }
            let awaited = self.awaited.swap_remove(place);
            match said.filter(|said| said.step == call.step && said.phase == call.phase) {
                Some(said) => {
                    awaited.span.came_to(said.outcome, said.error.as_ref());
                    count(entry, call, said.outcome, awaited.begun.elapsed());
                }
                // Its time was up.
                None => {
                    awaited.span.came_to(AttemptOutcome::Transient, None);
                    count(
                        entry,
                        call,
                        AttemptOutcome::Transient,
                        awaited.begun.elapsed(),
                    );
                }
            }
        }
    }

    /// The same for attempts whose acceptance is in the journal: they are known by the saga's state
    /// alone.
    pub(super) fn count_journaled(
        &self,
        entry: &Entry,
        (before, after): (&Saga, &Saga),
        events: &[Event],
        said: Option<&Said>,
    ) {
        for call in before.in_flight() {
            let journaled = before.awaited_until(call.step).is_some();
            let ended = !after.in_flight().any(|flying| flying == call);
            let here = self.awaited.iter().any(|awaited| awaited.call == call);
            if !journaled || !ended || here || events.is_empty() {
                continue;
            }
            let since = before
                .steps
                .get(call.step.offset())
                .map(|record| record.since);
            let took = since.map_or(0, |since| since.ms_until(after.updated_at));
            let said = said.filter(|said| said.step == call.step && said.phase == call.phase);
            let outcome = said.map_or(AttemptOutcome::Transient, |said| said.outcome);
            count(entry, call, outcome, Duration::from_millis(took));
        }
    }
}

fn count(entry: &Entry, call: InFlight, outcome: AttemptOutcome, took: Duration) {
    if let Some(participant) = entry.metrics.participant(call.step) {
        participant.attempt_ended(call.phase, outcome, took);
    }
}

impl Tenure {
    /// Whether what is sent with an attempt is answered by a reply.
    pub(super) fn is_answered_later(&self, attempt: &Attempt) -> bool {
        attempt.callback.is_some() || self.parts.dispatcher.is_queue(&attempt.participant)
    }

    /// An attempt was accepted: its reply is awaited, unless it was here already.
    pub(super) async fn accepted(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        call: InFlight,
        until: Timestamp,
    ) {
        let awaited = {
            let mut state = entry.state.lock();
            let awaited = state
                .awaited
                .iter_mut()
                .find(|awaited| awaited.call == call);
            match awaited {
                Some(awaited) => {
                    awaited.until = Some(until);
                    true
                }
                None => false,
            }
        };
        if !awaited {
            return;
        }
        let linger_ms = u64::try_from(LINGER.as_millis()).unwrap_or(u64::MAX);
        let soon = clock::now().plus_ms(linger_ms) >= until;
        if soon || self.stopping().draining.is_cancelled() {
            self.journal_accepted(entry, call).await;
        } else {
            self.lingering.add(entry.id, call);
        }
    }

    /// Journals that an attempt was accepted, where its reply is still awaited.
    async fn journal_accepted(self: &Arc<Self>, entry: &Arc<Entry>, call: InFlight) {
        let until = {
            let state = entry.state.lock();
            let awaited = state.awaited.iter().find(|awaited| awaited.call == call);
            awaited.and_then(|awaited| awaited.until)
        };
        let Some(until) = until else { return };
        let Ok(submitted) = self.submit(entry, Input::Accepted { call, until }, None) else {
            return;
        };
        // What is not written ends the tenure, or the database's absence; the next owner sends again.
        if let Ok((_, _, calls)) = self.durable(entry, submitted).await {
            self.send(entry, calls);
        }
    }

    /// Journals the attempts whose replies take long, until the tenure ends; and when a drain begins,
    /// all of them, so that the next owner does not send them again.
    pub(super) async fn keep_awaiting(self: Arc<Self>) {
        loop {
            let draining = self.stopping().draining.is_cancelled();
            let least = if draining { Duration::ZERO } else { LINGER };
            let due = self.lingering.take(least);
            if due.is_empty() {
                if draining {
                    return;
                }
                let next = self.lingering.next();
                tokio::select! {
                    () = wait_until(next) => {}
                    () = self.lingering.came.notified() => {}
                    () = self.stopping().draining.cancelled() => {}
                    () = self.ended.cancelled() => return,
                }
                continue;
            }
            let tenure = &self;
            let journaled = due.into_iter().filter_map(|(saga, call)| {
                let entry = tenure.active.get(saga)?;
                Some(async move { tenure.journal_accepted(&entry, call).await })
            });
            let all = futures_util::future::join_all(journaled);
            tokio::select! {
                _ = all => {}
                () = self.ended.cancelled() => return,
            }
        }
    }
}

async fn wait_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
