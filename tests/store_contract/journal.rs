//! The journal: what is appended is there, once, and alone in its troubles.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use amends::saga::outcome::Status;
use amends::store::{AppendError, Appended, Counters};

use crate::bed::{Bed, append_all, keyed, saga, start, step, summary, write_all};

crate::contract! {
    what_is_appended_is_loaded on sqlite postgres mariadb;
    several_transitions_of_a_saga_in_a_batch on sqlite postgres mariadb;
    a_thousand_at_once_share_commits on sqlite postgres mariadb;
    a_key_starts_one_saga on sqlite postgres mariadb;
    two_starts_with_a_key_at_once_make_one on sqlite postgres mariadb;
    keys_differ_by_case_and_blanks on sqlite postgres mariadb;
    a_bad_row_fails_alone on sqlite postgres mariadb;
    a_bad_leader_leaves_the_key_to_its_follower on sqlite postgres mariadb;
    another_event_with_that_number_is_a_clash on sqlite postgres mariadb;
    a_withdrawn_start_is_not_written on sqlite postgres mariadb;
    counters_count_what_was_written on sqlite postgres mariadb;
    a_stopped_journal_writes_what_waits on sqlite postgres mariadb;
}

async fn what_is_appended_is_loaded(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    write_all(&journal, [start(1)]).await;
    write_all(&journal, [step(1, 2), start(2)]).await;
    let loaded = bed.store.load(&[saga(2), saga(3), saga(1)]).await.unwrap();
    assert_eq!(loaded.len(), 2);
    assert_eq!(loaded[0].summary.id, saga(2));
    let first = &loaded[1];
    assert_eq!(first.summary.id, saga(1));
    assert_eq!(first.summary.status, Status::Running);
    let stored: Vec<_> = first
        .transitions
        .iter()
        .map(|t| (t.seq, t.at, t.count, t.events.clone()))
        .collect();
    let given: Vec<_> = [start(1), step(1, 2)]
        .into_iter()
        .map(|e| {
            (
                e.transition.seq,
                e.transition.at,
                e.transition.count,
                e.transition.events,
            )
        })
        .collect();
    assert_eq!(stored, given);
    assert_eq!(first.summary.updated_at, step(1, 2).transition.at);
}

async fn several_transitions_of_a_saga_in_a_batch(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    let mut first = start(1);
    first
        .start
        .as_mut()
        .unwrap()
        .labels
        .insert("channel".to_owned(), "web".to_owned());
    let mut last = step(1, 3);
    let mut done = summary(1, Status::Completed);
    done.finished_at = Some(last.transition.at);
    done.wake_at = None;
    last.summary = Some(done);
    write_all(&journal, [first, step(1, 2), last]).await;
    let row = bed.store.summary(saga(1)).await.unwrap().unwrap();
    assert_eq!(
        (row.status, row.last_seq, row.wake_at),
        (Status::Completed, 3, None)
    );
    assert_eq!(row.labels["channel"], "web");
    assert_eq!(
        bed.store.transitions(saga(1), 1, 10).await.unwrap().len(),
        3
    );
}

async fn a_thousand_at_once_share_commits(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    write_all(&journal, (0..1500).map(start)).await;
    let counters = journal.counters();
    assert_eq!((counters.events, counters.rows), (1500, 3000));
    assert!(counters.commits < 100, "{counters:?}");
    assert_eq!(journal.pending(), 0);
    assert_eq!(
        bed.store.standing(&[0, 1]).await.unwrap().unfinished(),
        1500
    );
    assert_eq!(bed.store.standing(&[1]).await.unwrap().unfinished(), 0);
}

async fn a_key_starts_one_saga(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    write_all(&journal, [keyed(1, "k", 1), start(5)]).await;
    // The same digest and another: whose key it is is told in both cases, and judged elsewhere.
    let mut again = keyed(2, "k", 1);
    again
        .start
        .as_mut()
        .unwrap()
        .labels
        .insert("a".to_owned(), "b".to_owned());
    let outcomes = append_all(&journal, [again, keyed(3, "k", 9), keyed(4, "other", 4)]).await;
    let seen = Appended::KeySeen {
        saga: saga(1),
        digest: [1; 32],
    };
    assert_eq!(*outcomes[0].as_ref().unwrap(), seen);
    assert_eq!(*outcomes[1].as_ref().unwrap(), seen);
    assert_eq!(*outcomes[2].as_ref().unwrap(), Appended::Written);
    for n in [2, 3] {
        assert_eq!(bed.store.summary(saga(n)).await.unwrap(), None);
        assert!(
            bed.store
                .transitions(saga(n), 1, 1)
                .await
                .unwrap()
                .is_empty()
        );
    }
    let mut filter = amends::store::ListFilter::default();
    filter.labels.insert("a".to_owned(), "b".to_owned());
    assert!(bed.store.list(&filter, None, 5).await.unwrap().is_empty());
}

async fn two_starts_with_a_key_at_once_make_one(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    let outcomes = append_all(&journal, (1..=64).map(|n| keyed(n, "same", 3))).await;
    assert_eq!(*outcomes[0].as_ref().unwrap(), Appended::Written);
    let seen = Appended::KeySeen {
        saga: saga(1),
        digest: [3; 32],
    };
    assert!(
        outcomes[1..]
            .iter()
            .all(|outcome| *outcome.as_ref().unwrap() == seen)
    );
    assert_eq!(bed.store.standing(&[0]).await.unwrap().unfinished(), 1);
}

async fn keys_differ_by_case_and_blanks(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    let keys = ["a", "A", "a ", "á", ""];
    write_all(
        &journal,
        keys.iter().zip(1..).map(|(key, n)| keyed(n, key, 1)),
    )
    .await;
}

async fn a_bad_row_fails_alone(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    write_all(&journal, [start(500)]).await;
    let mut entries: Vec<_> = (0..200).map(start).collect();
    entries[77].transition.count = 0;
    entries.push(step(77, 2));
    let outcomes = append_all(&journal, entries).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Err(AppendError::Rejected(_)) => assert!(n == 77 || n == 200, "{n}"),
            other => assert_eq!(*other.as_ref().unwrap(), Appended::Written, "{n}"),
        }
    }
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_err()).count(),
        2
    );
    assert_eq!(bed.store.summary(saga(77)).await.unwrap(), None);
    assert_eq!(bed.store.standing(&[0]).await.unwrap().unfinished(), 200);
    assert!(*journal.available().borrow());
}

async fn a_bad_leader_leaves_the_key_to_its_follower(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    let mut bad = keyed(1, "k", 1);
    bad.transition.count = 0;
    let outcomes = append_all(&journal, [bad, keyed(2, "k", 1), start(3)]).await;
    assert!(matches!(outcomes[0], Err(AppendError::Rejected(_))));
    assert_eq!(*outcomes[1].as_ref().unwrap(), Appended::Written);
    assert_eq!(*outcomes[2].as_ref().unwrap(), Appended::Written);
}

async fn another_event_with_that_number_is_a_clash(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    write_all(&journal, [start(1), step(1, 2)]).await;
    let mut other = step(1, 2);
    other.transition.events = "[{}]".to_owned();
    let outcomes = append_all(&journal, [start(2), other, step(1, 3), start(3)]).await;
    assert_eq!(*outcomes[0].as_ref().unwrap(), Appended::Written);
    assert!(
        matches!(outcomes[1], Err(AppendError::Clash)),
        "{:?}",
        outcomes[1]
    );
    assert!(
        matches!(outcomes[2], Err(AppendError::Clash)),
        "{:?}",
        outcomes[2]
    );
    assert_eq!(*outcomes[3].as_ref().unwrap(), Appended::Written);
    let stored = bed.store.transitions(saga(1), 1, 10).await.unwrap();
    assert_eq!(stored.len(), 2);
    assert_eq!(stored[1].events, step(1, 2).transition.events);
}

async fn a_withdrawn_start_is_not_written(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    let gone = start(1);
    gone.start
        .as_ref()
        .unwrap()
        .withdrawn
        .store(true, Ordering::Release);
    let outcomes = append_all(&journal, [gone, start(2)]).await;
    assert!(matches!(outcomes[0], Err(AppendError::Withdrawn)));
    assert_eq!(*outcomes[1].as_ref().unwrap(), Appended::Written);
    assert_eq!(bed.store.summary(saga(1)).await.unwrap(), None);
}

async fn counters_count_what_was_written(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    let mut entry = keyed(1, "k", 1);
    entry.transition.count = 3;
    entry
        .start
        .as_mut()
        .unwrap()
        .labels
        .insert("a".to_owned(), "b".to_owned());
    write_all(&journal, [entry]).await;
    write_all(&journal, [step(1, 4)]).await;
    // An event, a summary, a label, a key; then an event.
    assert_eq!(
        journal.counters(),
        Counters {
            commits: 2,
            rows: 5,
            events: 4,
            batches: 2
        }
    );
}

async fn a_stopped_journal_writes_what_waits(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    let receipts: Vec<_> = (0..10).map(|n| journal.append(start(n))).collect();
    bed.stop.cancel();
    for receipt in receipts {
        assert_eq!(receipt.await.unwrap(), Appended::Written);
    }
    bed.tracker.close();
    bed.tracker.wait().await;
    assert!(matches!(
        journal.append(start(11)).await,
        Err(AppendError::Closed)
    ));
}
