//! An outage of ten minutes, compressed: one second of the test is two or three minutes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::coordinator::Coordinator;
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::scripted::{Reply, Scripted};

use super::{Arrivals, ONE, answered, by_saga, completed, settings, start_many, waiting};

const SAGAS: usize = 2_000;
const RATE: usize = 200;
const BURST: usize = 20;

/// How far the order in which sagas were done agrees with that of their starts, as Spearman's rank
/// correlation: 1 is the same, 0 is none.
fn rank_correlation(done: &[usize]) -> f64 {
    let differ = |(rank, start): (usize, &usize)| {
        let difference = u32::try_from(rank.abs_diff(*start)).expect("a rank");
        f64::from(difference).powi(2)
    };
    let squares: f64 = done.iter().enumerate().map(differ).sum();
    let count = f64::from(u32::try_from(done.len()).expect("a count"));
    1.0 - 6.0 * squares / (count * (count * count - 1.0))
}

/// A participant that is out.
fn participant(is_out: &Arc<AtomicBool>, arrivals: &Arrivals) -> Scripted {
    let (out, seen) = (Arc::clone(is_out), arrivals.clone());
    Scripted::start(move |asked| {
        let out = out.load(Ordering::Relaxed);
        seen.note(asked, !out);
        if out {
            Reply::http(503, &[], "")
        } else {
            answered()
        }
    })
}

fn in_bounds_and_in_order(arrivals: &Arrivals, sagas: &[String], bursts: usize) {
    // Each process has a burst of its own; and what left on time may arrive in a bunch.
    let most = arrivals.most_within(Duration::from_secs(3));
    let allowed = 3 * RATE + bursts * BURST + 3 * RATE / 20;
    assert!(most <= allowed, "{most} in three seconds");
    // The oldest first.
    let all = arrivals.all();
    let done: Vec<usize> = all
        .iter()
        .filter(|arrival| arrival.done)
        .map(|arrival| {
            sagas
                .iter()
                .position(|id| *id == arrival.saga)
                .expect("known")
        })
        .collect();
    let correlation = rank_correlation(&done);
    assert!(correlation > 0.99, "rank correlation {correlation}");
}

async fn an_outage(killed: bool) {
    let is_out = Arc::new(AtomicBool::new(true));
    let arrivals = Arrivals::default();
    let guarded = participant(&is_out, &arrivals);
    let database = TestDatabase::fresh(Kind::Sqlite);
    let definitions = Definitions::of(&[ONE]);
    let keys = [
        ("circuit_breaker.consecutive_failures", "5"),
        ("circuit_breaker.open_for", "100ms"),
        ("circuit_breaker.open_for_max", "500ms"),
        ("bulkhead.max_concurrent", "20"),
        ("bulkhead.max_waiting", "300"),
        ("bulkhead.max_wait", "1s"),
        ("rate_limit.per_second", "200"),
        ("rate_limit.burst", "20"),
    ];
    let settings = settings(&database, &definitions, &guarded, &keys);
    let mut coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();
    let sagas = start_many(&api, "one", SAGAS).await;
    // More than find room in memory wait, so some of them wait in the journal.
    let wait = async |coordinator: &Coordinator| {
        support::eventually("all to wait", Duration::from_secs(60), async || {
            let count = waiting(coordinator).await?;
            (count > 1_900.0).then_some(())
        })
        .await;
    };
    wait(&coordinator).await;
    if killed {
        coordinator.kill();
        coordinator.restart().await;
        wait(&coordinator).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let during = arrivals.len();
    is_out.store(false, Ordering::Relaxed);
    completed(&api, SAGAS, Duration::from_secs(90)).await;

    // Hardly anybody was called while it was away, and no attempt was used up by waiting.
    assert!(during < 150, "{during} calls during the outage");
    let all = arrivals.all();
    let calls = by_saga(&all);
    assert_eq!(calls.len(), SAGAS);
    for saga in sagas.iter().step_by(97) {
        let whole = api.saga(saga).await.expect("an answer").body;
        let attempts = whole["steps"][0]["attempts"].as_u64().expect("a count");
        let calls = u64::try_from(calls[saga.as_str()]).expect("a count");
        assert!(
            attempts <= calls && calls <= attempts + 1,
            "{whole} {calls}"
        );
    }
    in_bounds_and_in_order(&arrivals, &sagas, if killed { 2 } else { 1 });
}

#[tokio::test]
async fn after_an_outage_the_oldest_go_first() {
    an_outage(false).await;
}

#[tokio::test]
async fn after_an_outage_with_a_crash_the_oldest_go_first() {
    an_outage(true).await;
}
