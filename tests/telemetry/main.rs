//! What a coordinator tells of itself: metrics, traces, logs, health; seen from outside, as
//! Prometheus, a collector of traces and a cluster see them.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test may")]

mod counted;
mod dead_letters;
mod health;
mod logs;
mod metrics;
mod scrape;
mod traces;

use std::time::Duration;

use support::coordinator::Settings;
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;

/// The binary under test.
const BINARY: &str = env!("CARGO_BIN_EXE_amends");
/// How long anything may take on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Two steps that can be undone, and a third whose refusal undoes them.
const ORDER: &str = "
name: order
version: 1
retry: { initial: 20ms, max: 100ms }
compensation: { retry: { initial: 20ms, max: 100ms } }
steps:
  - { id: reserve, participant: shop, timeout: 5s, action: { command: reserve },
      compensation: { command: release } }
  - { id: charge, participant: shop, timeout: 5s, action: { command: charge },
      compensation: { command: refund } }
  - { id: ship, participant: shop, timeout: 5s, action: { command: ship } }
";

/// A database and the definitions of a test.
struct Bed {
    database: TestDatabase,
    definitions: Definitions,
}

impl Bed {
    fn new(kind: Kind, documents: &[&str]) -> Self {
        Self {
            database: TestDatabase::fresh(kind),
            definitions: Definitions::of(documents),
        }
    }

    fn settings(&self) -> Settings {
        Settings::new(BINARY, self.database.url(), self.definitions.path())
            .key("sagas.strict", "true")
    }
}
