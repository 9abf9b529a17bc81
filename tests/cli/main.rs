//! The command line, as a person or a script uses it (api.md, "The command line").
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may"
)]

mod dead_letters;
mod demo;
mod help;
mod operating;

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::scripted::{Reply, Scripted};

const BINARY: &str = env!("CARGO_BIN_EXE_amends");
const LONG: Duration = Duration::from_secs(30);

const QUICK: &str = "
name: quick
version: 1
steps:
  - { id: ask, participant: probe, action: { post: /200 }, compensation: { post: /200 } }
";

const REFUSED: &str = "
name: refused
version: 1
steps:
  - { id: done, participant: probe, action: { post: /200 }, compensation: { post: /200 } }
  - { id: ask, participant: probe, action: { post: /409 } }
";

const WAITING: &str = "
name: waiting
version: 1
steps:
  - { id: done, participant: probe, action: { post: /200 }, compensation: { post: /200 } }
  - { id: approval, wait: { signal: go } }
";

const STUCK: &str = "
name: stuck
version: 1
steps:
  - { id: done, participant: probe, action: { post: /200 }, compensation: { post: /409 } }
  - { id: ask, participant: probe, action: { post: /409 } }
";

/// What a command did.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    #[track_caller]
    fn ends(self, code: i32) -> Self {
        let Self { out, err, .. } = &self;
        assert_eq!(self.code, Some(code), "out: {out}\nerr: {err}");
        assert!(!out.contains('\u{1b}'), "colours where nobody looks: {out}");
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("not JSON: {}", self.out))
    }

    #[track_caller]
    fn says(self, words: &[&str]) -> Self {
        let all = format!("{}{}", self.out, self.err);
        for word in words {
            assert!(all.contains(word), "no `{word}` in:\n{all}");
        }
        self
    }
}

/// Runs a command with nothing of the surroundings.
fn run(arguments: &[&str]) -> Ran {
    let output = Command::new(BINARY)
        .args(arguments)
        .env_remove("AMENDS_URL")
        .env_remove("AMENDS_TOKEN")
        .env_remove("AMENDS_CONFIG")
        .output();
    Ran::of(&output.expect("the binary"))
}

struct Scene {
    url: String,
    coordinator: Coordinator,
    _probe: Scripted,
    _definitions: Definitions,
    database: TestDatabase,
}

async fn scene() -> Scene {
    scene_on(Kind::Sqlite).await
}

async fn scene_on(kind: Kind) -> Scene {
    let probe = Scripted::start(|asked| {
        let status = asked.path.trim_start_matches("/probe/").parse();
        Reply::json(status.unwrap_or(418), &json!({ "ok": true }))
    });
    let database = TestDatabase::fresh(kind);
    let definitions = Definitions::of(&[QUICK, REFUSED, WAITING, STUCK]);
    let settings = Settings::new(BINARY, database.url(), definitions.path())
        .participant("probe", probe.url("probe"));
    let coordinator = Coordinator::start(settings).await;
    Scene {
        url: format!("http://{}", coordinator.address()),
        coordinator,
        _probe: probe,
        _definitions: definitions,
        database,
    }
}

impl Scene {
    fn run(&self, arguments: &[&str]) -> Ran {
        run(&[arguments, &["--url", &self.url]].concat())
    }

    fn started(&self, definition: &str) -> String {
        let started = self.run(&["start", definition, "--json"]).ends(0).json();
        started["id"].as_str().expect("an id").to_owned()
    }

    async fn status(&self, id: &str, status: &str) {
        self.coordinator.api().wait_for(id, &[status], LONG).await;
    }
}

#[tokio::test]
async fn sagas_are_started_and_followed() {
    let scene = scene().await;
    scene
        .run(&["start", "quick", "--wait"])
        .ends(0)
        .says(&["ask", "completed"]);
    scene
        .run(&["start", "refused", "--wait"])
        .ends(1)
        .says(&["compensated", "http_409"]);
    scene
        .run(&["start", "stuck", "--wait"])
        .ends(1)
        .says(&["failed"]);
    let lines = scene
        .run(&["start", "quick", "--wait", "--json"])
        .ends(0)
        .out;
    let events: Vec<Value> = lines
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert_eq!(events.len(), lines.lines().count(), "{lines}");
    let types: Vec<&str> = events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    let expected = [
        "saga_started",
        "attempt_started",
        "step_succeeded",
        "saga_completed",
    ];
    assert_eq!(types, expected);
}

#[tokio::test]
async fn a_start_says_all_that_there_is_to_say() {
    let scene = scene().await;
    let input = r#"{"n": 1}"#;
    let more = [
        "start",
        "quick",
        "--input",
        input,
        "--key",
        "ORD-1",
        "--label",
        "channel:web",
        "--idempotency-key",
        "once",
        "--definition-version",
        "1",
        "--json",
    ];
    let first = scene.run(&more).ends(0).json();
    let again = scene.run(&more).ends(0).json();
    assert_eq!(first["id"], again["id"]);
    let id = first["id"].as_str().expect("an id");
    scene.status(id, "completed").await;
    let shown = scene.run(&["get", id, "--json"]).ends(0).json();
    assert_eq!(shown["input"], json!({ "n": 1 }));
    assert_eq!(shown["labels"]["channel"], "web");
    scene
        .run(&["get", id])
        .ends(0)
        .says(&["quick 1", "ORD-1", "completed", "ask", "succeeded"]);
    scene.run(&["watch", id]).ends(0).says(&["completed"]);

    let listed = scene.run(&["list", "--key", "ORD-1", "--json"]);
    let listed = listed.ends(0).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    scene
        .run(&["list"])
        .ends(0)
        .says(&[id, "completed", "ORD-1"]);
}

#[tokio::test]
async fn an_input_may_be_a_file() {
    let scene = scene().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), r#"{"from": "file"}"#).expect("a file");
    let path = file.path().to_str().expect("a path");
    scene.run(&["start", "quick", "--input", path]).ends(0);
    scene
        .run(&["start", "quick", "--input", "/no/such/file"])
        .ends(2);
    scene
        .run(&["start", "absent"])
        .ends(1)
        .says(&["definition_not_found"]);
}

#[tokio::test]
async fn sagas_are_listed() {
    let scene = scene().await;
    scene.run(&["list"]).ends(0).says(&["no sagas"]);
    let (stuck, refused) = (scene.started("stuck"), scene.started("refused"));
    scene.status(&stuck, "failed").await;
    scene.status(&refused, "compensated").await;
    let all = ["compensated", "failed", "http_409", &stuck, &refused];
    scene.run(&["list"]).ends(0).says(&all);
    let failed = [
        "list",
        "--status",
        "failed",
        "--definition",
        "stuck",
        "--limit",
        "1",
    ];
    scene.run(&failed).ends(0).says(&["compensation_failed"]);
    let none = ["list", "--label", "channel:app"];
    scene.run(&none).ends(0).says(&["no sagas"]);
    let bad = ["list", "--status", "done"];
    scene.run(&bad).ends(1).says(&["parameter_invalid"]);
    scene.run(&["get", "x"]).ends(1).says(&["bad_request"]);
    let absent = ["watch", "0198c7c4-aaaa-7000-8000-000000000000"];
    scene.run(&absent).ends(1).says(&["saga_not_found"]);
}

#[tokio::test]
async fn sagas_are_changed() {
    let scene = scene().await;
    let id = scene.started("waiting");
    scene.run(&["suspend", &id]).ends(0);
    scene.run(&["get", &id]).ends(0).says(&["suspended"]);
    scene.run(&["resume", &id]).ends(0);
    let payload = r#"{"by": "ann"}"#;
    scene
        .run(&["signal", &id, "stop"])
        .ends(1)
        .says(&["signal_unknown"]);
    scene
        .run(&[
            "signal",
            &id,
            "go",
            "--payload",
            payload,
            "--idempotency-key",
            "k",
        ])
        .ends(0);
    scene.run(&["watch", &id]).ends(0).says(&["completed"]);
    let shown = scene.run(&["get", &id, "--json"]).ends(0).json();
    assert_eq!(shown["output"], json!({ "by": "ann" }));
    scene
        .run(&["cancel", &id])
        .ends(1)
        .says(&["already_finished"]);

    let id = scene.started("waiting");
    scene
        .run(&["cancel", &id, "--reason", "changed my mind"])
        .ends(0);
    scene
        .run(&["watch", &id])
        .ends(1)
        .says(&["compensated", "changed my mind"]);

    let id = scene.started("stuck");
    scene.status(&id, "failed").await;
    scene.run(&["retry", &id]).ends(0);
    scene.status(&id, "failed").await;
    let resolve = ["resolve", &id, "done", "--outcome", "compensated"];
    scene.run(&resolve).ends(2);
    let resolve = [&resolve[..], &["--note", "by hand"]].concat();
    scene.run(&resolve).ends(0);
    scene.status(&id, "compensated").await;
    scene.run(&resolve).ends(1).says(&["not_resolvable"]);
}

#[tokio::test]
async fn a_graph_is_drawn_from_a_file_or_a_definition() {
    let scene = scene().await;
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/sagas/travel_booking.yaml");
    run(&["graph", sample])
        .ends(0)
        .says(&["flowchart", "book_hotel"]);
    run(&["graph", sample, "--format", "svg"])
        .ends(0)
        .says(&["<svg", "</svg>", "book_car"]);
    let graph = run(&["graph", sample, "--format", "json"]).ends(0).json();
    assert_eq!(graph["nodes"].as_array().map(Vec::len), Some(5));
    assert_eq!(graph["edges"].as_array().map(Vec::len), Some(6));
    scene
        .run(&["graph", "refused"])
        .ends(0)
        .says(&["flowchart", "done", "ask"]);
    scene
        .run(&["graph", "absent"])
        .ends(1)
        .says(&["definition_not_found"]);
}

#[test]
fn a_check_says_what_and_where() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/sagas/");
    let samples = [
        "order_fulfilment",
        "travel_booking",
        "money_transfer",
        "customer_onboarding",
    ]
    .map(|name| format!("{root}{name}.yaml"));
    let mut arguments = vec!["check"];
    arguments.extend(samples.iter().map(String::as_str));
    run(&arguments).ends(0).says(&["4 files, nothing found"]);

    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a path").to_owned()
    };
    let bad = file(
        "bad.yaml",
        "name: bad\nversion: 0\nsteps:\n  - { id: A, action: { get: /x } }\n",
    );
    let warned = file(
        "warned.yaml",
        "name: warned\nversion: 1\nsteps:\n  - { id: a, participant: p, action: { post: /x } }\n",
    );
    let ran = run(&["check", &bad, &warned]).ends(1);
    let found: Vec<&str> = ran
        .out
        .lines()
        .filter(|line| line.contains(": error: "))
        .collect();
    assert_eq!(found.len(), 3, "{}", ran.out);
    for place in [":2:10: error: ", ":4:5: error: ", ":4:11: error: "] {
        let line = format!("{bad}{place}");
        assert!(
            found.iter().any(|found| found.starts_with(&line)),
            "{line}: {}",
            ran.out
        );
    }
    ran.says(&[&format!("{warned}:4:")]);
    // A warning alone is no error.
    run(&["check", &warned]).ends(0).says(&["warning"]);
    let machine = run(&["check", &bad, "--json"]).ends(1).json();
    assert_eq!(machine["problems"].as_array().map(Vec::len), Some(3));
    assert_eq!(machine["problems"][0]["file"], bad);
    let other = file(
        "other.yaml",
        "name: warned\nversion: 1\nsteps: [{ id: b, delay: 1s }]\n",
    );
    run(&["check", &warned, &other])
        .ends(1)
        .says(&["other.yaml"]);
    let noise = directory.path().join("noise.yaml");
    std::fs::write(&noise, b"\xff\xfe\x00name").expect("a file");
    run(&["check", noise.to_str().expect("a path")])
        .ends(1)
        .says(&["noise.yaml:1:"]);
    run(&["check", "/no/such/file"]).ends(2);
    run(&["check"]).ends(2);
}

#[test]
fn a_schema_is_brought_up_to_date() {
    for kind in Kind::ALL {
        let database = TestDatabase::fresh(kind);
        let migrate =
            |more: &[&str]| run(&[&["migrate", "--database", database.url()], more].concat());
        migrate(&["--check"]).ends(1).says(&["pending"]);
        migrate(&[]).ends(0).says(&["applied", "up to date"]);
        migrate(&["--check"]).ends(0);
        let again = migrate(&["--json"]).ends(0).json();
        assert_eq!(again["applied"], json!([]), "{kind:?}");
        assert_eq!(again["up_to_date"], true);
    }
}

#[test]
fn the_configuration_in_force_is_shown_without_its_secrets() {
    let output = Command::new(BINARY)
        .args([
            "serve",
            "--print-config",
            "--database",
            "postgres://u:hush@db/amends",
        ])
        .env("AMENDS__PARTICIPANTS__PAY__URL", "http://pay")
        .env(
            "AMENDS__PARTICIPANTS__PAY__HEADERS__AUTHORIZATION",
            "Bearer hush",
        )
        .env("AMENDS__ENGINE__LEASE", "3s")
        .output();
    let ran = Ran::of(&output.expect("the binary")).ends(0);
    assert!(
        !ran.out.contains("hush") && !ran.err.contains("hush"),
        "{}",
        ran.out
    );
    ran.says(&["lease: \"3s\"", "http://pay", "max_body"]);
}

#[test]
fn what_is_used_wrongly_ends_with_two() {
    for wrong in [
        &[][..],
        &["bogus"],
        &["start"],
        &["get"],
        &["list", "--limit", "0"],
        &["list", "--url", "nowhere"],
        &["start", "x", "--label", "none"],
        &["resolve", "x", "y", "--outcome", "perhaps", "--note", "n"],
        &["signal", "x", "y", "--payload", "{"],
        &["graph", "x", "--format", "png"],
        &["definitions"],
        &["definitions", "publish", "/no/such/file"],
        &["definitions", "pause", "x", "--version", "none"],
        &["demo", "--exit", "--participants", "127.0.0.1:1"],
        &["demo", "--exit", "--rabbitmq", "localhost"],
        &["serve", "--config", "/no/such/file"],
        &["serve", "--database", "oracle://x"],
    ] {
        let ran = run(wrong);
        assert_eq!(ran.code, Some(2), "{wrong:?}: {}{}", ran.out, ran.err);
        assert_ne!(ran.err, "", "{wrong:?}");
    }
    let nobody = ["list", "--url", "http://127.0.0.1:1"];
    run(&nobody).ends(1).says(&["no coordinator answers"]);
}

#[tokio::test]
async fn the_audit_is_read() {
    let scene = scene().await;
    let id = scene.started("waiting");
    let cancelled = ["cancel", &id, "--reason", "changed my mind"];
    scene.run(&cancelled).ends(0);
    scene.status(&id, "compensated").await;
    let all = scene.run(&["audit", "--saga", &id]).ends(0);
    let all = all.says(&[
        "SAGA_CANCELLED",
        "anonymous (127.0.0.1)",
        "reason: changed my mind",
    ]);
    // Newest first.
    let at = |word: &str| all.out.find(word).expect("a line of it");
    assert!(
        at("SAGA_COMPENSATED") < at("SAGA_CANCELLED") && at("SAGA_CANCELLED") < at("SAGA_STARTED")
    );
    let filters = [
        "audit",
        "--actor",
        "anonymous",
        "--action",
        "SAGA_CANCELLED",
        "--json",
    ];
    let page = scene.run(&filters).ends(0).json();
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{page}");
    let short = scene.run(&["audit", "--limit", "1", "--saga", &id]).ends(0);
    assert!(short.out.contains("more: --cursor "), "{}", short.out);
    let cursor = short.out.trim_end().rsplit(' ').next().expect("a cursor");
    let rest = scene
        .run(&["audit", "--saga", &id, "--cursor", cursor])
        .ends(0);
    assert_eq!(rest.out.lines().count(), all.out.lines().count() - 1);

    let table = scene.run(&["audit", "--csv", "--saga", &id]).ends(0).out;
    assert!(table.starts_with("seq,at,actor,action,saga,"), "{table}");
    assert_eq!(table.lines().count(), all.out.lines().count() + 1);
    let lines = scene.run(&["audit", "--ndjson", "--saga", &id]).ends(0).out;
    for line in lines.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
    assert_eq!(lines.lines().count(), all.out.lines().count());
    scene
        .run(&["audit", "--actor", "nobody"])
        .ends(0)
        .says(&["nothing of the kind"]);
    scene
        .run(&["audit", "--action", "SAGA_BEGUN"])
        .ends(1)
        .says(&["parameter_invalid", "SAGA_STARTED"]);
    scene.run(&["audit", "--limit", "0"]).ends(2);
}
