//! The database goes away and comes back: nothing is lost and nothing is there twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use amends::store::{AppendError, Appended, Journal, Store};
use sea_orm::ConnectionTrait;

use crate::bed::{Bed, append_all, connect, info, metrics, replica, saga, start, step, write_all};
use crate::proxy::Proxy;

crate::contract! {
    what_was_appended_while_it_was_away_is_written on postgres mariadb;
    cuts_in_the_middle_lose_and_repeat_nothing on postgres mariadb;
    a_start_withdrawn_while_it_was_away_is_dropped on postgres mariadb;
    a_journal_stopped_while_it_is_away_ends on postgres mariadb;
    a_killed_journal_session_is_replaced on postgres mariadb;
}

async fn journal_through(bed: &Bed) -> (Proxy, Store, Journal) {
    let (proxy, url) = Proxy::before(&bed.url).await;
    let store = connect(&url).await;
    let lease = Arc::new(
        bed.store
            .register(replica(1), &info(), 120_000, 4)
            .await
            .unwrap(),
    );
    lease.claim().await.unwrap();
    let journal = Journal::start(
        &store,
        lease,
        metrics(),
        &bed.tracker,
        bed.stop.child_token(),
    );
    (proxy, store, journal)
}

async fn wait_available(journal: &Journal, wanted: bool) {
    journal
        .available()
        .wait_for(|available| *available == wanted)
        .await
        .unwrap();
}

async fn what_was_appended_while_it_was_away_is_written(bed: Arc<Bed>) {
    let (proxy, store, journal) = journal_through(&bed).await;
    write_all(&journal, [start(0)]).await;
    proxy.cut();
    let receipts: Vec<_> = (1..=50).map(|n| journal.append(start(n))).collect();
    wait_available(&journal, false).await;
    assert_eq!(journal.pending(), 50);
    assert!(store.ping().await.unwrap_err().is_unavailable());
    proxy.mend();
    for receipt in receipts {
        assert_eq!(receipt.await.unwrap(), Appended::Written);
    }
    wait_available(&journal, true).await;
    assert_eq!(bed.store.standing(&[0]).await.unwrap().unfinished(), 51);
    store.ping().await.unwrap();
    store.close().await.unwrap();
}

async fn cuts_in_the_middle_lose_and_repeat_nothing(bed: Arc<Bed>) {
    const SAGAS: u32 = 16;
    const STEPS: u64 = 60;
    let (proxy, store, journal) = journal_through(&bed).await;
    let writers = (0..SAGAS).map(|n| {
        let journal = journal.clone();
        async move {
            write_all(&journal, [start(n)]).await;
            for seq in 2..=STEPS {
                write_all(&journal, [step(n, seq)]).await;
            }
        }
    });
    let cutting = async {
        for cut in 0_u64..12 {
            tokio::time::sleep(Duration::from_millis(7 + 5 * (cut % 5))).await;
            proxy.cut();
            tokio::time::sleep(Duration::from_millis(10)).await;
            proxy.mend();
        }
    };
    tokio::join!(futures_util::future::join_all(writers), cutting);
    for n in 0..SAGAS {
        let stored = bed.store.transitions(saga(n), 1, 1000).await.unwrap();
        let seqs: Vec<u64> = stored.iter().map(|transition| transition.seq).collect();
        assert_eq!(seqs, (1..=STEPS).collect::<Vec<_>>(), "saga {n}");
        assert!(
            stored[1..]
                .iter()
                .all(|t| t.events == step(n, t.seq).transition.events)
        );
    }
    store.close().await.unwrap();
}

async fn a_start_withdrawn_while_it_was_away_is_dropped(bed: Arc<Bed>) {
    let (proxy, store, journal) = journal_through(&bed).await;
    write_all(&journal, [start(0)]).await;
    proxy.cut();
    let gone = start(1);
    let withdrawn = Arc::clone(&gone.start.as_ref().unwrap().withdrawn);
    let (gone, kept) = (journal.append(gone), journal.append(start(2)));
    wait_available(&journal, false).await;
    withdrawn.store(true, Ordering::Release);
    proxy.mend();
    assert!(matches!(gone.await, Err(AppendError::Withdrawn)));
    assert_eq!(kept.await.unwrap(), Appended::Written);
    assert_eq!(bed.store.summary(saga(1)).await.unwrap(), None);
    store.close().await.unwrap();
}

async fn a_journal_stopped_while_it_is_away_ends(bed: Arc<Bed>) {
    let (proxy, store, journal) = journal_through(&bed).await;
    write_all(&journal, [start(0)]).await;
    proxy.cut();
    let receipt = journal.append(start(1));
    wait_available(&journal, false).await;
    bed.stop.cancel();
    assert!(matches!(receipt.await, Err(AppendError::Closed)));
    store.close().await.unwrap();
}

async fn a_killed_journal_session_is_replaced(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    write_all(&journal, [start(0)]).await;
    let raw = bed.raw().await;
    let sql = match bed.kind {
        crate::bed::Kind::MariaDb => {
            "BEGIN NOT ATOMIC FOR c IN (SELECT id FROM information_schema.processlist \
             WHERE db = DATABASE() AND id <> CONNECTION_ID()) DO KILL c.id; END FOR; END"
        }
        crate::bed::Kind::Postgres | crate::bed::Kind::Sqlite => {
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()"
        }
    };
    raw.execute_unprepared(sql).await.unwrap();
    let mut labelled = start(1);
    labelled.start.as_mut().unwrap().labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let outcomes = append_all(&journal, [labelled, start(2)]).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Ok(Appended::Written)))
    );
    assert_eq!(bed.store.standing(&[0]).await.unwrap().unfinished(), 3);
    raw.close().await.unwrap();
}
