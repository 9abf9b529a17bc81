//! The guards around every call (execution.md, "Guards around every call").

pub mod reading;

pub use reading::{BreakerState, GuardReading};
