//! The audit: written together with what it tells of, or not at all.

use std::sync::Arc;

use amends::saga::id::Timestamp;
use amends::saga::outcome::Status;
use amends::store::{
    AppendError, Appended, AuditAction, AuditActions, AuditEntry, AuditFilter, AuditPolicy,
    AuditRecord, Counters, Entry, NewDefinition, Published, SYSTEM, Source, Store,
};
use sea_orm::ConnectionTrait;

use crate::bed::{Bed, T0, append_all, keyed, saga, start, step, summary, write_all};

crate::contract! {
    a_row_says_what_was_given on sqlite postgres mariadb;
    rows_are_in_the_order_of_the_journal on sqlite postgres mariadb;
    a_start_key_seen_before_leaves_no_row on sqlite postgres mariadb;
    a_bad_entry_leaves_no_row on sqlite postgres mariadb;
    a_clash_leaves_no_row on sqlite postgres mariadb;
    a_fenced_replica_leaves_no_row on sqlite postgres mariadb;
    a_saga_that_completes_costs_two_rows on sqlite postgres mariadb;
    a_definition_that_is_new_leaves_a_row on sqlite postgres mariadb;
    a_pause_that_changes_something_leaves_a_row on sqlite postgres mariadb;
    a_replica_comes_and_goes on sqlite postgres mariadb;
    a_saga_set_aside_leaves_a_row on sqlite postgres mariadb;
    what_stands_alone_is_recorded on sqlite postgres mariadb;
}

/// What the audit has of sagas, oldest first.
async fn told(store: &Store) -> Vec<AuditEntry> {
    let mut entries = store
        .audit(&AuditFilter::default(), None, 10_000)
        .await
        .unwrap();
    entries.reverse();
    entries.retain(|entry| entry.saga.is_some());
    entries
}

/// A record about saga `n`.
pub(crate) fn record(action: AuditAction, n: u32, at: i64, actor: &str) -> AuditRecord {
    let mut record =
        AuditRecord::new(action, Timestamp(at), actor, None).of_definition("order", Some(1));
    record.saga = Some(saga(n));
    record
}

/// An entry that is told of.
fn telling(mut entry: Entry, n: u32, action: AuditAction) -> Entry {
    let at = entry.transition.at.0;
    entry.audit.push(record(action, n, at, "ada"));
    entry
}

fn started(n: u32) -> Entry {
    telling(start(n), n, AuditAction::SagaStarted)
}

fn ended(n: u32, seq: u64) -> Entry {
    let mut entry = telling(step(n, seq), n, AuditAction::SagaCompleted);
    let mut done = summary(n, Status::Completed);
    done.finished_at = Some(entry.transition.at);
    done.wake_at = None;
    entry.summary = Some(done);
    entry
}

async fn a_row_says_what_was_given(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    let mut full = record(AuditAction::StepResolved, 1, T0, "Zoë \"O'Neil\" ☃");
    full.remote = Some("2001:db8::1".parse().unwrap());
    full.step = Some("ship".to_owned());
    full = full.with_detail(&serde_json::json!({ "note": "it's\u{0} done \\ ŻÓŁĆ" }));
    full.definition = Some(("order".to_owned(), Some(u32::MAX)));
    let bare = {
        let mut bare = AuditRecord::new(AuditAction::SagaFailed, Timestamp(T0), "", None);
        bare.saga = Some(saga(1));
        bare
    };
    let mut entry = start(1);
    entry.audit = vec![full.clone(), bare.clone()];
    write_all(&journal, [entry]).await;
    // The same in a batch with a start key, which SQLite writes another way.
    let mut entry = keyed(2, "k", 1);
    entry.audit = vec![full.clone(), bare];
    write_all(&journal, [entry]).await;
    let told = told(&bed.store).await;
    assert_eq!(told.len(), 4);
    for pair in told.chunks(2) {
        let (entry, bare) = (&pair[0], &pair[1]);
        assert_eq!(
            (entry.at, entry.actor.as_str()),
            (full.at, "Zoë \"O'Neil\" ☃")
        );
        assert_eq!(entry.action, "STEP_RESOLVED");
        assert_eq!(entry.definition, full.definition);
        assert_eq!(entry.step, full.step);
        assert_eq!(entry.detail, full.detail);
        assert_eq!(entry.remote.as_deref(), Some("2001:db8::1"));
        assert_eq!(
            (bare.actor.as_str(), bare.action.as_str()),
            ("", "SAGA_FAILED")
        );
        let nothing = (&None, &None, &None, &None);
        let said = (&bare.definition, &bare.step, &bare.detail, &bare.remote);
        assert_eq!(said, nothing);
    }
    assert_eq!((told[0].saga, told[2].saga), (Some(saga(1)), Some(saga(2))));
}

async fn rows_are_in_the_order_of_the_journal(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    let sagas = 300;
    let entries = (0..sagas).flat_map(|n| {
        let mut last = ended(n, 3);
        last.audit
            .insert(0, record(AuditAction::SignalReceived, n, T0, "bob"));
        [started(n), step(n, 2), last]
    });
    write_all(&journal, entries).await;
    let told = told(&bed.store).await;
    assert!(told.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    for n in 0..sagas {
        let of_it = told.iter().filter(|entry| entry.saga == Some(saga(n)));
        let actions: Vec<_> = of_it.map(|entry| entry.action.as_str()).collect();
        assert_eq!(
            actions,
            ["SAGA_STARTED", "SIGNAL_RECEIVED", "SAGA_COMPLETED"]
        );
    }
}

async fn a_start_key_seen_before_leaves_no_row(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    let keyed = |n, key| telling(keyed(n, key, 1), n, AuditAction::SagaStarted);
    write_all(&journal, [keyed(1, "k")]).await;
    let outcomes = append_all(
        &journal,
        [keyed(2, "k"), keyed(3, "other"), keyed(4, "other")],
    )
    .await;
    assert_eq!(*outcomes[1].as_ref().unwrap(), Appended::Written);
    for seen in [&outcomes[0], &outcomes[2]] {
        assert!(matches!(seen, Ok(Appended::KeySeen { .. })), "{seen:?}");
    }
    let sagas: Vec<_> = told(&bed.store).await.iter().map(|e| e.saga).collect();
    assert_eq!(sagas, [Some(saga(1)), Some(saga(3))]);
}

async fn a_bad_entry_leaves_no_row(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    let mut entries: Vec<_> = (0..50).map(started).collect();
    entries[7].transition.count = 0;
    entries.push(ended(7, 2));
    // What the audit cannot take, the journal does not take either.
    entries[20].audit[0].definition = Some(("d".repeat(300), Some(1)));
    let outcomes = append_all(&journal, entries).await;
    let refused: Vec<_> = (0..outcomes.len())
        .filter(|n| outcomes[*n].is_err())
        .collect();
    // SQLite takes texts of any length.
    let too_long = bed.kind != crate::bed::Kind::Sqlite;
    let expected: &[usize] = if too_long { &[7, 20, 50] } else { &[7, 50] };
    assert_eq!(refused, expected);
    let written = bed.store.standing(&[0]).await.unwrap().unfinished();
    assert_eq!(told(&bed.store).await.len() as u64, written);
}

async fn a_clash_leaves_no_row(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    write_all(&journal, [started(1), step(1, 2)]).await;
    let mut other = ended(1, 2);
    other.transition.events = "[{}]".to_owned();
    let outcomes = append_all(&journal, [started(2), other, ended(1, 3)]).await;
    assert!(matches!(outcomes[1], Err(AppendError::Clash)));
    assert!(matches!(outcomes[2], Err(AppendError::Clash)));
    let told = told(&bed.store).await;
    let sagas: Vec<_> = told.iter().map(|e| (e.saga, e.action.as_str())).collect();
    let start = "SAGA_STARTED";
    assert_eq!(sagas, [(Some(saga(1)), start), (Some(saga(2)), start)]);
}

async fn a_fenced_replica_leaves_no_row(bed: Arc<Bed>) {
    let lease = bed.lease(1, 60_000).await;
    lease.claim().await.unwrap();
    let journal = bed.journal(&lease);
    write_all(&journal, [started(1)]).await;
    let raw = bed.raw().await;
    raw.execute_unprepared("UPDATE replicas SET epoch = epoch + 1")
        .await
        .unwrap();
    raw.close().await.unwrap();
    let outcomes = append_all(&journal, [started(2), ended(1, 2)]).await;
    for outcome in &outcomes {
        assert!(matches!(outcome, Err(AppendError::Fenced)), "{outcome:?}");
    }
    let told = told(&bed.store).await;
    assert_eq!((told.len(), told[0].saga), (1, Some(saga(1))));
}

async fn a_saga_that_completes_costs_two_rows(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    write_all(&journal, [started(1)]).await;
    write_all(&journal, [step(1, 2)]).await;
    write_all(&journal, [step(1, 3)]).await;
    write_all(&journal, [ended(1, 4)]).await;
    // Three steps: n + 1 events, two summaries and two rows of the audit.
    let expected = Counters {
        commits: 4,
        rows: 8,
        events: 4,
        batches: 4,
    };
    assert_eq!(journal.counters(), expected);
}

async fn a_definition_that_is_new_leaves_a_row(bed: Arc<Bed>) {
    let (store, at) = (&bed.store, Timestamp(T0));
    let record = AuditRecord::new(AuditAction::DefinitionPublished, at, "ada", None)
        .of_definition("order", Some(2));
    let publish = async |document| {
        let new = NewDefinition {
            name: "order",
            version: 2,
            document,
            at,
            source: Source::Api,
        };
        store.publish_definition(&new, &record).await
    };
    assert_eq!(publish("{}").await.unwrap(), Published::New);
    assert_eq!(publish("{}").await.unwrap(), Published::Same);
    assert_eq!(publish("{\"a\":1}").await.unwrap(), Published::Conflict);
    let all = AuditFilter::default();
    let told = store.audit(&all, None, 10).await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].action, "DEFINITION_PUBLISHED");
    assert_eq!(told[0].definition, Some(("order".to_owned(), Some(2))));
}

async fn a_pause_that_changes_something_leaves_a_row(bed: Arc<Bed>) {
    let (store, at) = (&bed.store, Timestamp(T0));
    for version in 1..=2 {
        let new = NewDefinition {
            name: "order",
            version,
            document: "{}",
            at,
            source: Source::Directory,
        };
        let record = AuditRecord::new(AuditAction::DefinitionPublished, at, SYSTEM, None);
        store.publish_definition(&new, &record).await.unwrap();
    }
    for (version, paused, action) in [
        (Some(2), true, AuditAction::DefinitionPaused),
        (Some(2), true, AuditAction::DefinitionPaused),
        (None, false, AuditAction::DefinitionResumed),
        (None, false, AuditAction::DefinitionResumed),
    ] {
        let record = AuditRecord::new(action, at, "ada", None).of_definition("order", version);
        let changed = store.pause_definition("order", version, paused, &record);
        changed.await.unwrap();
    }
    let told = store.audit(&AuditFilter::default(), None, 10).await;
    let told = told.unwrap();
    let told: Vec<_> = told
        .iter()
        .filter(|entry| entry.actor == "ada")
        .map(|entry| (entry.action.as_str(), entry.definition.clone()))
        .collect();
    let of = |version| Some(("order".to_owned(), version));
    assert_eq!(
        told,
        [
            ("DEFINITION_RESUMED", of(None)),
            ("DEFINITION_PAUSED", of(Some(2)))
        ]
    );
}

async fn a_replica_comes_and_goes(bed: Arc<Bed>) {
    let lease = bed.lease(1, 60_000).await;
    lease.release().await.unwrap();
    // A lease that is gone already was not drained.
    lease.release().await.unwrap();
    let told = bed.store.audit(&AuditFilter::default(), None, 10).await;
    let told = told.unwrap();
    let actions: Vec<_> = told.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["REPLICA_DRAINED", "REPLICA_STARTED"]);
    for entry in told {
        assert_eq!((entry.actor.as_str(), entry.saga), (SYSTEM, None));
        let detail: serde_json::Value =
            serde_json::from_str(entry.detail.as_deref().unwrap()).unwrap();
        let expected = serde_json::json!({
            "replica": lease.id(), "version": "0.1.0", "address": "http://127.0.0.1:8080",
            "role": "active",
        });
        assert_eq!(detail, expected);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let age = now.abs_diff(u128::try_from(entry.at.0).unwrap());
        assert!(age < 60_000, "{age} ms");
    }
}

async fn a_saga_set_aside_leaves_a_row(bed: Arc<Bed>) {
    let lease = bed.lease(1, 60_000).await;
    lease.claim().await.unwrap();
    let journal = bed.journal(&lease);
    write_all(&journal, [start(1)]).await;
    lease
        .set_aside(saga(1), "event 1 cannot be read")
        .await
        .unwrap();
    let told = told(&bed.store).await;
    assert_eq!((told.len(), told[0].action.as_str()), (1, "SAGA_FAILED"));
    assert_eq!(told[0].saga, Some(saga(1)));
    assert_eq!(told[0].definition, Some(("order".to_owned(), Some(1))));
    let detail = told[0].detail.as_deref().unwrap();
    assert!(detail.contains("journal_unreadable"), "{detail}");
    assert!(detail.contains("event 1 cannot be read"), "{detail}");
}

async fn what_stands_alone_is_recorded(bed: Arc<Bed>) {
    let violation =
        |actor: &str| AuditRecord::new(AuditAction::SecurityViolation, Timestamp(T0), actor, None);
    bed.store.record(&[]).await.unwrap();
    let many: Vec<_> = (0..250).map(|n| violation(&format!("a{n}"))).collect();
    bed.store.record(&many).await.unwrap();
    // What the policy leaves out is not written; a name of any length is.
    let policy = AuditPolicy {
        actions: AuditActions::from_iter([AuditAction::SagaFailed]),
        ..AuditPolicy::default()
    };
    let choosy = bed.store.clone().with_audit(policy);
    let failed = AuditRecord::new(
        AuditAction::SagaFailed,
        Timestamp(T0),
        &format!("\0{}", "ż".repeat(300)),
        None,
    );
    choosy.record(&[violation("b"), failed]).await.unwrap();
    let all = AuditFilter::default();
    let told = bed.store.audit(&all, None, 1_000).await.unwrap();
    assert_eq!(told.len(), 251);
    assert_eq!(told[0].actor, "ż".repeat(255));
    assert_eq!(
        (told[1].actor.as_str(), told[250].actor.as_str()),
        ("a249", "a0")
    );
}
