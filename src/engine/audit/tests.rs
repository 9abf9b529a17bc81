//! What each event tells, as far as no black-box test can make it happen, and where each action is
//! proved.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::definition::check;
use crate::saga::{
    Attempted, Command, Decision, InFlight, Input, Outcome, Started, StepError, decide, start,
};
use crate::store::AuditActions;

/// Undone by a compensation; a pivot; and a wait.
const DOCUMENT: &str = "
name: order
version: 3
timeout: 1m
retry: { max_attempts: 1 }
steps:
  - { id: reserve, participant: p, action: { post: /a }, compensation: { post: /b } }
  - { id: pay, participant: p, pivot: true, action: { post: /a }, compensation: { post: /b } }
  - { id: approval, wait: { signal: go } }
output: { done: true }
";

/// A saga that is driven by hand, with what its transitions tell.
struct Driven {
    definition: Arc<Definition>,
    saga: Saga,
    now: Timestamp,
    policy: AuditPolicy,
    told: Vec<AuditRecord>,
}

impl Driven {
    fn start(policy: AuditPolicy) -> Self {
        let checked = check(DOCUMENT, None);
        let definition = checked.definition.expect("a sound definition");
        let now = Timestamp(1_000);
        let started = Started {
            definition: "order".to_owned(),
            version: 3,
            key: None,
            labels: BTreeMap::new(),
            input: Arc::new(json!({ "card": "4242" })),
            deadline: Some(now.plus_ms(60_000)),
            traceparent: None,
            tracestate: None,
            actor: "shop".to_owned(),
        };
        let decision = start(&definition, SagaId(Uuid::nil()), started, now);
        let saga = decision.saga.clone();
        let mut driven = Self {
            definition,
            saga,
            now,
            policy,
            told: Vec::new(),
        };
        driven.take(decision);
        driven
    }

    fn take(&mut self, decision: Decision) {
        let told = Told {
            policy: self.policy,
            definition: &self.definition,
            before: &self.saga,
            after: &decision.saga,
            events: &decision.events,
            remote: Some([10, 0, 0, 7].into()),
        };
        self.told.extend(told.records());
        self.saga = decision.saga;
    }

    fn feed(&mut self, input: Input) {
        self.now = self.now.plus_ms(1);
        let decision = decide(&self.definition, &self.saga, input, self.now).expect("taken");
        self.take(decision);
    }

    fn flying(&self) -> InFlight {
        self.saga.in_flight().next().expect("an attempt in flight")
    }

    fn answer(&mut self, call: InFlight, outcome: Outcome) {
        self.feed(Input::Attempt(Attempted {
            step: call.step,
            phase: call.phase,
            attempt: call.attempt,
            outcome,
            draw: 0.5,
        }));
    }

    fn command(&mut self, command: Command) {
        let actor = "ann".to_owned();
        self.feed(Input::Command { command, actor });
    }

    fn actions(&self) -> Vec<&'static str> {
        self.told
            .iter()
            .map(|record| record.action.as_str())
            .collect()
    }

    fn detail(&self, action: AuditAction) -> Value {
        let record = self.told.iter().find(|record| record.action == action);
        let detail = record.expect("told").detail.as_deref();
        detail.map_or(json!({}), |text| serde_json::from_str(text).expect("JSON"))
    }
}

fn done() -> Outcome {
    Outcome::Succeeded {
        output: json!({ "ok": true }),
    }
}

fn silent() -> Outcome {
    Outcome::Transient {
        error: StepError::new("timeout", "no answer"),
        retry_after_ms: None,
    }
}

#[test]
fn a_success_of_what_was_undone_as_unknown_is_told() {
    let mut saga = Driven::start(AuditPolicy::default());
    let call = saga.flying();
    saga.answer(call, silent());
    let undo = saga.flying();
    assert_eq!(undo.phase, Phase::Compensation);
    saga.answer(call, done());
    saga.answer(undo, done());
    // Once more, now that it is undone; and what is no success is no news.
    saga.answer(call, done());
    saga.answer(call, Outcome::Refused(StepError::new("no", "will not")));
    let expected = [
        "SAGA_STARTED",
        "SAGA_COMPENSATING",
        "LATE_SUCCESS",
        "COMPENSATION_EXECUTED",
        "SAGA_COMPENSATED",
        "LATE_SUCCESS",
    ];
    assert_eq!(saga.actions(), expected);
    let late = &saga.told[2];
    assert_eq!(
        (late.step.as_deref(), late.actor.as_str()),
        (Some("reserve"), SYSTEM)
    );
    assert_eq!(
        (late.remote, late.definition.clone()),
        (None, Some(("order".to_owned(), Some(3))))
    );
    assert_eq!(
        saga.detail(AuditAction::LateSuccess),
        json!({ "attempt": 1 })
    );
}

#[test]
fn a_late_reply_of_what_succeeded_is_not_told() {
    let mut saga = Driven::start(AuditPolicy::default());
    let call = saga.flying();
    saga.answer(call, done());
    saga.answer(call, done());
    assert_eq!(saga.actions(), ["SAGA_STARTED"]);
}

#[test]
fn a_saga_whose_time_is_up_while_its_pivot_is_in_flight_is_overdue_when_that_succeeds() {
    let mut saga = Driven::start(AuditPolicy::default());
    saga.answer(saga.flying(), done());
    saga.now = saga.now.plus_ms(60_000);
    saga.feed(Input::Wake { draw: 0.0 });
    saga.answer(saga.flying(), done());
    let expected = ["SAGA_STARTED", "SAGA_COMPENSATING", "SAGA_OVERDUE"];
    assert_eq!(saga.actions(), expected);
    assert!(saga.saga.overdue);
    // A cancel that comes too late for the pivot makes nothing overdue.
    let mut saga = Driven::start(AuditPolicy::default());
    saga.answer(saga.flying(), done());
    saga.command(Command::Cancel { reason: None });
    saga.answer(saga.flying(), done());
    let expected = ["SAGA_STARTED", "SAGA_CANCELLED", "SAGA_COMPENSATING"];
    assert_eq!(saga.actions(), expected);
}

#[test]
fn payloads_are_told_only_where_they_are_asked_for() {
    let run = |policy| {
        let mut saga = Driven::start(policy);
        saga.answer(saga.flying(), done());
        saga.answer(saga.flying(), done());
        saga.feed(Input::Signal {
            name: "go".to_owned(),
            payload: json!({ "by": "ann" }),
            key: None,
            actor: "ann".to_owned(),
        });
        [
            AuditAction::SagaStarted,
            AuditAction::SignalReceived,
            AuditAction::SagaCompleted,
        ]
        .map(|action| saga.detail(action))
    };
    let bare = run(AuditPolicy::default());
    assert_eq!(bare, [json!({}), json!({ "signal": "go" }), json!({})]);
    let whole = run(AuditPolicy {
        actions: AuditActions::ALL,
        include_input: true,
        include_output: true,
    });
    let expected = [
        json!({ "input": { "card": "4242" } }),
        json!({ "signal": "go", "payload": { "by": "ann" } }),
        json!({ "output": { "done": true } }),
    ];
    assert_eq!(whole, expected);
}

#[test]
fn only_the_actions_that_are_asked_for_are_told() {
    let mut saga = Driven::start(AuditPolicy {
        actions: [AuditAction::SagaCancelled].into_iter().collect(),
        ..AuditPolicy::default()
    });
    let reason = Some("wrong address".to_owned());
    saga.command(Command::Cancel { reason });
    assert_eq!(saga.actions(), ["SAGA_CANCELLED"]);
    let told = &saga.told[0];
    assert_eq!(
        (told.actor.as_str(), told.remote),
        ("ann", Some([10, 0, 0, 7].into()))
    );
}

/// Every action has a proof: the text of the test that makes it happen names it.
#[test]
fn every_action_is_proved() {
    let stories = include_str!("../../../tests/api/audit.rs");
    let contract = include_str!("../../../tests/store_contract/audit.rs");
    let letters = include_str!("../../../tests/store_contract/dead_letters.rs");
    let auth = include_str!("../../../tests/auth/violations.rs");
    let here = include_str!("tests.rs");
    for action in AuditAction::ALL {
        let proof = match action {
            AuditAction::SagaStarted
            | AuditAction::SagaCompleted
            | AuditAction::SagaCompensating
            | AuditAction::CompensationExecuted
            | AuditAction::SagaCompensated
            | AuditAction::SagaFailed
            | AuditAction::SagaCancelled
            | AuditAction::SagaOverdue
            | AuditAction::SagaSuspended
            | AuditAction::SagaResumed
            | AuditAction::SagaRetried
            | AuditAction::StepResolved
            | AuditAction::SignalReceived
            | AuditAction::DefinitionPublished => stories,
            // Over HTTP an answer that comes late finds nobody who waits for it.
            AuditAction::LateSuccess => here,
            AuditAction::ReplicaStarted
            | AuditAction::ReplicaDrained
            | AuditAction::DefinitionPaused
            | AuditAction::DefinitionResumed => contract,
            AuditAction::SecurityViolation => auth,
            AuditAction::DeadLetterReplayed | AuditAction::DeadLetterDiscarded => letters,
        };
        assert!(proof.contains(action.as_str()), "{action}");
    }
}
