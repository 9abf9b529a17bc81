//! The inbox: an input leaves it in the transaction that journals its effect, and in no other way by
//! itself. And the secrets that replicas share.

use std::net::IpAddr;
use std::sync::Arc;

use amends::saga::id::Timestamp;
use amends::store::{AppendError, Appended, InboxId, InboxRow};

use crate::bed::{Bed, T0, append_all, keyed, saga, start, step, write_all};

crate::contract! {
    what_is_put_in_waits_for_the_owner_of_its_shard on sqlite postgres mariadb;
    an_input_leaves_with_its_effect on sqlite postgres mariadb;
    an_input_leaves_in_a_batch_with_start_keys on sqlite postgres mariadb;
    an_input_stays_when_its_effect_is_not_written on sqlite postgres mariadb;
    replicas_share_a_secret on sqlite postgres mariadb;
}

async fn put(bed: &Bed, n: u32, shard: u16, input: &str) {
    let remote: IpAddr = "2001:db8::7".parse().unwrap();
    let put = bed
        .store
        .put_in_inbox((saga(n), shard), Timestamp(T0), Some(remote), input);
    put.await.unwrap();
}

async fn ids(bed: &Bed) -> Vec<InboxId> {
    let rows = bed.store.inbox(&[0, 1, 2, 3], 100).await.unwrap();
    rows.iter().map(|row| row.id).collect()
}

async fn what_is_put_in_waits_for_the_owner_of_its_shard(bed: Arc<Bed>) {
    for (n, shard) in [(1, 0), (2, 1), (1, 0)] {
        put(&bed, n, shard, &format!("żółć {n}")).await;
    }
    let rows = bed.store.inbox(&[0], 100).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows[0].id < rows[1].id, "the oldest first");
    let first = InboxRow {
        id: rows[0].id,
        saga: saga(1),
        received_at: Timestamp(T0),
        remote: Some("2001:db8::7".parse().unwrap()),
        input: "żółć 1".to_owned(),
    };
    assert_eq!(rows[0], first);
    assert_eq!(bed.store.inbox(&[0, 1], 2).await.unwrap().len(), 2);
    assert_eq!(bed.store.inbox(&[], 100).await.unwrap(), Vec::new());
    bed.store.drop_from_inbox(first.id).await.unwrap();
    assert_eq!(bed.store.inbox(&[0, 1], 100).await.unwrap().len(), 2);
    assert_eq!(bed.store.shard_of(saga(1)).await.unwrap(), None);
    let journal = bed.writer().await;
    write_all(&journal, [start(1)]).await;
    assert_eq!(bed.store.shard_of(saga(1)).await.unwrap(), Some(0));
}

async fn an_input_leaves_with_its_effect(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    write_all(&journal, [start(1)]).await;
    for n in 1..=3 {
        put(&bed, n, 0, "{}").await;
    }
    let before = ids(&bed).await;
    let mut taken = step(1, 2);
    taken.inbox = Some(before[1]);
    write_all(&journal, [taken, start(2)]).await;
    assert_eq!(ids(&bed).await, [before[0], before[2]]);
}

async fn an_input_leaves_in_a_batch_with_start_keys(bed: Arc<Bed>) {
    let journal = bed.writer().await;
    write_all(&journal, [start(1)]).await;
    put(&bed, 1, 0, "{}").await;
    let mut taken = step(1, 2);
    taken.inbox = ids(&bed).await.first().copied();
    write_all(&journal, [keyed(2, "k", 1), taken]).await;
    assert_eq!(ids(&bed).await, []);
}

async fn an_input_stays_when_its_effect_is_not_written(bed: Arc<Bed>) {
    let lease = bed.lease(1, 60_000).await;
    lease.claim().await.unwrap();
    let journal = bed.journal(&lease);
    write_all(&journal, [start(1)]).await;
    put(&bed, 1, 0, "{}").await;
    let waiting = ids(&bed).await;
    // Somebody else has that number already.
    let mut clash = step(1, 1);
    clash.transition.events = r#"[{"type":"another"}]"#.to_owned();
    clash.inbox = waiting.first().copied();
    let told = append_all(&journal, [clash]).await;
    assert!(matches!(told[0], Err(AppendError::Clash)), "{told:?}");
    assert_eq!(ids(&bed).await, waiting);
    // Another replica has taken over.
    lease.release().await.unwrap();
    let mut late = step(1, 2);
    late.inbox = waiting.first().copied();
    let told = append_all(&journal, [late]).await;
    assert!(!matches!(told[0], Ok(Appended::Written)), "{told:?}");
    assert_eq!(ids(&bed).await, waiting);
}

async fn replicas_share_a_secret(bed: Arc<Bed>) {
    let at = Timestamp(T0);
    let first = bed.store.shared_secret("key", "one", at).await.unwrap();
    let second = bed.store.shared_secret("key", "two", at).await.unwrap();
    let other = bed.store.shared_secret("other", "two", at).await.unwrap();
    assert_eq!(
        (first.as_str(), second.as_str(), other.as_str()),
        ("one", "one", "two")
    );
}
