//! The guards around every call (execution.md, "Guards around every call"): circuit breaker,
//! bulkhead, rate limit, and the slow approach after an outage. One [`Gate`] a participant.
//!
//! A call goes through the gate before it is sent. What cannot go at once waits in the gate's room,
//! the oldest saga first, and no thread waits with it; what the room does not hold, or held too
//! long, is turned away, and waits in the journal. A gate knows no saga beyond its id, and no
//! outcome beyond whether the participant is well by it.

mod breaker;
mod gate;
mod pace;
mod ramp;
mod rate;
mod reading;
mod room;
mod window;

pub use gate::{Entrance, Gate, Pass, Waiting};
pub use reading::{BreakerState, GuardReading};
