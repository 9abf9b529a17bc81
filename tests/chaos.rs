//! The coordinator is killed again and again under load, with every fault a participant can have;
//! afterwards every saga is all or nothing by the participants' own ledgers, and its audit
//! tells all that happened.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test may")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{join, join_all};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::Method;
use serde_json::json;
use support::api::{Answer, Api, send};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::ledger::{Faults, Ledger};

/// How often the coordinator is killed.
const KILLS: u32 = 6;
/// How many clients there are, each with one saga at a time.
const CLIENTS: usize = 20;
/// How many sagas a client starts at least.
const SAGAS_EACH: usize = 12;
/// How long a saga may take once nobody is killed any more.
const SETTLED_WITHIN: Duration = Duration::from_secs(40);

/// A definition, and which of its steps have an effect in a saga that completed, by participant.
struct Shape {
    name: &'static str,
    flaky: &'static [&'static str],
    steady: &'static [&'static str],
    document: fn() -> String,
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "sequence",
        flaky: &["a", "b", "c", "d"],
        steady: &[],
        document: || {
            document(
                "sequence",
                "{ order: sequential, retry: { initial: 20ms, max: 200ms } }",
                &["a", "b", "c", "d"].map(|id| flaky(id, "")),
            )
        },
    },
    Shape {
        name: "parallel",
        flaky: &["a", "b", "c", "d", "e"],
        steady: &[],
        document: || {
            let steps = [
                flaky("a", ""),
                flaky("b", "after: [a], compensate: always, "),
                flaky("c", "after: [a], "),
                flaky("d", "after: [a], "),
                flaky("e", "after: [b, c, d], "),
            ];
            document("parallel", REVERSE, &steps)
        },
    },
    // What comes after the pivot and may not fail is asked of a participant that never refuses.
    Shape {
        name: "pivot",
        flaky: &["a", "b", "pivot"],
        steady: &["after"],
        document: || {
            let steps = [
                flaky("a", "after: [], "),
                flaky("b", "after: [], "),
                flaky("pivot", "after: [a, b], pivot: true, "),
                "{ id: after, participant: steady, timeout: 400ms, action: { command: x } }"
                    .to_owned(),
                "{ id: let_go, participant: flaky, timeout: 400ms, action: { command: x }, \
                   on_failure: continue }"
                    .to_owned(),
            ];
            document("pivot", REVERSE, &steps)
        },
    },
    Shape {
        name: "waiting",
        flaky: &["a", "b"],
        steady: &[],
        document: || {
            let steps = [
                flaky("a", ""),
                flaky("let_go", "on_failure: continue, "),
                "{ id: approval, wait: { signal: go, timeout: 60s } }".to_owned(),
                flaky("b", "when: steps.approval.output.go == true, "),
            ];
            document("waiting", PARALLEL, &steps)
        },
    },
    Shape {
        name: "slow",
        flaky: &["a", "b"],
        steady: &["c"],
        document: || {
            let steps = [
                flaky("a", ""),
                "{ id: pause, delay: 300ms }".to_owned(),
                flaky("b", ""),
                "{ id: c, participant: steady, timeout: 400ms, action: { put: '/x/${ saga.id }' }, \
                   compensation: { delete: '/x/${ saga.id }', timeout: 400ms } }"
                    .to_owned(),
            ];
            // Some sagas do not make it in this time, and are undone for that.
            document("slow", REVERSE, &steps).replace("\nretry:", "\ntimeout: 2500ms\nretry:")
        },
    },
];

const REVERSE: &str = "{ order: reverse, retry: { initial: 20ms, max: 200ms } }";
const PARALLEL: &str =
    "{ order: parallel, on_failure: continue, retry: { initial: 20ms, max: 200ms } }";

fn flaky(id: &str, more: &str) -> String {
    format!(
        "{{ id: {id}, participant: flaky, {more}timeout: 400ms, action: {{ command: do_{id} }}, \
           compensation: {{ command: undo_{id}, timeout: 400ms }} }}"
    )
}

fn document(name: &str, compensation: &str, steps: &[String]) -> String {
    let steps: String = steps.iter().map(|step| format!("  - {step}\n")).collect();
    format!(
        "name: {name}\nversion: 1\ncompensation: {compensation}\n\
         retry: {{ max_attempts: 6, initial: 20ms, max: 150ms }}\nsteps:\n{steps}"
    )
}

/// A saga that a client saw settle.
struct Settled {
    id: String,
    shape: &'static Shape,
    key: String,
}

/// One start, repeated under its key until there is an answer other than "not now".
async fn start(api: &Api, shape: &Shape, key: &str, prefer: &str) -> Answer {
    let what = format!("an answer to the start under {key}");
    support::eventually(&what, SETTLED_WITHIN, async || {
        let request = api
            .request(Method::POST, "/sagas")
            .header("idempotency-key", key)
            .header("prefer", prefer)
            .json(&json!({ "definition": shape.name, "key": key, "input": { "client": key } }));
        let answer = send(request).await.ok()?;
        (answer.status != 503).then_some(answer)
    })
    .await
}

/// Calls until the coordinator is there and answers; a saga that has finished takes nothing.
async fn insist(api: &Api, path: &str, body: &serde_json::Value, key: &str) {
    support::eventually(path, SETTLED_WITHIN, async || {
        let request = api
            .request(Method::POST, path)
            .header("idempotency-key", key)
            .json(body);
        let answer = send(request).await.ok()?;
        if answer.status == 409 {
            assert_eq!(answer.code(), "already_finished", "{path}");
        }
        matches!(answer.status.as_u16(), 202 | 409).then_some(())
    })
    .await;
}

async fn one_saga(api: &Api, shape: &'static Shape, key: String, dice: &mut StdRng) -> Settled {
    let started = start(api, shape, &key, "respond-async").await;
    assert_eq!(started.status, 202, "{}", started.body);
    let id = started.id();
    if shape.name == "waiting" {
        let signal = format!("/sagas/{id}/signals/go");
        if dice.random_bool(0.8) {
            for _ in 0..2 {
                insist(api, &signal, &json!({ "go": true }), &key).await;
            }
        } else {
            let cancel = format!("/sagas/{id}/cancel");
            insist(api, &cancel, &json!({ "reason": "chaos" }), &key).await;
        }
    }
    let what = format!("{} {id} to settle", shape.name);
    support::eventually(&what, SETTLED_WITHIN, async || {
        let answer = start(api, shape, &key, "wait=10").await;
        assert_eq!(answer.id(), id, "the start under {key} made a second saga");
        assert_eq!(answer.header("idempotent-replayed"), "true");
        (answer.status == 200).then_some(())
    })
    .await;
    Settled { id, shape, key }
}

async fn client(api: Api, number: usize, seed: u64, over: &AtomicBool) -> Vec<Settled> {
    let mut dice = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
    let mut settled = Vec::new();
    while settled.len() < SAGAS_EACH || !over.load(Ordering::Relaxed) {
        let shape = &SHAPES[(number + settled.len()) % SHAPES.len()];
        let key = format!("{number}-{}", settled.len());
        settled.push(one_saga(&api, shape, key, &mut dice).await);
    }
    settled
}

async fn kill_again_and_again(coordinator: &mut Coordinator, seed: u64, over: &AtomicBool) {
    let mut dice = StdRng::seed_from_u64(seed);
    for _ in 0..KILLS {
        let lives_ms = dice.random_range(150..1_500);
        tokio::time::sleep(Duration::from_millis(lives_ms)).await;
        coordinator.kill();
        coordinator.restart().await;
    }
    over.store(true, Ordering::Relaxed);
}

async fn every_saga_is_all_or_nothing(kind: Kind, lease: &str, seed: u64) {
    let flaky = Ledger::start(Faults::of_all_kinds(seed));
    let steady = Ledger::start(Faults {
        refused: 0.0,
        ..Faults::of_all_kinds(seed + 1)
    });
    let database = TestDatabase::fresh(kind);
    let documents: Vec<String> = SHAPES.iter().map(|shape| (shape.document)()).collect();
    let definitions = Definitions::of(&documents);
    let binary = env!("CARGO_BIN_EXE_amends");
    let settings = Settings::new(binary, database.url(), definitions.path())
        .participant("flaky", flaky.url("flaky"))
        .participant("steady", steady.url("steady"))
        .key("sagas.strict", "true")
        .key("engine.lease", lease);
    let mut coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();

    let over = AtomicBool::new(false);
    let clients = (0..CLIENTS).map(|number| client(api.clone(), number, seed, &over));
    let killing = kill_again_and_again(&mut coordinator, seed, &over);
    let ((), settled) = join(killing, join_all(clients)).await;
    let settled: Vec<Settled> = settled.into_iter().flatten().collect();

    assert!(settled.len() >= 200, "only {} sagas", settled.len());
    let mut wrong = flaky.violations();
    wrong.extend(steady.violations());
    let mut by_status = [0_u32; 2];
    for saga in &settled {
        let end = api.saga(&saga.id).await.expect("an answer").body;
        let completed = match end["status"].as_str().expect("a status") {
            "completed" => true,
            "compensated" => false,
            _ => {
                wrong.push(format!("{} ended as {end}", saga.shape.name));
                continue;
            }
        };
        by_status[usize::from(completed)] += 1;
        wrong.extend(flaky.wrong_with(&saga.id, completed, saga.shape.flaky));
        wrong.extend(steady.wrong_with(&saga.id, completed, saga.shape.steady));
        wrong.extend(support::audit::wrong_with(&api, &saga.id).await);
        let path = format!("/sagas?key={}", saga.key);
        let found = api.get(&path).await.expect("an answer").body;
        if found["items"].as_array().map(Vec::len) != Some(1) {
            wrong.push(format!("more than one saga under {}: {found}", saga.key));
        }
    }
    let [compensated, completed] = by_status;
    eprintln!(
        "{kind:?}, seed {seed}: {completed} completed, {compensated} compensated, {} calls",
        flaky.calls() + steady.calls()
    );
    assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
    assert!(completed > 20 && compensated > 20, "it was too easy");
}

#[tokio::test]
async fn on_sqlite() {
    every_saga_is_all_or_nothing(Kind::Sqlite, "10s", 11).await;
}

#[tokio::test]
async fn on_postgres() {
    every_saga_is_all_or_nothing(Kind::Postgres, "10s", 22).await;
}

/// Without an advisory lock a restart waits for the lease.
#[tokio::test]
async fn on_mariadb() {
    every_saga_is_all_or_nothing(Kind::MariaDb, "1s", 33).await;
}
