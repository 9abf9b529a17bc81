//! The samples run against the demo's participants: to their end, and a failing variant of each is
//! undone.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test may")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::api::{Api, send};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::scripted::{Asked, Reply, Scripted};

const BINARY: &str = env!("CARGO_BIN_EXE_amends");
const LONG: Duration = Duration::from_secs(30);
const NAMES: &[&str] = &[
    "inventory",
    "payment",
    "shipping",
    "flights",
    "hotels",
    "cars",
    "accounts",
    "identity",
    "sanctions",
    "cards",
];

/// `amends demo --participants`, ended when dropped.
struct Participants {
    child: Child,
    address: String,
}

impl Participants {
    async fn start() -> Self {
        let address = format!("127.0.0.1:{}", support::free_port());
        let child = Command::new(BINARY)
            .args(["demo", "--participants", &address])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary");
        let participants = Self { child, address };
        support::eventually("the participants", LONG, async || {
            participants.ledger().await
        })
        .await;
        participants
    }

    async fn ledger(&self) -> Option<Value> {
        let url = format!("http://{}/ledger", self.address);
        let answer = send(Api::new("").client().get(url)).await.ok()?;
        Some(answer.body["effects"].clone())
    }

    /// The effects of a saga by participant and step, as how often it was done and undone.
    async fn effects(&self, saga: &str) -> BTreeSet<String> {
        let effects = self.ledger().await.expect("the ledger");
        let mut found = BTreeSet::new();
        for effect in effects.as_array().into_iter().flatten() {
            if effect["saga"] == saga {
                let word = |member: &str| effect[member].as_str().unwrap_or_default().to_owned();
                let (done, undone) = (&effect["done"], &effect["undone"]);
                found.insert(format!(
                    "{} {} {done} {undone}",
                    word("participant"),
                    word("step")
                ));
            }
        }
        found
    }
}

impl Drop for Participants {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

struct Scene {
    api: Api,
    participants: Participants,
    _coordinator: Coordinator,
    _database: TestDatabase,
}

async fn scene() -> Scene {
    let participants = Participants::start().await;
    let database = TestDatabase::fresh(Kind::Sqlite);
    let sagas = Path::new(env!("CARGO_MANIFEST_DIR")).join("sagas");
    let mut settings = Settings::new(BINARY, database.url(), &sagas).key("sagas.strict", "true");
    for name in NAMES {
        settings = settings.participant(name, format!("http://{}/{name}", participants.address));
    }
    let coordinator = Coordinator::start(settings).await;
    Scene {
        api: coordinator.api(),
        participants,
        _coordinator: coordinator,
        _database: database,
    }
}

impl Scene {
    async fn start(&self, definition: &str, input: &Value) -> String {
        let answer = self
            .api
            .start(definition, input, None)
            .await
            .expect("an answer");
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.id()
    }

    /// The saga ends so, and these are its effects, each as `participant step done undone`.
    async fn ends(&self, id: &str, status: &str, effects: &[&str]) -> Value {
        let end = self.api.settled(id, LONG).await;
        assert_eq!(end["status"], status, "{end}");
        let found = self.participants.effects(id).await;
        let expected: BTreeSet<String> = effects.iter().map(|&effect| effect.to_owned()).collect();
        assert_eq!(found, expected, "{end}");
        end
    }
}

fn order(total: u32, more: &Value) -> Value {
    let mut order = json!({
        "order_id": "ORD-1", "items": [{ "sku": "teapot", "quantity": 1 }], "total": total,
    });
    let members = order.as_object_mut().expect("an object");
    members.extend(more.as_object().cloned().into_iter().flatten());
    order
}

#[tokio::test]
async fn an_order_is_fulfilled_or_undone() {
    let scene = scene().await;
    let all = [
        "inventory reserve_stock 1 0",
        "payment charge_payment 1 0",
        "shipping ship 1 0",
        "shipping notify 1 0",
    ];
    let id = scene
        .start("order_fulfilment", &order(40, &json!({})))
        .await;
    let end = scene.ends(&id, "completed", &all).await;
    assert!(end["output"]["tracking"].is_string(), "{end}");
    assert_eq!(end["steps"][2]["status"], "skipped");

    // What costs nothing is not charged.
    let id = scene.start("order_fulfilment", &order(0, &json!({}))).await;
    scene
        .ends(&id, "completed", &[all[0], all[2], all[3]])
        .await;

    // A large one waits for somebody's word.
    let id = scene
        .start("order_fulfilment", &order(1_000, &json!({})))
        .await;
    support::eventually("its wait", LONG, async || {
        let saga = scene.api.saga(&id).await.ok()?.body;
        (saga["steps"][2]["waiting_for"] == "signal:approved").then_some(())
    })
    .await;
    let signal = format!("/sagas/{id}/signals/approved");
    scene
        .api
        .post(&signal, &json!({ "by": "ann" }))
        .await
        .expect("an answer");
    scene.ends(&id, "completed", &all).await;

    let declined = order(40, &json!({ "card": "declined" }));
    let id = scene.start("order_fulfilment", &declined).await;
    let end = scene
        .ends(
            &id,
            "compensated",
            &["inventory reserve_stock 1 1", "payment charge_payment 0 0"],
        )
        .await;
    assert_eq!(end["failure"]["code"], "card_declined");
    assert_eq!(end["failure"]["step"], "charge_payment");

    let silent = order(40, &json!({ "card": "silent" }));
    let id = scene.start("order_fulfilment", &silent).await;
    let undone = ["inventory reserve_stock 1 1", "payment charge_payment 1 1"];
    let end = scene.ends(&id, "compensated", &undone).await;
    assert_eq!(end["failure"]["code"], "timeout");
}

#[tokio::test]
async fn a_trip_is_booked() {
    let scene = scene().await;
    let trip = json!({
            "traveller": "ann", "amount": 900, "flight": { "offer": "F1" },
            "hotel": { "offer": "H1" }, "car": { "offer": "C1" },
    });
    let id = scene.start("travel_booking", &trip).await;
    let all = [
        "payment authorise_payment 1 0",
        "flights book_flight 1 0",
        "hotels book_hotel 1 0",
        "cars book_car 1 0",
        "payment capture_payment 1 0",
    ];
    let end = scene.ends(&id, "completed", &all).await;
    for part in ["flight", "hotel", "car"] {
        assert!(end["output"][part].is_object(), "{end}");
    }
}

#[tokio::test]
async fn money_is_moved() {
    let scene = scene().await;
    let transfer = json!({ "from": "a/b", "to": "b", "amount": 500, "currency": "EUR" });
    let id = scene.start("money_transfer", &transfer).await;
    let all = ["accounts debit 1 0", "accounts credit 1 0"];
    let end = scene.ends(&id, "completed", &all).await;
    assert_eq!(end["output"]["amount"], 500);
}

#[tokio::test]
async fn a_customer_is_taken_on() {
    let scene = scene().await;
    let customer = |card: bool| {
        json!({
            "customer_id": "C1", "name": "Ann", "document": "X1", "country": "NL", "card": card,
        })
    };
    let checks = [
        "identity check_identity 1 0",
        "sanctions check_sanctions 1 0",
    ];
    let id = scene.start("customer_onboarding", &customer(true)).await;
    let (account, card) = ("accounts open_account 1 0", "cards order_card 1 0");
    scene
        .ends(&id, "completed", &[checks[0], checks[1], account, card])
        .await;
    let id = scene.start("customer_onboarding", &customer(false)).await;
    scene
        .ends(&id, "completed", &[checks[0], checks[1], account])
        .await;
}

/// Whatever refuses, and however the sample undoes what was done before.
#[tokio::test]
async fn every_sample_is_undone() {
    let order = order(40, &json!({}));
    let trip = json!({
        "traveller": "ann", "amount": 900, "flight": { "offer": "F1" },
        "hotel": { "offer": "H1" }, "car": { "offer": "C1" },
    });
    let transfer = json!({ "from": "a", "to": "b", "amount": 500, "currency": "EUR" });
    let customer = json!({ "customer_id": "C1", "name": "Ann", "document": "X1", "country": "NL" });
    let cases: [(&str, Value, &str, &[&str]); 6] = [
        (
            "order_fulfilment",
            order.clone(),
            "/payment/charge",
            &["reserve_stock"],
        ),
        (
            "order_fulfilment",
            order,
            "/shipping/ship",
            &["reserve_stock", "charge_payment"],
        ),
        (
            "travel_booking",
            trip.clone(),
            "/payment/capture",
            &["authorise_payment", "book_flight", "book_hotel", "book_car"],
        ),
        ("travel_booking", trip, "/payment/authorise", &[]),
        ("money_transfer", transfer, "/credits/", &["debit"]),
        (
            "customer_onboarding",
            customer,
            "/cards/",
            &["open_account"],
        ),
    ];
    for (definition, input, refuses, undone) in cases {
        let participants = Scripted::start(move |asked| {
            let is_action = asked.header("amends-phase") == "action";
            let status = if is_action && asked.path.contains(refuses) {
                409
            } else {
                200
            };
            Reply::json(status, &json!({}))
        });
        let database = TestDatabase::fresh(Kind::Sqlite);
        let sagas = Path::new(env!("CARGO_MANIFEST_DIR")).join("sagas");
        let mut settings = Settings::new(BINARY, database.url(), &sagas);
        for name in NAMES {
            settings = settings.participant(name, participants.url(name));
        }
        let coordinator = Coordinator::start(settings).await;
        let started = coordinator.api().start(definition, &input, None).await;
        let id = started.expect("an answer").id();
        let end = coordinator.api().settled(&id, LONG).await;
        assert_eq!(end["status"], "compensated", "{refuses}: {end}");
        assert_eq!(end["failure"]["code"], "http_409", "{refuses}");
        let asked = participants.asked();
        let undo = |asked: &&Asked| asked.header("amends-phase") == "compensation";
        let found: BTreeSet<&str> = asked
            .iter()
            .filter(undo)
            .map(|asked| asked.header("amends-step"))
            .collect();
        assert_eq!(found, undone.iter().copied().collect(), "{refuses}");
    }
}
