//! Definitions made without a document, and a saga driven by hand, its journal beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::definition::model::{
    Action, Compensate, Compensation, CompensationOrder, Definition, Delay, JitterKind,
    OnCompensationFailure, OnFailure, Position, ReplyMode, RetryPolicy, Step, StepIndex, StepKind,
    Wait,
};
use crate::definition::problem::Place;
use crate::definition::request::{Call, CallBody, CallTarget, Phase};
use crate::saga::replay::{Transition, replay};
use crate::saga::{
    Attempted, Command, Event, Guard, HeldBack, InFlight, Input, Outcome, Rejection, Saga, SagaId,
    Started, StepError, Timestamp, decide, start,
};

/// A policy with few attempts and exact waits.
pub(super) const SHORT: RetryPolicy = RetryPolicy {
    attempts_max: 2,
    initial_ms: 100,
    multiplier: 2.0,
    max_ms: 1_000,
    jitter: JitterKind::None,
};

fn call(name: &str) -> Call {
    Call {
        target: CallTarget::Command(name.to_owned()),
        query: Vec::new(),
        headers: Vec::new(),
        body: CallBody::Default,
    }
}

/// An action, with a compensation when `undone`.
pub(super) fn action(undone: bool) -> StepKind {
    StepKind::Action(Box::new(Action {
        participant: "somebody".to_owned(),
        participant_place: Place { line: 1, column: 1 },
        reply_place: None,
        call: call("do"),
        compensation: undone.then(|| Compensation {
            call: call("undo"),
            when: None,
            retry: SHORT,
            timeout_ms: 30_000,
        }),
        timeout_ms: None,
        retry: SHORT,
        reply: ReplyMode::Sync,
        compensate: Compensate::Done,
        refuse_on: Vec::new(),
        retry_on: Vec::new(),
    }))
}

/// A wait for the signal `go`.
pub(super) fn wait(timeout_ms: Option<u64>) -> StepKind {
    StepKind::Wait(Wait {
        signal: "go".to_owned(),
        timeout_ms,
    })
}

/// A fixed delay.
pub(super) fn delay(ms: u64) -> StepKind {
    StepKind::Delay(Delay::For(ms))
}

/// What a definition is made of.
pub(super) struct Plan {
    pub(super) steps: Vec<(StepKind, Vec<u16>)>,
    pub(super) pivot: Option<u16>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) order: CompensationOrder,
    pub(super) on_compensation_failure: OnCompensationFailure,
    pub(super) let_go: Vec<u16>,
}

impl Plan {
    /// Steps one after another.
    pub(super) fn sequence(kinds: Vec<StepKind>) -> Self {
        let steps = kinds
            .into_iter()
            .zip(0_u16..)
            .map(|(kind, index)| (kind, index.checked_sub(1).into_iter().collect()))
            .collect();
        Self {
            steps,
            pivot: None,
            timeout_ms: None,
            order: CompensationOrder::Reverse,
            on_compensation_failure: OnCompensationFailure::Halt,
            let_go: Vec::new(),
        }
    }

    /// The definition. `after` names only steps that are listed earlier.
    pub(super) fn build(self) -> Definition {
        let count = u16::try_from(self.steps.len()).unwrap();
        let mut followers: BTreeMap<u16, Vec<StepIndex>> = BTreeMap::new();
        let mut behind = vec![false; self.steps.len()];
        for ((_, after), index) in self.steps.iter().zip(0_u16..) {
            for before in after {
                followers.entry(*before).or_default().push(StepIndex(index));
                behind[usize::from(index)] |=
                    Some(*before) == self.pivot || behind[usize::from(*before)];
            }
        }
        let steps = self
            .steps
            .into_iter()
            .zip(0_u16..)
            .map(|((kind, after), index)| Step {
                place: Place { line: 1, column: 1 },
                id: format!("s{index}"),
                index: StepIndex(index),
                after: after.into_iter().map(StepIndex).collect(),
                followers: followers.remove(&index).unwrap_or_default(),
                position: if Some(index) == self.pivot {
                    Position::Pivot
                } else if behind[usize::from(index)] {
                    Position::After
                } else {
                    Position::Before
                },
                when: None,
                on_failure: if self.let_go.contains(&index) {
                    OnFailure::Continue
                } else {
                    OnFailure::Compensate
                },
                kind,
            })
            .collect();
        Definition {
            name: "plan".to_owned(),
            version: 1,
            version_place: Place { line: 1, column: 1 },
            description: None,
            labels: BTreeMap::new(),
            input: None,
            timeout_ms: self.timeout_ms,
            compensation_order: self.order,
            on_compensation_failure: self.on_compensation_failure,
            steps,
            topological: (0..count).map(StepIndex).collect(),
            pivot: self.pivot.map(StepIndex),
            output: None,
            document: Value::Null,
        }
    }
}

/// A saga, its journal, and the clock.
#[derive(Clone)]
pub(super) struct Driven {
    pub(super) definition: Arc<Definition>,
    pub(super) saga: Saga,
    pub(super) journal: Vec<Transition>,
    pub(super) now: Timestamp,
}

impl Driven {
    pub(super) fn start(definition: Definition) -> Self {
        let now = Timestamp(1_000_000);
        let started = Started {
            definition: definition.name.clone(),
            version: 1,
            key: None,
            labels: BTreeMap::new(),
            input: Arc::new(json!({ "n": 1 })),
            deadline: definition.timeout_ms.map(|timeout| now.plus_ms(timeout)),
            traceparent: None,
            tracestate: None,
            actor: "test".to_owned(),
        };
        let decision = start(&definition, SagaId(Uuid::from_u128(7)), started, now);
        let journal = vec![Transition {
            seq: 1,
            at: now,
            events: decision.events,
        }];
        Self {
            definition: Arc::new(definition),
            saga: decision.saga,
            journal,
            now,
        }
    }

    /// Feeds an input; answers with what it made.
    pub(super) fn feed(&mut self, input: Input) -> Result<Vec<Event>, Rejection> {
        let decision = decide(&self.definition, &self.saga, input, self.now)?;
        if !decision.events.is_empty() {
            self.journal.push(Transition {
                seq: self.saga.seq + 1,
                at: decision.saga.updated_at,
                events: decision.events.clone(),
            });
        }
        self.saga = decision.saga;
        Ok(decision.events)
    }

    pub(super) fn answer(&mut self, call: InFlight, outcome: Outcome) -> Vec<Event> {
        let InFlight {
            step,
            phase,
            attempt,
        } = call;
        self.feed(Input::Attempt(Attempted {
            step,
            phase,
            attempt,
            outcome,
            draw: 0.5,
        }))
        .unwrap()
    }

    /// A guard holds the attempt in flight of a step back for a second.
    pub(super) fn hold(&mut self, step: u16, phase: Phase, sent: bool) -> Vec<Event> {
        let call = self
            .saga
            .in_flight()
            .find(|call| call.step == StepIndex(step) && call.phase == phase)
            .unwrap_or_else(|| panic!("no {phase:?} of s{step} is in flight: {:#?}", self.saga));
        self.feed(Input::Held(HeldBack {
            call,
            guard: Guard::Bulkhead,
            until: self.now.plus_ms(1_000),
            sent,
        }))
        .unwrap()
    }

    /// Answers the attempt in flight of a step's phase.
    pub(super) fn end(&mut self, step: u16, phase: Phase, outcome: Outcome) -> Vec<Event> {
        let call = self
            .saga
            .in_flight()
            .find(|call| call.step == StepIndex(step) && call.phase == phase)
            .unwrap_or_else(|| panic!("no {phase:?} of s{step} is in flight: {:#?}", self.saga));
        self.answer(call, outcome)
    }

    pub(super) fn command(&mut self, command: Command) -> Result<Vec<Event>, Rejection> {
        self.feed(Input::Command {
            command,
            actor: "ann".to_owned(),
        })
    }

    pub(super) fn signal(&mut self, payload: Value) -> Result<Vec<Event>, Rejection> {
        self.feed(Input::Signal {
            name: "go".to_owned(),
            payload,
            key: None,
            actor: "ann".to_owned(),
        })
    }

    /// Lets so much time pass, and wakes the saga.
    pub(super) fn pass(&mut self, ms: u64) -> Vec<Event> {
        self.now = self.now.plus_ms(ms);
        self.feed(Input::Wake { draw: 0.0 }).unwrap()
    }

    pub(super) fn flying(&self) -> Vec<(u16, Phase, u32)> {
        self.saga
            .in_flight()
            .map(|call| (call.step.0, call.phase, call.attempt))
            .collect()
    }

    /// What the journal alone makes of the saga, through its stored form.
    pub(super) fn replayed(&self) -> Saga {
        let rows: Vec<Transition> = self
            .journal
            .iter()
            .map(|row| {
                let text = serde_json::to_string(&row.events).unwrap();
                Transition::read(row.seq, row.at, &text).unwrap()
            })
            .collect();
        replay(&self.definition, self.saga.id, &rows).unwrap()
    }
}

pub(super) fn done() -> Outcome {
    Outcome::Succeeded {
        output: json!({ "ok": true }),
    }
}

pub(super) fn refused() -> Outcome {
    Outcome::Refused(StepError::new("no", "will not"))
}

pub(super) fn transient() -> Outcome {
    Outcome::Transient {
        error: StepError::new("http_503", "later"),
        retry_after_ms: None,
    }
}
