//! Dead letters: a participant that rejects, what becomes of its step, and a replay after the fix.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use amends::message::ReplyOutcome;
use amends::participant::rabbitmq::Unanswered;
use serde_json::{Value, json};
use support::eventually;

use crate::scene::{LONG, ORDER, Scene, Served, enter};

/// A participant that cannot take `charge` until it is mended.
struct Broken {
    mended: Arc<AtomicBool>,
    served: Served,
}

impl Broken {
    /// `rejects` is whether it says so at once; else it fails, and gets the command again.
    fn serve(scene: &Scene, rejects: bool) -> Self {
        let mended = Arc::new(AtomicBool::new(false));
        let served = scene.serve_with({
            let (mended, ledger) = (Arc::clone(&mended), Arc::clone(&scene.ledger));
            move |command| {
                let (mended, ledger) = (Arc::clone(&mended), Arc::clone(&ledger));
                async move {
                    if command.name != "charge" || mended.load(Ordering::SeqCst) {
                        return enter(&ledger, &command).await;
                    }
                    let why = std::io::Error::other("no such currency");
                    Err::<ReplyOutcome, _>(if rejects {
                        Unanswered::Reject(why.into())
                    } else {
                        Unanswered::Again(why.into())
                    })
                }
            }
        });
        Self { mended, served }
    }
}

async fn letters(scene: &Scene, query: &str) -> Vec<Value> {
    let path = format!("/dead-letters?{query}");
    let answer = scene.api().get(&path).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["items"].as_array().expect("items").clone()
}

/// The one letter of a saga.
async fn letter(scene: &Scene, saga: &str) -> Value {
    eventually("a dead letter", LONG, async || {
        letters(scene, &format!("saga={saga}"))
            .await
            .into_iter()
            .next()
    })
    .await
}

async fn replay(scene: &Scene, letter: &Value) -> support::api::Answer {
    let id = letter["id"].as_str().expect("an id");
    let path = format!("/dead-letters/{id}/replay");
    scene
        .api()
        .post(&path, &json!({}))
        .await
        .expect("an answer")
}

/// A letter says where it comes from, why, and what it is about.
fn assert_is_told(scene: &Scene, letter: &Value, rejects: bool) {
    assert_eq!(letter["status"], "open");
    assert_eq!(
        (letter["transport"].as_str(), letter["queue"].as_str()),
        (Some("rabbitmq"), Some(scene.queue.as_str()))
    );
    assert_eq!(
        (
            letter["participant"].as_str(),
            letter["step"].as_str(),
            letter["phase"].as_str()
        ),
        (Some("ledger"), Some("charge"), Some("action"))
    );
    assert_eq!(
        letter["reason"],
        if rejects {
            "rejected"
        } else {
            "delivery_limit"
        }
    );
    if !rejects {
        assert!(letter["deliveries"].as_u64() >= Some(5), "{letter}");
    }
    assert_eq!(letter["message"]["subject"], "charge", "{letter}");
}

#[tokio::test]
async fn a_rejected_command_is_held_seen_and_replayed_after_the_fix() {
    let scene = Scene::open(&[ORDER], &[("participants.ledger.on_dead_letter", "hold")]).await;
    for rejects in [true, false] {
        let broken = Broken::serve(&scene, rejects);
        let saga = scene.start("order", &json!({ "n": 1 })).await;
        let letter = letter(&scene, &saga).await;
        assert_is_told(&scene, &letter, rejects);
        let held = eventually("the step to wait for a person", LONG, async || {
            let now = scene.api().saga(&saga).await.expect("an answer").body;
            (now["steps"][1]["waiting_for"] == "operator").then_some(now)
        })
        .await;
        assert_eq!(
            (held["status"].as_str(), held["steps"][1]["status"].as_str()),
            (Some("running"), Some("waiting"))
        );
        assert_eq!(held["steps"][1]["error"]["code"], "dead_lettered");
        let explained = scene
            .api()
            .get(&format!("/sagas/{saga}/explain"))
            .await
            .expect("an answer");
        let words = explained.body["summary"].as_str().unwrap_or_default();
        assert!(words.contains("replay its dead letter"), "{words}");

        broken.mended.store(true, Ordering::SeqCst);
        let replayed = replay(&scene, &letter).await;
        assert_eq!(
            (replayed.status.as_u16(), replayed.body["status"].as_str()),
            (200, Some("replayed")),
            "{}",
            replayed.body
        );
        let end = scene.api().settled(&saga, LONG).await;
        assert_eq!(end["status"], "completed", "{end}");
        let again = replay(&scene, &letter).await;
        assert_eq!(
            (again.status.as_u16(), again.code()),
            (409, "already_settled")
        );
        let audit = scene
            .api()
            .get(&format!("/audit?saga={saga}&action=DEAD_LETTER_REPLAYED"))
            .await;
        let audit = audit.expect("an answer").body;
        assert_eq!(audit["items"].as_array().map(Vec::len), Some(1), "{audit}");
        scene.nothing_is_wrong(&[saga]).await;
        broken.served.stop().await;
    }
    scene.clean_up().await;
}

#[tokio::test]
async fn a_dead_command_ends_its_step_as_unknown_unless_told_otherwise() {
    let scene = Scene::open(&[ORDER], &[]).await;
    let broken = Broken::serve(&scene, true);
    let saga = scene.start("order", &json!({ "n": 1 })).await;
    let end = scene.api().settled(&saga, LONG).await;
    assert_eq!(
        (end["status"].as_str(), end["failure"]["code"].as_str()),
        (Some("compensated"), Some("dead_lettered")),
        "{end}"
    );
    // Whoever replays it later does no harm: the step was undone, and its action comes too late.
    broken.mended.store(true, Ordering::SeqCst);
    let letter = letter(&scene, &saga).await;
    assert_eq!(replay(&scene, &letter).await.status, 200);
    eventually("the late reply", LONG, async || {
        let path = format!("/sagas/{saga}/events");
        let events = scene
            .api()
            .get(&path)
            .await
            .expect("an answer")
            .body
            .to_string();
        events.contains("late_reply").then_some(())
    })
    .await;
    scene.nothing_is_wrong(&[saga]).await;
    broken.served.stop().await;
    scene.clean_up().await;
}

#[tokio::test]
async fn a_dead_command_is_tried_again_where_that_is_wanted() {
    let scene = Scene::open(&[ORDER], &[("participants.ledger.on_dead_letter", "retry")]).await;
    let broken = Broken::serve(&scene, true);
    let saga = scene.start("order", &json!({ "n": 1 })).await;
    eventually("two letters", LONG, async || {
        (letters(&scene, &format!("saga={saga}")).await.len() >= 2).then_some(())
    })
    .await;
    broken.mended.store(true, Ordering::SeqCst);
    let end = scene.api().settled(&saga, LONG).await;
    assert_eq!(end["status"], "completed", "{end}");
    assert!(end["steps"][1]["attempts"].as_u64() >= Some(3), "{end}");
    scene.nothing_is_wrong(&[saga]).await;
    broken.served.stop().await;
    scene.clean_up().await;
}
