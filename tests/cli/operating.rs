//! What an operator does beside commanding sagas.

use support::definitions::Definitions;

use super::{QUICK, scene};

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
