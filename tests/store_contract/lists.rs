//! Lists, look-ups and recovery.

use std::collections::BTreeMap;
use std::sync::Arc;

use amends::saga::id::{SagaId, Timestamp};
use amends::saga::outcome::Status;
use amends::store::{Entry, Failure, ListFilter};

use crate::bed::{Bed, T0, saga, start, step, transition, write_all};

crate::contract! {
    every_filter_narrows_the_list on sqlite postgres mariadb;
    pages_are_newest_first_and_complete on sqlite postgres mariadb;
    transitions_begin_with_the_one_that_contains_the_event on sqlite postgres mariadb;
    a_summary_comes_back_as_it_was_written on sqlite postgres mariadb;
    due_sagas_come_oldest_first_in_pages on sqlite postgres mariadb;
}

fn numbers(rows: &[amends::store::SummaryRow]) -> Vec<u32> {
    rows.iter()
        .map(|row| u32::try_from(row.created_at.0 - T0).unwrap())
        .collect()
}

async fn listed(bed: &Bed, filter: ListFilter) -> Vec<u32> {
    numbers(&bed.store.list(&filter, None, 100).await.unwrap())
}

/// Eight sagas, each with something of its own.
fn eight_sagas() -> Vec<Entry> {
    let mut entries: Vec<_> = (1..=8).map(start).collect();
    for (entry, n) in entries.iter_mut().zip(1..) {
        let write = entry.summary.as_mut().unwrap();
        write.definition = if n <= 2 { "Order" } else { "order" }.to_owned();
        write.version = if n % 2 == 0 { 2 } else { 1 };
        write.key = (n >= 7).then(|| "ORD-1".to_owned());
        write.suspended = n == 3;
        write.overdue = n == 4;
        if n == 5 {
            write.status = Status::Failed;
            write.failure = Some(Failure {
                step: None,
                code: "card_declined".to_owned(),
                message: "No".to_owned(),
            });
        }
        if n == 6 {
            write.status = Status::Completed;
        }
        let labels = &mut entry.start.as_mut().unwrap().labels;
        labels.insert("parity".to_owned(), (n % 2).to_string());
        if n > 4 {
            labels.insert("half".to_owned(), "second".to_owned());
        }
    }
    entries
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn filters_and_what_they_let_through() -> Vec<(ListFilter, Vec<u32>)> {
    let some = |text: &str| Some(text.to_owned());
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect()
    };
    let any = ListFilter::default;
    vec![
        (any(), vec![8, 7, 6, 5, 4, 3, 2, 1]),
        (
            ListFilter {
                definition: some("Order"),
                ..any()
            },
            vec![2, 1],
        ),
        (
            ListFilter {
                definition: some("order "),
                ..any()
            },
            vec![],
        ),
        (
            ListFilter {
                definition: some("order"),
                version: Some(2),
                ..any()
            },
            vec![8, 6, 4],
        ),
        (
            ListFilter {
                statuses: vec![Status::Failed, Status::Completed],
                ..any()
            },
            vec![6, 5],
        ),
        (
            ListFilter {
                statuses: vec![Status::Compensated],
                ..any()
            },
            vec![],
        ),
        (
            ListFilter {
                key: some("ORD-1"),
                ..any()
            },
            vec![8, 7],
        ),
        (
            ListFilter {
                labels: labels(&[("parity", "0")]),
                ..any()
            },
            vec![8, 6, 4, 2],
        ),
        (
            ListFilter {
                labels: labels(&[("parity", "1"), ("half", "second")]),
                ..any()
            },
            vec![7, 5],
        ),
        (
            ListFilter {
                created_after: Some(Timestamp(T0 + 7)),
                ..any()
            },
            vec![8, 7],
        ),
        (
            ListFilter {
                created_before: Some(Timestamp(T0 + 3)),
                ..any()
            },
            vec![2, 1],
        ),
        (
            ListFilter {
                failure_code: some("card_declined"),
                ..any()
            },
            vec![5],
        ),
        (
            ListFilter {
                suspended: Some(true),
                ..any()
            },
            vec![3],
        ),
        (
            ListFilter {
                suspended: Some(false),
                ..any()
            },
            vec![8, 7, 6, 5, 4, 2, 1],
        ),
        (
            ListFilter {
                overdue: Some(true),
                ..any()
            },
            vec![4],
        ),
        (
            ListFilter {
                definition: some("order"),
                statuses: vec![Status::Running],
                labels: labels(&[("half", "second")]),
                created_before: Some(Timestamp(T0 + 8)),
                ..any()
            },
            vec![7],
        ),
    ]
}

async fn every_filter_narrows_the_list(bed: Arc<Bed>) {
    write_all(&bed.writer().await, eight_sagas()).await;
    for (filter, expected) in filters_and_what_they_let_through() {
        assert_eq!(listed(&bed, filter.clone()).await, expected, "{filter:?}");
    }
}

async fn pages_are_newest_first_and_complete(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    let entries = (0..57).map(|n| {
        let mut entry = start(n);
        entry
            .start
            .as_mut()
            .unwrap()
            .labels
            .insert("a".to_owned(), "b".to_owned());
        entry
    });
    write_all(&journal, entries).await;
    for labels in [
        BTreeMap::new(),
        BTreeMap::from([("a".to_owned(), "b".to_owned())]),
    ] {
        let filter = ListFilter {
            labels,
            ..ListFilter::default()
        };
        let mut seen = Vec::new();
        let mut cursor: Option<SagaId> = None;
        loop {
            let page = bed.store.list(&filter, cursor, 10).await.unwrap();
            let Some(last) = page.last() else { break };
            cursor = Some(last.id);
            seen.extend(numbers(&page));
        }
        assert_eq!(seen, (0..57).rev().collect::<Vec<_>>());
    }
}

async fn transitions_begin_with_the_one_that_contains_the_event(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    let mut first = start(1);
    first.transition = transition(1, 1, 2);
    let mut second = step(1, 3);
    second.transition = transition(1, 3, 3);
    write_all(&journal, [first, second, step(1, 6)]).await;
    for (from, expected) in [
        (0, vec![1, 3, 6]),
        (2, vec![1, 3, 6]),
        (3, vec![3, 6]),
        (5, vec![3, 6]),
        (6, vec![6]),
        (7, vec![]),
    ] {
        let page = bed.store.transitions(saga(1), from, 10).await.unwrap();
        let seqs: Vec<u64> = page.iter().map(|transition| transition.seq).collect();
        assert_eq!(seqs, expected, "from {from}");
    }
    assert_eq!(bed.store.transitions(saga(1), 3, 1).await.unwrap().len(), 1);
}

async fn a_summary_comes_back_as_it_was_written(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    let mut entry = start(1);
    entry.shard = 3;
    let write = entry.summary.as_mut().unwrap();
    write.key = Some(String::new());
    write.suspended = true;
    write.deadline = Some(Timestamp(T0 + 99));
    write.failure = Some(Failure {
        step: Some("charge".to_owned()),
        code: "declined".to_owned(),
        message: "Zażółć 🦀".to_owned(),
    });
    let write = write.clone();
    write_all(&journal, [entry]).await;
    let row = bed.store.summary(saga(1)).await.unwrap().unwrap();
    assert_eq!((row.id, row.shard, row.last_seq), (saga(1), 3, 1));
    assert_eq!(
        (&row.definition, row.version, &row.key),
        (&write.definition, 1, &write.key)
    );
    assert_eq!((row.suspended, row.overdue), (true, false));
    assert_eq!(row.failure, write.failure);
    assert_eq!(
        (row.created_at, row.deadline),
        (write.created_at, write.deadline)
    );
    assert_eq!((row.finished_at, row.wake_at), (None, write.wake_at));
    // A later write changes what may change and nothing else.
    let mut later = step(1, 2);
    later.shard = 3;
    let mut changed = write.clone();
    changed.failure = None;
    changed.suspended = false;
    changed.wake_at = None;
    changed.status = Status::Completed;
    changed.finished_at = Some(Timestamp(T0 + 5));
    later.summary = Some(changed);
    write_all(&journal, [later]).await;
    let row = bed.store.summary(saga(1)).await.unwrap().unwrap();
    assert_eq!(
        (row.status, row.failure, row.suspended),
        (Status::Completed, None, false)
    );
    assert_eq!(
        (row.finished_at, row.wake_at, row.last_seq),
        (Some(Timestamp(T0 + 5)), None, 2)
    );
    assert_eq!((row.key, row.deadline), (write.key, write.deadline));
}

async fn due_sagas_come_oldest_first_in_pages(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    let entries = (0..10_000).map(|n| {
        let mut entry = start(n);
        entry.shard = u16::try_from(n % 4).unwrap();
        let write = entry.summary.as_mut().unwrap();
        // Many share a moment, some never wake, some do so later.
        write.wake_at = match n % 10 {
            9 => None,
            8 => Some(Timestamp(T0 + 1_000_000)),
            _ => Some(Timestamp(T0 + i64::from(n / 700))),
        };
        entry
    });
    write_all(&journal, entries).await;
    let mut after = None;
    let mut seen = Vec::new();
    loop {
        let page = bed
            .store
            .due(&[0, 1, 3], Timestamp(T0 + 500_000), after, 500)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.wake_at, last.id));
        seen.extend(page.iter().map(|due| (due.wake_at, due.id, due.shard)));
    }
    let mut expected: Vec<_> = (0..10_000_u32)
        .filter(|n| n % 10 < 8 && n % 4 != 2)
        .map(|n| {
            (
                Timestamp(T0 + i64::from(n / 700)),
                saga(n),
                u16::try_from(n % 4).unwrap(),
            )
        })
        .collect();
    expected.sort();
    assert_eq!(seen, expected);
    assert!(
        bed.store
            .due(&[], Timestamp(i64::MAX), None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    let page: Vec<SagaId> = seen.iter().take(500).map(|(_, id, _)| *id).collect();
    let loaded = bed.store.load(&page).await.unwrap();
    assert_eq!(
        loaded
            .iter()
            .map(|saga| saga.summary.id)
            .collect::<Vec<_>>(),
        page
    );
}
