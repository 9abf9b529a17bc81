//! How a saga in memory is advanced: an input is decided under the saga's lock and given to the
//! journal in the same moment, so that the journal has a saga's events in the order of their
//! making; and only when they are durable do the calls that follow from them leave (I6).

use std::net::IpAddr;
use std::sync::Arc;

use super::Snapshot;
use super::active::{Entry, EntryState};
use super::audit::Told;
use super::awaited::Said;
use super::clock;
use super::replies::Taken;
use super::summary::{HORIZON_MS, Persisted, rest};
use super::tally::Tally;
use super::tenure::Tenure;
use crate::saga::{Decision, InFlight, Input, Prepared, Rejection, Rest, Saga, decide};
use crate::store::{self, AppendError, Appended, InboxId, Receipt};
use crate::telemetry::traces::trace_id;

/// A decision that was given to the journal.
pub(super) struct Submitted {
    /// What became of it, where it was a reply.
    pub(super) taken: Taken,
    /// Tells when it is durable; none when the input changed nothing.
    receipt: Option<Receipt>,
    /// The state after it.
    saga: Arc<Saga>,
    /// The calls that may leave when it is durable.
    calls: Vec<Prepared>,
    /// What is counted when it is durable.
    tally: Tally,
}

/// What belongs to a decision beside its events.
pub(super) struct Beside {
    /// With the start of a saga, and only with it.
    pub(super) start: Option<store::StartRecord>,
    /// Where the input came from, if from outside.
    pub(super) remote: Option<IpAddr>,
    /// The row of the inbox that it was in.
    pub(super) inbox: Option<InboxId>,
    /// What it says of an attempt that somebody has.
    pub(super) said: Option<Said>,
}

/// Where an input came from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Whence {
    /// The address, if from outside.
    pub(super) remote: Option<IpAddr>,
    /// The row of the inbox that it was in.
    pub(super) inbox: Option<InboxId>,
}

impl From<Option<IpAddr>> for Whence {
    fn from(remote: Option<IpAddr>) -> Self {
        Self {
            remote,
            inbox: None,
        }
    }
}

/// Why an input was not taken.
pub(super) enum NotTaken {
    /// The saga's state does not allow it.
    Rejected(Rejection),
    /// The entry left memory; look for the saga anew.
    Left,
}

impl Tenure {
    /// Decides an input and gives the events to the journal. `whence` is where it came from.
    ///
    /// # Errors
    /// When the saga's state does not take the input, or the entry left memory; nothing has
    /// changed then.
    pub(super) fn submit(
        &self,
        entry: &Entry,
        input: Input,
        whence: impl Into<Whence>,
    ) -> Result<Submitted, NotTaken> {
        let now = clock::now();
        let mut state = entry.state.lock();
        if state.left {
            return Err(NotTaken::Left);
        }
        match &input {
            Input::Attempt(attempted) => {
                state.flying.remove(&InFlight {
                    step: attempted.step,
                    phase: attempted.phase,
                    attempt: attempted.attempt,
                });
            }
            Input::Held(held) => {
                state.flying.remove(&held.call);
            }
            // Who has it will tell; nobody here carries it out any more.
            Input::Accepted { call, .. } => {
                state.flying.remove(call);
            }
            Input::LetThrough { .. }
            | Input::Reply(_)
            | Input::DeadLettered(_)
            | Input::Wake { .. }
            | Input::Signal { .. }
            | Input::Command { .. } => {}
        }
        let said = Said::by(&input);
        let decision =
            decide(&entry.definition, &state.saga, input, now).map_err(NotTaken::Rejected)?;
        let Whence { remote, inbox } = whence.into();
        let beside = Beside {
            start: None,
            remote,
            inbox,
            said,
        };
        Ok(self.record(entry, &mut state, decision, beside))
    }

    /// Gives the events of a decision to the journal. The caller holds the saga's lock.
    pub(super) fn record(
        &self,
        entry: &Entry,
        state: &mut EntryState,
        decision: Decision,
        beside: Beside,
    ) -> Submitted {
        let Beside {
            start,
            remote,
            inbox,
            said,
        } = beside;
        let Decision {
            events,
            saga,
            requests,
        } = decision;
        let saga = Arc::new(saga);
        let reply = said.as_ref().and_then(Said::reply);
        let taken = Taken::of(&events, &state.saga, reply);
        if start.is_none() {
            state.count_journaled(entry, (&state.saga, &saga), &events, said.as_ref());
            state.answered(entry, &saga, said.as_ref());
        }
        let calls = self.calls_to_send(entry, state, &saga, requests);
        let before = start.is_none().then_some(&*state.saga);
        let tally = Tally::of(&events, before, &saga);
        if events.is_empty() {
            return Submitted {
                taken,
                receipt: None,
                saga: Arc::clone(&state.saga),
                calls,
                tally,
            };
        }
        let persisted = Persisted::of(&saga, !state.flying.is_empty(), saga.updated_at);
        let summary = (start.is_some() || persisted != state.persisted)
            .then(|| persisted.row(&saga, &entry.definition));
        self.count_for_admission(&state.saga, &saga);
        let told = Told {
            policy: self.parts.store.audit_policy(),
            definition: &entry.definition,
            before: &state.saga,
            after: &saga,
            events: &events,
            remote,
        };
        let audit = told.records();
        let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let receipt = self.journal.append(store::Entry {
            saga: entry.id,
            shard: entry.shard,
            transition: store::Transition {
                seq: saga.seq + 1 - u64::from(count),
                at: saga.updated_at,
                // Events are plain data with text for keys: writing them cannot fail.
                events: serde_json::to_string(&events).unwrap_or_default(),
                count,
            },
            summary,
            start,
            audit,
            inbox,
        });
        self.note_held(entry, &state.saga, &saga);
        state.persisted = persisted;
        state.saga = Arc::clone(&saga);
        state.recall_held();
        Submitted {
            taken,
            receipt: Some(receipt),
            saga,
            calls,
            tally,
        }
    }

    fn count_for_admission(&self, before: &Saga, after: &Saga) {
        match (counts(before), counts(after)) {
            (false, true) => self.count_in(1),
            (true, false) => self.count_out(),
            (true, true) | (false, false) => {}
        }
    }

    /// Waits until a decision is durable, and answers with the calls that may leave now.
    ///
    /// # Errors
    /// When it was not written. The saga in memory is then ahead of its journal and is dropped
    /// from memory, so that whoever needs it next reads what is true.
    pub(super) async fn durable(
        &self,
        entry: &Arc<Entry>,
        submitted: Submitted,
    ) -> Result<(Appended, Snapshot, Vec<Prepared>), AppendError> {
        let Submitted {
            receipt,
            saga,
            calls,
            tally,
            taken: _,
        } = submitted;
        let Some(receipt) = receipt else {
            let mut state = entry.state.lock();
            self.keep_or_leave(entry, &mut state);
            let saga = Arc::clone(&state.durable);
            let snapshot = Snapshot {
                definition: Arc::clone(&entry.definition),
                saga,
            };
            return Ok((Appended::Written, snapshot, calls));
        };
        let appended = match receipt.await {
            Ok(appended) => appended,
            Err(error) => {
                self.not_written(entry, &error);
                return Err(error);
            }
        };
        if let Appended::Written = appended {
            self.count(entry, &saga, &tally);
            self.after_commit(entry, &saga);
        }
        let snapshot = Snapshot {
            definition: Arc::clone(&entry.definition),
            saga,
        };
        Ok((appended, snapshot, calls))
    }

    /// What follows for memory from a commit: who waits is told, and a saga that has nothing to do
    /// soon leaves memory.
    fn after_commit(&self, entry: &Arc<Entry>, saga: &Arc<Saga>) {
        let waiters = {
            let mut state = entry.state.lock();
            if saga.seq > state.durable.seq {
                state.durable = Arc::clone(saga);
            }
            let waiters = if saga.status().is_settled() {
                std::mem::take(&mut state.waiters)
            } else {
                Vec::new()
            };
            self.keep_or_leave(entry, &mut state);
            waiters
        };
        self.parts.watchers.tell(entry.id);
        let snapshot = || Snapshot {
            definition: Arc::clone(&entry.definition),
            saga: Arc::clone(saga),
        };
        for waiter in waiters {
            // Whoever waited may have gone.
            let _gone = waiter.send(snapshot());
        }
    }

    /// Sets the saga's next time, or drops it from memory when that is far away. Not while
    /// something of it is on its way to the journal.
    pub(super) fn keep_or_leave(&self, entry: &Arc<Entry>, state: &mut EntryState) {
        if state.durable.seq != state.saga.seq || state.left {
            return;
        }
        // Those whose clients hung up wait for nothing.
        state.waiters.retain(|waiter| !waiter.is_closed());
        let saga = &state.saga;
        let horizon = clock::now().plus_ms(HORIZON_MS);
        // What a guard holds back is woken by `recall`.
        let next = saga.next_time_but_held();
        let stays = !saga.status().is_finished()
            && match rest(saga, !state.flying.is_empty()) {
                Rest::Active => true,
                Rest::Until(time) => time <= horizon || !state.waiters.is_empty(),
                Rest::Outside => !state.waiters.is_empty(),
            };
        let timer = next.filter(|_| stays);
        self.timers.set(entry.id, state.timer, timer);
        state.timer = timer;
        if !stays {
            state.left = true;
            self.active.remove(entry.id);
        }
    }

    /// The attempts that are in flight by the saga's state and that no task carries out yet.
    fn calls_to_send(
        &self,
        entry: &Entry,
        state: &mut EntryState,
        saga: &Saga,
        mut requests: Vec<Prepared>,
    ) -> Vec<Prepared> {
        if !saga.sends() {
            return Vec::new();
        }
        let mut calls = Vec::new();
        for call in saga.in_hand() {
            if !state.flying.insert(call) {
                continue;
            }
            let rendered = requests.iter().position(|prepared| prepared.call == call);
            match rendered {
                Some(place) => calls.push(requests.swap_remove(place)),
                // It was in flight when the saga came into memory.
                None => match crate::saga::render(&entry.definition, saga, call) {
                    Ok(request) => calls.push(Prepared {
                        call,
                        request,
                        sent: true,
                    }),
                    Err(error) => {
                        // It rendered when it was decided, so the definition is not what it was.
                        let step = entry.definition.step(call.step);
                        tracing::error!(
                            saga_id = %entry.id,
                            trace_id = %trace_id(entry.id, &saga.started),
                            step = step.map(|step| step.id.as_str()),
                            %error,
                            "a request that was sent before cannot be rendered again"
                        );
                        state.flying.remove(&call);
                        self.set_aside(entry.id);
                    }
                },
            }
        }
        calls
    }

    fn not_written(&self, entry: &Entry, error: &AppendError) {
        let timer = {
            let mut state = entry.state.lock();
            state.left = true;
            state.timer.take()
        };
        self.timers.set(entry.id, timer, None);
        self.active.remove(entry.id);
        match error {
            AppendError::Withdrawn | AppendError::Closed => {}
            AppendError::Fenced | AppendError::Clash => {
                tracing::warn!(saga_id = %entry.id, trace_id = %entry.trace_id(), %error, "another owner writes: this tenure ends");
                self.ended.cancel();
            }
            AppendError::Rejected(_) => {
                tracing::error!(saga_id = %entry.id, trace_id = %entry.trace_id(), %error, "the database refuses this saga's events; it is set aside");
                self.set_aside(entry.id);
            }
        }
    }
}

/// Whether admission counts the saga.
pub(super) fn counts(saga: &Saga) -> bool {
    !saga.status().is_settled()
}
