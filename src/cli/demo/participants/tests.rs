//! The participants behave as participants.md asks.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;

use super::*;

const SAGA: &str = "0198c7a0-0000-7000-8000-000000000001";

/// Runs `test` against participants that listen.
async fn with_participants(test: impl AsyncFnOnce(&Participants, &reqwest::Client)) {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let (participants, server) = Participants::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    let test = async {
        test(&participants, &client).await;
        participants.stop().await;
    };
    let (served, ()) = tokio::join!(server, test);
    served.unwrap();
}

fn call(
    participants: &Participants,
    client: &reqwest::Client,
    (name, step, phase): (&str, &str, &str),
    body: &Value,
) -> reqwest::RequestBuilder {
    client
        .post(format!("{}/call", participants.url(name)))
        .header("idempotency-key", format!("{SAGA}:{step}:{phase}"))
        .header("amends-saga-id", SAGA)
        .header("amends-step", step)
        .header("amends-phase", phase)
        .json(body)
}

fn counts(participants: &Participants) -> Vec<(String, u32, u32)> {
    let effects = participants.ledger().effects().into_iter();
    effects
        .map(|effect| (effect.step, effect.done, effect.undone))
        .collect()
}

#[tokio::test]
async fn a_call_is_done_once_and_undone_once() {
    with_participants(async |participants, client| {
        let mut answers = Vec::new();
        for phase in ["action", "action", "compensation", "compensation"] {
            let response = call(
                participants,
                client,
                ("payment", "charge", phase),
                &json!({}),
            )
            .send()
            .await
            .unwrap();
            assert_eq!(response.status(), 200);
            answers.push(response.json::<Value>().await.unwrap());
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[2], answers[3]);
        assert!(
            answers[0]["charge_id"]
                .as_str()
                .is_some_and(|id| id.starts_with("ch_"))
        );
        assert_eq!(counts(participants), [("charge".to_owned(), 1, 1)]);
        let url = format!("http://{}/ledger", participants.address());
        let shown: Value = client.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(shown["effects"][0]["done"], 1);
    })
    .await;
}

#[tokio::test]
async fn an_action_after_its_compensation_is_refused() {
    with_participants(async |participants, client| {
        for (phase, status) in [("compensation", 200), ("action", 409)] {
            let response = call(
                participants,
                client,
                ("inventory", "reserve", phase),
                &json!({}),
            )
            .send()
            .await
            .unwrap();
            assert_eq!(response.status(), status, "{phase}");
        }
        assert_eq!(counts(participants), [("reserve".to_owned(), 0, 0)]);
    })
    .await;
}

#[tokio::test]
async fn the_body_steers() {
    with_participants(async |participants, client| {
        let declined = json!({ "order": { "items": [{ "card": "declined" }] } });
        let response = call(
            participants,
            client,
            ("payment", "charge", "action"),
            &declined,
        )
        .send()
        .await
        .unwrap();
        assert_eq!(response.status(), 409);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        assert_eq!(
            response.json::<Value>().await.unwrap()["code"],
            "card_declined"
        );
        assert_eq!(counts(participants), [("charge".to_owned(), 0, 0)]);

        let elsewhere = call(
            participants,
            client,
            ("inventory", "reserve", "action"),
            &declined,
        )
        .send()
        .await
        .unwrap();
        assert_eq!(
            elsewhere.status(),
            200,
            "a card is none of the inventory's business"
        );

        let silent = json!({ "card": "silent" });
        let silence = call(participants, client, ("cards", "issue", "action"), &silent)
            .timeout(Duration::from_millis(200))
            .send()
            .await
            .unwrap_err();
        assert!(silence.is_timeout());
        assert!(counts(participants).contains(&("issue".to_owned(), 1, 0)));
        let undone = call(
            participants,
            client,
            ("cards", "issue", "compensation"),
            &silent,
        );
        assert_eq!(undone.send().await.unwrap().status(), 200);
        assert!(counts(participants).contains(&("issue".to_owned(), 1, 1)));
    })
    .await;
}

#[tokio::test]
async fn a_call_without_a_key_is_a_bad_request() {
    with_participants(async |participants, client| {
        let response = client
            .post(participants.url("payment") + "/x")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 400);
        let nowhere = format!("http://{}/", participants.address());
        assert_eq!(client.get(nowhere).send().await.unwrap().status(), 404);
    })
    .await;
}
