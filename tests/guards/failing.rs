//! A participant that fails more than it may.

use std::time::Duration;

use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::ledger::{Faults, Ledger};

use super::{BINARY, LONG, metric, start_many, waiting};

const PAIR: &str = "
name: pair
version: 1
retry: { max_attempts: 4, initial: 20ms, max: 100ms }
steps:
  - { id: reserve, participant: guarded, action: { command: reserve },
      compensation: { command: release, retry: { max_attempts: 100, max: 100ms } } }
  - { id: charge, participant: guarded, action: { command: charge },
      compensation: { command: refund, retry: { max_attempts: 100, max: 100ms } } }
";
const STATE: &str = "amends_circuit_breaker_state{participant=\"guarded\"";

#[tokio::test]
async fn a_participant_that_fails_is_left_alone_until_it_is_well() {
    let ledger = Ledger::start(Faults {
        unavailable: 0.6,
        ..Faults::default()
    });
    let database = TestDatabase::fresh(Kind::Sqlite);
    let definitions = Definitions::of(&[PAIR]);
    let settings = Settings::new(BINARY, database.url(), definitions.path())
        .participant("guarded", ledger.url("guarded"))
        .key("participants.guarded.circuit_breaker.failure_rate", "0.5")
        .key("participants.guarded.circuit_breaker.window", "5s")
        .key("participants.guarded.circuit_breaker.open_for", "3s")
        .key("participants.guarded.circuit_breaker.open_for_max", "3s")
        .key("participants.guarded.bulkhead.max_concurrent", "10")
        .key("participants.guarded.bulkhead.max_waiting", "50")
        .key("participants.guarded.bulkhead.max_wait", "1s");
    let coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();
    let sagas = start_many(&api, "pair", 200).await;
    let is = async |state: f64| {
        support::eventually("the breaker's state", LONG, async || {
            (metric(&coordinator, STATE).await? == state).then_some(())
        })
        .await;
    };
    is(2.0).await;
    // Calls stop. Those under way end, and after a while one probe at a time is let through.
    let before = ledger.calls();
    support::eventually("them to wait", LONG, async || {
        (waiting(&coordinator).await? > 100.0).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let meanwhile = ledger.calls() - before;
    assert!(meanwhile <= 12, "{meanwhile} calls while it was open");
    let mut shown = None;
    for saga in &sagas {
        let whole = api.saga(saga).await.expect("an answer").body;
        let steps = whole["steps"].as_array().expect("steps").clone();
        shown = shown.or_else(|| {
            steps.into_iter().find(|step| {
                step["status"] == "waiting" && step["waiting_for"] == "circuit_breaker"
            })
        });
    }
    assert!(shown.is_some(), "no step waits for the circuit breaker");

    ledger.set_faults(Faults::default());
    let mut wrong = ledger.violations();
    let mut attempts = 0;
    let mut completed = 0;
    for saga in &sagas {
        let end = api.settled(saga, LONG).await;
        assert_ne!(end["status"], "failed", "{end}");
        let done = end["status"] == "completed";
        completed += usize::from(done);
        wrong.extend(ledger.wrong_with(saga, done, &["reserve", "charge"]));
        for step in end["steps"].as_array().expect("steps") {
            let count = |key: &str| step[key].as_u64().expect("a count");
            attempts += count("attempts") + count("compensation_attempts");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        attempts,
        ledger.calls(),
        "an attempt is a call that was made"
    );
    assert!(completed > 150, "{completed} completed");
    is(0.0).await;
}
