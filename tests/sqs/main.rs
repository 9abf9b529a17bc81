//! SQS as a broker, against an emulator (participants.md, "SQS" and "Dead letters").
//!
//! `AMENDS_TEST_SQS` says where the emulator is, else every test starts one of its own; every test has
//! names of its own on it, and what takes a server down is done to one of the test's own.
//!
//! The emulator is `moto_server`. It carries batches, long polls, visibility, redrive, FIFO groups and
//! deduplication. What it does not carry:
//! - permissions, throttling, servers that are not well, the failure of single entries of a batch: a
//!   server by script answers so in `answers`;
//! - not tested: deduplication of a message that was deleted, and its end after five minutes: it looks at what
//!   lies in the queue;
//! - not tested: messages that come out of order, or twice, by themselves, as with SQS they may (emulator.py sees to it
//!   that the emulator does not);
//! - `DeadLetterQueueSourceArn`; and a dead letter's count of deliveries that begins anew: it goes on from
//!   the count in its queue (`answers` has the other);
//! - a FIFO group that a poll found busy when it began: that poll brings nothing of it for its whole 20 s,
//!   even when the group is free again. So no test has a participant consume a FIFO queue;
//! - a poll whose caller has hung up: it goes on for up to 20 s, and what it brings then is hidden until
//!   its time is up. So where a test consumes, stops and consumes again, it waits that long.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may"
)]

mod answers;
mod bed;
mod bringing;
mod losing;
mod publishing;
mod serving;
mod topology;
mod whole;
