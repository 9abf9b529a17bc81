//! The one place where time and chance come from. Everything inward of the engine gets them as
//! arguments.

use chrono::Utc;
use uuid::Uuid;

use crate::saga::{SagaId, Timestamp};

/// The system's clock.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that everybody asks"
)]
pub fn now() -> Timestamp {
    Timestamp(Utc::now().timestamp_millis())
}

/// A new saga id. Ids sort by the time of their making.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the id source that everybody asks"
)]
pub fn saga_id() -> SagaId {
    SagaId(Uuid::now_v7())
}

/// A new id for this process, new at every start.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the id source that everybody asks"
)]
pub fn replica_id() -> Uuid {
    Uuid::now_v7()
}

/// A secret that nobody can guess: 256 bits in hex, from the generator that is seeded by the system's.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the source of chance that everybody asks"
)]
pub fn secret() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
            text
        })
}

/// Chance in [0, 1).
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the source of chance that everybody asks"
)]
pub fn draw() -> f64 {
    rand::random()
}
