//! Arbitrary histories of arbitrary definitions, and what must hold after each of their steps
//! (execution.md, "Invariants"). `PROPTEST_CASES=1000000 cargo test --release histories` runs a
//! million of them.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::json;

use super::model::{Driven, Plan, action, delay, done, refused, transient, wait};
use crate::definition::StepIndex;
use crate::definition::model::{
    Compensate, CompensationOrder, OnCompensationFailure, OnFailure, StepKind,
};
use crate::definition::request::Phase;
use crate::saga::undo::{NoCancel, undoes};
use crate::saga::{
    ActionOutcome, Attempted, Command, DeadLettered, Event, Fate, Guard, HeldBack, InFlight, Input,
    Outcome, Replied, Resolution, Rest, Status, StepError, StepState, decide,
};

/// Choices in a row; when they are used up, the first of everything is chosen.
struct Choices(std::vec::IntoIter<u16>);

impl Choices {
    fn below(&mut self, count: usize) -> usize {
        usize::from(self.0.next().unwrap_or(0)) % count.max(1)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    fn is_used_up(&self) -> bool {
        self.0.len() == 0
    }
}

fn plan(choices: &mut Choices) -> Plan {
    let count = 1 + choices.below(6);
    let mut steps = Vec::new();
    for index in 0..u16::try_from(count).unwrap() {
        let kind = match choices.below(8) {
            5 => wait(choices.one_in(2).then_some(5_000)),
            6 => delay(2_000),
            _ => {
                let mut kind = action(!choices.one_in(4));
                if let StepKind::Action(action) = &mut kind
                    && choices.one_in(4)
                {
                    action.compensate = Compensate::Always;
                }
                kind
            }
        };
        let after = match (index, choices.below(4)) {
            (0, _) | (_, 3) => Vec::new(),
            (_, 0 | 1) => vec![index - 1],
            (_, _) => (0..index).filter(|_| choices.one_in(2)).collect(),
        };
        steps.push((kind, after));
    }
    // A pivot splits a saga in two, so with one the steps go one after another.
    let mut pivot = None;
    if choices.one_in(2) {
        for (index, (_, after)) in (0_u16..).zip(steps.iter_mut()) {
            *after = index.checked_sub(1).into_iter().collect();
        }
        let place = choices.below(count);
        pivot =
            matches!(steps[place].0, StepKind::Action(_)).then(|| u16::try_from(place).unwrap());
    }
    let let_go = (0..u16::try_from(count).unwrap())
        .filter(|_| choices.one_in(6))
        .collect();
    Plan {
        steps,
        pivot,
        timeout_ms: choices.one_in(3).then_some(10_000),
        order: [
            CompensationOrder::Reverse,
            CompensationOrder::Sequential,
            CompensationOrder::Parallel,
        ][choices.below(3)],
        on_compensation_failure: [OnCompensationFailure::Halt, OnCompensationFailure::Continue]
            [choices.below(2)],
        let_go,
    }
}

/// What the participants saw, kept apart from the code under test.
#[derive(Default)]
struct Ledger {
    /// Every answer ever given, to be given again.
    answered: Vec<Attempted>,
    /// Whether the action may have had an effect, and whether its compensation succeeded.
    effects: HashMap<StepIndex, (bool, bool)>,
    settled_by_hand: bool,
    /// How many replies there were.
    replies: usize,
}

struct History {
    driven: Driven,
    ledger: Ledger,
}

impl History {
    /// Feeds an input and checks everything that must hold between two states.
    fn feed(&mut self, input: Input) {
        let before = self.driven.saga.clone();
        let again = decide(
            &self.driven.definition,
            &before,
            input.clone(),
            self.driven.now,
        );
        let Ok(events) = self.driven.feed(input.clone()) else {
            return;
        };
        assert_eq!(
            again.unwrap().events,
            events,
            "I5: deciding again gives the same events"
        );
        for event in &events {
            self.check_event(&before, event);
            // What a person says was done is no longer what the ledger saw.
            self.ledger.settled_by_hand |= matches!(event, Event::StepResolved { .. });
        }
        // I8: the same once more changes nothing, but for the note that it came late.
        if let Input::Attempt(_)
        | Input::Held(_)
        | Input::Accepted { .. }
        | Input::Reply(_)
        | Input::DeadLettered(_) = input
        {
            let now = self.driven.now;
            let twice = decide(&self.driven.definition, &self.driven.saga, input, now).unwrap();
            let only_noted = twice
                .events
                .iter()
                .all(|event| matches!(event, Event::LateReply { .. }));
            assert!(only_noted, "I8: {:?}", twice.events);
        }
        self.check_state();
    }

    fn check_event(&self, before: &crate::saga::Saga, event: &Event) {
        if let Event::AttemptStarted {
            step,
            phase: Phase::Compensation,
        } = event
        {
            let acting = self
                .driven
                .saga
                .in_flight()
                .any(|call| call.phase == Phase::Action && call.step == *step);
            assert!(!acting, "I3: s{} is undone while it is being done", step.0);
            assert!(!before.past_pivot(&self.driven.definition), "I4");
        }
        if let Event::StepCompensated { .. } = event {
            assert!(!before.past_pivot(&self.driven.definition), "I4");
        }
    }

    fn check_state(&self) {
        let saga = &self.driven.saga;
        assert_eq!(
            &self.driven.replayed(),
            saga,
            "I5: the journal gives the state that was"
        );
        match saga.status() {
            Status::Completed | Status::Compensated => self.check_all_or_nothing(),
            Status::Failed => assert!(saga.failure().is_some_and(|failure| failure.step.is_some())),
            Status::Running | Status::Compensating => self.check_something_wakes_it(),
        }
    }

    /// I9
    fn check_something_wakes_it(&self) {
        let saga = &self.driven.saga;
        if saga.suspended {
            return;
        }
        let waits = saga
            .steps
            .iter()
            .any(|step| step.state == StepState::AwaitingSignal(None));
        assert!(
            saga.rest() != Rest::Outside || waits,
            "I9: nothing wakes {saga:#?}"
        );
    }

    /// I1
    fn check_all_or_nothing(&self) {
        let saga = &self.driven.saga;
        let completed = saga.status() == Status::Completed;
        assert!(
            saga.in_flight().next().is_none(),
            "I1: finished with an attempt in flight"
        );
        for (record, step) in saga.steps.iter().zip(&self.driven.definition.steps) {
            let (done, undone) = self
                .ledger
                .effects
                .get(&step.index)
                .copied()
                .unwrap_or_default();
            if completed {
                assert!(
                    saga.satisfied(&self.driven.definition, step.index),
                    "I1: {record:?}"
                );
                assert!(!undone, "I1: completed, but s{} was undone", step.index.0);
            } else if done && step.compensation().is_some() && !self.ledger.settled_by_hand {
                assert!(
                    undone,
                    "I1: compensated, but s{} was not undone: {saga:#?}",
                    step.index.0
                );
            }
            if step.on_failure == OnFailure::Compensate && completed {
                let fine = matches!(
                    record.state,
                    StepState::Ended(ActionOutcome::Succeeded) | StepState::Skipped
                );
                assert!(fine, "I1: {record:?}");
            }
        }
    }

    fn answer(&mut self, call: InFlight, outcome: Outcome) {
        let effect = self.ledger.effects.entry(call.step).or_default();
        match (&outcome, call.phase) {
            // With the same key a participant that had done it would say so again.
            (Outcome::Refused(_), Phase::Action) => effect.0 = false,
            (Outcome::Refused(_), Phase::Compensation) => {}
            (Outcome::Succeeded { .. }, Phase::Compensation) => effect.1 = true,
            (_, Phase::Action) => effect.0 = true,
            (_, Phase::Compensation) => {}
        }
        let InFlight {
            step,
            phase,
            attempt,
        } = call;
        let attempted = Attempted {
            step,
            phase,
            attempt,
            outcome,
            draw: 0.5,
        };
        self.ledger.answered.push(attempted.clone());
        self.feed(Input::Attempt(attempted));
    }

    /// A guard does not let an attempt out, perhaps one that the owner before had sent.
    fn hold(&mut self, call: InFlight, choices: &mut Choices) {
        let record = &self.driven.saga.steps[call.step.offset()];
        let had = record.awaited_until.is_some() || record.dead_lettered;
        let sent = choices.one_in(4) || had;
        if sent && call.phase == Phase::Action {
            self.ledger.effects.entry(call.step).or_default().0 = true;
        }
        let guard = Guard::ALL[choices.below(3)];
        let until = self.driven.now.plus_ms(1_000);
        let before = self.driven.saga.steps[call.step.offset()].clone();
        self.feed(Input::Held(HeldBack {
            call,
            guard,
            until,
            sent,
        }));
        let after = &self.driven.saga.steps[call.step.offset()];
        let in_flight = self.driven.saga.in_flight().any(|flying| flying == call);
        let ended = after.state.action_outcome().is_some() && call.phase == Phase::Action;
        assert!(!in_flight, "held back and in flight: {after:?}");
        assert_eq!(
            after.attempt(call.phase) + 1,
            call.attempt,
            "an attempt was used up"
        );
        // Where it ended at once, its compensation has tries of its own.
        assert!(
            ended || after.tries + 1 == before.tries,
            "a try was used up: {after:?}"
        );
        // Nobody was asked, so there is nothing to undo.
        assert!(
            !ended || before.attempts > 1 || after.may_be_sent,
            "{after:?}"
        );
    }

    /// Somebody has an attempt for good.
    fn accept(&mut self, call: InFlight) {
        let until = self.driven.now.plus_ms(3_000);
        self.feed(Input::Accepted { call, until });
        let saga = &self.driven.saga;
        assert!(
            saga.in_flight().any(|flying| flying == call),
            "I3: it is still in flight"
        );
        assert!(
            saga.in_hand().all(|flying| flying != call),
            "it is sent again"
        );
    }

    /// A participant says what came of a step that was asked once, whatever became of it since.
    fn reply(&mut self, choices: &mut Choices) {
        let place = choices.below(self.driven.definition.steps.len());
        let step = StepIndex(u16::try_from(place).unwrap());
        let phase = [Phase::Action, Phase::Compensation][choices.below(2)];
        let record = &self.driven.saga.steps[place];
        let asked = record.attempt(phase) > 0 || phase == Phase::Action && record.may_be_sent;
        if !asked {
            return;
        }
        let waits = record.state.phase() == phase
            && match record.state {
                StepState::Running
                | StepState::Retrying(_)
                | StepState::Held(..)
                | StepState::Pending
                | StepState::Compensating(_)
                | StepState::CompensationRetrying(..)
                | StepState::CompensationHeld(..) => true,
                StepState::AwaitingSignal(_)
                | StepState::AwaitingTime(_)
                | StepState::Ended(_)
                | StepState::Skipped
                | StepState::Compensated(_)
                | StepState::CompensationFailed(_) => false,
            };
        let outcome = [done(), done(), refused(), transient()][choices.below(4)].clone();
        if waits {
            let effect = self.ledger.effects.entry(step).or_default();
            match (&outcome, phase) {
                (Outcome::Refused(_), Phase::Action) => effect.0 = false,
                (_, Phase::Action) => effect.0 = true,
                (Outcome::Succeeded { .. }, Phase::Compensation) => effect.1 = true,
                (_, Phase::Compensation) => {}
            }
        }
        self.ledger.replies += 1;
        let before = self.driven.saga.steps[place].state;
        let input = Input::Reply(Replied {
            id: format!("r-{}", self.ledger.replies),
            step,
            phase,
            outcome,
            draw: 0.5,
        });
        self.feed(input.clone());
        if !waits {
            assert_eq!(
                self.driven.saga.steps[place].state, before,
                "a late reply changed something"
            );
        }
        let now = self.driven.now;
        let twice = decide(&self.driven.definition, &self.driven.saga, input, now).unwrap();
        assert_eq!(twice.events, [], "I8: the same reply twice is one");
    }

    /// No consumer could take a command; one may have died after its work.
    fn dead_letter(&mut self, call: InFlight, choices: &mut Choices) {
        if call.phase == Phase::Action {
            self.ledger.effects.entry(call.step).or_default().0 = true;
        }
        self.feed(Input::DeadLettered(DeadLettered {
            call,
            error: StepError::new("dead_lettered", "rejected"),
            fate: [Fate::Unknown, Fate::Retried, Fate::Held][choices.below(3)],
            draw: 0.5,
        }));
    }

    fn let_through(&mut self, choices: &mut Choices) {
        let step = choices.below(self.driven.definition.steps.len());
        let phase = [Phase::Action, Phase::Compensation][choices.below(2)];
        let step = StepIndex(u16::try_from(step).unwrap());
        self.feed(Input::LetThrough { step, phase });
    }

    fn command(&mut self, command: Command) {
        self.feed(Input::Command {
            command,
            actor: "ann".to_owned(),
        });
    }

    fn signal(&mut self) {
        self.feed(Input::Signal {
            name: "go".to_owned(),
            payload: json!(1),
            key: None,
            actor: "ann".to_owned(),
        });
    }

    fn pass_to_next_time(&mut self) {
        if let Some(time) = self.driven.saga.next_time() {
            self.driven.now = self.driven.now.max(time);
        }
        self.feed(Input::Wake { draw: 0.0 });
    }

    fn step(&mut self, choices: &mut Choices) {
        let flying: Vec<InFlight> = self.driven.saga.in_flight().collect();
        match choices.below(25) {
            19 | 20 if !flying.is_empty() => self.accept(flying[choices.below(flying.len())]),
            21..=23 => self.reply(choices),
            24 if !flying.is_empty() => {
                self.dead_letter(flying[choices.below(flying.len())], choices);
            }
            16 | 17 if !flying.is_empty() => {
                self.hold(flying[choices.below(flying.len())], choices)
            }
            18 => self.let_through(choices),
            0..=7 if !flying.is_empty() => {
                let call = flying[choices.below(flying.len())];
                let outcome = match choices.below(8) {
                    0..=3 => done(),
                    4 => refused(),
                    5 | 6 => transient(),
                    _ => Outcome::Unknown(StepError::new("response_too_large", "too long")),
                };
                // A compensation's 2xx is a success however long its body.
                let outcome = match (&outcome, call.phase) {
                    (Outcome::Unknown(_), Phase::Compensation) => done(),
                    _ => outcome,
                };
                self.answer(call, outcome);
            }
            8 if !self.ledger.answered.is_empty() => {
                let place = choices.below(self.ledger.answered.len());
                let again = self.ledger.answered[place].clone();
                let stale = !flying.contains(&InFlight {
                    step: again.step,
                    phase: again.phase,
                    attempt: again.attempt,
                });
                if stale {
                    self.feed(Input::Attempt(again));
                }
            }
            9 => self.signal(),
            10 => self.command(Command::Cancel { reason: None }),
            11 => self.command(Command::Suspend),
            12 => self.command(Command::Resume),
            13 => self.command(Command::Retry),
            14 => self.resolve(choices),
            _ => self.pass_to_next_time(),
        }
    }

    fn resolve(&mut self, choices: &mut Choices) {
        let place = choices.below(self.driven.definition.steps.len());
        let resolution = [
            Resolution::Succeeded,
            Resolution::Skipped,
            Resolution::Refused,
            Resolution::Compensated,
        ][choices.below(4)];
        self.command(Command::Resolve {
            step: StepIndex(u16::try_from(place).unwrap()),
            resolution,
            note: "seen".to_owned(),
            output: json!(null),
        });
    }

    fn waits_for_signal(&self) -> bool {
        let waits = |state| matches!(state, StepState::AwaitingSignal(_));
        self.driven.saga.status() == Status::Running
            && self.driven.saga.steps.iter().any(|step| waits(step.state))
    }

    fn flying(&self, phase: Phase) -> Vec<InFlight> {
        let flying = self.driven.saga.in_flight();
        flying.filter(|call| call.phase == phase).collect()
    }

    /// A compensation is done, at its second try where the first is to fail and there is one.
    fn undo(&mut self, call: InFlight, fails_first: bool) {
        if !fails_first || self.driven.saga.steps[call.step.offset()].tries != 1 {
            return self.answer(call, done());
        }
        self.answer(call, transient());
        let again = loop {
            let mut flying = self.flying(Phase::Compensation).into_iter();
            match flying.find(|again| again.step == call.step) {
                Some(again) => break again,
                None => self.pass_to_next_time(),
            }
        };
        self.answer(again, done());
    }

    /// From wherever it stands, a saga ends when everything answers well from now on.
    fn finish(&mut self) {
        for _ in 0..200 {
            if self.driven.saga.status().is_finished() {
                return;
            }
            let flying = self.driven.saga.in_flight().next();
            if self.driven.saga.suspended {
                self.command(Command::Resume);
            } else if self.driven.saga.status() == Status::Failed {
                self.command(Command::Retry);
            } else if let Some(call) = flying {
                self.answer(call, done());
            } else if self.waits_for_signal() {
                self.signal();
            } else {
                self.pass_to_next_time();
            }
        }
        panic!("it does not end: {:#?}", self.driven.saga);
    }
}

/// What a cancel really undoes: each step when it is asked to be undone, those of one group at the
/// same time. Calls fail now and then, which must not change the order.
fn really_undone(driven: &Driven, choices: &mut Choices) -> Vec<Vec<StepIndex>> {
    let mut history = History {
        driven: driven.clone(),
        ledger: Ledger::default(),
    };
    history.command(Command::Cancel { reason: None });
    history.command(Command::Resume);
    for call in history.flying(Phase::Action) {
        let definition = &history.driven.definition;
        let step = &definition.steps[call.step.offset()];
        let refuses = definition.pivot == Some(call.step) && step.compensation().is_none();
        history.answer(call, if refuses { refused() } else { transient() });
    }
    let mut groups = Vec::new();
    loop {
        let held: Vec<_> = history.driven.saga.held().collect();
        for (step, phase, _) in held {
            history.feed(Input::LetThrough { step, phase });
        }
        while history.driven.saga.next_time().is_some() {
            history.pass_to_next_time();
        }
        let group = history.flying(Phase::Compensation);
        if group.is_empty() {
            return groups;
        }
        for call in &group {
            history.undo(*call, choices.one_in(3));
        }
        groups.push(group.into_iter().map(|call| call.step).collect());
    }
}

fn cases() -> u32 {
    ProptestConfig::default().cases.max(4_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 10_000, ..ProptestConfig::default() })]

    /// I1, I3, I4, I5, I8 and I9 hold after every step of every history, and every saga ends.
    #[test]
    fn i1_i3_i4_i5_i8_i9_hold_in_every_history(script in prop::collection::vec(any::<u16>(), 0..120)) {
        let mut choices = Choices(script.into_iter());
        let driven = Driven::start(plan(&mut choices).build());
        let mut history = History { driven, ledger: Ledger::default() };
        history.check_state();
        while !choices.is_used_up() {
            history.step(&mut choices);
        }
        history.finish();
    }
}

proptest! {
    // Each looks at a cancel after every step, so there are fewer of them.
    #![proptest_config(ProptestConfig { cases: cases() / 8, max_shrink_iters: 10_000, ..ProptestConfig::default() })]

    /// At every moment of every history what a cancel is said to undo is what it undoes.
    #[test]
    fn what_a_cancel_is_said_to_undo_is_what_it_undoes(
        script in prop::collection::vec(any::<u16>(), 0..60),
    ) {
        let mut choices = Choices(script.into_iter());
        let driven = Driven::start(plan(&mut choices).build());
        let mut history = History { driven, ledger: Ledger::default() };
        loop {
            let Driven { definition, saga, now, .. } = &history.driven;
            match undoes(definition, saga, *now) {
                Ok(said) => {
                    let really = really_undone(&history.driven, &mut choices);
                    prop_assert_eq!(said, really);
                }
                Err(NoCancel::Failed) => prop_assert_eq!(saga.status(), Status::Failed),
                Err(NoCancel::Rejected(why)) => {
                    let cancel = Input::Command {
                        command: Command::Cancel { reason: None },
                        actor: "ann".to_owned(),
                    };
                    prop_assert_eq!(decide(definition, saga, cancel, *now).unwrap_err(), why);
                }
            }
            if choices.is_used_up() {
                break;
            }
            history.step(&mut choices);
        }
    }
}
