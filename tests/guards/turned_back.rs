//! A saga that turns back, or is suspended, while a guard holds its call back: nothing is sent, and
//! nobody waits for what was not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use support::api::Api;
use support::coordinator::Coordinator;
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::scripted::{Reply, Scripted};

use super::{BINARY, LONG, answered, step};

const BOOKING: &str = "
name: booking
version: 1
steps:
  - { id: reserve, participant: other, action: { post: /reserve },
      compensation: { post: /release } }
  - { id: ask, participant: guarded, action: { post: /ask } }
";
/// Keeps the participant busy for a while.
const BLOCKER: &str = "
name: blocker
version: 1
retry: { max_attempts: 50, initial: 10ms, max: 50ms }
steps:
  - { id: block, participant: guarded, timeout: 8s, action: { post: /block } }
";
const HASTY: &str = "
name: hasty
version: 1
timeout: 5s
steps:
  - { id: reserve, participant: other, action: { post: /reserve },
      compensation: { post: /release } }
  - { id: ask, participant: guarded, action: { post: /ask } }
";

/// A coordinator whose participant `guarded` takes one call at a time, and is busy with one.
struct Bed {
    coordinator: Coordinator,
    guarded: Scripted,
    other: Scripted,
    busy: Arc<AtomicBool>,
    _database: TestDatabase,
    _definitions: Definitions,
}

impl Bed {
    /// Calls wait in memory, or soon in the journal.
    async fn start(in_journal: bool) -> Self {
        let busy = Arc::new(AtomicBool::new(true));
        let is_busy = Arc::clone(&busy);
        let guarded = Scripted::start(move |_| {
            if is_busy.load(Ordering::Relaxed) {
                Reply::Silence
            } else {
                answered()
            }
        });
        let other = Scripted::start(|_| answered());
        let database = TestDatabase::fresh(Kind::Sqlite);
        let definitions = Definitions::of(&[BLOCKER, BOOKING, HASTY]);
        let wait = if in_journal { "50ms" } else { "1h" };
        let settings =
            support::coordinator::Settings::new(BINARY, database.url(), definitions.path())
                .participant("guarded", guarded.url("guarded"))
                .participant("other", other.url("other"))
                .key("participants.guarded.bulkhead.max_concurrent", "1")
                .key("participants.guarded.bulkhead.max_wait", wait);
        let coordinator = Coordinator::start(settings).await;
        let blocker = coordinator.api().start("blocker", &Value::Null, None).await;
        assert_eq!(blocker.expect("an answer").status, 202);
        support::eventually("the busy call", LONG, async || {
            (guarded.asked().len() == 1).then_some(())
        })
        .await;
        Self {
            coordinator,
            guarded,
            other,
            busy,
            _database: database,
            _definitions: definitions,
        }
    }

    fn api(&self) -> Api {
        self.coordinator.api()
    }

    /// Starts a saga and waits until its second step is held back where it is wanted.
    async fn held(&self, definition: &str, in_journal: bool) -> String {
        let api = self.api();
        let started = api.start(definition, &Value::Null, None).await;
        let saga = started.expect("an answer").id();
        let shown = support::eventually("the step to wait", LONG, async || {
            let step = step(&api, &saga, "ask").await;
            let there = step["next_attempt_at"].is_string() == in_journal;
            (step["status"] == "waiting" && there).then_some(step)
        })
        .await;
        assert_eq!(shown["waiting_for"], "bulkhead", "{shown}");
        assert_eq!(shown["attempts"], 0, "{shown}");
        assert_eq!(shown["started_at"], Value::Null, "{shown}");
        saga
    }

    async fn command(&self, saga: &str, command: &str) {
        let path = format!("/sagas/{saga}/{command}");
        let answer = self.api().post(&path, &json!({})).await;
        assert_eq!(answer.expect("an answer").status, 202);
    }

    /// The saga is undone, and nobody was asked for what was held back.
    async fn is_undone(&self, saga: &str, code: &str) {
        let end = self.api().settled(saga, LONG).await;
        assert_eq!(end["status"], "compensated", "{end}");
        assert_eq!(end["failure"]["code"], code, "{end}");
        assert_eq!(end["steps"][0]["status"], "compensated", "{end}");
        assert_eq!(end["steps"][1]["status"], "pending", "{end}");
        assert_eq!(end["steps"][1]["attempts"], 0, "{end}");
        assert!(self.guarded.asked_for(saga, "ask").is_empty());
        assert_eq!(self.other.asked_for(saga, "reserve").len(), 2);
    }
}

async fn a_cancel(in_journal: bool) {
    let bed = Bed::start(in_journal).await;
    let saga = bed.held("booking", in_journal).await;
    bed.command(&saga, "cancel").await;
    bed.is_undone(&saga, "cancelled").await;
}

async fn a_timeout(in_journal: bool) {
    let bed = Bed::start(in_journal).await;
    let saga = bed.held("hasty", in_journal).await;
    bed.is_undone(&saga, "timed_out").await;
}

async fn a_suspension(in_journal: bool) {
    let bed = Bed::start(in_journal).await;
    let saga = bed.held("booking", in_journal).await;
    bed.command(&saga, "suspend").await;
    // From now on there is room, and others go.
    bed.busy.store(false, Ordering::Relaxed);
    let other = bed.api().start("booking", &Value::Null, None).await;
    let other = other.expect("an answer").id();
    let end = bed.api().settled(&other, LONG).await;
    assert_eq!(end["status"], "completed", "{end}");
    assert!(bed.guarded.asked_for(&saga, "ask").is_empty());
    bed.command(&saga, "resume").await;
    let end = bed.api().settled(&saga, LONG).await;
    assert_eq!(end["status"], "completed", "{end}");
    assert_eq!(end["steps"][1]["attempts"], 1, "{end}");
    assert_eq!(bed.guarded.asked_for(&saga, "ask").len(), 1);
}

#[tokio::test]
async fn a_cancel_of_what_waits_in_memory_sends_nothing() {
    a_cancel(false).await;
}

#[tokio::test]
async fn a_cancel_of_what_waits_in_the_journal_sends_nothing() {
    a_cancel(true).await;
}

#[tokio::test]
async fn a_timeout_of_what_waits_in_memory_sends_nothing() {
    a_timeout(false).await;
}

#[tokio::test]
async fn a_timeout_of_what_waits_in_the_journal_sends_nothing() {
    a_timeout(true).await;
}

#[tokio::test]
async fn a_suspension_of_what_waits_in_memory_sends_nothing() {
    a_suspension(false).await;
}

#[tokio::test]
async fn a_suspension_of_what_waits_in_the_journal_sends_nothing() {
    a_suspension(true).await;
}
