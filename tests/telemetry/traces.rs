//! A saga is one trace: one span for it, one for each attempt, through retries, compensations,
//! kills and restarts; and participants are told which attempt they serve.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use support::api::{Api, send};
use support::collector::{Collector, Seen};
use support::coordinator::{Coordinator, Settings};
use support::database::Kind;
use support::scripted::{Asked, Reply, Scripted, http};

use crate::scrape::Scrape;
use crate::{Bed, LONG, ORDER};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Spans leave soon after they end, so that a kill does not take them along.
fn traced(bed: &Bed, collector: &Collector, shop: &Scripted) -> Settings {
    bed.settings()
        .participant("shop", shop.url("shop"))
        .key("telemetry.otlp.endpoint", collector.url())
        .variable("OTEL_SERVICE_NAME", "orders")
        .variable("OTEL_BSP_SCHEDULE_DELAY", "50")
}

fn done() -> Reply {
    Reply::json(200, &json!({ "done": true }))
}

async fn start(api: &Api, traceparent: Option<&str>) -> String {
    let mut request = api
        .request(Method::POST, "/sagas")
        .json(&json!({ "definition": "order", "input": {} }));
    if let Some(traceparent) = traceparent {
        request = request
            .header("traceparent", traceparent)
            .header("tracestate", "vendor=1");
    }
    send(request).await.expect("an answer").id()
}

/// The saga's span and those of its attempts, which are all of its trace.
fn parted(spans: &[Seen]) -> (&Seen, Vec<&Seen>) {
    let (sagas, attempts): (Vec<&Seen>, Vec<&Seen>) =
        spans.iter().partition(|span| span.name == "order");
    assert_eq!(sagas.len(), 1, "{spans:#?}");
    for attempt in &attempts {
        assert_eq!(attempt.parent, sagas[0].span, "not connected: {attempt:#?}");
    }
    (sagas[0], attempts)
}

/// What each attempt was: `step phase number outcome`.
fn described(attempts: &[&Seen]) -> Vec<String> {
    let mut attempts = attempts.to_vec();
    attempts.sort_by_key(|attempt| attempt.begun_ms);
    let words = [
        "amends.step",
        "amends.phase",
        "amends.attempt",
        "amends.outcome",
    ];
    let describe = |attempt: &&Seen| words.map(|word| attempt.attribute(word)).join(" ");
    attempts.iter().map(describe).collect()
}

/// Every call says of which attempt it is, and there is no attempt without a call.
fn told_of(attempts: &[&Seen], calls: &[Asked]) {
    let mut told: Vec<&str> = calls
        .iter()
        .map(|call| call.header("traceparent"))
        .collect();
    let mut sent: Vec<String> = attempts
        .iter()
        .map(|attempt| format!("00-{}-{}-01", attempt.trace, attempt.span))
        .collect();
    told.sort_unstable();
    sent.sort_unstable();
    assert_eq!(told, sent);
}

#[tokio::test]
async fn a_saga_is_one_trace_with_a_span_for_each_attempt() {
    let charges = AtomicUsize::new(0);
    let shop = Scripted::start(move |call| {
        let (step, phase) = (call.header("amends-step"), call.header("amends-phase"));
        match (step, phase) {
            ("charge", "action") if charges.fetch_add(1, Ordering::Relaxed) < 2 => {
                Reply::http(503, &[], "")
            }
            ("ship", _) => Reply::problem(409, &json!({ "code": "no_such_street" })),
            _ => done(),
        }
    });
    let (collector, bed) = (Collector::start(), Bed::new(Kind::Sqlite, &[ORDER]));
    let coordinator = Coordinator::start(traced(&bed, &collector, &shop)).await;
    let api = coordinator.api();
    let id = start(&api, None).await;
    let end = api.settled(&id, LONG).await;
    assert_eq!(end["status"], "compensated", "{end}");

    let trace = id.replace('-', "");
    let spans = collector.wait_for(&trace, 8, LONG).await;
    let (saga, attempts) = parted(&spans);
    assert_eq!(saga.parent, "");
    assert_eq!(saga.attribute("amends.saga_id"), id);
    assert_eq!(saga.attribute("amends.status"), "compensated");
    assert!(saga.failed && saga.service == "orders", "{saga:#?}");
    assert_eq!(
        described(&attempts),
        [
            "reserve action 1 succeeded",
            "charge action 1 transient",
            "charge action 2 transient",
            "charge action 3 succeeded",
            "ship action 1 refused",
            "charge compensation 1 succeeded",
            "reserve compensation 1 succeeded",
        ]
    );
    let third = attempts
        .iter()
        .find(|attempt| attempt.attribute("amends.attempt") == "3")
        .expect("a third attempt");
    assert_eq!(third.attribute("amends.retry"), "2");
    assert_eq!(third.attribute("amends.guard_wait_ms"), "0");
    let refused = attempts
        .iter()
        .find(|attempt| attempt.attribute("amends.outcome") == "refused")
        .expect("a refusal");
    assert!(refused.failed, "{refused:#?}");
    assert_eq!(refused.attribute("error.type"), "no_such_street");
    for attempt in &attempts {
        assert!(saga.begun_ms <= attempt.begun_ms && attempt.ended_ms <= saga.ended_ms + 1);
    }
    told_of(&attempts, &shop.asked());
}

/// What was in flight is sent again as a new span of the same trace, and the saga's span has the
/// time of its true start, which only the journal knew.
#[tokio::test]
async fn a_trace_survives_kill_9() {
    let charges = AtomicUsize::new(0);
    let shop = Scripted::start(move |call| match call.header("amends-step") {
        "charge" if charges.fetch_add(1, Ordering::Relaxed) == 0 => Reply::Silence,
        _ => done(),
    });
    let (collector, bed) = (Collector::start(), Bed::new(Kind::Sqlite, &[ORDER]));
    let mut coordinator = Coordinator::start(traced(&bed, &collector, &shop)).await;
    let id = start(&coordinator.api(), None).await;
    let trace = id.replace('-', "");
    support::eventually("the charge", LONG, async || {
        (!shop.asked_for(&id, "charge").is_empty()).then_some(())
    })
    .await;
    // The first attempt has been sent; the one in flight dies with the process.
    collector.wait_for(&trace, 1, LONG).await;
    coordinator.kill();
    coordinator.restart().await;
    let end = coordinator.api().settled(&id, LONG).await;
    assert_eq!(end["status"], "completed", "{end}");

    let spans = collector.wait_for(&trace, 4, LONG).await;
    let (saga, attempts) = parted(&spans);
    assert_eq!(
        described(&attempts),
        [
            "reserve action 1 succeeded",
            "charge action 1 succeeded",
            "ship action 1 succeeded",
        ]
    );
    let created = end["created_at"].as_str().expect("a time");
    let created = chrono::DateTime::parse_from_rfc3339(created).expect("a time");
    assert_eq!(
        i64::try_from(saga.begun_ms).ok(),
        Some(created.timestamp_millis())
    );
    // Both sendings of the charge are of this trace, under spans of their own.
    let charges = shop.asked_for(&id, "charge");
    let told: Vec<&str> = charges
        .iter()
        .map(|call| call.header("traceparent"))
        .collect();
    assert_eq!(told.len(), 2);
    assert!(
        told[0] != told[1] && told.iter().all(|told| told.contains(&trace)),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_callers_trace_is_gone_on_with_and_its_decision_kept() {
    let shop = Scripted::start(|_| done());
    let (collector, bed) = (Collector::start(), Bed::new(Kind::Sqlite, &[ORDER]));
    let settings = traced(&bed, &collector, &shop);
    // What nobody decided is not traced here.
    let settings = settings.key("telemetry.otlp.sample_ratio", "0");
    let mut coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();
    let unsampled = format!("00-{}-{CALLER}-00", TRACE.replace('0', "1"));
    let mut ids = Vec::new();
    for caller in [
        Some(format!("00-{TRACE}-{CALLER}-01")),
        Some(unsampled.clone()),
        None,
    ] {
        let id = start(&api, caller.as_deref()).await;
        api.settled(&id, LONG).await;
        ids.push(id);
    }
    let spans = collector.wait_for(TRACE, 4, LONG).await;
    let (saga, attempts) = parted(&spans);
    assert_eq!((saga.parent.as_str(), attempts.len()), (CALLER, 3));
    // The end sends what is left: nothing of the other two.
    let status = coordinator.stop(LONG).await;
    assert_eq!(status.code(), Some(0), "{}", coordinator.log());
    let seen = collector.seen();
    assert!(seen.iter().all(|span| span.trace == TRACE), "{seen:#?}");

    let told = |id: &str| -> Vec<String> {
        let calls = shop.asked();
        let of_saga = calls
            .iter()
            .filter(|call| call.header("amends-saga-id") == id);
        of_saga
            .map(|call| call.header("traceparent").to_owned())
            .collect()
    };
    assert_eq!(told(&ids[1]), vec![unsampled; 3]);
    for told in told(&ids[2]) {
        let trace = ids[2].replace('-', "");
        assert!(
            told.starts_with(&format!("00-{trace}-")) && told.ends_with("-00"),
            "{told}"
        );
    }
    let states: Vec<String> = shop
        .asked_for(&ids[0], "ship")
        .iter()
        .map(|call| call.header("tracestate").to_owned())
        .collect();
    assert_eq!(states, ["vendor=1"]);
}

#[tokio::test]
async fn without_otlp_participants_still_get_a_context() {
    let shop = Scripted::start(|_| done());
    let bed = Bed::new(Kind::Sqlite, &[ORDER]);
    let settings = bed.settings().participant("shop", shop.url("shop"));
    let coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();
    let caller = format!("00-{TRACE}-{CALLER}-01");
    let (of_caller, own) = (start(&api, Some(&caller)).await, start(&api, None).await);
    for id in [&of_caller, &own] {
        api.settled(id, LONG).await;
    }
    let told = shop.asked_for(&of_caller, "reserve");
    assert_eq!(told[0].header("traceparent"), caller);
    let told = shop.asked_for(&own, "reserve");
    let parts: Vec<&str> = told[0].header("traceparent").split('-').collect();
    assert_eq!(
        (parts[0], parts[1], parts[3]),
        ("00", own.replace('-', "").as_str(), "00")
    );
    assert_eq!(parts[2].len(), 16);
}

/// A collector that is away, or that never answers, holds nothing up; not even the end.
#[tokio::test]
async fn a_collector_that_is_away_holds_nothing_up() {
    let shop = Scripted::start(|_| done());
    let silent = Scripted::start(|_| Reply::Silence);
    let bed = Bed::new(Kind::Sqlite, &[ORDER]);
    let settings = bed
        .settings()
        .participant("shop", shop.url("shop"))
        .key("telemetry.otlp.endpoint", silent.url("v1/traces"))
        .variable("OTEL_BSP_SCHEDULE_DELAY", "50");
    let mut coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(start(&api, None).await);
    }
    for id in &ids {
        let end: Value = api.settled(id, LONG).await;
        assert_eq!(end["status"], "completed");
    }
    assert!(!silent.asked().is_empty(), "nothing was exported");
    let status = coordinator.stop(Duration::from_secs(30)).await;
    assert_eq!(status.code(), Some(0), "{}", coordinator.log());
}

/// What waits for a guard is seen to wait, and afterwards its span says how long and for which.
#[tokio::test]
async fn the_wait_for_a_guard_is_on_the_span_and_in_the_metrics() {
    let shop = Scripted::start(|_| {
        let answer = http(200, &[("content-type", "application/json")], b"{}");
        Reply::Late(Duration::from_millis(300), answer)
    });
    let (collector, bed) = (Collector::start(), Bed::new(Kind::Sqlite, &[ORDER]));
    let settings =
        traced(&bed, &collector, &shop).key("participants.shop.bulkhead.max_concurrent", "1");
    let coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();
    let ids = [
        start(&api, None).await,
        start(&api, None).await,
        start(&api, None).await,
    ];
    let of_shop = [("participant", "shop")];
    let waits = [("participant", "shop"), ("guard", "bulkhead")];
    support::eventually("two that wait", LONG, async || {
        let scrape = Scrape::of(&coordinator).await;
        assert!(scrape.sum("amends_bulkhead_in_flight", &of_shop) <= 1);
        (scrape.sum("amends_guard_waiting", &waits) == 2).then_some(())
    })
    .await;
    let mut held = 0;
    for id in &ids {
        api.settled(id, LONG).await;
        let spans = collector.wait_for(&id.replace('-', ""), 4, LONG).await;
        let (_, attempts) = parted(&spans);
        for attempt in attempts {
            let waited: u64 = attempt
                .attribute("amends.guard_wait_ms")
                .parse()
                .expect("a number");
            assert!(attempt.attribute("amends.guard").is_empty() || waited > 0);
            held += usize::from(attempt.attribute("amends.guard") == "bulkhead" && waited >= 100);
            // The wait is before the span, not in it.
            assert!(attempt.ended_ms - attempt.begun_ms >= 250, "{attempt:#?}");
        }
    }
    assert!(held >= 2, "only {held} waited");
    let scrape = Scrape::of(&coordinator).await;
    assert_eq!(scrape.sum("amends_guard_waiting", &of_shop), 0);
    assert_eq!(scrape.sum("amends_bulkhead_in_flight", &of_shop), 0);
    assert_eq!(scrape.sum("amends_step_attempts_total", &of_shop), 9);
}
