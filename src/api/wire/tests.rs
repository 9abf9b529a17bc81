//! What the wire shows of a saga, state by state.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::event::EventView;
use super::saga::{Summary, Whole};
use crate::definition::request::Phase;
use crate::definition::{Definition, StepIndex, check};
use crate::engine::Snapshot;
use crate::saga::{Event, Failure, Guard, Resolution, Saga, SagaId, Started, StepError, Timestamp};

const PAY: StepIndex = StepIndex(0);
const APPROVE: StepIndex = StepIndex(1);
const COOL_OFF: StepIndex = StepIndex(2);

const SOURCE: &str = "
name: order
version: 2
steps:
  - { id: pay, participant: payment, pivot: true, action: { command: charge } }
  - { id: approve, wait: { signal: approved } }
  - { id: cool_off, delay: 1s }
";

fn definition() -> Arc<Definition> {
    check(SOURCE, None).definition.unwrap()
}

fn started() -> Event {
    Event::SagaStarted(Box::new(Started {
        definition: "order".to_owned(),
        version: 2,
        key: Some("ORD-1".to_owned()),
        labels: BTreeMap::from([("channel".to_owned(), "web".to_owned())]),
        input: Arc::new(json!({ "total": 5 })),
        deadline: Some(Timestamp(60_000)),
        traceparent: None,
        tracestate: None,
        actor: "anonymous".to_owned(),
    }))
}

/// The saga after these events, one a second.
fn snapshot(events: &[Event]) -> Snapshot {
    let definition = definition();
    let id = SagaId(uuid::Uuid::from_u128(
        0x0198_c7c4_aaaa_7000_8000_0000_0000_0000,
    ));
    let mut saga = Saga::begin(id, definition.steps.len(), &started(), Timestamp(0)).unwrap();
    for (event, second) in events.iter().zip(1..) {
        saga.apply(event, Timestamp(second * 1_000)).unwrap();
    }
    Snapshot {
        definition,
        saga: Arc::new(saga),
    }
}

fn whole(events: &[Event]) -> Value {
    serde_json::to_value(Whole::of(&snapshot(events))).unwrap()
}

fn error() -> StepError {
    StepError::new("http_503", "payment answered 503")
}

/// Status, `waiting_for` and `next_attempt_at` of a step.
fn shown(whole: &Value, step: usize) -> [Value; 3] {
    let step = &whole["steps"][step];
    [
        step["status"].clone(),
        step["waiting_for"].clone(),
        step["next_attempt_at"].clone(),
    ]
}

#[test]
fn a_saga_is_shown_as_the_documentation_says() {
    let attempt = Event::AttemptStarted {
        step: PAY,
        phase: Phase::Action,
    };
    let paid = Event::StepSucceeded {
        step: PAY,
        output: Arc::new(json!({ "receipt": 7 })),
    };
    let snapshot = snapshot(&[attempt, paid]);
    let whole = Whole::of(&snapshot);
    let text = serde_json::to_string_pretty(&whole).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        value,
        json!({
            "id": "0198c7c4-aaaa-7000-8000-000000000000",
            "definition": "order", "version": 2, "key": "ORD-1", "labels": { "channel": "web" },
            "status": "running", "suspended": false, "overdue": false,
            "input": { "total": 5 }, "output": null, "output_error": null, "failure": null,
            "created_at": "1970-01-01T00:00:00.000Z", "updated_at": "1970-01-01T00:00:02.000Z",
            "finished_at": null, "deadline": "1970-01-01T00:01:00.000Z",
            "steps": [
                {
                    "id": "pay", "status": "succeeded", "attempts": 1, "compensation_attempts": 0,
                    "started_at": "1970-01-01T00:00:01.000Z",
                    "finished_at": "1970-01-01T00:00:02.000Z",
                    "next_attempt_at": null, "waiting_for": null,
                    "output": { "receipt": 7 }, "error": null,
                },
                {
                    "id": "approve", "status": "pending", "attempts": 0,
                    "compensation_attempts": 0, "started_at": null, "finished_at": null,
                    "next_attempt_at": null, "waiting_for": null, "output": null, "error": null,
                },
                {
                    "id": "cool_off", "status": "pending", "attempts": 0,
                    "compensation_attempts": 0, "started_at": null, "finished_at": null,
                    "next_attempt_at": null, "waiting_for": null, "output": null, "error": null,
                },
            ],
        })
    );
    assert!(text.find("\"input\"").unwrap() < text.find("\"failure\"").unwrap());
}

#[test]
fn a_summary_is_the_same_without_payloads_and_steps() {
    let snapshot = snapshot(&[]);
    let summary = serde_json::to_value(Summary::of(&snapshot)).unwrap();
    let mut whole = serde_json::to_value(Whole::of(&snapshot)).unwrap();
    for member in ["input", "output", "output_error", "steps"] {
        assert!(
            whole
                .as_object_mut()
                .unwrap()
                .shift_remove(member)
                .is_some()
        );
    }
    assert_eq!(summary, whole);
}

#[test]
fn every_waiting_says_for_what() {
    let attempt = |phase| Event::AttemptStarted { step: PAY, phase };
    let failed = |phase| Event::AttemptFailed {
        step: PAY,
        phase,
        error: error(),
        retry_at: Timestamp(5_000),
    };
    let at = json!("1970-01-01T00:00:05.000Z");
    let running = whole(&[attempt(Phase::Action)]);
    assert_eq!(
        shown(&running, 0),
        [json!("running"), json!("reply"), Value::Null]
    );
    let retrying = whole(&[attempt(Phase::Action), failed(Phase::Action)]);
    assert_eq!(
        shown(&retrying, 0),
        [json!("waiting"), json!("retry"), at.clone()]
    );
    assert_eq!(retrying["steps"][0]["error"]["code"], "http_503");
    let waiting = whole(&[
        Event::WaitStarted {
            step: APPROVE,
            until: None,
        },
        Event::DelayStarted {
            step: COOL_OFF,
            until: Timestamp(9_000),
        },
    ]);
    assert_eq!(
        shown(&waiting, 1),
        [json!("waiting"), json!("signal:approved"), Value::Null]
    );
    assert_eq!(
        shown(&waiting, 2),
        [json!("waiting"), json!("time"), Value::Null]
    );
    let unknown = Event::StepUnknown {
        step: PAY,
        error: error(),
    };
    let undoing = whole(&[unknown.clone(), attempt(Phase::Compensation)]);
    assert_eq!(
        shown(&undoing, 0),
        [json!("compensating"), json!("reply"), Value::Null]
    );
    let again = whole(&[
        unknown,
        attempt(Phase::Compensation),
        failed(Phase::Compensation),
    ]);
    assert_eq!(
        shown(&again, 0),
        [json!("compensating"), json!("retry"), at]
    );
}

#[test]
fn what_stopped_a_saga_waits_for_a_person() {
    let failure = Failure {
        step: Some(PAY),
        code: "c".to_owned(),
        message: "m".to_owned(),
    };
    let unknown = Event::StepUnknown {
        step: PAY,
        error: error(),
    };
    let stopped = |forward| Event::SagaFailed {
        failure: failure.clone(),
        forward,
    };
    let forward = whole(&[unknown.clone(), stopped(true)]);
    assert_eq!(forward["status"], "failed");
    assert_eq!(
        forward["failure"],
        json!({ "step": "pay", "code": "c", "message": "m" })
    );
    assert_eq!(
        shown(&forward, 0),
        [json!("unknown"), json!("operator"), Value::Null]
    );
    let undone = Event::CompensationFailed {
        step: PAY,
        error: error(),
    };
    let back = whole(&[unknown, undone, stopped(false)]);
    let expected = [json!("compensation_failed"), json!("operator"), Value::Null];
    assert_eq!(shown(&back, 0), expected);
}

#[test]
fn an_event_names_steps_and_times_as_people_do() {
    let definition = definition();
    let view = |event: &Event| {
        serde_json::to_value(EventView::of(&definition, 3, Timestamp(1), event)).unwrap()
    };
    let at = "1970-01-01T00:00:00.001Z";
    let failed = Event::AttemptFailed {
        step: PAY,
        phase: Phase::Action,
        error: error(),
        retry_at: Timestamp(5_000),
    };
    assert_eq!(
        view(&failed),
        json!({
            "seq": 3, "at": at, "type": "attempt_failed", "step": "pay", "phase": "action",
            "error": { "code": "http_503", "message": "payment answered 503" },
            "retry_at": "1970-01-01T00:00:05.000Z",
        })
    );
    assert_eq!(
        view(&started()),
        json!({
            "seq": 3, "at": at, "type": "saga_started", "actor": "anonymous",
            "definition": "order", "version": 2, "key": "ORD-1", "labels": { "channel": "web" },
            "input": { "total": 5 }, "deadline": "1970-01-01T00:01:00.000Z",
        })
    );
    let retried = Event::SagaRetried {
        actor: "me".to_owned(),
        steps: vec![PAY, COOL_OFF],
    };
    assert_eq!(
        view(&retried),
        json!({
            "seq": 3, "at": at, "type": "saga_retried", "actor": "me",
            "steps": ["pay", "cool_off"],
        })
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_event_is_shown_under_its_journals_type() {
    let definition = definition();
    let failure = Failure {
        step: Some(PAY),
        code: "c".to_owned(),
        message: "m".to_owned(),
    };
    let (actor, name) = ("me".to_owned(), "approved".to_owned());
    let at = Timestamp(1);
    let events = [
        started(),
        Event::AttemptStarted {
            step: PAY,
            phase: Phase::Action,
        },
        Event::WaitStarted {
            step: APPROVE,
            until: Some(at),
        },
        Event::DelayStarted {
            step: COOL_OFF,
            until: at,
        },
        Event::SignalTaken {
            step: APPROVE,
            name: name.clone(),
        },
        Event::StepSucceeded {
            step: PAY,
            output: Arc::default(),
        },
        Event::StepRefused {
            step: PAY,
            error: error(),
        },
        Event::StepUnknown {
            step: PAY,
            error: error(),
        },
        Event::StepSkipped { step: PAY },
        Event::StepCompensated { step: PAY },
        Event::CompensationFailed {
            step: PAY,
            error: error(),
        },
        Event::SagaCompensating {
            failure: failure.clone(),
        },
        Event::SagaWentForward,
        Event::SagaOverdue,
        Event::SagaFailed {
            failure,
            forward: true,
        },
        Event::SagaUnblocked,
        Event::SagaCompleted {
            output: Arc::new(json!(1)),
            output_error: None,
        },
        Event::SagaCompensated,
        Event::SagaCancelled {
            actor: actor.clone(),
            reason: None,
        },
        Event::SagaSuspended {
            actor: actor.clone(),
        },
        Event::SagaResumed {
            actor: actor.clone(),
        },
        Event::StepResolved {
            step: PAY,
            resolution: Resolution::Skipped,
            actor: actor.clone(),
            note: "n".to_owned(),
            output: Arc::default(),
        },
        Event::SignalReceived {
            name,
            payload: Arc::new(json!(1)),
            key: None,
            actor,
        },
        Event::LateReply {
            step: PAY,
            phase: Phase::Action,
            attempt: 1,
            outcome: "refused".to_owned(),
            reply: Some("r-1".to_owned()),
        },
        Event::AttemptAccepted {
            step: PAY,
            phase: Phase::Action,
            until: Timestamp(1),
        },
        Event::AttemptDeadLettered {
            step: PAY,
            phase: Phase::Action,
            error: StepError::new("dead_lettered", "rejected"),
        },
        Event::ReplyTaken {
            step: PAY,
            phase: Phase::Action,
            id: "r-1".to_owned(),
        },
    ];
    for event in &events {
        let journaled = serde_json::to_value(event).unwrap();
        let view = serde_json::to_value(EventView::of(&definition, 1, at, event)).unwrap();
        assert_eq!(view["type"], journaled["type"]);
        assert_eq!(
            view.get("step").is_some(),
            journaled.get("step").is_some(),
            "{view}"
        );
        assert!(view["step"].is_null() || view["step"].is_string(), "{view}");
    }
}

#[test]
fn a_step_that_a_guard_holds_back_waits_for_it() {
    let begun = |phase| Event::AttemptStarted { step: PAY, phase };
    let held = |phase| Event::AttemptHeld {
        step: PAY,
        phase,
        guard: Guard::CircuitBreaker,
        until: Timestamp(9_000),
        sent: false,
    };
    let events = [begun(Phase::Action), held(Phase::Action)];
    let at = json!("1970-01-01T00:00:09.000Z");
    let seen = whole(&events);
    assert_eq!(
        shown(&seen, 0),
        [json!("waiting"), json!("circuit_breaker"), at.clone()]
    );
    assert_eq!(seen["steps"][0]["attempts"], 0);
    assert_eq!(seen["steps"][0]["started_at"], Value::Null);
    let definition = definition();
    let view = EventView::of(&definition, 3, Timestamp(0), &events[1]);
    assert_eq!(
        serde_json::to_value(view).unwrap(),
        json!({
            "seq": 3, "at": "1970-01-01T00:00:00.000Z", "type": "attempt_held", "step": "pay",
            "phase": "action", "guard": "circuit_breaker", "until": at,
        })
    );
    let paid = Event::StepSucceeded {
        step: PAY,
        output: Arc::default(),
    };
    let back = [
        begun(Phase::Action),
        paid,
        begun(Phase::Compensation),
        held(Phase::Compensation),
    ];
    assert_eq!(
        shown(&whole(&back), 0),
        [json!("compensating"), json!("circuit_breaker"), at]
    );
}
