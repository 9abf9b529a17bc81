//! Log lines: JSON, with the ids of what they are about, and without what customers said.

use serde_json::{Value, json};
use support::coordinator::Coordinator;
use support::database::Kind;
use support::scripted::{Reply, Scripted};

use crate::{Bed, LONG};

const FAILS: &str = "
name: fails
version: 1
steps:
  - { id: a, participant: shop, timeout: 5s, action: { command: a, body: { card: '${ input.card }' } },
      compensation: { command: b, retry: { max_attempts: 1 }, timeout: 5s } }
  - { id: c, participant: shop, timeout: 5s, action: { command: c } }
";

#[tokio::test]
async fn lines_about_a_saga_have_its_ids_and_nothing_of_its_payloads() {
    let shop = Scripted::start(|call| match call.header("amends-step") {
        "a" if call.header("amends-phase") == "action" => {
            Reply::json(200, &json!({ "receipt": "output-7f3a" }))
        }
        _ => Reply::problem(409, &json!({ "code": "no", "detail": "said-7f3a" })),
    });
    let bed = Bed::new(Kind::Sqlite, &[FAILS]);
    let settings = bed
        .settings()
        .participant("shop", shop.url("shop"))
        .key("participants.shop.headers.authorization", "secret-7f3a")
        .variable("RUST_LOG", "debug");
    let coordinator = Coordinator::start(settings).await;
    let api = coordinator.api();
    let input = json!({ "card": "input-7f3a" });
    let id = api
        .start("fails", &input, None)
        .await
        .expect("an answer")
        .id();
    let end = api.settled(&id, LONG).await;
    assert_eq!(end["status"], "failed", "{end}");

    let lines: Vec<Value> = coordinator
        .log()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let about: Vec<&Value> = lines
        .iter()
        .filter(|line| line["saga_id"] == id.as_str())
        .collect();
    let trace = id.replace('-', "");
    for line in &about {
        assert_eq!(line["trace_id"], trace.as_str(), "{line}");
        assert!(line["step"].is_string(), "{line}");
    }
    let says = |step: &str, level: &str| {
        about
            .iter()
            .any(|line| line["step"] == step && line["level"] == level)
    };
    // The refusal, the compensation that was refused, and that a person is needed.
    assert!(
        says("c", "DEBUG") && says("a", "DEBUG") && says("a", "WARN"),
        "{about:?}"
    );
    for secret in ["input-7f3a", "output-7f3a", "said-7f3a", "secret-7f3a"] {
        assert!(
            !coordinator.log().contains(secret),
            "{secret} is in the log"
        );
    }
}
