//! What a saga *does*: its state, what may reach it, and what then holds. Pure: no clock, no
//! randomness, no I/O, no async. The current time and every draw of chance come in with the input.
//!
//! [`decide()`] takes the state and one [`Input`] and answers with the [`Event`]s that now hold;
//! [`Saga::apply`] makes of the state what an event says. The journal holds the events, so
//! replaying it ([`replay`]) gives the state that was.

pub mod apply;
pub mod decide;
pub mod event;
mod facts;
pub mod guard;
pub mod id;
pub mod input;
pub mod nesting;
pub mod outcome;
pub mod replay;
pub mod state;
pub mod undo;

pub use apply::ReplayError;
pub use decide::{Decision, Prepared, decide, render, resolutions, start};
pub use event::{Event, Failure, Resolution, Started};
pub use guard::Guard;
pub use id::{SagaId, Timestamp};
pub use input::{Attempted, Command, DeadLettered, Fate, HeldBack, Input, Rejection, Replied};
pub use outcome::{ActionOutcome, Outcome, Status, StepError};
pub use state::{InFlight, Progress, Rest, Saga, SeenReply, StepRecord, StepState};

#[cfg(test)]
mod tests;
