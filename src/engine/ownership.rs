//! Who this replica is to the database: it takes a lease, claims shards, renews the lease, and
//! when that is lost, drops everything and begins anew. One task for the life of the process.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::summary::HORIZON_MS;
use super::tenure::Tenure;
use super::{Parts, clock};
use crate::saga::Timestamp;
use crate::store::{Journal, Lease, OwnedShard, Renewal, StoreError};

/// How soon what failed with the database is tried again, at first and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often a replica looks for shards that it may take, and for waits that end soon.
const LOOK_EVERY: Duration = Duration::from_millis(1_000);

/// Owns shards until the process stops.
pub(super) async fn own(parts: Arc<Parts>) {
    while !parts.stopping.stopped.is_cancelled() {
        let Some(lease) = register(&parts).await else {
            return;
        };
        let lease = Arc::new(lease);
        let ended = parts.stopping.hard.child_token();
        let journal = Journal::start(
            &parts.store,
            Arc::clone(&lease),
            Arc::clone(&parts.metrics),
            &parts.stopping.tasks,
            ended.clone(),
        );
        let tenure = Tenure::new(
            Arc::clone(&parts),
            Arc::clone(&lease),
            journal,
            ended.clone(),
        );
        *parts.tenure.write() = Some(Arc::clone(&tenure));
        let timers = Arc::clone(&tenure).keep_time();
        parts.stopping.tasks.spawn(timers);
        for gate in parts.dispatcher.gates() {
            let recall = Arc::clone(&tenure).recall(Arc::clone(gate));
            parts.stopping.tasks.spawn(recall);
        }
        let watch = Arc::clone(&tenure).watch_database();
        parts.stopping.tasks.spawn(watch);
        parts
            .stopping
            .calls
            .spawn(Arc::clone(&tenure).keep_awaiting());
        parts
            .stopping
            .tasks
            .spawn(Arc::clone(&tenure).empty_inbox());
        hold(&tenure).await;
        *parts.tenure.write() = None;
        if parts.stopping.stopped.is_cancelled() {
            give_back(&lease).await;
        } else {
            parts.metrics.lease_lost();
            tracing::warn!("the lease was lost: everything in memory is dropped");
        }
        ended.cancel();
    }
}

/// Takes a lease, for as long as it takes.
async fn register(parts: &Parts) -> Option<Lease> {
    let settings = &parts.settings;
    let mut wait = BACK_OFF.0;
    loop {
        let registered = parts
            .store
            .register(
                clock::replica_id(),
                &settings.replica,
                settings.lease_ms,
                settings.shards,
            )
            .await;
        match registered {
            Ok(lease) => {
                parts.database_up.store(true, Ordering::Relaxed);
                return Some(lease);
            }
            Err(error) => {
                parts.database_up.store(false, Ordering::Relaxed);
                tracing::warn!(%error, "no lease could be taken; trying again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(BACK_OFF.1),
            () = parts.stopping.stopped.cancelled() => return None,
        }
    }
}

/// Holds the lease until it is lost or the process stops.
async fn hold(tenure: &Arc<Tenure>) {
    let renew_every = Duration::from_millis((tenure.parts.settings.lease_ms / 3).max(1));
    let mut renewed = tokio::time::Instant::now();
    let mut looked = Looked::default();
    loop {
        match look(tenure, &mut looked).await {
            Ok(()) => tenure.parts.database_up.store(true, Ordering::Relaxed),
            Err(error) => failed(tenure, &error),
        }
        let next = LOOK_EVERY.min(renew_every);
        tokio::select! {
            () = tokio::time::sleep(next) => {}
            () = tenure.ended.cancelled() => return,
            () = tenure.stopping().stopped.cancelled() => return,
        }
        if renewed.elapsed() < renew_every {
            continue;
        }
        match tenure.lease.renew().await {
            Ok(Renewal::Held) => renewed = tokio::time::Instant::now(),
            Ok(Renewal::Lost) => return,
            Err(error) => failed(tenure, &error),
        }
    }
}

/// How far a tenure has come with taking over and looking ahead. What a database that goes away
/// cuts short is gone on with from here.
#[derive(Default)]
struct Looked {
    /// Claimed, and not counted yet.
    claimed: Vec<OwnedShard>,
    /// Taken in, and not all of their sagas brought in yet.
    recovering: Vec<OwnedShard>,
    /// Whether what brokers bring is taken.
    takes_mail: bool,
    /// How far ahead the times of waiting sagas have been looked at.
    upper: Option<Timestamp>,
}

/// Claims what is free, and brings in the sagas whose times come near.
async fn look(tenure: &Arc<Tenure>, looked: &mut Looked) -> Result<(), StoreError> {
    if tenure.stopping().draining.is_cancelled() {
        return Ok(());
    }
    if tenure.owned().len() < usize::from(tenure.parts.settings.shards) {
        looked.claimed.extend(tenure.lease.claim().await?);
    }
    if !looked.claimed.is_empty() {
        tenure.take_over(&looked.claimed).await?;
        looked.recovering.append(&mut looked.claimed);
    }
    // What brokers bring is for sagas that somebody owns.
    if !looked.takes_mail && tenure.owns_any() {
        looked.takes_mail = true;
        let stopping = tenure.stopping();
        let mail = Arc::clone(tenure).take_mail();
        stopping.calls.spawn_on(mail, &stopping.runtime);
    }
    if !looked.recovering.is_empty() {
        let upper = tenure.recover(&looked.recovering).await?;
        looked.recovering.clear();
        looked.upper.get_or_insert(upper);
    }
    if let Some(lower) = looked.upper {
        let upper = clock::now().plus_ms(HORIZON_MS);
        if lower.ms_until(upper) >= HORIZON_MS / 3 {
            tenure
                .bring_in_due(&tenure.owned(), Some(lower), upper)
                .await?;
            looked.upper = Some(upper);
        }
    }
    Ok(())
}

fn failed(tenure: &Tenure, error: &StoreError) {
    if !error.is_unavailable() {
        return tracing::error!(%error, "a look at the database came to nothing; it is tried again");
    }
    if tenure.parts.database_up.swap(false, Ordering::Relaxed) {
        tracing::warn!(%error, "the database does not answer; sagas wait until it does");
    }
}

async fn give_back(lease: &Lease) {
    if let Err(error) = lease.release().await {
        tracing::warn!(%error, "the shards could not be given back; they are free when the lease is up");
    }
}
