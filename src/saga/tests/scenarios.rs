//! What execution.md says, sentence by sentence.

use serde_json::json;

use super::model::{Driven, Plan, SHORT, action, delay, done, refused, transient, wait};
use crate::definition::StepIndex;
use crate::definition::model::{Compensate, CompensationOrder, OnCompensationFailure, StepKind};
use crate::definition::request::Phase::{Action, Compensation};
use crate::saga::{
    Command, Event, Outcome, Rejection, Resolution, Rest, Status, StepError, StepState,
};

fn two() -> Driven {
    Driven::start(Plan::sequence(vec![action(true), action(true)]).build())
}

/// reserve (undone), pivot (not undone), after
fn with_pivot() -> Driven {
    let mut plan = Plan::sequence(vec![action(true), action(false), action(false)]);
    plan.pivot = Some(1);
    Driven::start(plan.build())
}

fn resolve(step: u16, resolution: Resolution) -> Command {
    let output = json!({ "by": "hand" });
    Command::Resolve {
        step: StepIndex(step),
        resolution,
        note: "seen".to_owned(),
        output,
    }
}

fn too_long() -> Outcome {
    Outcome::Unknown(StepError::new("response_too_large", "too long"))
}

#[test]
fn a_saga_runs_its_steps_and_takes_the_last_output() {
    let mut saga = two();
    assert_eq!(saga.flying(), [(0, Action, 1)]);
    saga.end(0, Action, done());
    assert_eq!(saga.flying(), [(1, Action, 1)]);
    saga.end(1, Action, done());
    assert_eq!(saga.saga.status(), Status::Completed);
    assert_eq!(saga.saga.output.as_deref(), Some(&json!({ "ok": true })));
    assert_eq!(
        saga.journal.len(),
        3,
        "a row for the start and one for each step's result"
    );
}

#[test]
fn a_refusal_undoes_what_was_done() {
    let mut saga = two();
    saga.end(0, Action, done());
    saga.end(1, Action, refused());
    assert_eq!(saga.saga.status(), Status::Compensating);
    assert_eq!(saga.flying(), [(0, Compensation, 1)]);
    saga.end(0, Compensation, done());
    assert_eq!(saga.saga.status(), Status::Compensated);
    assert_eq!(saga.saga.failure().unwrap().code, "no");
}

#[test]
fn attempts_that_are_used_up_leave_the_step_unknown_and_it_is_undone_too() {
    let mut saga = two();
    saga.end(0, Action, done());
    saga.end(1, Action, transient());
    assert_eq!(saga.saga.rest(), Rest::Until(saga.now.plus_ms(100)));
    saga.pass(100);
    assert_eq!(saga.flying(), [(1, Action, 2)]);
    saga.end(1, Action, transient());
    assert_eq!(saga.flying(), [(1, Compensation, 1)]);
    assert_eq!(saga.saga.failure().unwrap().code, "http_503");
    saga.end(1, Compensation, done());
    saga.end(0, Compensation, done());
    assert_eq!(saga.saga.status(), Status::Compensated);
}

#[test]
fn retry_after_lengthens_the_wait_up_to_the_policys_max() {
    for (asked, waited) in [(50, 100), (700, 700), (5_000, SHORT.max_ms)] {
        let mut saga = two();
        let error = StepError::new("http_429", "later");
        saga.end(
            0,
            Action,
            Outcome::Transient {
                error,
                retry_after_ms: Some(asked),
            },
        );
        assert_eq!(saga.saga.rest(), Rest::Until(saga.now.plus_ms(waited)));
    }
}

#[test]
fn a_refused_step_is_undone_only_when_it_says_always() {
    for (compensate, undone) in [(Compensate::Done, false), (Compensate::Always, true)] {
        let mut kind = action(true);
        if let StepKind::Action(action) = &mut kind {
            action.compensate = compensate;
        }
        let mut saga = Driven::start(Plan::sequence(vec![kind]).build());
        saga.end(0, Action, refused());
        assert_eq!(saga.flying() == [(0, Compensation, 1)], undone);
        assert_eq!(saga.saga.status() == Status::Compensated, !undone);
    }
}

#[test]
fn i3_nothing_is_undone_while_an_attempt_is_in_flight() {
    let mut plan = Plan::sequence(vec![action(true), action(true), action(true)]);
    for (_, after) in &mut plan.steps {
        after.clear();
    }
    let mut saga = Driven::start(plan.build());
    saga.end(0, Action, done());
    saga.end(1, Action, refused());
    assert_eq!(saga.saga.status(), Status::Compensating);
    assert_eq!(
        saga.flying(),
        [(2, Action, 1)],
        "given until its timeout to answer"
    );
    saga.end(2, Action, transient());
    assert_eq!(
        saga.flying(),
        [(0, Compensation, 1), (2, Compensation, 1)],
        "none is retried"
    );
}

#[test]
fn the_three_orders() {
    let done_by = |order| {
        let mut plan = Plan::sequence(vec![action(true), action(true), action(true), action(true)]);
        plan.order = order;
        // 1 and 2 come at the same time after 0; 3 after both.
        plan.steps[2].1 = vec![0];
        plan.steps[3].1 = vec![1, 2];
        let mut saga = Driven::start(plan.build());
        saga.end(0, Action, done());
        saga.end(2, Action, done());
        saga.end(1, Action, done());
        saga.end(3, Action, refused());
        saga
    };
    let saga = done_by(CompensationOrder::Parallel);
    assert_eq!(
        saga.flying(),
        [
            (0, Compensation, 1),
            (1, Compensation, 1),
            (2, Compensation, 1)
        ]
    );
    let mut saga = done_by(CompensationOrder::Reverse);
    assert_eq!(saga.flying(), [(1, Compensation, 1), (2, Compensation, 1)]);
    saga.end(1, Compensation, done());
    assert_eq!(saga.flying(), [(2, Compensation, 1)]);
    saga.end(2, Compensation, done());
    assert_eq!(saga.flying(), [(0, Compensation, 1)]);
    let mut saga = done_by(CompensationOrder::Sequential);
    for last in [1, 2, 0] {
        assert_eq!(saga.flying(), [(last, Compensation, 1)]);
        saga.end(last, Compensation, done());
    }
}

#[test]
fn halt_waits_and_continue_goes_on() {
    for (way, undone) in [
        (OnCompensationFailure::Halt, 0),
        (OnCompensationFailure::Continue, 1),
    ] {
        let mut plan = Plan::sequence(vec![action(true), action(true), action(false)]);
        plan.on_compensation_failure = way;
        let mut saga = Driven::start(plan.build());
        saga.end(0, Action, done());
        saga.end(1, Action, done());
        saga.end(2, Action, refused());
        saga.end(1, Compensation, refused());
        assert_eq!(saga.flying().len(), undone);
        if undone == 1 {
            assert_eq!(saga.saga.status(), Status::Compensating);
            saga.end(0, Compensation, done());
        }
        assert_eq!(saga.saga.status(), Status::Failed);
        assert_eq!(saga.saga.failure().unwrap().code, "compensation_failed");
        assert_eq!(saga.saga.failure().unwrap().step, Some(StepIndex(1)));
        saga.command(Command::Retry).unwrap();
        saga.end(1, Compensation, done());
        if undone == 0 {
            saga.end(0, Compensation, done());
        }
        assert_eq!(saga.saga.status(), Status::Compensated);
        assert_eq!(
            saga.saga.failure().unwrap().code,
            "no",
            "why it was compensated"
        );
    }
}

#[test]
fn after_the_pivot_a_step_is_retried_until_it_succeeds() {
    let mut saga = with_pivot();
    saga.end(0, Action, done());
    saga.end(1, Action, done());
    for _ in 0..10 {
        saga.end(2, Action, refused());
        assert_eq!(
            saga.saga.rest(),
            Rest::Until(saga.now.plus_ms(SHORT.max_ms))
        );
        saga.pass(SHORT.max_ms);
        saga.end(2, Action, transient());
        saga.pass(SHORT.max_ms);
    }
    saga.end(2, Action, done());
    assert_eq!(saga.saga.status(), Status::Completed);
}

#[test]
fn after_the_pivot_what_can_never_succeed_stops_the_saga() {
    let stopped = || {
        let mut saga = with_pivot();
        saga.end(0, Action, done());
        saga.end(1, Action, done());
        saga.end(2, Action, too_long());
        assert_eq!(saga.saga.status(), Status::Failed);
        assert_eq!(saga.saga.failure().unwrap().code, "response_too_large");
        saga
    };
    let mut saga = stopped();
    assert_eq!(
        saga.command(Command::Cancel { reason: None }),
        Err(Rejection::PastPivot)
    );
    saga.command(Command::Retry).unwrap();
    assert_eq!(saga.flying(), [(2, Action, 2)], "the number goes on");
    for resolution in [Resolution::Succeeded, Resolution::Skipped] {
        let mut saga = stopped();
        saga.command(resolve(2, resolution)).unwrap();
        assert_eq!(saga.saga.status(), Status::Completed);
    }
    for resolution in [Resolution::Refused, Resolution::Compensated] {
        assert_eq!(
            stopped().command(resolve(2, resolution)),
            Err(Rejection::NotResolvable)
        );
    }
}

#[test]
fn a_pivot_whose_outcome_nobody_knows_is_a_persons_to_settle() {
    let undecided = || {
        let mut saga = with_pivot();
        saga.end(0, Action, done());
        saga.end(1, Action, too_long());
        assert_eq!(saga.saga.status(), Status::Failed);
        assert_eq!(saga.saga.failure().unwrap().code, "pivot_unknown");
        assert_eq!(saga.saga.failure().unwrap().step, Some(StepIndex(1)));
        assert_eq!(saga.flying(), [], "nothing is undone");
        saga
    };
    let mut saga = undecided();
    saga.command(Command::Cancel { reason: None }).unwrap();
    assert_eq!(saga.saga.status(), Status::Failed, "stays as it is");
    saga.command(resolve(1, Resolution::Succeeded)).unwrap();
    assert_eq!(saga.flying(), [(2, Action, 1)]);
    let mut saga = undecided();
    saga.command(resolve(1, Resolution::Refused)).unwrap();
    assert_eq!(saga.flying(), [(0, Compensation, 1)]);
    assert_eq!(saga.saga.failure().unwrap().code, "response_too_large");
    let mut saga = undecided();
    saga.command(Command::Retry).unwrap();
    assert_eq!(saga.flying(), [(1, Action, 2)]);
}

#[test]
fn a_pivot_cut_short_by_a_cancel_keeps_the_cancel_as_the_reason() {
    let mut saga = with_pivot();
    saga.end(0, Action, done());
    saga.command(Command::Cancel {
        reason: Some("changed my mind".to_owned()),
    })
    .unwrap();
    assert_eq!(saga.saga.status(), Status::Compensating);
    saga.end(1, Action, transient());
    assert_eq!(saga.saga.failure().unwrap().code, "pivot_unknown");
    saga.command(resolve(1, Resolution::Refused)).unwrap();
    assert_eq!(saga.saga.failure().unwrap().code, "cancelled");
    assert_eq!(saga.saga.failure().unwrap().message, "changed my mind");
    assert_eq!(saga.flying(), [(0, Compensation, 1)]);
}

#[test]
fn i4_a_cancel_that_comes_too_late_for_the_pivot_undoes_nothing() {
    let mut saga = with_pivot();
    saga.end(0, Action, done());
    saga.command(Command::Cancel { reason: None }).unwrap();
    saga.end(1, Action, done());
    assert_eq!(saga.saga.status(), Status::Running);
    assert_eq!(saga.saga.failure(), None);
    assert_eq!(saga.flying(), [(2, Action, 1)]);
}

#[test]
fn a_timeout_turns_back_before_the_pivot_and_marks_after_it() {
    let mut plan = Plan::sequence(vec![action(true), wait(None)]);
    plan.timeout_ms = Some(5_000);
    let mut saga = Driven::start(plan.build());
    saga.end(0, Action, done());
    assert_eq!(saga.saga.rest(), Rest::Until(saga.now.plus_ms(5_000)));
    saga.pass(5_000);
    assert_eq!(saga.saga.failure().unwrap().code, "timed_out");
    assert_eq!(saga.saga.failure().unwrap().step, None);
    assert_eq!(saga.saga.step_state(StepIndex(1)), StepState::Skipped);
    assert_eq!(saga.flying(), [(0, Compensation, 1)]);

    let mut plan = Plan::sequence(vec![action(false), wait(None)]);
    plan.timeout_ms = Some(5_000);
    plan.pivot = Some(0);
    let mut saga = Driven::start(plan.build());
    saga.end(0, Action, done());
    saga.pass(5_000);
    assert!(saga.saga.overdue);
    assert_eq!(saga.saga.status(), Status::Running);
    assert_eq!(saga.pass(5_000), [], "once");
}

#[test]
fn a_suspended_saga_sends_nothing_and_its_clock_goes_on() {
    let mut saga = two();
    saga.command(Command::Suspend).unwrap();
    assert_eq!(saga.command(Command::Suspend).unwrap(), []);
    saga.end(0, Action, done());
    assert_eq!(saga.flying(), []);
    saga.command(Command::Cancel { reason: None }).unwrap();
    assert_eq!(saga.flying(), []);
    assert_eq!(saga.saga.status(), Status::Compensating);
    saga.command(Command::Resume).unwrap();
    assert_eq!(saga.flying(), [(0, Compensation, 1)]);
}

#[test]
fn signals_are_kept_and_taken_first_in_first_out() {
    let plan = Plan::sequence(vec![wait(Some(1_000)), wait(None)]);
    let mut saga = Driven::start(plan.build());
    saga.signal(json!(1)).unwrap();
    saga.signal(json!(2)).unwrap();
    assert_eq!(saga.saga.status(), Status::Completed);
    assert_eq!(saga.saga.steps[0].output.as_deref(), Some(&json!(1)));
    assert_eq!(saga.saga.output.as_deref(), Some(&json!(2)));
    assert_eq!(saga.signal(json!(3)), Err(Rejection::AlreadyFinished));

    let mut saga = Driven::start(Plan::sequence(vec![action(false), wait(None)]).build());
    for n in 0..100 {
        saga.signal(json!(n)).unwrap();
    }
    assert_eq!(saga.signal(json!(100)), Err(Rejection::TooManySignals));
    saga.end(0, Action, done());
    assert_eq!(
        saga.saga.output.as_deref(),
        Some(&json!(0)),
        "kept until the wait began"
    );
    let unknown = crate::saga::Input::Signal {
        name: "x".into(),
        payload: json!(1),
        key: None,
        actor: "a".into(),
    };
    assert_eq!(saga.feed(unknown), Err(Rejection::SignalUnknown));
}

#[test]
fn i8_a_signal_with_a_key_is_taken_once() {
    let mut saga =
        Driven::start(Plan::sequence(vec![action(false), wait(None), wait(None)]).build());
    let signal = crate::saga::Input::Signal {
        name: "go".to_owned(),
        payload: json!(1),
        key: Some("k".to_owned()),
        actor: "ann".to_owned(),
    };
    assert_eq!(saga.feed(signal.clone()).unwrap().len(), 1);
    assert_eq!(saga.feed(signal).unwrap(), []);
}

#[test]
fn a_wait_past_its_timeout_is_refused() {
    let mut saga = Driven::start(Plan::sequence(vec![action(true), wait(Some(1_000))]).build());
    saga.end(0, Action, done());
    saga.pass(1_000);
    assert_eq!(saga.saga.failure().unwrap().code, "wait_timed_out");
    assert_eq!(saga.flying(), [(0, Compensation, 1)]);
}

#[test]
fn a_delay_is_a_recorded_time() {
    let mut saga = Driven::start(Plan::sequence(vec![delay(3_600_000), action(false)]).build());
    assert_eq!(saga.saga.rest(), Rest::Until(saga.now.plus_ms(3_600_000)));
    assert_eq!(saga.pass(3_599_999), []);
    saga.pass(1);
    assert_eq!(saga.flying(), [(1, Action, 1)]);
}

#[test]
fn a_step_that_may_fail_is_let_go_and_undone_only_with_the_rest() {
    let mut plan = Plan::sequence(vec![action(true), action(false)]);
    plan.let_go = vec![0];
    let mut saga = Driven::start(plan.build());
    saga.end(0, Action, too_long());
    assert_eq!(saga.flying(), [(1, Action, 1)], "it goes on");
    saga.end(1, Action, refused());
    assert_eq!(
        saga.flying(),
        [(0, Compensation, 1)],
        "its effect may exist"
    );
}

#[test]
fn a_late_reply_is_noted_and_changes_nothing() {
    let mut saga = two();
    let first = saga.saga.in_flight().next().unwrap();
    saga.end(0, Action, done());
    let before = saga.saga.steps.clone();
    let events = saga.answer(first, refused());
    assert!(
        matches!(events.as_slice(), [Event::LateReply { .. }]),
        "{events:?}"
    );
    assert_eq!(saga.saga.steps, before);
}

#[test]
fn commands_on_a_finished_saga_are_turned_away() {
    let mut saga = two();
    saga.end(0, Action, refused());
    assert_eq!(saga.saga.status(), Status::Compensated);
    for command in [
        Command::Cancel { reason: None },
        Command::Suspend,
        Command::Resume,
    ] {
        assert_eq!(saga.command(command), Err(Rejection::AlreadyFinished));
    }
    assert_eq!(saga.command(Command::Retry), Err(Rejection::NotFailed));
    assert_eq!(
        saga.command(resolve(0, Resolution::Compensated)),
        Err(Rejection::NotResolvable)
    );
}

#[test]
fn i5_an_output_as_deep_as_a_participant_may_send_is_read_back() {
    let deep = (0..190).fold(json!(1), |inner, _| json!([inner]));
    let mut saga = two();
    saga.end(0, Action, Outcome::Succeeded { output: deep });
    assert_eq!(saga.replayed(), saga.saga);
}

/// Found by the random histories, once in 130,000.
#[test]
fn i4_a_pivot_that_was_let_go_cannot_be_resolved_as_refused() {
    let mut plan = Plan::sequence(vec![action(true), action(false), action(false)]);
    plan.pivot = Some(1);
    plan.let_go = vec![1];
    let mut saga = Driven::start(plan.build());
    saga.end(0, Action, done());
    saga.end(1, Action, too_long());
    saga.end(2, Action, too_long());
    assert_eq!(saga.saga.status(), Status::Failed);
    for resolution in [Resolution::Refused, Resolution::Succeeded] {
        let settled = saga.command(resolve(1, resolution));
        assert_eq!(settled, Err(Rejection::NotResolvable));
    }
    saga.command(resolve(2, Resolution::Skipped)).unwrap();
    assert_eq!(saga.saga.status(), Status::Completed);
}
