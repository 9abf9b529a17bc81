//! Each way in which a saga can wait, as data and in words.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::definition::{Definition, StepIndex, check};
use crate::saga::guard::Guard;
use crate::saga::{
    Attempted, Command, HeldBack, InFlight, Input, Outcome, Resolution, Started, StepError, decide,
    start,
};

const ORDER: &str = "
name: order
version: 1
timeout: 10m
steps:
  - { id: reserve, participant: inventory, action: { put: '/r/${ saga.id }' },
      compensation: { delete: '/r/${ saga.id }' } }
  - { id: charge, participant: payment, action: { command: charge }, timeout: 10s,
      retry: { initial: 12s, jitter: none }, compensation: { command: refund } }
  - { id: approval, wait: { signal: approved, timeout: 48h } }
  - { id: cool_down, delay: 2m }
  - { id: ship, participant: shipping, pivot: true, action: { command: ship } }
  - { id: tell, participant: mail, action: { post: '/${ input.how }' } }
";

const SIDE_BY_SIDE: &str = "
name: wide
version: 1
steps:
  - { id: a, after: [], participant: pa, action: { command: x }, compensation: { command: y } }
  - { id: b, after: [], participant: pb, action: { command: x }, compensation: { command: y } }
  - { id: c, after: [], participant: pc, action: { command: x }, compensation: { command: y } }
  - { id: d, after: [], wait: { signal: go } }
  - { id: e, after: [], participant: pe, action: { command: x }, compensation: { command: y } }
";

/// A saga that is driven by hand.
struct Driven {
    snapshot: Snapshot,
    now: Timestamp,
}

impl Driven {
    fn new(source: &str) -> Self {
        let checked = check(source, None);
        let definition: Arc<Definition> = checked
            .definition
            .unwrap_or_else(|| panic!("{:?}", checked.problems));
        let now = Timestamp(1_764_000_000_000);
        let started = Started {
            definition: definition.name.clone(),
            version: 1,
            key: None,
            labels: BTreeMap::new(),
            input: Arc::new(json!({})),
            deadline: definition.timeout_ms.map(|ms| now.plus_ms(ms)),
            traceparent: None,
            tracestate: None,
            actor: "ann".to_owned(),
        };
        let id = SagaId(uuid::Uuid::nil());
        let saga = start(&definition, id, started, now).saga;
        let saga = Arc::new(saga);
        Self {
            snapshot: Snapshot { definition, saga },
            now,
        }
    }

    fn feed(mut self, input: Input) -> Self {
        let Snapshot { definition, saga } = &self.snapshot;
        let decided = decide(definition, saga, input, self.now).unwrap();
        self.snapshot.saga = Arc::new(decided.saga);
        self
    }

    fn pass(mut self, ms: u64) -> Self {
        self.now = self.now.plus_ms(ms);
        self
    }

    fn wake(self) -> Self {
        self.feed(Input::Wake { draw: 0.0 })
    }

    fn step(&self, id: &str) -> StepIndex {
        self.snapshot.definition.step_named(id).unwrap()
    }

    fn flying(&self, id: &str) -> InFlight {
        let step = self.step(id);
        let mut flying = self.snapshot.saga.in_flight();
        flying.find(|call| call.step == step).unwrap()
    }

    fn ends(self, id: &str, outcome: Outcome) -> Self {
        let InFlight {
            step,
            phase,
            attempt,
        } = self.flying(id);
        self.feed(Input::Attempt(Attempted {
            step,
            phase,
            attempt,
            outcome,
            draw: 0.5,
        }))
    }

    fn done(self, id: &str) -> Self {
        let output = json!({});
        self.ends(id, Outcome::Succeeded { output })
    }

    fn command(self, command: Command) -> Self {
        let actor = "ann".to_owned();
        self.feed(Input::Command { command, actor })
    }

    fn signal(self) -> Self {
        self.feed(Input::Signal {
            name: "approved".to_owned(),
            payload: Value::Null,
            key: None,
            actor: "ann".to_owned(),
        })
    }

    fn explained(&self) -> Value {
        let timeout_ms = |_: &str| 30_000;
        serde_json::to_value(Explanation::of(&self.snapshot, self.now, &timeout_ms)).unwrap()
    }

    fn says(&self, words: &str) -> Value {
        let explained = self.explained();
        assert_eq!(explained["summary"], words);
        explained
    }

    /// The time so many milliseconds after the start.
    fn at(ms: u64) -> Value {
        serde_json::to_value(At(Timestamp(1_764_000_000_000).plus_ms(ms))).unwrap()
    }
}

fn order() -> Driven {
    Driven::new(ORDER)
}

fn transient(code: &str) -> Outcome {
    Outcome::Transient {
        error: StepError::new(code, "busy"),
        retry_after_ms: None,
    }
}

fn refused(code: &str) -> Outcome {
    Outcome::Refused(StepError::new(code, "no"))
}

#[test]
fn an_answer_is_waited_for() {
    let told = order().pass(3_000).says(
        "Waiting for inventory: attempt 1 of reserve began 3 s ago and has 27 s left to be answered.",
    );
    assert_eq!(
        told,
        json!({
            "id": "00000000-0000-0000-0000-000000000000",
            "status": "running",
            "summary": told["summary"],
            "waiting": [{
                "step": "reserve", "for": "reply", "participant": "inventory",
                "since": Driven::at(0), "until": Driven::at(30_000), "attempt": 1,
                "last_error": null,
            }],
            "cancel": { "possible": true, "why_not": null, "undoes": [["reserve"]] },
        })
    );
    // The step's own time, and the saga's.
    let own = order().pass(595_000).done("reserve").explained();
    assert_eq!(own["waiting"][0]["until"], Driven::at(600_000));
    order().pass(40_000).says(
        "Waiting for inventory: attempt 1 of reserve began 40 s ago and should have been answered by now.",
    );
}

#[test]
fn a_next_attempt_is_waited_for() {
    let told = order()
        .done("reserve")
        .ends("charge", transient("http_503"));
    let told = told
        .says("Waiting for payment: attempt 2 of charge begins in 12 s (the last answer was 503).");
    assert_eq!(
        told["waiting"],
        json!([{
            "step": "charge", "for": "retry", "participant": "payment", "since": Driven::at(0),
            "until": Driven::at(12_000), "attempt": 2,
            "last_error": { "code": "http_503", "message": "busy" },
        }])
    );
    assert_eq!(told["cancel"]["undoes"], json!([["charge"], ["reserve"]]));
    let later = order().done("reserve").ends("charge", transient("timeout"));
    later.pass(12_000).says(
        "Waiting for payment: attempt 2 of charge begins at any moment (the last attempt ended with timeout).",
    );
}

#[test]
fn a_guard_is_waited_for() {
    let held = |guard| {
        let driven = order().done("reserve");
        let call = driven.flying("charge");
        let until = driven.now.plus_ms(5_000);
        driven.feed(Input::Held(HeldBack {
            call,
            guard,
            until,
            sent: false,
        }))
    };
    let told = held(Guard::CircuitBreaker).says(
        "Waiting for payment: its circuit breaker is open and holds attempt 1 of charge back; it is looked at again in 5 s.",
    );
    assert_eq!(told["waiting"][0]["for"], "circuit_breaker");
    assert_eq!(told["waiting"][0]["attempt"], 1);
    assert_eq!(told["waiting"][0]["until"], Driven::at(5_000));
    assert_eq!(
        told["cancel"]["undoes"],
        json!([["reserve"]]),
        "it was not sent"
    );
    held(Guard::Bulkhead).pass(2_000).says(
        "Waiting for payment: as many calls are under way as may be, and attempt 1 of charge has waited for its turn for 2 s.",
    );
    held(Guard::RateLimit).pass(300).says(
        "Waiting for payment: calls are sent only so often, and attempt 1 of charge has waited for its turn for 300 ms.",
    );
}

#[test]
fn a_signal_and_a_time_are_waited_for() {
    let driven = order()
        .done("reserve")
        .pass(1_000)
        .done("charge")
        .pass(304_000);
    let told = driven.says(
        "Waiting for the signal `approved`: approval has waited for 5 min 4 s and gives up in 1 d 23 h.",
    );
    assert_eq!(
        told["waiting"],
        json!([{
            "step": "approval", "for": "signal:approved", "participant": null,
            "since": Driven::at(1_000), "until": Driven::at(1_000 + 48 * 3_600_000),
            "attempt": null, "last_error": null,
        }])
    );
    let told = driven
        .signal()
        .pass(30_000)
        .says("Waiting for a time: cool_down is over in 1 min 30 s.");
    assert_eq!(told["waiting"][0]["for"], "time");
    assert_eq!(told["cancel"]["undoes"], json!([["charge"], ["reserve"]]));
}

#[test]
fn what_is_suspended_waits_for_a_person() {
    let driven = order().pass(2_000).command(Command::Suspend).pass(1_000);
    let told = driven.says(
        "Suspended: nothing new is sent until it is resumed. Waiting for inventory: attempt 1 of reserve began 3 s ago and has 27 s left to be answered.",
    );
    assert_eq!(told["waiting"][1]["for"], "operator");
    assert_eq!(told["waiting"][1]["step"], Value::Null);
    assert_eq!(told["waiting"][1]["since"], Driven::at(2_000));
    let told = driven
        .done("reserve")
        .says("Suspended: nothing new is sent until it is resumed.");
    assert_eq!(told["cancel"]["undoes"], json!([["reserve"]]));
}

#[test]
fn what_is_being_undone_says_why() {
    let driven = order()
        .done("reserve")
        .ends("charge", refused("card_declined"))
        .pass(4_000);
    let told = driven.says(
        "Being undone (charge: card_declined). Waiting for inventory: attempt 1 to undo reserve began 4 s ago and has 26 s left to be answered.",
    );
    assert_eq!(told["status"], "compensating");
    assert_eq!(
        told["cancel"],
        json!({ "possible": true, "why_not": null, "undoes": [["reserve"]] })
    );
    let told = driven
        .done("reserve")
        .pass(60_000)
        .says("Compensated 1 min ago: what was done is undone (charge: card_declined).");
    assert_eq!(told["waiting"], json!([]));
    assert_eq!(
        told["cancel"],
        json!({ "possible": false, "why_not": "already_finished", "undoes": [] })
    );
    let cancelled = order().command(Command::Cancel { reason: None });
    cancelled.says(
        "Being undone (cancelled). Waiting for inventory: attempt 1 of reserve began just now and has 30 s left to be answered.",
    );
}

/// Everything up to the pivot is done, and its call is under way.
fn at_the_pivot() -> Driven {
    let driven = order().done("reserve").done("charge").signal();
    driven.pass(120_000).wake()
}

#[test]
fn a_failed_saga_says_what_a_person_can_do() {
    let response = || Outcome::Unknown(StepError::new("response_too_large", "too long"));
    let told = at_the_pivot().ends("ship", response()).says(
        "Failed (ship: pivot_unknown). Waiting for a person: nobody knows whether ship was done (the last attempt ended with response_too_large); retry the saga, or resolve ship as succeeded or refused.",
    );
    assert_eq!(told["waiting"][0]["for"], "operator");
    assert_eq!(told["waiting"][0]["step"], "ship");
    assert_eq!(
        told["cancel"],
        json!({ "possible": false, "why_not": "failed", "undoes": [] })
    );
    // `tell` needs what the input does not have.
    let told = at_the_pivot().done("ship").says(
        "Failed (tell: expression_failed). Waiting for a person: tell was not done (the last attempt ended with expression_failed); retry the saga, or resolve tell as succeeded or skipped.",
    );
    assert_eq!(told["cancel"]["why_not"], "past_pivot");
    let stuck = order()
        .done("reserve")
        .ends("charge", refused("card_declined"));
    stuck.ends("reserve", refused("http_409")).says(
        "Failed (reserve: compensation_failed). Waiting for a person: reserve could not be undone (the last answer was 409); retry the saga, or resolve reserve as compensated.",
    );
}

#[test]
fn what_is_overdue_says_since_when() {
    let driven = at_the_pivot()
        .done("ship")
        .command(Command::Retry)
        .pass(700_000)
        .wake();
    // It has failed again by then.
    assert_eq!(driven.explained()["status"], "failed");
    let resolve = Command::Resolve {
        step: driven.step("tell"),
        resolution: Resolution::Skipped,
        note: "n".to_owned(),
        output: Value::Null,
    };
    driven
        .command(resolve)
        .pass(5_000)
        .says("Completed 5 s ago.");
    let late = ORDER.replace("/${ input.how }", "/mail");
    let driven = Driven::new(&late).done("reserve").done("charge").signal();
    let driven = driven
        .pass(120_000)
        .wake()
        .done("ship")
        .ends("tell", transient("http_503"));
    driven.pass(540_000).wake().says(
        "Waiting for mail: attempt 2 of tell began just now and has 30 s left to be answered. Its time was up 1 min ago, but it is past its pivot and only goes forward.",
    );
}

#[test]
fn of_many_waits_a_few_are_told() {
    let driven = Driven::new(SIDE_BY_SIDE);
    let told = driven.explained();
    assert_eq!(told["waiting"].as_array().map(Vec::len), Some(5));
    let words = told["summary"].as_str().unwrap();
    assert!(words.ends_with(" 2 more steps wait."), "{words}");
    assert_eq!(told["cancel"]["undoes"], json!([["a", "b", "c", "e"]]));
}

#[test]
fn durations_are_said_as_people_do() {
    for (ms, words) in [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_999, "1 s"),
        (60_000, "1 min"),
        (61_000, "1 min 1 s"),
        (3_600_000, "1 h"),
        (7_500_000, "2 h 5 min"),
        (86_400_000, "1 d"),
        (180_000_000, "2 d 2 h"),
    ] {
        assert_eq!(sentence::span(ms), words);
    }
}
