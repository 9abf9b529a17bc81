//! The audit, read: filters, pages, and what they cost.

use std::sync::Arc;

use amends::saga::id::Timestamp;
use amends::store::{
    AuditAction, AuditCursor, AuditEntry, AuditFilter, AuditRecord, SYSTEM, Store,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use crate::audit::record;
use crate::bed::{Bed, T0, saga};

crate::contract! {
    every_filter_narrows on sqlite postgres mariadb;
    pages_have_every_row_once on sqlite postgres mariadb;
    filters_walk_an_index on postgres;
}

/// Forty rows: of four sagas, by three actors, of four actions, a second apart.
async fn fill(store: &Store) -> Vec<AuditRecord> {
    use AuditAction::{SagaCompensating, SagaCompleted, SagaFailed, SagaStarted};
    let actions = [SagaStarted, SagaCompleted, SagaCompensating, SagaFailed];
    let actors = ["ada", SYSTEM, "Ada"];
    let records: Vec<_> = (0_u32..40)
        .zip(0_usize..)
        .map(|(n, place)| {
            // Every tenth was written late.
            let late = if n % 10 == 9 { 15_000 } else { 0 };
            let at = T0 + i64::from(n) * 1_000 - late;
            record(actions[place % 4], n / 10, at, actors[place % 3])
        })
        .collect();
    store.record(&records).await.unwrap();
    records
}

/// The numbers, by `fill`'s count, of the rows that a filter finds, page by page.
async fn found(store: &Store, filter: &AuditFilter, limit: u64) -> Vec<u64> {
    let first = {
        let mut all = store
            .audit(&AuditFilter::default(), None, 1_000)
            .await
            .unwrap();
        all.pop().unwrap().seq
    };
    let mut numbers = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.audit(filter, cursor, limit).await.unwrap();
        numbers.extend(page.iter().map(|entry| entry.seq - first));
        if (page.len() as u64) < limit {
            return numbers;
        }
        let end = page.last().map(AuditEntry::cursor).unwrap();
        // It travels as text.
        cursor = Some(end.to_string().parse::<AuditCursor>().unwrap());
    }
}

fn moment(second: i64) -> Option<Timestamp> {
    Some(Timestamp(T0 + second * 1_000))
}

fn filter(set: impl FnOnce(&mut AuditFilter)) -> AuditFilter {
    let mut filter = AuditFilter::default();
    set(&mut filter);
    filter
}

fn filters() -> Vec<AuditFilter> {
    use AuditAction::{LateSuccess, SagaCompensating, SagaFailed, SagaStarted};
    let by = |actor: &str| filter(|f| f.actor = Some(actor.to_owned()));
    let of = |actions: &[AuditAction]| filter(|f| f.actions = actions.to_vec());
    let between = |from, to| filter(|f| (f.from, f.to) = (from, to));
    vec![
        AuditFilter::default(),
        filter(|f| f.saga = Some(saga(2))),
        filter(|f| f.saga = Some(saga(9))),
        by("ada"),
        by(SYSTEM),
        by("ada "),
        of(&[SagaStarted]),
        of(&[SagaFailed]),
        of(&[SagaFailed, SagaCompensating, SagaFailed]),
        of(&[SagaFailed, SagaStarted]),
        of(&[LateSuccess]),
        between(moment(10), None),
        between(None, moment(10)),
        between(moment(4), moment(24)),
        between(moment(24), moment(24)),
        AuditFilter {
            actions: vec![SagaFailed, SagaStarted],
            ..between(moment(4), moment(24))
        },
        AuditFilter {
            saga: Some(saga(1)),
            actions: vec![SagaStarted, SagaFailed],
            actor: Some("ada".to_owned()),
            ..between(moment(2), moment(30))
        },
    ]
}

fn lets_through(filter: &AuditFilter, record: &AuditRecord) -> bool {
    let by = filter.actor.as_ref();
    filter.saga.is_none_or(|saga| record.saga == Some(saga))
        && by.is_none_or(|actor| record.actor == *actor)
        && (filter.actions.is_empty() || filter.actions.contains(&record.action))
        && filter.from.is_none_or(|from| record.at >= from)
        && filter.to.is_none_or(|to| record.at < to)
}

async fn every_filter_narrows(bed: Arc<Bed>) {
    let records = fill(&bed.store).await;
    for filter in filters() {
        let by_time = filter.saga.is_none() && (filter.from.is_some() || filter.to.is_some());
        let mut expected: Vec<_> = (0_u64..)
            .zip(&records)
            .filter(|(_, record)| lets_through(&filter, record))
            .map(|(n, record)| (if by_time { record.at.0 } else { 0 }, n))
            .collect();
        expected.sort_unstable();
        let expected: Vec<_> = expected.into_iter().rev().map(|(_, n)| n).collect();
        let whole = found(&bed.store, &filter, 1_000).await;
        assert_eq!(whole, expected, "{filter:?}");
        let paged = found(&bed.store, &filter, 3).await;
        assert_eq!(paged, expected, "{filter:?} in pages");
    }
}

async fn pages_have_every_row_once(bed: Arc<Bed>) {
    fill(&bed.store).await;
    // Rows of one and the same moment.
    let same: Vec<_> = (0..7)
        .map(|_| record(AuditAction::SagaFailed, 1, T0 + 5_000, "ada"))
        .collect();
    bed.store.record(&same).await.unwrap();
    let by_time = AuditFilter {
        from: Some(Timestamp(T0 - 60_000)),
        ..AuditFilter::default()
    };
    for filter in [AuditFilter::default(), by_time] {
        for limit in [1, 2, 46, 47, 48] {
            let mut numbers = found(&bed.store, &filter, limit).await;
            numbers.sort_unstable();
            assert_eq!(numbers, (0..47).collect::<Vec<_>>(), "{filter:?} {limit}");
        }
    }
}

/// The rare among many are looked for in their index, by the server's own count.
async fn filters_walk_an_index(bed: Arc<Bed>) {
    let many: Vec<_> = (0..6_000_u32)
        .map(|n| {
            let (action, actor) = match n % 2 {
                0 => (AuditAction::SagaStarted, "shop"),
                _ => (AuditAction::SagaCompleted, SYSTEM),
            };
            record(action, n / 2, T0 + i64::from(n), actor)
        })
        .collect();
    bed.store.record(&many).await.unwrap();
    let rare = record(AuditAction::SagaCancelled, 1, T0, "ada");
    bed.store.record(&[rare]).await.unwrap();
    let raw = bed.raw().await;
    raw.execute_unprepared("ANALYZE").await.unwrap();
    let action = AuditFilter {
        actions: vec![AuditAction::SagaCancelled],
        ..AuditFilter::default()
    };
    let actor = AuditFilter {
        actor: Some("ada".to_owned()),
        ..AuditFilter::default()
    };
    let about = AuditFilter {
        saga: Some(saga(77)),
        ..AuditFilter::default()
    };
    let time = AuditFilter {
        from: Some(Timestamp(T0 + 100)),
        to: Some(Timestamp(T0 + 110)),
        ..AuditFilter::default()
    };
    let cases = [
        (action, "audit_log_by_action"),
        (actor, "audit_log_by_actor"),
        (about, "audit_log_by_saga"),
        (time, "audit_log_by_time"),
    ];
    for (filter, index) in cases {
        let before = scans(&raw, index).await;
        assert!(!bed.store.audit(&filter, None, 5).await.unwrap().is_empty());
        // The server counts some moments later.
        while scans(&raw, index).await == before {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    raw.close().await.unwrap();
}

/// How often an index was walked, by the server's own count.
pub(crate) async fn scans(raw: &DatabaseConnection, index: &str) -> i64 {
    let sql = format!("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = '{index}'");
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    let row = raw.query_one(statement).await.unwrap().unwrap();
    row.try_get("", "idx_scan").unwrap()
}
