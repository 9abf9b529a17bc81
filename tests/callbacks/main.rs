//! `reply: async`: a participant answers 202, and tells later what came of it. And whatever comes for a
//! saga reaches its owner, whichever replica it came to.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may"
)]

mod inbox;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use support::api::{Answer, Api, send};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::eventually;
use support::scripted::{Asked, Reply, Scripted};

pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A payment that is told later, and is undone the same way.
pub(crate) const PAYMENT: &str = "
name: payment
version: 1
retry: { max_attempts: 3, initial: 10ms, max: 20ms }
steps:
  - { id: pay, participant: bank, reply: async, timeout: 20s,
      action: { post: /pay }, compensation: { post: /refund } }
  - { id: ship, participant: shop, action: { post: /ship } }
";

/// One that is given up soon.
const HASTY: &str = "
name: hasty
version: 1
retry: { max_attempts: 2, initial: 10ms, max: 20ms }
steps:
  - { id: pay, participant: bank, reply: async, timeout: 400ms,
      action: { post: /pay }, compensation: { post: /refund } }
";

/// A coordinator with a bank that accepts everything, and a shop that answers as it is told.
pub(crate) struct Scene {
    pub(crate) coordinator: Coordinator,
    pub(crate) bank: Scripted,
    pub(crate) settings: Settings,
    _shop: Scripted,
    _definitions: Definitions,
    _database: TestDatabase,
}

impl Scene {
    pub(crate) async fn open(kind: Kind, shop_status: u16) -> Self {
        let bank = Scripted::start(|_| Reply::http(202, &[], ""));
        let shop = Scripted::start(move |_| Reply::json(shop_status, &json!({ "ok": true })));
        let database = TestDatabase::fresh(kind);
        let definitions = Definitions::of(&[PAYMENT, HASTY]);
        let binary = env!("CARGO_BIN_EXE_amends");
        let settings = Settings::new(binary, database.url(), definitions.path())
            .participant("bank", bank.url("bank"))
            .participant("shop", shop.url("shop"))
            // Where a load balancer would be; the tests know the coordinator's own address.
            .key("server.public_url", "https://amends.example/sub")
            .key("engine.lease", "1s");
        let coordinator = Coordinator::start(settings.clone()).await;
        Self {
            coordinator,
            bank,
            settings,
            _shop: shop,
            _definitions: definitions,
            _database: database,
        }
    }

    pub(crate) async fn start(&self, definition: &str) -> String {
        let (api, input) = (self.coordinator.api(), json!({ "n": 1 }));
        let started = api
            .start(definition, &input, None)
            .await
            .expect("an answer");
        assert_eq!(started.status, 202, "{}", started.body);
        started.id()
    }

    /// The `count`th call that the bank got of a saga.
    pub(crate) async fn call(&self, saga: &str, count: usize) -> Asked {
        eventually("a call to the bank", LONG, async || {
            let asked = self.bank.asked().into_iter();
            let mut own = asked.filter(|asked| asked.header("amends-saga-id") == saga);
            own.nth(count - 1)
        })
        .await
    }
}

/// Where a call wants to have its reply, below the API's base.
pub(crate) fn callback(call: &Asked) -> String {
    let url = call.header("amends-callback");
    let base = "https://amends.example/sub/api/v1";
    let path = url.strip_prefix(base);
    path.unwrap_or_else(|| panic!("{url} does not begin with {base}"))
        .to_owned()
}

/// Posts a reply, with no credential but its token.
pub(crate) async fn post(api: &Api, path: &str, body: &Value) -> Answer {
    let answer = send(api.request(Method::POST, path).json(body)).await;
    answer.expect("an answer")
}

fn succeeded() -> Value {
    json!({ "outcome": "succeeded", "data": { "charge_id": "ch_1" } })
}

async fn step(api: &Api, saga: &str, id: &str) -> Value {
    let whole = api.saga(saga).await.expect("an answer").body;
    let steps = whole["steps"].as_array().expect("steps").clone();
    let own = steps.into_iter().find(|step| step["id"] == id);
    own.expect("the step")
}

#[tokio::test]
async fn a_callback_ends_its_step() {
    let scene = Scene::open(Kind::Sqlite, 200).await;
    let api = scene.coordinator.api();
    let saga = scene.start("payment").await;
    let call = scene.call(&saga, 1).await;
    let waiting = eventually("the step to wait", LONG, async || {
        let pay = step(&api, &saga, "pay").await;
        (pay["status"] == "waiting").then_some(pay)
    })
    .await;
    assert_eq!(waiting["waiting_for"], "reply");
    let explained = api
        .get(&format!("/sagas/{saga}/explain"))
        .await
        .expect("an answer");
    assert_eq!(
        explained.body["waiting"][0]["for"], "reply",
        "{}",
        explained.body
    );

    let told = post(&api, &callback(&call), &succeeded()).await;
    assert_eq!((told.status.as_u16(), told.body), (202, Value::Null));
    let end = api.settled(&saga, LONG).await;
    assert_eq!(end["status"], "completed");
    assert_eq!(end["steps"][0]["output"], json!({ "charge_id": "ch_1" }));
    // The same JSON value again, also written otherwise and long after.
    let same = json!({ "data": { "charge_id": "ch_1" }, "outcome": "succeeded" });
    assert_eq!(post(&api, &callback(&call), &same).await.status, 202);
    // Another one is too late.
    let other = post(&api, &callback(&call), &json!({ "outcome": "refused" })).await;
    assert_eq!((other.status.as_u16(), other.code()), (409, "not_waiting"));
    let again = post(&api, &callback(&call), &json!({ "outcome": "refused" })).await;
    assert_eq!((again.status.as_u16(), again.code()), (409, "not_waiting"));
    assert_eq!(scene.bank.asked().len(), 1);
}

#[tokio::test]
async fn a_refusal_by_callback_and_its_compensation_by_callback() {
    let scene = Scene::open(Kind::Sqlite, 409).await;
    let api = scene.coordinator.api();
    let saga = scene.start("payment").await;
    let call = scene.call(&saga, 1).await;
    post(&api, &callback(&call), &succeeded()).await;
    // The shop refuses, so the payment is undone: accepted at first, told later.
    let undo = scene.call(&saga, 2).await;
    assert_eq!(
        (undo.path.as_str(), undo.header("amends-phase")),
        ("/bank/refund", "compensation")
    );
    // The action's token is not good for the compensation.
    let phase = json!({ "outcome": "succeeded", "phase": "compensation" });
    let wrong = post(&api, &callback(&call), &phase).await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (401, "bad_token"));
    let told = post(&api, &callback(&undo), &phase).await;
    assert_eq!(told.status, 202, "{}", told.body);
    let end = api.settled(&saga, LONG).await;
    assert_eq!(end["status"], "compensated", "{end}");

    let saga = scene.start("payment").await;
    let call = scene.call(&saga, 1).await;
    let refusal =
        json!({ "outcome": "refused", "data": { "code": "card_declined", "message": "no" } });
    assert_eq!(post(&api, &callback(&call), &refusal).await.status, 202);
    let end = api.settled(&saga, LONG).await;
    assert_eq!(end["failure"]["code"], "card_declined");
}

#[tokio::test]
async fn a_reply_may_ask_to_be_tried_again() {
    let scene = Scene::open(Kind::Sqlite, 200).await;
    let api = scene.coordinator.api();
    let saga = scene.start("payment").await;
    let retry = json!({ "outcome": "retry", "data": { "code": "busy", "message": "later" } });
    // The same words for each attempt: with the token of another attempt it is another reply.
    for attempt in 1..=2 {
        let call = scene.call(&saga, attempt).await;
        assert_eq!(call.header("amends-attempt"), attempt.to_string());
        assert_eq!(post(&api, &callback(&call), &retry).await.status, 202);
        assert_eq!(post(&api, &callback(&call), &retry).await.status, 202);
    }
    let last = scene.call(&saga, 3).await;
    assert_eq!(post(&api, &callback(&last), &succeeded()).await.status, 202);
    let end = api.settled(&saga, LONG).await;
    assert_eq!(end["status"], "completed");
    assert_eq!(end["steps"][0]["attempts"], 3);
    assert_eq!(end["steps"][0]["error"]["code"], "busy");
}

#[tokio::test]
async fn a_token_is_good_for_its_step_alone_and_is_told_to_nobody() {
    let scene = Scene::open(Kind::Sqlite, 200).await;
    let api = scene.coordinator.api();
    let (one, two) = (scene.start("payment").await, scene.start("payment").await);
    let (first, second) = (scene.call(&one, 1).await, scene.call(&two, 1).await);
    let token = |call: &Asked| {
        let path = callback(call);
        path.split_once("?token=").expect("a token").1.to_owned()
    };
    let of = |saga: &str, step: &str, token: &str| {
        format!("/sagas/{saga}/steps/{step}/reply?token={token}")
    };
    let changed = {
        let mut token = token(&first);
        let last = token.pop().expect("a token");
        token.push(if last == 'A' { 'E' } else { 'A' });
        token
    };
    for path in [
        of(&one, "pay", &token(&second)),
        of(&one, "ship", &token(&first)),
        of(&one, "pay", &changed),
        of(&one, "pay", ""),
        format!("/sagas/{one}/steps/pay/reply"),
    ] {
        let answer = post(&api, &path, &succeeded()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (401, "bad_token"),
            "{path}"
        );
        assert!(!answer.body.to_string().contains(&token(&first)));
    }
    for (body, status) in [
        (json!({}), 422),
        (json!({ "outcome": "maybe" }), 422),
        (json!({ "outcome": "refused", "data": 7 }), 422),
    ] {
        let answer = post(&api, &callback(&first), &body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}");
    }
    assert_eq!(
        post(&api, &callback(&first), &succeeded()).await.status,
        202
    );
    assert_eq!(
        post(&api, &callback(&second), &succeeded()).await.status,
        202
    );
    for saga in [&one, &two] {
        assert_eq!(api.settled(saga, LONG).await["status"], "completed");
        let journal = api
            .get(&format!("/sagas/{saga}/events"))
            .await
            .expect("an answer");
        assert!(!journal.body.to_string().contains(&token(&first)));
    }
    for (call, what) in [(&first, "first"), (&second, "second")] {
        assert!(
            !scene.coordinator.log().contains(&token(call)),
            "the {what} token is logged"
        );
    }
}

#[tokio::test]
async fn a_reply_that_does_not_come_is_a_timeout_and_one_that_comes_after_is_audited() {
    let scene = Scene::open(Kind::Sqlite, 200).await;
    let api = scene.coordinator.api();
    let saga = scene.start("hasty").await;
    let first = scene.call(&saga, 1).await;
    let second = scene.call(&saga, 2).await;
    assert_ne!(callback(&first), callback(&second));
    // Nobody knows whether it was done, so it is undone.
    let undo = scene.call(&saga, 3).await;
    assert_eq!(undo.header("amends-action-outcome"), "unknown");
    post(&api, &callback(&undo), &json!({ "outcome": "succeeded" })).await;
    let end = api.settled(&saga, LONG).await;
    assert_eq!(
        (end["status"].as_str(), end["failure"]["code"].as_str()),
        (Some("compensated"), Some("timeout"))
    );
    // It was done after all.
    let late = post(&api, &callback(&first), &succeeded()).await;
    assert_eq!((late.status.as_u16(), late.code()), (409, "not_waiting"));
    let audit = api
        .get(&format!("/audit?saga={saga}&action=LATE_SUCCESS"))
        .await
        .expect("an answer");
    assert_eq!(
        audit.body["items"].as_array().map(Vec::len),
        Some(1),
        "{}",
        audit.body
    );
    let again = api.saga(&saga).await.expect("an answer").body;
    assert_eq!(again["status"], "compensated");
}

#[tokio::test]
async fn what_waits_for_a_reply_is_not_sent_again_after_a_crash_or_a_drain() {
    for crash in [true, false] {
        let mut scene = Scene::open(Kind::Postgres, 200).await;
        let saga = scene.start("payment").await;
        let call = scene.call(&saga, 1).await;
        if crash {
            // After a while that it was accepted is durable.
            let api = scene.coordinator.api();
            eventually("the journal to say so", LONG, async || {
                let path = format!("/sagas/{saga}/events");
                let events = api.get(&path).await.expect("an answer").body.to_string();
                events.contains("attempt_accepted").then_some(())
            })
            .await;
            scene.coordinator.kill();
        } else {
            let status = scene.coordinator.stop(Duration::from_secs(10)).await;
            assert_eq!(status.code(), Some(0));
        }
        scene.coordinator.restart().await;
        let api = scene.coordinator.api();
        let told = eventually("the next owner", LONG, async || {
            let told = post(&api, &callback(&call), &succeeded()).await;
            (told.status != 503).then_some(told)
        })
        .await;
        assert_eq!(told.status, 202, "{}", told.body);
        assert_eq!(api.settled(&saga, LONG).await["status"], "completed");
        assert_eq!(scene.bank.asked().len(), 1, "crash: {crash}");
    }
}
