//! The ledger itself: effects, the barrier, and what must not happen.

use std::collections::{BTreeMap, HashMap};

/// How often the effect of a step was made and taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// How often it was done.
    pub done: u32,
    /// How often it was undone.
    pub undone: u32,
}

/// One call as its headers tell of it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) key: String,
    pub(crate) saga: String,
    pub(crate) step: String,
    pub(crate) is_action: bool,
}

/// What a call was answered, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    Refused(&'static str),
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    steps: HashMap<(String, String), Step>,
    sagas: HashMap<String, Vec<String>>,
    violations: Vec<String>,
    calls: u64,
}

#[derive(Debug, Default)]
struct Step {
    effect: Effect,
    actions_in_flight: u32,
    is_compensated: bool,
    action: Side,
    compensation: Side,
}

/// What is remembered of a step's action, or of its compensation.
#[derive(Debug, Default)]
struct Side {
    arrivals: u32,
    verdicts: HashMap<String, Verdict>,
    key: Option<String>,
}

impl Book {
    /// Notes a call's arrival; gives how often its side of the step was called, from 1.
    pub(crate) fn arrived(&mut self, call: &Call) -> u32 {
        self.calls += 1;
        let step = self.step(call);
        step.actions_in_flight += u32::from(call.is_action);
        let side = if call.is_action {
            &mut step.action
        } else {
            &mut step.compensation
        };
        side.arrivals += 1;
        let arrivals = side.arrivals;
        let is_new_key = side.key.as_ref().is_some_and(|key| *key != call.key);
        side.key.get_or_insert_with(|| call.key.clone());
        if is_new_key {
            self.violate(call, "came under a second idempotency key");
        }
        arrivals
    }

    /// Notes that an action is answered, or its caller gone.
    pub(crate) fn left(&mut self, call: &Call) {
        let step = self.step(call);
        step.actions_in_flight -= u32::from(call.is_action);
    }

    /// Whether an action of the step that `call` belongs to is under way.
    pub(crate) fn has_action_in_flight(&mut self, call: &Call) -> bool {
        self.step(call).actions_in_flight > 0
    }

    /// Answers a call as it was answered the first time. A new one has its effect now, unless it
    /// is refused.
    pub(crate) fn settle(&mut self, call: &Call, is_refused: bool) -> Verdict {
        let step = self.step(call);
        let side = if call.is_action {
            &step.action
        } else {
            &step.compensation
        };
        if let Some(verdict) = side.verdicts.get(&call.key) {
            return *verdict;
        }
        let verdict = match (call.is_action, is_refused) {
            (true, _) if step.is_compensated => Verdict::Refused("already_compensated"),
            (_, true) => Verdict::Refused("told_to_refuse"),
            (true, false) => {
                step.effect.done += 1;
                Verdict::Done
            }
            (false, false) => {
                step.is_compensated = true;
                // Undoing what was never done does nothing.
                step.effect.undone += u32::from(step.effect.done > step.effect.undone);
                Verdict::Done
            }
        };
        let side = if call.is_action {
            &mut step.action
        } else {
            &mut step.compensation
        };
        side.verdicts.insert(call.key.clone(), verdict);
        if step.effect.done > 1 {
            self.violate(call, "had its effect twice");
        }
        verdict
    }

    pub(crate) fn violate(&mut self, call: &Call, what: &str) {
        let phase = if call.is_action {
            "action"
        } else {
            "compensation"
        };
        self.violations.push(format!(
            "{}: the {phase} of {} {what}",
            call.saga, call.step
        ));
    }

    pub(crate) fn effects(&self, saga: &str) -> BTreeMap<String, Effect> {
        let steps = self.sagas.get(saga).into_iter().flatten();
        steps
            .filter_map(|step| {
                let found = self.steps.get(&(saga.to_owned(), step.clone()))?;
                (found.effect.done > 0).then(|| (step.clone(), found.effect))
            })
            .collect()
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.clone()
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    fn step(&mut self, call: &Call) -> &mut Step {
        let key = (call.saga.clone(), call.step.clone());
        if !self.steps.contains_key(&key) {
            self.sagas
                .entry(call.saga.clone())
                .or_default()
                .push(call.step.clone());
        }
        self.steps.entry(key).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(is_action: bool, key: &str) -> Call {
        Call {
            key: key.to_owned(),
            saga: "s".to_owned(),
            step: "a".to_owned(),
            is_action,
        }
    }

    fn effect(book: &Book) -> Option<(u32, u32)> {
        book.effects("s")
            .get("a")
            .map(|effect| (effect.done, effect.undone))
    }

    #[test]
    fn effects_are_made_and_taken_back_once() {
        let mut book = Book::default();
        for (is_action, expected) in [
            (true, (1, 0)),
            (true, (1, 0)),
            (false, (1, 1)),
            (false, (1, 1)),
        ] {
            let call = call(is_action, if is_action { "k" } else { "l" });
            book.arrived(&call);
            assert_eq!(book.settle(&call, false), Verdict::Done);
            book.left(&call);
            assert_eq!(effect(&book), Some(expected));
        }
        assert!(book.violations().is_empty());
        assert!(!book.has_action_in_flight(&call(false, "l")));
    }

    #[test]
    fn the_barrier_refuses_an_action_after_its_compensation() {
        let mut book = Book::default();
        assert_eq!(book.settle(&call(false, "l"), false), Verdict::Done);
        let late = book.settle(&call(true, "k"), false);
        assert_eq!(late, Verdict::Refused("already_compensated"));
        assert_eq!(effect(&book), None);
    }

    #[test]
    fn a_second_key_is_found_out() {
        let mut book = Book::default();
        for key in ["k", "other"] {
            book.arrived(&call(true, key));
            book.settle(&call(true, key), false);
        }
        assert_eq!(book.violations().len(), 2, "{:?}", book.violations());
        assert_eq!(effect(&book), Some((2, 0)));
    }

    #[test]
    fn a_refusal_is_for_good() {
        let mut book = Book::default();
        assert_eq!(
            book.settle(&call(true, "k"), true),
            Verdict::Refused("told_to_refuse")
        );
        assert_eq!(
            book.settle(&call(true, "k"), false),
            Verdict::Refused("told_to_refuse")
        );
        assert_eq!(effect(&book), None);
    }
}
