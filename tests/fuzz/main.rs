//! The schema-driven fuzzer finds no answer that the OpenAPI document does not allow, and no 5xx:
//! Schemathesis from PyPI, on the real binary, with sagas in every state to be found.
//!
//! `tests/run` installs the tool. A run is bounded and its seed fixed; for a longer one, with
//! other seeds:
//!
//! ```sh
//! AMENDS_FUZZ_EXAMPLES=500 AMENDS_FUZZ_SEED=$RANDOM bash tests/run --profile fuzz
//! ```
#![expect(clippy::expect_used, reason = "a test may")]

mod scene;

use std::path::PathBuf;
use std::process::Command;

use scene::Scene;
use serde_json::json;
use support::api::Api;

/// How many requests are made of one call in each of the fuzzer's phases, when nobody says.
const EXAMPLES: &str = "15";
/// The same, for each key.
const EXAMPLES_WITH_KEY: &str = "5";
/// A key that may do everything, with its digest.
const ADMIN: (&str, &str) = (
    "fuzzer-admin-key-0123456789abcdef",
    "70ad7754f3adc0f2e3e10df3f340f119411d9e3c35b8bfb72f4eaff4d8dd6dc6",
);
/// A key that may only read, with its digest.
const READER: (&str, &str) = (
    "fuzzer-reader-key-0123456789abcdef",
    "75c6f523d6f3e957828fcfda96c464c53fc0abc08e86dd7a9bbba8f1e9101795",
);
/// The seed of the run, when nobody says.
const SEED: &str = "4";

#[tokio::test]
async fn nothing_is_answered_that_the_document_does_not_allow() {
    let scene = Scene::open(&[]).await;
    fuzz(&scene, EXAMPLES, &[]);
    // What it asks for is there, or it would ask in vain.
    let api = Api::new(scene.url());
    let settled = api.get("/dead-letters?status=discarded").await;
    let settled = settled.expect("an answer").body;
    assert_ne!(settled["items"], json!([]), "no dead letter was found");
}

#[tokio::test]
async fn nor_is_anything_else_where_keys_are_asked_for() {
    let keys = json!([
        { "name": "admin", "sha256": ADMIN.1, "roles": ["admin"] },
        { "name": "reader", "sha256": READER.1, "roles": ["reader"] },
    ]);
    let scene = Scene::open(&[("auth.keys", keys.to_string())]).await;
    let bearer = |(key, _): (&str, &str)| format!("Authorization: Bearer {key}");
    let both = "coverage,fuzzing";
    fuzz(
        &scene,
        EXAMPLES_WITH_KEY,
        &["--phases", both, "--header", &bearer(ADMIN)],
    );
    let one = ["--phases", "fuzzing"];
    fuzz(
        &scene,
        EXAMPLES_WITH_KEY,
        &[&one[..], &["--header", &bearer(READER)]].concat(),
    );
    fuzz(&scene, EXAMPLES_WITH_KEY, &one);
}

/// Runs the fuzzer; fails with what it says.
fn fuzz(scene: &Scene, examples: &str, arguments: &[&str]) {
    let output = Command::new(tool())
        .arg("--config-file")
        .arg(scene.fuzzer_configuration())
        .args(["run", &format!("{}/api/v1/openapi.json", scene.url())])
        .args(["--max-examples", &setting("AMENDS_FUZZ_EXAMPLES", examples)])
        .args(["--seed", &setting("AMENDS_FUZZ_SEED", SEED)])
        .args(["--generation-database", "none", "--no-color"])
        .args(["--checks", "all"])
        .args(arguments)
        .current_dir(scene.directory())
        .output()
        .expect("the fuzzer, which tests/run installs");
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{errors}");
}

/// Where the fuzzer is.
fn tool() -> PathBuf {
    let installed = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/target/fuzzer/bin/schemathesis"
    );
    setting("AMENDS_TEST_SCHEMATHESIS", installed).into()
}

fn setting(variable: &str, otherwise: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "tests/run says where things are")]
    let set = std::env::var(variable);
    set.unwrap_or_else(|_unset| otherwise.to_owned())
}
