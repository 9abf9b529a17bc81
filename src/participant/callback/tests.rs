//! Against a coordinator that answers what a test wants.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::saga::StepError;
use support::scripted::{Reply, Scripted};

const SHORT: Duration = Duration::from_millis(450);
const LONG: Duration = Duration::from_secs(30);

fn refused() -> ReplyOutcome {
    ReplyOutcome::Refused(StepError::new("no_stock", "none left"))
}

fn url(coordinator: &Scripted) -> CallbackUrl {
    CallbackUrl::new(coordinator.url("sagas/1/steps/pay/reply?token=secret"))
}

#[test]
fn the_body_is_what_the_api_takes() {
    let retry = ReplyOutcome::Retry {
        error: StepError::new("busy", "later"),
        after_ms: Some(1_500),
    };
    for (phase, outcome, expected) in [
        (
            Phase::Action,
            ReplyOutcome::Succeeded(json!({ "id": 1 })),
            json!({ "phase": "action", "outcome": "succeeded", "data": { "id": 1 } }),
        ),
        (
            Phase::Compensation,
            refused(),
            json!({ "phase": "compensation", "outcome": "refused",
                    "data": { "code": "no_stock", "message": "none left" } }),
        ),
        (
            Phase::Action,
            retry,
            json!({ "phase": "action", "outcome": "retry",
                    "data": { "code": "busy", "message": "later", "retryafter": 1.5 } }),
        ),
    ] {
        assert_eq!(body(phase, &outcome), expected);
    }
}

#[tokio::test]
async fn a_reply_is_posted_until_it_is_taken() {
    let times = AtomicUsize::new(0);
    let coordinator = Scripted::start(move |_| match times.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::http(503, &[], ""),
        1 => Reply::Bytes(Vec::new()),
        _ => Reply::http(202, &[], ""),
    });
    let callbacks = Callbacks::new().unwrap();
    let posted = callbacks
        .post(&url(&coordinator), Phase::Action, &refused(), LONG)
        .await;
    assert_eq!(posted.unwrap(), Posted::Taken);
    let asked = coordinator.asked();
    assert_eq!(asked.len(), 3);
    for asked in asked {
        assert_eq!(asked.method, "POST");
        assert_eq!(asked.path, "/sagas/1/steps/pay/reply?token=secret");
        assert_eq!(asked.header("content-type"), "application/json");
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!(body, super::body(Phase::Action, &refused()));
    }
}

#[tokio::test]
async fn what_the_coordinator_decided_is_not_asked_again() {
    for (status, expected) in [(409, Some(Posted::NotWaiting)), (401, None), (400, None)] {
        let coordinator = Scripted::start(move |_| Reply::http(status, &[], ""));
        let callbacks = Callbacks::new().unwrap();
        let posted = callbacks
            .post(&url(&coordinator), Phase::Action, &refused(), LONG)
            .await;
        match (posted, expected) {
            (Ok(posted), Some(expected)) => assert_eq!(posted, expected),
            (Err(CallbackError::Refused(said)), None) => assert_eq!(said.as_u16(), status),
            (other, _) => panic!("{status}: {other:?}"),
        }
        assert_eq!(coordinator.asked().len(), 1);
    }
}

#[tokio::test]
async fn it_gives_up_in_the_end_and_keeps_the_token_to_itself() {
    let busy = Scripted::start(|_| Reply::http(500, &[], ""));
    let gone = CallbackUrl::new(format!(
        "http://127.0.0.1:{}/?token=secret",
        support::free_port()
    ));
    let wrong = CallbackUrl::new("no url?token=secret".to_owned());
    let callbacks = Callbacks::through(Callbacks::new().map(|callbacks| callbacks.client).unwrap());
    for (url, status, tries) in [
        (url(&busy), Some(500), 2..=3),
        (gone, None, 0..=0),
        (wrong, None, 0..=0),
    ] {
        let before = busy.asked().len();
        let error = callbacks
            .post(&url, Phase::Action, &refused(), SHORT)
            .await
            .unwrap_err();
        match (&error, status) {
            (CallbackError::Busy(said), Some(status)) => assert_eq!(said.as_u16(), status),
            (CallbackError::Unreachable(_), None) => {}
            (other, _) => panic!("{other:?}"),
        }
        assert!(tries.contains(&(busy.asked().len() - before)));
        let said = format!("{error} {error:?} {url:?}");
        assert!(!said.contains("secret"), "{said}");
    }
}
