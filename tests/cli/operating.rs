//! What an operator does beside commanding sagas.

use std::process::Command;

use serde_json::Value;
use support::definitions::Definitions;

use super::{BINARY, LONG, QUICK, scene};

#[tokio::test]
async fn definitions_are_published_paused_and_drawn() {
    let scene = scene().await;
    let quick = QUICK.replace("quick", "fresh");
    let bad = QUICK.replace("probe", "absent");
    let files = Definitions::of(&[
        quick.clone(),
        quick.replace("version: 1", "version: 2"),
        bad,
    ]);
    let file = |number: u32| {
        files
            .path()
            .join(format!("{number}.yaml"))
            .display()
            .to_string()
    };
    let [one, two, bad] = [0, 1, 2].map(file);
    scene
        .run(&["definitions", "publish", &one, &two])
        .ends(0)
        .says(&["✓ fresh 1 is published", "✓ fresh 2 is published"]);
    scene
        .run(&["definitions", "publish", &bad, &one])
        .ends(1)
        .says(&[
            &format!("{bad}:5:"),
            "error:",
            "absent",
            "fresh 1 was published before",
        ]);
    std::fs::write(&one, quick.replace("200", "201")).expect("written");
    scene
        .run(&["definitions", "publish", &one])
        .ends(1)
        .says(&["version_conflict"]);
    let results = scene
        .run(&["definitions", "publish", &one, &two, "--json"])
        .ends(1)
        .json();
    assert_eq!(results["results"][0]["problem"]["code"], "version_conflict");
    assert_eq!(results["results"][1]["definition"]["version"], 2);

    scene
        .run(&["definitions", "pause", "fresh", "--version", "2"])
        .ends(0)
        .says(&["fresh  2  paused: 2"]);
    let started = scene.run(&["start", "fresh", "--json"]).ends(0).json();
    assert_eq!(started["version"], 1);
    scene.run(&["definitions", "pause", "fresh"]).ends(0);
    scene
        .run(&["start", "fresh"])
        .ends(1)
        .says(&["definition_paused"]);
    scene
        .run(&["definitions", "list"])
        .ends(0)
        .says(&["fresh    2  paused", "waiting  1"]);
    let listed = scene.run(&["definitions", "list", "--json"]).ends(0).json();
    assert_eq!(listed["items"][0]["name"], "fresh");
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(5));
    scene.run(&["definitions", "resume", "fresh"]).ends(0);
    scene.run(&["start", "fresh", "--wait"]).ends(0);
    scene
        .run(&["definitions", "pause", "absent"])
        .ends(1)
        .says(&["definition_not_found"]);

    scene
        .run(&["graph", "fresh", "--version", "1", "--format", "svg"])
        .ends(0)
        .says(&["<svg", ">ask<"]);
    let graph = scene.run(&["graph", "fresh", "--format", "json"]).ends(0);
    assert_eq!(graph.json()["nodes"][0]["id"], "ask");
}

#[tokio::test]
async fn a_saga_is_explained() {
    let scene = scene().await;
    let id = scene.started("waiting");
    support::eventually("its wait", LONG, async || {
        let saga = scene.coordinator.api().saga(&id).await.ok()?.body;
        (saga["steps"][1]["waiting_for"] == "signal:go").then_some(())
    })
    .await;
    scene.run(&["explain", &id]).ends(0).says(&[
        "→ running",
        "Waiting for the signal `go`: approval has waited for ",
        "… approval  waits for signal:go",
        "A cancel would undo done.",
    ]);
    let said = scene.run(&["explain", &id, "--json"]).ends(0).json();
    assert_eq!(said["cancel"]["undoes"][0][0], "done");
    let stuck = scene.started("stuck");
    scene.status(&stuck, "failed").await;
    scene.run(&["explain", &stuck]).ends(0).says(&[
        "✗ failed",
        "retry the saga, or resolve done as compensated.",
        "A cancel changes nothing: it has failed.",
    ]);
    let none = "0198c7c4-aaaa-7000-8000-000000000000";
    scene
        .run(&["explain", none])
        .ends(1)
        .says(&["saga_not_found"]);
}

/// The watch sees each event once, though the coordinator is killed and drained meanwhile.
#[tokio::test]
async fn a_watch_goes_on_when_the_coordinator_is_back() {
    let mut scene = scene().await;
    let id = scene.started("waiting");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("told");
    let file = std::fs::File::create(&path).expect("a file");
    let mut watch = Command::new(BINARY)
        .args(["watch", &id, "--json", "--url", &scene.url])
        .stdout(file)
        .spawn()
        .expect("the binary");
    support::eventually("the watch to have begun", LONG, async || {
        let told = std::fs::read_to_string(&path).ok()?;
        told.contains("wait_started").then_some(())
    })
    .await;
    scene.coordinator.restart().await;
    scene.coordinator.stop(LONG).await;
    scene.coordinator.restart().await;
    scene.run(&["signal", &id, "go"]).ends(0);
    let status = support::eventually("the watch to end", LONG, async || {
        watch.try_wait().expect("our own child")
    })
    .await;
    assert_eq!(status.code(), Some(0));
    let told = std::fs::read_to_string(&path).expect("a file");
    let numbers: Vec<u64> = told
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["seq"].as_u64())
        .collect();
    let count = u64::try_from(told.lines().count()).expect("a few");
    assert_eq!(numbers, (1..=count).collect::<Vec<_>>(), "{told}");
    assert!(told.contains("saga_completed"), "{told}");
}
