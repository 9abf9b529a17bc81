//! What the demo's participants did, and the barrier that makes every call safe to repeat.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::definition::request::Phase;

use super::answers::Answer;

/// How many steps are remembered; the oldest are forgotten first.
const EFFECTS_MAX: usize = 100_000;

/// A step of a saga at a participant: saga, participant, step.
type EffectKey = (String, String, String);

/// A call that arrived.
pub(super) struct Call {
    pub(super) key: String,
    pub(super) effect: EffectKey,
    pub(super) phase: Phase,
}

/// How often the effect of one step was made and taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// The saga.
    pub saga: String,
    /// The participant.
    pub participant: String,
    /// The step.
    pub step: String,
    /// How often it was done.
    pub done: u32,
    /// How often it was undone.
    pub undone: u32,
}

/// All that the participants remember.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    effects: HashMap<EffectKey, Memory>,
    order: VecDeque<EffectKey>,
}

/// What is remembered of one step.
#[derive(Debug, Default)]
struct Memory {
    done: u32,
    undone: u32,
    is_compensated: bool,
    answers: HashMap<String, Answer>,
}

impl Ledger {
    /// Every step's effect, the oldest first.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let effect = |key: &EffectKey| {
            let memory = state.effects.get(key)?;
            let (saga, participant, step) = key.clone();
            Some(Effect {
                saga,
                participant,
                step,
                done: memory.done,
                undone: memory.undone,
            })
        };
        state.order.iter().filter_map(effect).collect()
    }

    /// Answers `call` as it was answered the first time; a new one is decided, and its effect
    /// recorded together with the answer.
    pub(super) fn take(&self, call: &Call, decide: impl FnOnce() -> Answer) -> Answer {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { effects, order } = &mut *state;
        if !effects.contains_key(&call.effect) {
            order.push_back(call.effect.clone());
            if order.len() > EFFECTS_MAX
                && let Some(oldest) = order.pop_front()
            {
                effects.remove(&oldest);
            }
        }
        let memory = effects.entry(call.effect.clone()).or_default();
        if let Some(answer) = memory.answers.get(&call.key) {
            return answer.clone();
        }
        let answer = match call.phase {
            Phase::Action if memory.is_compensated => Answer::Refused {
                code: "already_compensated",
                detail: "the action came after its compensation",
            },
            Phase::Action => decide(),
            Phase::Compensation => {
                memory.is_compensated = true;
                if memory.done > memory.undone {
                    memory.undone += 1;
                }
                decide()
            }
        };
        if call.phase == Phase::Action && answer.is_done() {
            memory.done += 1;
        }
        memory.answers.insert(call.key.clone(), answer.clone());
        answer
    }
}
