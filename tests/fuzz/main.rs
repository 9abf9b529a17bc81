//! The schema-driven fuzzer finds no answer that the OpenAPI document does not allow, and no 5xx:
//! Schemathesis from PyPI, on the real binary, with sagas in every state to be found.
//!
//! `tests/run` installs the tool. A run is bounded and its seed fixed; for a longer one, with
//! other seeds:
//!
//! ```sh
//! AMENDS_FUZZ_EXAMPLES=500 AMENDS_FUZZ_SEED=$RANDOM bash tests/run -E 'binary(fuzz)'
//! ```
#![expect(clippy::expect_used, reason = "a test may")]

mod scene;

use std::path::PathBuf;
use std::process::Command;

use scene::Scene;

/// How many requests are made of one call in each of the fuzzer's phases, when nobody says.
const EXAMPLES: &str = "25";
/// The seed of the run, when nobody says.
const SEED: &str = "4";

#[tokio::test]
async fn nothing_is_answered_that_the_document_does_not_allow() {
    let scene = Scene::open().await;
    fuzz(&scene, &[]);
}

/// Runs the fuzzer; fails with what it says.
fn fuzz(scene: &Scene, arguments: &[&str]) {
    let output = Command::new(tool())
        .arg("--config-file")
        .arg(scene.fuzzer_configuration())
        .args(["run", &format!("{}/api/v1/openapi.json", scene.url())])
        .args(["--max-examples", &setting("AMENDS_FUZZ_EXAMPLES", EXAMPLES)])
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
