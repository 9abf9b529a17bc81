//! The way of a call through its participant's gate: it goes at once, it waits in memory, or it is
//! taken back and waits in the journal until there is room for it again.
//!
//! A call that waits in memory is in flight by the journal, and nothing of it was sent. So when its
//! saga turns back, is suspended or is settled by hand, the waiting ends at once and the attempt is
//! taken back. Whether it may still leave is looked at under the saga's lock when its turn has come:
//! an input that comes before is seen then, one that comes after finds a call that has left.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use super::active::{Entry, EntryState};
use super::clock;
use super::inputs::Unsubmitted;
use super::parked::ParkedCall;
use super::tenure::Tenure;
use super::{CommandError, Snapshot};
use crate::definition::request::Phase;
use crate::definition::{Definition, StepIndex};
use crate::dispatch::{Entrance, Gate, Pass, Waiting};
use crate::saga::{Guard, HeldBack, InFlight, Input, Prepared, Progress, Saga, SagaId};

/// A call that waits at a gate in memory.
#[derive(Debug)]
pub(super) struct HeldCall {
    /// Which.
    pub(super) call: InFlight,
    gate: Arc<Gate>,
    /// Ends the waiting.
    recalled: Arc<Notify>,
}

/// What the gate made of a call.
pub(super) enum Leave {
    /// It may go, after it was held back in memory for so long, by that guard at first.
    Granted(Pass, Option<(Guard, Duration)>),
    /// It is taken back.
    Held(HeldBack),
    /// It is left to the next owner.
    Left,
}

/// Whether a call that has begun by the journal, and was not sent, may still be sent.
fn may_leave(saga: &Saga, call: InFlight) -> bool {
    let forward = saga.progress == Progress::Forward;
    saga.sends()
        && (forward || call.phase == Phase::Compensation)
        && saga.in_flight().any(|flying| flying == call)
}

fn participant_of(definition: &Definition, step: StepIndex) -> &str {
    let action = definition.step(step).and_then(|step| step.action());
    action.map_or("", |action| action.participant.as_str())
}

/// The attempts of a saga that wait in the journal.
fn parked_calls(saga: &Saga) -> impl Iterator<Item = ParkedCall> + '_ {
    let id = saga.id;
    saga.held().map(move |(step, phase, guard)| ParkedCall {
        saga: id,
        step,
        phase,
        guard,
    })
}

impl EntryState {
    /// Ends the waiting of those that may not leave any more.
    pub(super) fn recall_held(&self) {
        for held in &self.held {
            if !may_leave(&self.saga, held.call) {
                held.recalled.notify_one();
            }
        }
    }
}

impl Entry {
    /// What anybody outside may see of a state of this saga: a call that waits at a gate is no
    /// attempt, and one that somebody has waits for its reply.
    pub(super) fn shown(&self, saga: Arc<Saga>) -> Snapshot {
        let (held, awaited) = {
            let state = self.state.lock();
            let held = state.held.iter();
            let held = held.map(|held| (held.call, Arc::clone(&held.gate)));
            let awaited = state.awaited.iter();
            let awaited = awaited.filter_map(|awaited| Some((awaited.call, awaited.until?)));
            let both: (Vec<(InFlight, Arc<Gate>)>, Vec<_>) = (held.collect(), awaited.collect());
            both
        };
        let definition = Arc::clone(&self.definition);
        if held.is_empty() && awaited.is_empty() {
            return Snapshot { definition, saga };
        }
        let mut shown = Saga::clone(&saga);
        for (call, until) in awaited {
            shown.show_awaited(call, until);
        }
        for (call, gate) in held {
            shown.show_held(call, gate.held_by());
        }
        let saga = Arc::new(shown);
        Snapshot { definition, saga }
    }
}

impl Tenure {
    /// Brings a call to its participant's gate, and waits there as long as it may. `resuming` is
    /// given back before it waits, so that one participant that is away holds up no other's sagas.
    pub(super) async fn leave(
        &self,
        entry: &Entry,
        prepared: &Prepared,
        resuming: &mut Option<OwnedSemaphorePermit>,
    ) -> Leave {
        let call = prepared.call;
        let participant = participant_of(&entry.definition, call.step);
        let Some(gate) = self.parts.dispatcher.gate(participant) else {
            return Leave::Granted(Pass::free(), None);
        };
        let mut held_by = None;
        let turn = match gate.enter(entry.id) {
            Entrance::Open(pass) => return Leave::Granted(pass, None),
            Entrance::Away(guard) => Some(Err(guard)),
            Entrance::Wait(waiting) => {
                *resuming = None;
                held_by = Some((gate.held_by(), Instant::now()));
                match self.wait(entry, call, waiting).await {
                    Some(turn) => turn,
                    None => return Leave::Left,
                }
            }
        };
        let now = clock::now();
        let held = |guard, until| {
            Leave::Held(HeldBack {
                call,
                guard,
                until,
                sent: prepared.sent,
            })
        };
        match turn {
            Some(Ok(pass)) => {
                let held = held_by.map(|(guard, since)| (guard, since.elapsed()));
                Leave::Granted(pass, held)
            }
            Some(Err(guard)) => {
                let expected = gate.expected_in(self.parked.len(participant));
                let expected = u64::try_from(expected.as_millis()).unwrap_or(u64::MAX);
                held(guard, now.plus_ms(expected))
            }
            None => held(gate.held_by(), now),
        }
    }

    /// Waits in a gate's room: for its turn, or until the saga calls it back, which is
    /// `Some(None)`. `None` when a drain begins or the tenure ends.
    async fn wait(
        &self,
        entry: &Entry,
        call: InFlight,
        mut waiting: Waiting,
    ) -> Option<Option<Result<Pass, Guard>>> {
        let recalled = Arc::new(Notify::new());
        {
            let mut state = entry.state.lock();
            state.held.push(HeldCall {
                call,
                gate: Arc::clone(waiting.gate()),
                recalled: Arc::clone(&recalled),
            });
            state.recall_held();
        }
        let turn = tokio::select! {
            biased;
            () = recalled.notified() => Some(None),
            turn = waiting.turn() => Some(Some(turn)),
            () = self.stopping().draining.cancelled() => None,
            () = self.ended.cancelled() => None,
        };
        let mut state = entry.state.lock();
        state.held.retain(|held| held.call != call);
        if state.left {
            return None;
        }
        // The lock is what decides between a turn that has come and an input that calls it back.
        turn.map(|turn| turn.filter(|_| may_leave(&state.saga, call)))
    }

    /// Keeps account of the attempts that wait in the journal, when a saga changes. The caller
    /// holds the saga's lock.
    pub(super) fn note_held(&self, entry: &Entry, before: &Saga, after: &Saga) {
        for (step, _, _) in before.held() {
            let participant = participant_of(&entry.definition, step);
            self.parked.unpark(participant, entry.id, step);
        }
        self.park(entry, after);
    }

    /// Notes the attempts of a saga that wait in the journal.
    pub(super) fn park(&self, entry: &Entry, saga: &Saga) {
        for call in parked_calls(saga) {
            let participant = participant_of(&entry.definition, call.step);
            self.parked.park(participant, call);
        }
    }

    /// The attempts of a saga that nobody will let through: their participant is not configured any
    /// more.
    pub(super) fn held_by_nobody(&self, entry: &Entry, saga: &Saga) -> Vec<ParkedCall> {
        let nobodys = parked_calls(saga).filter(|call| {
            let participant = participant_of(&entry.definition, call.step);
            self.parts.dispatcher.gate(participant).is_none()
        });
        nobodys.collect()
    }

    /// Lets the attempts that wait in the journal for one participant through, the oldest sagas
    /// first, as there is room for them; until the tenure ends or a drain begins.
    pub(super) async fn recall(self: Arc<Self>, gate: Arc<Gate>) {
        let participant = gate.participant();
        loop {
            let oldest = self.parked.oldest(participant);
            let answers = self.parts.database_answers(&self);
            let room = oldest.map(|oldest| if answers { gate.recallable(oldest) } else { 0 });
            let next = async {
                match room {
                    None => self.parked.arrived(participant).await,
                    Some(0) => gate.may_have_room().await,
                    Some(room) => {
                        let calls = self.parked.take(participant, room);
                        if !self.let_all_through(participant, calls).await {
                            gate.may_have_room().await;
                        }
                    }
                }
            };
            tokio::select! {
                () = next => {}
                () = self.ended.cancelled() => return,
                () = self.stopping().draining.cancelled() => return,
            }
        }
    }

    /// Lets attempts through; answers whether all of them were. Those that were not wait on.
    async fn let_all_through(self: &Arc<Self>, participant: &str, calls: Vec<ParkedCall>) -> bool {
        let away = calls.iter().map(|call| call.saga);
        let away: Vec<SagaId> = away.filter(|saga| !self.active.contains(*saga)).collect();
        // Where this fails, each of them is looked for, and tells why it cannot be had.
        if let Err(error) = self.bring_in_page(away).await {
            tracing::debug!(%error, "sagas that wait for a guard cannot be read now");
        }
        let through = calls.into_iter().map(|call| async move {
            let through = self.let_through(call).await;
            if !through {
                self.parked.park(participant, call);
            }
            through
        });
        join_all(through).await.into_iter().all(|through| through)
    }

    /// Lets one attempt through; `false` when it has to be tried again.
    pub(super) async fn let_through(self: &Arc<Self>, call: ParkedCall) -> bool {
        let ParkedCall {
            saga, step, phase, ..
        } = call;
        let input = Input::LetThrough { step, phase };
        match self.submit_by_id(saga, input, None).await {
            Ok((entry, submitted)) => {
                // What is not written ends the tenure, or the database's absence.
                if let Ok((_, _, calls)) = self.durable(&entry, submitted).await {
                    self.send(&entry, calls);
                }
                true
            }
            Err(Unsubmitted::Error(CommandError::DatabaseUnavailable | CommandError::Internal)) => {
                false
            }
            Err(Unsubmitted::Nothing(_) | Unsubmitted::Error(_)) => true,
        }
    }

    /// After an outage of the database whatever waited for it would leave at once: the participants
    /// are approached slowly then. It begins when the database goes away, so that nothing leaves
    /// before, and its time runs from when it is back.
    pub(super) async fn watch_database(self: Arc<Self>) {
        let mut available = self.journal.available();
        loop {
            tokio::select! {
                changed = available.changed() => if changed.is_err() { return },
                () = self.ended.cancelled() => {
                    // The next tenure's journal begins as one that answers: it would never tell that
                    // the database is back.
                    if !*available.borrow() {
                        self.approach_slowly(Some(Instant::now()));
                    }
                    return;
                }
            }
            let back = *available.borrow_and_update();
            self.approach_slowly(back.then(Instant::now));
        }
    }

    /// Approaches every participant slowly.
    pub(super) fn approach_slowly(&self, from: Option<Instant>) {
        for gate in self.parts.dispatcher.gates() {
            gate.approach_slowly(from);
        }
    }
}
