//! What execution.md and participants.md say of what comes after an attempt was accepted.

use super::model::{Driven, Plan, action, done, refused, transient};
use crate::definition::StepIndex;
use crate::definition::request::Phase::{self, Action, Compensation};
use crate::saga::input::REPLIES_KEPT_MAX;
use crate::saga::{
    ActionOutcome, Command, DeadLettered, Event, Fate, InFlight, Input, Outcome, Rejection,
    Replied, Rest, Status, StepError, StepState,
};

fn two() -> Driven {
    Driven::start(Plan::sequence(vec![action(true), action(true)]).build())
}

fn state(saga: &Driven, step: usize) -> StepState {
    saga.saga.steps[step].state
}

fn in_flight(saga: &Driven, step: u16) -> InFlight {
    let mut flying = saga.saga.in_flight();
    flying
        .find(|call| call.step == StepIndex(step))
        .expect("an attempt in flight")
}

/// Somebody has the attempt of a step for five seconds.
fn accept(saga: &mut Driven, step: u16) -> Vec<Event> {
    let call = in_flight(saga, step);
    let until = saga.now.plus_ms(5_000);
    saga.feed(Input::Accepted { call, until }).unwrap()
}

fn reply(saga: &mut Driven, id: &str, step: u16, phase: Phase, outcome: Outcome) -> Vec<Event> {
    try_reply(saga, id, step, phase, outcome).unwrap()
}

fn try_reply(
    saga: &mut Driven,
    id: &str,
    step: u16,
    phase: Phase,
    outcome: Outcome,
) -> Result<Vec<Event>, Rejection> {
    saga.feed(Input::Reply(Replied {
        id: id.to_owned(),
        step: StepIndex(step),
        phase,
        outcome,
        draw: 0.5,
    }))
}

fn dead_letter(saga: &mut Driven, call: InFlight, fate: Fate) -> Vec<Event> {
    saga.feed(Input::DeadLettered(DeadLettered {
        call,
        error: StepError::new("dead_lettered", "nobody could take it: rejected"),
        fate,
        draw: 0.5,
    }))
    .unwrap()
}

#[test]
fn what_was_accepted_waits_for_its_reply_and_is_not_sent_again() {
    let mut saga = two();
    accept(&mut saga, 0);
    let until = saga.now.plus_ms(5_000);
    assert_eq!(saga.saga.rest(), Rest::Until(until));
    assert_eq!(saga.saga.in_hand().count(), 0);
    assert_eq!(saga.flying(), [(0, Action, 1)]);
    // Once more changes nothing.
    assert!(accept(&mut saga, 0).is_empty());
    reply(&mut saga, "r-1", 0, Action, done());
    assert_eq!(state(&saga, 0), StepState::Ended(ActionOutcome::Succeeded));
    assert_eq!(saga.flying(), [(1, Action, 1)]);
    assert_eq!(saga.saga.awaited_until(StepIndex(0)), None);
}

#[test]
fn a_reply_may_be_faster_than_the_news_that_its_attempt_was_accepted() {
    let mut saga = two();
    let call = in_flight(&saga, 0);
    reply(&mut saga, "r-1", 0, Action, done());
    let until = saga.now.plus_ms(5_000);
    assert!(
        saga.feed(Input::Accepted { call, until })
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_reply_that_does_not_come_in_time_is_a_transient_outcome() {
    let mut saga = two();
    accept(&mut saga, 0);
    assert!(saga.pass(4_999).is_empty());
    let events = saga.pass(1);
    assert!(
        matches!(&events[..], [Event::AttemptFailed { error, .. }] if error.code == "timeout"),
        "{events:?}"
    );
    saga.pass(100);
    assert_eq!(saga.flying(), [(0, Action, 2)]);
    // The policy has two attempts: after the second nobody knows.
    accept(&mut saga, 0);
    saga.pass(5_000);
    assert_eq!(saga.saga.status(), Status::Compensating);
    assert_eq!(saga.flying(), [(0, Compensation, 1)]);
}

#[test]
fn a_compensation_waits_for_its_reply_like_an_action() {
    let mut saga = two();
    saga.end(0, Action, done());
    saga.end(1, Action, refused());
    accept(&mut saga, 0);
    assert!(matches!(saga.saga.rest(), Rest::Until(_)));
    reply(&mut saga, "r-1", 0, Compensation, done());
    assert_eq!(saga.saga.status(), Status::Compensated);
}

#[test]
fn a_reply_answers_the_step_whichever_attempt_it_was_sent_for() {
    let mut saga = two();
    accept(&mut saga, 0);
    saga.pass(5_000);
    assert!(matches!(state(&saga, 0), StepState::Retrying(_)));
    // The answer to the first attempt comes before the second is made.
    reply(&mut saga, "r-1", 0, Action, done());
    assert_eq!(state(&saga, 0), StepState::Ended(ActionOutcome::Succeeded));

    let mut saga = two();
    accept(&mut saga, 0);
    saga.pass(5_100);
    saga.pass(100);
    assert_eq!(saga.flying(), [(0, Action, 2)]);
    reply(&mut saga, "r-1", 0, Action, refused());
    assert_eq!(saga.saga.status(), Status::Compensated);
}

#[test]
fn i8_the_same_reply_twice_is_one() {
    let mut saga = two();
    accept(&mut saga, 0);
    reply(&mut saga, "r-1", 0, Action, transient());
    saga.pass(100);
    assert_eq!(saga.flying(), [(0, Action, 2)]);
    // A copy of the first attempt's reply says nothing of the second.
    assert!(reply(&mut saga, "r-1", 0, Action, transient()).is_empty());
    assert_eq!(saga.flying(), [(0, Action, 2)]);
    reply(&mut saga, "r-2", 0, Action, done());
    for id in ["r-1", "r-2"] {
        assert!(reply(&mut saga, id, 0, Action, done()).is_empty(), "{id}");
    }
    assert_eq!(saga.replayed(), saga.saga);
}

#[test]
fn another_word_that_it_has_to_be_tried_again_changes_nothing() {
    let mut saga = two();
    accept(&mut saga, 0);
    reply(&mut saga, "r-1", 0, Action, transient());
    let before = state(&saga, 0);
    reply(&mut saga, "r-2", 0, Action, transient());
    assert_eq!(state(&saga, 0), before);
}

#[test]
fn a_late_reply_is_recorded_once_and_changes_nothing() {
    let mut saga = two();
    saga.end(0, Action, done());
    saga.end(1, Action, refused());
    saga.end(0, Compensation, done());
    assert_eq!(saga.saga.status(), Status::Compensated);
    let events = reply(&mut saga, "r-1", 1, Action, done());
    let [
        Event::LateReply {
            outcome,
            reply: Some(id),
            ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((outcome.as_str(), id.as_str()), ("succeeded", "r-1"));
    assert!(reply(&mut saga, "r-1", 1, Action, done()).is_empty());
    assert_eq!(saga.saga.status(), Status::Compensated);
    for count in 0..2 * REPLIES_KEPT_MAX {
        reply(&mut saga, &format!("late-{count}"), 1, Action, done());
    }
    // A flood of them does not fill the journal.
    assert_eq!(saga.saga.steps[1].replies.len(), REPLIES_KEPT_MAX);
    assert!(reply(&mut saga, "one-more", 1, Action, done()).is_empty());
}

#[test]
fn an_action_s_reply_while_it_is_being_undone_is_late() {
    let mut saga = two();
    accept(&mut saga, 0);
    saga.command(Command::Cancel { reason: None }).unwrap();
    saga.pass(5_000);
    assert_eq!(
        state(&saga, 0),
        StepState::Compensating(ActionOutcome::Unknown)
    );
    let events = reply(&mut saga, "r-1", 0, Action, done());
    assert!(
        matches!(&events[..], [Event::LateReply { .. }]),
        "{events:?}"
    );
    assert_eq!(
        state(&saga, 0),
        StepState::Compensating(ActionOutcome::Unknown)
    );
}

#[test]
fn i3_an_accepted_attempt_holds_its_compensation_up() {
    let mut saga = two();
    accept(&mut saga, 0);
    saga.command(Command::Cancel { reason: None }).unwrap();
    assert_eq!(saga.flying(), [(0, Action, 1)]);
    reply(&mut saga, "r-1", 0, Action, done());
    assert_eq!(saga.flying(), [(0, Compensation, 1)]);
}

#[test]
fn a_reply_that_nothing_asked_for_is_turned_away() {
    let mut saga = Driven::start(Plan::sequence(vec![action(false)]).build());
    let undo = try_reply(&mut saga, "r-1", 0, Compensation, done());
    assert_eq!(undo, Err(Rejection::NothingAsked));
    let beyond = try_reply(&mut saga, "r-1", 7, Action, done());
    assert_eq!(beyond, Err(Rejection::NothingAsked));
}

#[test]
fn the_clock_of_a_suspended_saga_goes_on() {
    let mut saga = two();
    accept(&mut saga, 0);
    saga.command(Command::Suspend).unwrap();
    let until = saga.now.plus_ms(5_000);
    assert_eq!(saga.saga.rest(), Rest::Until(until));
    saga.pass(5_000);
    assert!(matches!(state(&saga, 0), StepState::Retrying(_)));
    assert!(saga.flying().is_empty());
}

#[test]
fn a_dead_command_leaves_its_step_unknown() {
    let mut saga = two();
    accept(&mut saga, 0);
    let call = in_flight(&saga, 0);
    let events = dead_letter(&mut saga, call, Fate::Unknown);
    assert!(
        matches!(&events[0], Event::StepUnknown { error, .. } if error.code == "dead_lettered"),
        "{events:?}"
    );
    assert_eq!(saga.flying(), [(0, Compensation, 1)]);
    // A compensation that nobody could take stops the saga.
    let call = in_flight(&saga, 0);
    dead_letter(&mut saga, call, Fate::Unknown);
    assert_eq!(saga.saga.status(), Status::Failed);
}

#[test]
fn a_dead_command_is_tried_again_where_that_is_wanted() {
    let mut saga = two();
    let call = in_flight(&saga, 0);
    dead_letter(&mut saga, call, Fate::Retried);
    assert!(matches!(state(&saga, 0), StepState::Retrying(_)));
    saga.pass(100);
    assert_eq!(saga.flying(), [(0, Action, 2)]);
    // The letter of the first attempt comes once more, and says nothing of the second.
    assert!(dead_letter(&mut saga, call, Fate::Retried).is_empty());
}

#[test]
fn a_dead_command_waits_for_an_operator_where_that_is_wanted() {
    let mut saga = two();
    accept(&mut saga, 0);
    let call = in_flight(&saga, 0);
    dead_letter(&mut saga, call, Fate::Held);
    assert!(saga.saga.steps[0].dead_lettered);
    assert_eq!(saga.flying(), [(0, Action, 1)]);
    assert!(dead_letter(&mut saga, call, Fate::Held).is_empty());
    // It was replayed, and this time somebody took it.
    let mut replayed = saga.clone();
    reply(&mut replayed, "r-1", 0, Action, done());
    assert!(!replayed.saga.steps[0].dead_lettered);
    assert_eq!(replayed.flying(), [(1, Action, 1)]);
    // Or its time was up.
    saga.pass(5_000);
    assert!(!saga.saga.steps[0].dead_lettered);
    assert!(matches!(state(&saga, 0), StepState::Retrying(_)));
}
