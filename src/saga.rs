//! What a saga *does*: its state, what may reach it, and what then holds. Pure: no clock, no
//! randomness, no I/O, no async. The current time and every draw of chance come in with the input.

pub mod id;
pub mod outcome;

pub use id::{SagaId, Timestamp};
pub use outcome::{ActionOutcome, Outcome, Status, StepError};
