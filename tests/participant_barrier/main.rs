//! The barrier of `amends::participant` on every database: what it answers, what it keeps, and
//! that one effect is all there is when commands come at the same moment.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may"
)]

mod at_once;
mod bed;
mod one_by_one;
