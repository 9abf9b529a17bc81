//! Replaying: from the journal's rows back to the state that was (I5).

use serde::Deserialize as _;

use super::apply::ReplayError;
use super::event::Event;
use super::id::{SagaId, Timestamp};
use super::state::Saga;
use crate::definition::Definition;

/// One row of the journal: the facts that one input made.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The number of the first of its events, from 1.
    pub seq: u64,
    /// When the input arrived.
    pub at: Timestamp,
    /// The facts.
    pub events: Vec<Event>,
}

impl Transition {
    /// Reads a row.
    ///
    /// # Errors
    /// When the events are damaged, or of a kind that this version does not know.
    pub fn read(seq: u64, at: Timestamp, events: &str) -> Result<Self, ReplayError> {
        // What went in was bounded where it came in (100 levels for a client, 127 for a
        // participant) and a template puts at most 64 around it: deeper than serde_json goes by
        // itself, and no danger to the stack.
        let mut reader = serde_json::Deserializer::from_str(events);
        reader.disable_recursion_limit();
        let events = Vec::<Event>::deserialize(&mut reader)
            .and_then(|events| reader.end().map(|()| events))
            .map_err(|source| ReplayError::Unreadable { seq, source })?;
        Ok(Self { seq, at, events })
    }
}

/// The first event of a journal, which names the definition and its version.
///
/// # Errors
/// When the journal does not begin with a start.
pub fn started(transitions: &[Transition]) -> Result<&super::event::Started, ReplayError> {
    match transitions
        .first()
        .and_then(|transition| transition.events.first())
    {
        Some(Event::SagaStarted(started)) => Ok(started),
        Some(_) | None => Err(ReplayError::NoStart),
    }
}

/// The state that the rows of a journal make, from the first to the last.
///
/// # Errors
/// When a row is missing or does not fit the definition.
pub fn replay(
    definition: &Definition,
    id: SagaId,
    transitions: &[Transition],
) -> Result<Saga, ReplayError> {
    let (first, rest) = transitions.split_first().ok_or(ReplayError::NoStart)?;
    let (start, following) = first.events.split_first().ok_or(ReplayError::NoStart)?;
    if first.seq != 1 {
        return Err(ReplayError::Gap {
            expected: 1,
            found: first.seq,
        });
    }
    let mut saga = Saga::begin(id, definition.steps.len(), start, first.at)?;
    for event in following {
        saga.apply(event, first.at)?;
    }
    for transition in rest {
        if transition.seq != saga.seq + 1 {
            return Err(ReplayError::Gap {
                expected: saga.seq + 1,
                found: transition.seq,
            });
        }
        for event in &transition.events {
            saga.apply(event, transition.at)?;
        }
    }
    Ok(saga)
}
