//! Leases: one owner, and a fence behind it.

use std::sync::Arc;
use std::time::Duration;

use amends::store::{AppendError, Appended, Lease, OwnedShard, Renewal, StoreError};
use sea_orm::ConnectionTrait;

use crate::bed::{Bed, append_all, saga, start, step, write_all};

crate::contract! {
    shards_are_claimed_once on sqlite postgres mariadb;
    a_live_owner_keeps_its_shards on postgres mariadb;
    replicas_that_claim_at_once_share_no_shard on postgres mariadb;
    an_owner_whose_lease_is_up_is_replaced_and_fenced on sqlite postgres mariadb;
    a_takeover_and_a_writer_race_and_nothing_slips_through on sqlite postgres mariadb;
    released_shards_are_free_at_once on sqlite postgres mariadb;
    a_process_that_died_is_replaced_at_once on sqlite;
    a_session_that_ended_is_replaced_at_once on postgres;
    a_renewal_takes_the_session_lock_again on postgres;
    an_id_that_is_alive_is_not_registered_again on postgres;
}

fn shards(owned: &[OwnedShard]) -> Vec<(u16, i64)> {
    owned
        .iter()
        .map(|owned| (owned.shard, owned.fence))
        .collect()
}

const ALL_BY_FIRST: [(u16, i64); 4] = [(0, 1), (1, 1), (2, 1), (3, 1)];
const ALL_BY_SECOND: [(u16, i64); 4] = [(0, 2), (1, 2), (2, 2), (3, 2)];

/// Claims until there is something to take.
async fn take_over(lease: &Lease) -> Vec<OwnedShard> {
    loop {
        let taken = lease.claim().await.unwrap();
        if !taken.is_empty() {
            return taken;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn shards_are_claimed_once(bed: Arc<Bed>) {
    let lease = bed.lease(1, 60_000).await;
    assert_eq!(shards(&lease.claim().await.unwrap()), ALL_BY_FIRST);
    assert!(lease.claim().await.unwrap().is_empty());
    assert_eq!(shards(&lease.owned()), ALL_BY_FIRST);
    assert_eq!(lease.renew().await.unwrap(), Renewal::Held);
}

async fn a_live_owner_keeps_its_shards(bed: Arc<Bed>) {
    let first = bed.lease(1, 60_000).await;
    first.claim().await.unwrap();
    let second = bed.lease(2, 60_000).await;
    for _ in 0..5 {
        assert!(second.claim().await.unwrap().is_empty());
    }
    assert_eq!(first.renew().await.unwrap(), Renewal::Held);
    write_all(&bed.journal(&first), [start(1)]).await;
}

async fn replicas_that_claim_at_once_share_no_shard(bed: Arc<Bed>) {
    let first = bed.lease(1, 60_000).await;
    let second = bed.lease(2, 60_000).await;
    let (one, two) = tokio::join!(first.claim(), second.claim());
    let mut all = shards(&one.unwrap());
    all.extend(shards(&two.unwrap()));
    all.sort_unstable();
    assert_eq!(all, ALL_BY_FIRST);
}

async fn an_owner_whose_lease_is_up_is_replaced_and_fenced(bed: Arc<Bed>) {
    let first = bed.lease(1, 200).await;
    first.claim().await.unwrap();
    let journal = bed.journal(&first);
    write_all(&journal, [start(1)]).await;
    let second = bed.lease(2, 60_000).await;
    assert_eq!(shards(&take_over(&second).await), ALL_BY_SECOND);
    let outcomes = append_all(&journal, [step(1, 2), start(2)]).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Err(AppendError::Fenced)))
    );
    assert!(matches!(
        journal.append(start(3)).await,
        Err(AppendError::Fenced)
    ));
    assert_eq!(bed.store.summary(saga(2)).await.unwrap(), None);
    assert_eq!(bed.store.transitions(saga(1), 1, 9).await.unwrap().len(), 1);
    assert_eq!(first.renew().await.unwrap(), Renewal::Lost);
    assert!(matches!(first.claim().await, Err(StoreError::LeaseLost)));
    write_all(&bed.journal(&second), [step(1, 2)]).await;
}

async fn a_takeover_and_a_writer_race_and_nothing_slips_through(bed: Arc<Bed>) {
    let first = bed.lease(1, 150).await;
    first.claim().await.unwrap();
    let journal = bed.journal(&first);
    let second = bed.lease(2, 60_000).await;
    let writing = async {
        let mut written = 0_u32;
        let mut next = 0;
        loop {
            let batch: Vec<_> = (next..next + 40).map(start).collect();
            next += 40;
            let outcomes = append_all(&journal, batch).await;
            for outcome in &outcomes {
                match outcome {
                    Ok(Appended::Written) => written += 1,
                    Err(AppendError::Fenced) => {}
                    other => panic!("{other:?}"),
                }
            }
            if outcomes.last().unwrap().is_err() {
                return written;
            }
        }
    };
    let taking = async {
        while journal.counters().commits < 5 {
            tokio::task::yield_now().await;
        }
        let taken = take_over(&second).await;
        let seen = bed.store.standing(&[0]).await.unwrap().unfinished();
        (taken, seen)
    };
    let (written, (taken, seen)) = tokio::join!(writing, taking);
    assert_eq!(shards(&taken), ALL_BY_SECOND);
    assert!(written > 0);
    assert_eq!(
        u64::from(written),
        seen,
        "all that was written was there at the takeover"
    );
    assert_eq!(bed.store.standing(&[0]).await.unwrap().unfinished(), seen);
}

async fn released_shards_are_free_at_once(bed: Arc<Bed>) {
    let first = bed.lease(1, 60_000).await;
    first.claim().await.unwrap();
    let journal = bed.journal(&first);
    first.release().await.unwrap();
    assert!(first.owned().is_empty());
    assert!(matches!(
        journal.append(start(1)).await,
        Err(AppendError::Fenced)
    ));
    let second = bed.lease(2, 60_000).await;
    assert_eq!(shards(&second.claim().await.unwrap()), ALL_BY_SECOND);
}

async fn a_process_that_died_is_replaced_at_once(bed: Arc<Bed>) {
    let first = bed.lease(1, 60_000).await;
    first.claim().await.unwrap();
    // That a second one got past the lock on the file says that the first is gone.
    let second = bed.lease(2, 60_000).await;
    assert_eq!(shards(&second.claim().await.unwrap()), ALL_BY_SECOND);
    assert_eq!(first.renew().await.unwrap(), Renewal::Lost);
}

const LEASE_MS: u64 = 30_000;

/// Ends the sessions that hold a replica's lock, as a killed process would.
async fn end_sessions(bed: &Bed) {
    let raw = bed.raw().await;
    // Right after the server's start the end of a session tells nothing.
    while raw
        .query_one(sea_orm::Statement::from_string(
            sea_orm::DbBackend::Postgres,
            format!(
                "SELECT 1 WHERE clock_timestamp() - pg_postmaster_start_time() \
                 > {LEASE_MS} * interval '1 millisecond'"
            ),
        ))
        .await
        .unwrap()
        .is_none()
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    raw.execute_unprepared(
        "SELECT pg_terminate_backend(l.pid, 5000) FROM pg_locks l JOIN pg_database d \
         ON d.oid = l.database WHERE d.datname = current_database() AND l.locktype = 'advisory'",
    )
    .await
    .unwrap();
    raw.close().await.unwrap();
}

async fn a_session_that_ended_is_replaced_at_once(bed: Arc<Bed>) {
    let first = bed.lease(1, LEASE_MS).await;
    first.claim().await.unwrap();
    let journal = bed.journal(&first);
    write_all(&journal, [start(1)]).await;
    end_sessions(&bed).await;
    let second = bed.lease(2, LEASE_MS).await;
    assert_eq!(shards(&second.claim().await.unwrap()), ALL_BY_SECOND);
    assert!(matches!(
        journal.append(step(1, 2)).await,
        Err(AppendError::Fenced)
    ));
    assert_eq!(first.renew().await.unwrap(), Renewal::Lost);
}

async fn a_renewal_takes_the_session_lock_again(bed: Arc<Bed>) {
    let first = bed.lease(1, LEASE_MS).await;
    first.claim().await.unwrap();
    end_sessions(&bed).await;
    assert_eq!(first.renew().await.unwrap(), Renewal::Held);
    let second = bed.lease(2, LEASE_MS).await;
    assert!(second.claim().await.unwrap().is_empty());
}

async fn an_id_that_is_alive_is_not_registered_again(bed: Arc<Bed>) {
    let first = bed.lease(1, LEASE_MS).await;
    let again = bed
        .store
        .register(first.id(), &crate::bed::info(), LEASE_MS, 4)
        .await;
    assert!(matches!(again, Err(StoreError::ReplicaTaken)), "{again:?}");
    assert_eq!(first.renew().await.unwrap(), Renewal::Held);
}
