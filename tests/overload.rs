//! Four times what the coordinator can take, for half a minute: what is too much is refused at once,
//! memory stays bounded, and what was accepted finishes.
//!
//! What it can take is bounded here by `max_active_sagas` and a participant that takes its time, not
//! by the processors, which the load, the participant and the build on a developer's machine share
//! with it; `benches/end_to_end` measures those.
#![expect(clippy::expect_used, clippy::panic, reason = "a test may")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use support::api::{Api, send};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::ledger::{Faults, Ledger};
use tokio::task::JoinSet;

const BINARY: &str = env!("CARGO_BIN_EXE_amends");
/// `engine.max_active_sagas`.
const ACTIVE_MAX: usize = 25;
/// How long a call takes.
const EXCHANGE: Duration = Duration::from_millis(150);
/// How long the overload lasts.
const OVERLOAD: Duration = Duration::from_secs(30);
/// How much more is asked for than can be taken.
const TIMES: f64 = 4.0;
/// Within what all but one in a hundred of what is too much are refused.
const REFUSED_WITHIN: Duration = Duration::from_millis(50);
/// How much memory the coordinator may come to hold beyond what it held before, in KiB.
const GROWTH_MAX_KIB: u64 = 64 * 1024;
/// A saga's input: what a flood would fill memory with.
const INPUT_BYTES: usize = 4 * 1024;
const LONG: Duration = Duration::from_secs(60);

const ORDER: &str = "
name: order
version: 1
steps:
  - { id: reserve, participant: ledger, action: { command: reserve },
      compensation: { command: release } }
  - { id: ship, participant: ledger, action: { command: ship }, compensation: { command: halt } }
";
const STEPS: &[&str] = &["reserve", "ship"];

fn body() -> Value {
    json!({ "definition": "order", "input": { "text": "x".repeat(INPUT_BYTES) } })
}

/// How many sagas a second finish when as many run as may, each followed by the next.
async fn sustainable(api: &Api) -> f64 {
    const SAGAS: usize = 250;
    let begun = Instant::now();
    let clients = (0..ACTIVE_MAX).map(|_| async {
        for _ in 0..SAGAS / ACTIVE_MAX {
            let request = api.request(Method::POST, "/sagas");
            let request = request.header("prefer", "wait=30").json(&body());
            let answer = send(request).await.expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
    });
    join_all(clients).await;
    f64::from(u32::try_from(SAGAS).expect("a few")) / begun.elapsed().as_secs_f64()
}

/// What became of the starts of an overload.
#[derive(Default)]
struct Outcome {
    accepted: Vec<String>,
    /// How long each refusal took.
    refused: Vec<Duration>,
}

/// Starts at a fixed rate, whether those before are answered or not.
async fn overload(api: &Api, per_second: f64) -> Outcome {
    let pause = Duration::from_secs_f64(1.0 / per_second);
    let begun = Instant::now();
    let mut tick = tokio::time::interval(pause);
    let mut starts = JoinSet::new();
    while begun.elapsed() < OVERLOAD {
        tick.tick().await;
        let request = api.request(Method::POST, "/sagas").json(&body());
        starts.spawn(async move {
            let begun = Instant::now();
            let answer = send(request).await.expect("an answer");
            (answer, begun.elapsed())
        });
    }
    let mut outcome = Outcome::default();
    while let Some(start) = starts.join_next().await {
        let (answer, took) = start.expect("a start");
        match answer.status.as_u16() {
            202 => outcome.accepted.push(answer.id()),
            429 => {
                assert_eq!(answer.code(), "too_many_sagas");
                assert!(!answer.header("retry-after").is_empty());
                outcome.refused.push(took);
            }
            status => panic!("{status}: {}", answer.body),
        }
    }
    outcome
}

/// The most memory that a process held so far, or holds, in KiB.
fn memory_kib(process: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let number = line.expect("a figure").trim_start_matches(':').trim();
    let number = number.trim_end_matches("kB").trim();
    number.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_is_refused_at_once_and_what_is_accepted_finishes() {
    let ledger = Ledger::start(Faults {
        slow: 1.0,
        slow_by: EXCHANGE,
        ..Faults::default()
    });
    let database = TestDatabase::fresh(Kind::Sqlite);
    let definitions = Definitions::of(&[ORDER]);
    let settings = Settings::new(BINARY, database.url(), definitions.path())
        .participant("ledger", ledger.url("ledger"))
        .key("engine.max_active_sagas", ACTIVE_MAX.to_string());
    let coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();
    let sustainable = sustainable(&api).await;
    let process = coordinator.process_id();
    let before = memory_kib(process, "VmRSS");

    let finished = Arc::new(AtomicU64::new(0));
    let outcome = overload(&api, TIMES * sustainable).await;
    let mut wrong = ledger.violations();
    for ids in outcome.accepted.chunks(64) {
        let ends = ids.iter().map(|id| api.settled(id, LONG));
        for (id, end) in ids.iter().zip(join_all(ends).await) {
            if end["status"] == "completed" {
                finished.fetch_add(1, Ordering::Relaxed);
            } else {
                wrong.push(format!("{id} ended as {end}"));
            }
            wrong.extend(ledger.wrong_with(id, true, STEPS));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let growth = memory_kib(process, "VmHWM").saturating_sub(before);
    let mut refused = outcome.refused;
    refused.sort();
    let p99 = refused[refused.len() * 99 / 100];
    let (accepted, refusals) = (outcome.accepted.len(), refused.len());
    eprintln!(
        "sustainable {sustainable:.0}/s; at {TIMES} times that for {OVERLOAD:?}: {accepted} accepted \
         and finished, {refusals} refused, p99 of refusals {p99:?}, memory grew by {growth} KiB"
    );
    assert!(p99 < REFUSED_WITHIN, "refused within {p99:?}");
    assert!(growth < GROWTH_MAX_KIB, "memory grew by {growth} KiB");
    assert!(refusals > accepted, "it was no overload");
    // While it refuses, it works on: no less than without the overload, but for what the load
    // itself takes of the machine.
    let floor = sustainable * OVERLOAD.as_secs_f64() * 0.6;
    let accepted = f64::from(u32::try_from(accepted).expect("a few"));
    assert!(accepted > floor, "{accepted} accepted, {floor} expected");
}
