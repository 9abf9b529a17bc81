//! What execution.md says of calls that a guard holds back.

use super::model::{Driven, Plan, action, done, refused, transient};
use crate::definition::StepIndex;
use crate::definition::request::Phase::{Action, Compensation};
use crate::saga::{
    ActionOutcome, Command, Event, Guard, Input, Rest, Status, StepState, Timestamp,
};

fn two() -> Driven {
    Driven::start(Plan::sequence(vec![action(true), action(true)]).build())
}

fn state(saga: &Driven, step: usize) -> StepState {
    saga.saga.steps[step].state
}

fn cancel(saga: &mut Driven) -> Vec<Event> {
    saga.command(Command::Cancel { reason: None }).unwrap()
}

#[test]
fn what_is_held_back_is_no_attempt_and_begins_anew_with_its_number() {
    let mut saga = two();
    saga.hold(0, Action, false);
    let until = saga.now.plus_ms(1_000);
    assert_eq!(
        state(&saga, 0),
        StepState::Held(Guard::Bulkhead, Some(until))
    );
    assert_eq!(saga.saga.steps[0].attempts, 0);
    assert_eq!(saga.saga.steps[0].started_at, None);
    assert_eq!(saga.saga.rest(), Rest::Until(until));
    assert!(saga.pass(999).is_empty());
    saga.pass(1);
    assert_eq!(saga.flying(), [(0, Action, 1)]);
    // The policy's two attempts are both still there.
    saga.end(0, Action, transient());
    saga.pass(100);
    assert_eq!(saga.flying(), [(0, Action, 2)]);
    saga.hold(0, Action, false);
    assert_eq!(saga.saga.steps[0].attempts, 1);
    saga.pass(1_000);
    assert_eq!(saga.flying(), [(0, Action, 2)]);
    saga.end(0, Action, done());
    assert_eq!(saga.flying(), [(1, Action, 1)]);
}

#[test]
fn a_guard_lets_it_through_before_its_time() {
    let mut saga = two();
    saga.hold(0, Action, false);
    let through = Input::LetThrough {
        step: StepIndex(0),
        phase: Action,
    };
    saga.feed(through.clone()).unwrap();
    assert_eq!(saga.flying(), [(0, Action, 1)]);
    // Once more changes nothing, and nor does it for a phase that is not held.
    assert!(saga.feed(through).unwrap().is_empty());
    saga.hold(0, Action, false);
    let other = Input::LetThrough {
        step: StepIndex(0),
        phase: Compensation,
    };
    assert!(saga.feed(other).unwrap().is_empty());
}

#[test]
fn turning_back_what_was_never_sent_is_pending_and_what_was_is_unknown() {
    // Held before its first attempt.
    let mut saga = two();
    saga.end(0, Action, done());
    saga.hold(1, Action, false);
    cancel(&mut saga);
    assert_eq!(state(&saga, 1), StepState::Pending);
    assert_eq!(saga.flying(), [(0, Compensation, 1)]);

    // Held before its second.
    let mut saga = two();
    saga.end(0, Action, done());
    saga.end(1, Action, transient());
    saga.pass(100);
    saga.hold(1, Action, false);
    cancel(&mut saga);
    assert_eq!(
        state(&saga, 1),
        StepState::Compensating(ActionOutcome::Unknown)
    );

    // Held before its first by this owner, and perhaps sent by the one before.
    let mut saga = two();
    saga.end(0, Action, done());
    saga.hold(1, Action, true);
    assert_eq!(saga.saga.steps[1].attempts, 0);
    cancel(&mut saga);
    assert_eq!(
        state(&saga, 1),
        StepState::Compensating(ActionOutcome::Unknown)
    );
}

#[test]
fn a_saga_that_turned_back_meanwhile_does_not_wait_for_what_was_not_sent() {
    for (sent, expected) in [
        (false, StepState::Pending),
        (true, StepState::Compensating(ActionOutcome::Unknown)),
    ] {
        let mut saga = two();
        saga.end(0, Action, done());
        cancel(&mut saga);
        assert_eq!(saga.flying(), [(1, Action, 1)]);
        saga.hold(1, Action, sent);
        assert_eq!(state(&saga, 1), expected);
    }
}

#[test]
fn nothing_held_begins_while_suspended() {
    let mut saga = two();
    saga.hold(0, Action, false);
    saga.command(Command::Suspend).unwrap();
    assert_eq!(saga.saga.rest(), Rest::Outside);
    assert_eq!(saga.saga.held().count(), 0);
    assert!(saga.pass(5_000).is_empty());
    let through = Input::LetThrough {
        step: StepIndex(0),
        phase: Action,
    };
    assert!(saga.feed(through).unwrap().is_empty());
    saga.command(Command::Resume).unwrap();
    assert_eq!(saga.flying(), [(0, Action, 1)]);
}

#[test]
fn a_compensation_is_held_back_too() {
    let mut saga = two();
    saga.end(0, Action, done());
    saga.end(1, Action, refused());
    saga.hold(0, Compensation, false);
    let until = saga.now.plus_ms(1_000);
    assert_eq!(
        state(&saga, 0),
        StepState::CompensationHeld(ActionOutcome::Succeeded, Guard::Bulkhead, Some(until))
    );
    assert_eq!(saga.saga.steps[0].compensation_attempts, 0);
    saga.pass(1_000);
    assert_eq!(saga.flying(), [(0, Compensation, 1)]);
    saga.end(0, Compensation, done());
    assert_eq!(saga.saga.status(), Status::Compensated);
}

/// A pivot that a person told to try again may have been done, also while nothing of it is in
/// flight.
#[test]
fn a_pivot_that_was_to_be_tried_again_stays_unknown_when_the_saga_turns_back() {
    let mut plan = Plan::sequence(vec![action(true), action(false)]);
    plan.pivot = Some(1);
    let mut saga = Driven::start(plan.build());
    saga.end(0, Action, done());
    saga.end(1, Action, transient());
    saga.pass(100);
    saga.end(1, Action, transient());
    assert_eq!(saga.saga.status(), Status::Failed);
    saga.command(Command::Suspend).unwrap();
    saga.command(Command::Retry).unwrap();
    assert_eq!(state(&saga, 1), StepState::Pending);
    cancel(&mut saga);
    assert_eq!(saga.saga.status(), Status::Failed);
    assert_eq!(saga.saga.failure().unwrap().code, "pivot_unknown");
}

/// What waits in memory is shown as the journal would show it, and nothing of it is in the journal.
#[test]
fn what_waits_in_memory_is_shown_as_held() {
    let mut saga = two();
    let call = saga.saga.in_flight().next().unwrap();
    let mut shown = saga.saga.clone();
    shown.show_held(call, Guard::RateLimit);
    assert_eq!(
        shown.steps[0].state,
        StepState::Held(Guard::RateLimit, None)
    );
    assert_eq!(shown.steps[0].attempts, 0);
    assert_eq!(
        (shown.seq, shown.updated_at),
        (saga.saga.seq, saga.saga.updated_at)
    );
    // Once it has been answered there is nothing to show.
    saga.end(0, Action, done());
    let mut shown = saga.saga.clone();
    shown.show_held(call, Guard::RateLimit);
    assert_eq!(shown, saga.saga);
}

/// The journal's words, as the next release will find them.
#[test]
fn the_journals_form_stays() {
    let held = |sent| Event::AttemptHeld {
        step: StepIndex(1),
        phase: Action,
        guard: Guard::CircuitBreaker,
        until: Timestamp(5),
        sent,
    };
    let text = serde_json::to_string(&held(false)).unwrap();
    assert_eq!(
        text,
        r#"{"type":"attempt_held","step":1,"phase":"action","guard":"circuit_breaker","until":5}"#
    );
    let read: Event = serde_json::from_str(&text).unwrap();
    assert_eq!(read, held(false));
    let text = serde_json::to_string(&held(true)).unwrap();
    assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), held(true));
}
