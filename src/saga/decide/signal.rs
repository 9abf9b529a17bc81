//! Signals: kept until a `wait` of their name takes them, first in, first out.

use std::sync::Arc;

use serde_json::Value;

use super::Deciding;
use crate::definition::StepIndex;
use crate::definition::model::StepKind;
use crate::saga::event::Event;
use crate::saga::input::{Rejection, SIGNALS_KEPT_MAX};
use crate::saga::state::{Progress, StepState};

impl Deciding<'_> {
    /// Takes in a signal. One whose key was seen changes nothing (I8).
    pub(super) fn signal(
        &mut self,
        name: String,
        payload: Value,
        key: Option<String>,
        actor: String,
    ) -> Result<(), Rejection> {
        if !self.definition.has_signal(&name) {
            return Err(Rejection::SignalUnknown);
        }
        if key
            .as_ref()
            .is_some_and(|key| self.saga.signal_keys.contains(key))
        {
            return Ok(());
        }
        if self.saga.status().is_finished() {
            return Err(Rejection::AlreadyFinished);
        }
        let kept = self
            .saga
            .signals
            .get(&name)
            .map_or(0, std::collections::VecDeque::len);
        if kept >= SIGNALS_KEPT_MAX {
            return Err(Rejection::TooManySignals);
        }
        self.emit(Event::SignalReceived {
            name: name.clone(),
            payload: Arc::new(payload),
            key,
            actor,
        });
        if self.saga.progress == Progress::Forward {
            let waiting = self.steps().find(|step| self.waits_for(*step, &name));
            if let Some(step) = waiting {
                self.take_signal(step, &name);
            }
        }
        Ok(())
    }

    /// Lets a waiting step take the oldest kept signal of its name, when there is one.
    pub(super) fn take_signal(&mut self, step: StepIndex, name: &str) {
        if self
            .saga
            .signals
            .get(name)
            .is_some_and(|kept| !kept.is_empty())
        {
            self.emit(Event::SignalTaken {
                step,
                name: name.to_owned(),
            });
        }
    }

    /// Lets the steps that waited while the saga was stopped take what came meanwhile.
    pub(super) fn take_kept_signals(&mut self) {
        for step in self.steps() {
            let StepState::AwaitingSignal(_) = self.saga.step_state(step) else {
                continue;
            };
            let definition = self.definition;
            if let Some(StepKind::Wait(wait)) = definition.step(step).map(|step| &step.kind) {
                self.take_signal(step, &wait.signal);
            }
        }
    }

    fn waits_for(&self, step: StepIndex, name: &str) -> bool {
        matches!(self.saga.step_state(step), StepState::AwaitingSignal(_))
            && self.definition.step(step).is_some_and(
                |step| matches!(&step.kind, StepKind::Wait(wait) if wait.signal == name),
            )
    }
}
