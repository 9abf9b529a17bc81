//! The bulkhead and the rate limit, counted by the participant.

use std::time::Duration;

use serde_json::json;
use support::coordinator::Coordinator;
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::scripted::{Reply, Scripted, http};

use super::{
    Arrivals, LONG, ONE, answered, completed, metric, settings, start_many, step, waiting,
};

#[tokio::test]
async fn the_bulkheads_bound_is_never_passed() {
    const BOUND: usize = 5;
    const TAKES: Duration = Duration::from_millis(30);
    let arrivals = Arrivals::default();
    let seen = arrivals.clone();
    let guarded = Scripted::start(move |asked| {
        seen.note(asked, true);
        Reply::Late(TAKES, http(200, &[], b"{}"))
    });
    let database = TestDatabase::fresh(Kind::Sqlite);
    let definitions = Definitions::of(&[ONE]);
    // Most of them do not even find room in memory.
    let keys = [
        ("bulkhead.max_concurrent", "5"),
        ("bulkhead.max_waiting", "20"),
    ];
    let coordinator = Coordinator::start(settings(&database, &definitions, &guarded, &keys)).await;
    let api = coordinator.api();
    let sagas = start_many(&api, "one", 200).await;
    completed(&api, sagas.len(), LONG).await;
    let all = arrivals.all();
    assert_eq!(all.len(), sagas.len(), "every saga is asked for once");
    // An answer leaves no sooner than `TAKES` after its call has come.
    let under_way = all.iter().map(|one| {
        let others = all.iter();
        others
            .filter(|other| other.at <= one.at && one.at.duration_since(other.at) < TAKES)
            .count()
    });
    assert_eq!(under_way.max(), Some(BOUND));
    let in_flight = metric(
        &coordinator,
        "amends_bulkhead_in_flight{participant=\"guarded\"",
    )
    .await;
    assert_eq!(in_flight, Some(0.0));
}

#[tokio::test]
async fn a_limit_of_fifty_a_second_holds_within_five_percent() {
    let arrivals = Arrivals::default();
    let seen = arrivals.clone();
    let guarded = Scripted::start(move |asked| {
        seen.note(asked, true);
        answered()
    });
    let database = TestDatabase::fresh(Kind::Sqlite);
    let definitions = Definitions::of(&[ONE]);
    let keys = [
        ("rate_limit.per_second", "50"),
        ("rate_limit.burst", "10"),
        // So that some of them wait in the journal.
        ("bulkhead.max_wait", "3s"),
        ("bulkhead.max_waiting", "200"),
    ];
    let coordinator = Coordinator::start(settings(&database, &definitions, &guarded, &keys)).await;
    let api = coordinator.api();
    let sagas = start_many(&api, "one", 620).await;
    let last = sagas.last().expect("sagas");
    let last = support::eventually("the last to wait", LONG, async || {
        let step = step(&api, last, "ask").await;
        (step["status"] == "waiting").then_some(step)
    })
    .await;
    assert_eq!(last["waiting_for"], "rate_limit", "{last}");
    assert_eq!(last["attempts"], 0, "{last}");
    let count = waiting(&coordinator).await;
    assert!(count.is_some_and(|count| count > 100.0), "{count:?}");
    completed(&api, sagas.len(), LONG).await;
    let all = arrivals.all();
    assert_eq!(all.len(), sagas.len());
    // The ten seconds after the burst.
    let begun = all[0].at + Duration::from_secs(1);
    let steady = all.iter().filter(|arrival| {
        arrival.at >= begun && arrival.at.duration_since(begun) < Duration::from_secs(10)
    });
    let steady = steady.count();
    assert!((475..=525).contains(&steady), "{steady} in ten seconds");
    let most = arrivals.most_within(Duration::from_secs(10));
    assert!(
        most <= 525 + 10,
        "{most} in ten seconds, the burst included"
    );
    let whole = api.saga(&sagas[0]).await.expect("an answer").body;
    assert_eq!(whole["output"], json!({ "ok": true }));
}
