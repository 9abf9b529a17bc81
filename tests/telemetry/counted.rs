//! Started equals finished plus active, whatever happens in between.
//!
//! A process counts from zero when it starts, so for each process it is: what it took over plus
//! what it started is what it finished plus what stands now. The database says what was taken
//! over, while no process runs.

use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, Statement};
use serde_json::json;
use support::api::Api;
use support::coordinator::Coordinator;
use support::database::Kind;
use support::ledger::{Faults, Ledger};
use support::scripted::{Reply, Scripted};

use crate::scrape::Scrape;
use crate::{Bed, LONG};

/// One that ends by itself, one that waits for ever, and one that nobody can undo.
const DOCUMENTS: [&str; 3] = [
    "
name: busy
version: 1
retry: { max_attempts: 6, initial: 20ms, max: 150ms }
compensation: { retry: { initial: 20ms, max: 150ms } }
steps:
  - { id: a, participant: flaky, timeout: 400ms, action: { command: do_a },
      compensation: { command: undo_a, timeout: 400ms } }
  - { id: pause, delay: 300ms }
  - { id: b, participant: flaky, timeout: 400ms, action: { command: do_b },
      compensation: { command: undo_b, timeout: 400ms } }
",
    "
name: patient
version: 1
steps:
  - { id: a, participant: steady, action: { command: do_a } }
  - { id: approval, wait: { signal: go } }
",
    "
name: stuck
version: 1
steps:
  - { id: a, participant: stubborn, action: { command: fine }, compensation: { command: undo } }
  - { id: b, participant: stubborn, action: { command: go_on } }
",
];

async fn count(database: &DatabaseConnection, what: &str) -> u64 {
    let backend = database.get_database_backend();
    let sql = format!("SELECT COUNT(*) AS n FROM sagas WHERE {what}");
    let row = database
        .query_one(Statement::from_string(backend, sql))
        .await;
    let row = row.expect("an answer").expect("a row");
    let n: i64 = row.try_get("", "n").expect("a number");
    u64::try_from(n).expect("a count")
}

/// Starts some of each; a coordinator that goes away in between is no matter.
async fn start_some(api: &Api, each: usize) {
    let mut sagas = Vec::new();
    for name in ["busy", "patient", "stuck"] {
        let copies = if name == "busy" { each * 4 } else { each };
        sagas.extend((0..copies).map(|_| json!({ "definition": name, "input": {} })));
    }
    api.post("/sagas:batch", &json!({ "sagas": sagas }))
        .await
        .ok();
}

async fn nothing_is_busy(coordinator: &Coordinator, database: &DatabaseConnection) {
    support::eventually("every busy saga to end", LONG, async || {
        let busy = "definition <> 'patient' AND status IN ('running', 'compensating')";
        (count(database, busy).await == 0).then_some(())
    })
    .await;
    support::eventually("the journal to be empty", LONG, async || {
        let scrape = Scrape::of(coordinator).await;
        (scrape.sum("amends_journal_pending", &[]) == 0).then_some(())
    })
    .await;
}

/// What has to hold for the process that runs now.
async fn it_adds_up(coordinator: &Coordinator, database: &DatabaseConnection, taken_over: u64) {
    let scrape = Scrape::of(coordinator).await;
    let started = scrape.sum("amends_sagas_started_total", &[]);
    let finished = scrape.sum("amends_sagas_finished_total", &[]);
    let active = scrape.sum("amends_sagas_active", &[]);
    assert_eq!(
        taken_over + started,
        finished + active,
        "taken over {taken_over}, started {started}, finished {finished}, active {active}"
    );
    for status in ["running", "compensating", "failed"] {
        let shown = scrape.sum("amends_sagas_active", &[("status", status)]);
        let stored = count(database, &format!("status = '{status}'")).await;
        assert_eq!(shown, stored, "{status}");
    }
    assert_eq!(scrape.sum("amends_sagas_overdue", &[]), 0);
}

#[tokio::test]
async fn what_started_has_finished_or_is_active_through_every_kill() {
    let flaky = Ledger::start(Faults::of_all_kinds(5));
    let steady = Ledger::start(Faults::default());
    // It does what it is asked, and neither goes on nor back.
    let stubborn = Scripted::start(|call| {
        if call.path.ends_with("/fine") {
            Reply::json(200, &json!({}))
        } else {
            Reply::problem(409, &json!({ "code": "no" }))
        }
    });
    let bed = Bed::new(Kind::Postgres, &DOCUMENTS);
    let settings = bed
        .settings()
        .participant("flaky", flaky.url("flaky"))
        .participant("steady", steady.url("steady"))
        .participant("stubborn", stubborn.url("stubborn"));
    let mut coordinator = Coordinator::start(settings).await;
    let database = Database::connect(bed.database.url())
        .await
        .expect("a server");
    let mut taken_over = 0;
    for _ in 0..3 {
        let (api, calls) = (coordinator.api(), flaky.calls());
        let killing = async {
            support::eventually("some load", LONG, async || {
                (flaky.calls() > calls + 20).then_some(())
            })
            .await;
            coordinator.kill();
        };
        tokio::join!(start_some(&api, 10), killing);
        let unfinished = "status NOT IN ('completed', 'compensated')";
        taken_over = count(&database, unfinished).await;
        assert!(taken_over > 0, "the kill came too late");
        coordinator.restart().await;
    }
    start_some(&coordinator.api(), 10).await;
    nothing_is_busy(&coordinator, &database).await;
    it_adds_up(&coordinator, &database, taken_over).await;
    assert!(count(&database, "status = 'failed'").await > 0, "too easy");
    assert!(count(&database, "status = 'running'").await > 0, "too easy");

    // One more life, without a kill under load: what stands is what stood.
    coordinator.kill();
    let unfinished = "status NOT IN ('completed', 'compensated')";
    let taken_over = count(&database, unfinished).await;
    coordinator.restart().await;
    it_adds_up(&coordinator, &database, taken_over).await;
}

/// What moves to another replica is counted there, and no longer here.
#[tokio::test]
async fn an_owner_that_was_frozen_counts_nothing_of_what_was_taken_from_it() {
    let steady = Ledger::start(Faults::default());
    let bed = Bed::new(Kind::Postgres, &DOCUMENTS[1..2]);
    let settings = bed
        .settings()
        .participant("steady", steady.url("steady"))
        .key("engine.lease", "1s");
    let first = Coordinator::start(settings.clone()).await;
    let patient = json!({ "definition": "patient", "input": {} });
    let batch = json!({ "sagas": vec![patient; 7] });
    first
        .api()
        .post("/sagas:batch", &batch)
        .await
        .expect("an answer");
    let second = Coordinator::spawn(settings);
    second.wait_for("standby", LONG).await;
    first.signal("STOP");
    second.wait_for("ready", LONG).await;
    first.signal("CONT");

    let of_second = Scrape::of(&second).await;
    assert_eq!(of_second.sum("amends_sagas_active", &[]), 7);
    assert_eq!(of_second.sum("amends_shards_owned", &[]), 64);
    assert_eq!(of_second.sum("amends_sagas_started_total", &[]), 0);
    let of_first = support::eventually("the first to know", LONG, async || {
        let scrape = Scrape::of(&first).await;
        (scrape.sum("amends_lease_lost_total", &[]) == 1).then_some(scrape)
    })
    .await;
    assert_eq!(of_first.sum("amends_sagas_active", &[]), 0);
    assert_eq!(of_first.sum("amends_shards_owned", &[]), 0);
    assert_eq!(of_first.sum("amends_sagas_started_total", &[]), 7);
}
