//! Messages as they are written and read.

use serde_json::{Value, json};

use super::*;
use crate::definition::request::Phase;
use crate::saga::{ActionOutcome, Outcome, StepError, Timestamp};

const SAGA: &str = "0198c7a0-0000-7000-8000-000000000001";

fn command() -> Command {
    Command {
        name: "charge".to_owned(),
        saga: SAGA.parse().unwrap(),
        definition: "order_fulfilment/1".to_owned(),
        step: "charge_payment".to_owned(),
        phase: Phase::Action,
        attempt: 1,
        action_outcome: None,
        reply_to: "amends.replies".to_owned(),
        time: Timestamp(1_795_000_000_123),
        deadline: Timestamp(1_795_000_010_123),
        fence: 7,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        tracestate: None,
        data: r#"{"amount":40}"#.to_owned(),
    }
}

#[test]
fn a_command_is_the_cloud_event_that_participants_are_promised() {
    let written: Value = serde_json::from_slice(&command().to_json().unwrap()).unwrap();
    let expected = json!({
        "specversion": "1.0", "id": format!("{SAGA}:charge_payment:action:1"),
        "type": "amends.command.v1", "source": "/amends", "subject": "charge",
        "time": "2026-11-18T11:06:40.123Z", "datacontenttype": "application/json",
        "sagaid": SAGA, "sagadefinition": "order_fulfilment/1", "sagastep": "charge_payment",
        "sagaphase": "action", "attempt": 1,
        "idempotencykey": format!("{SAGA}:charge_payment:action"), "replyto": "amends.replies",
        "deadline": "2026-11-18T11:06:50.123Z", "fence": 7,
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "data": { "amount": 40 },
    });
    assert_eq!(written, expected);
}

#[test]
fn a_command_is_read_as_it_was_written() {
    let compensation = Command {
        phase: Phase::Compensation,
        action_outcome: Some(ActionOutcome::Unknown),
        tracestate: Some("a=b".to_owned()),
        ..command()
    };
    for command in [command(), compensation] {
        let text = command.to_json().unwrap();
        assert_eq!(Command::read(&text).unwrap(), command);
    }
}

#[test]
fn what_is_no_command_is_told() {
    let mut other: Value = serde_json::from_slice(&command().to_json().unwrap()).unwrap();
    other["type"] = json!("amends.command.v2");
    let error = Command::read(other.to_string().as_bytes()).unwrap_err();
    assert!(error.to_string().contains("amends.command.v2"), "{error}");
    other["type"] = json!(COMMAND_TYPE);
    other["deadline"] = json!("soon");
    let error = Command::read(other.to_string().as_bytes()).unwrap_err();
    assert!(error.to_string().contains("deadline"), "{error}");
    for bad in ["", "null", "{", "[]", "{\"specversion\":\"1.0\"}"] {
        assert!(Command::read(bad.as_bytes()).is_err(), "{bad}");
    }
}

fn reply(outcome: &Value, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": "r-1", "type": "amends.reply.v1", "source": "/payment",
        "sagaid": SAGA, "sagastep": "charge_payment", "sagaphase": "action",
        "outcome": outcome, "data": data,
    })
}

fn read(message: &Value) -> Result<Reply, MalformedReply> {
    Reply::read(message.to_string().as_bytes())
}

#[test]
fn a_reply_says_its_outcome() {
    let outcome = |word: &str, data: Value| {
        let reply = read(&reply(&json!(word), &data)).unwrap();
        reply.outcome.into_outcome()
    };
    assert_eq!(
        outcome("succeeded", json!({ "charge_id": "ch_1" })),
        Outcome::Succeeded {
            output: json!({ "charge_id": "ch_1" })
        }
    );
    assert_eq!(
        outcome(
            "refused",
            json!({ "code": "card_declined", "message": "no" })
        ),
        Outcome::Refused(StepError::new("card_declined", "no"))
    );
    assert_eq!(
        outcome("refused", json!(null)),
        Outcome::Refused(StepError::new("refused", ""))
    );
    assert_eq!(
        outcome(
            "retry",
            json!({ "code": "busy", "message": "later", "retryafter": 1.5 })
        ),
        Outcome::Transient {
            error: StepError::new("busy", "later"),
            retry_after_ms: Some(1_500),
        }
    );
}

#[test]
fn a_reply_is_read_as_it_was_written() {
    let error = StepError::new("busy", "later");
    for outcome in [
        ReplyOutcome::Succeeded(json!([1, "two", null])),
        ReplyOutcome::Refused(error.clone()),
        ReplyOutcome::Retry {
            error: error.clone(),
            after_ms: None,
        },
        ReplyOutcome::Retry {
            error,
            after_ms: Some(250),
        },
    ] {
        let written = Reply {
            id: "r-1".to_owned(),
            source: "/payment".to_owned(),
            saga: SAGA.parse().unwrap(),
            step: "charge_payment".to_owned(),
            phase: Phase::Compensation,
            outcome,
        };
        assert_eq!(Reply::read(&written.to_json()).unwrap(), written);
    }
}

#[test]
fn what_is_no_reply_is_told() {
    let good = reply(&json!("succeeded"), &json!({}));
    read(&good).unwrap();
    let changed = |member: &str, value: Value| {
        let mut message = good.clone();
        message[member] = value;
        message
    };
    for member in [
        "specversion",
        "id",
        "type",
        "source",
        "sagaid",
        "sagastep",
        "sagaphase",
        "outcome",
    ] {
        let mut message = good.clone();
        message.as_object_mut().unwrap().remove(member);
        assert!(read(&message).is_err(), "without {member}");
        assert!(
            read(&changed(member, json!(7))).is_err(),
            "{member} is a number"
        );
    }
    for (member, value) in [
        ("specversion", json!("0.3")),
        ("type", json!("amends.command.v1")),
        ("id", json!("")),
        ("id", json!("x".repeat(256))),
        ("sagaid", json!("not-an-id")),
        ("sagaphase", json!("forward")),
        ("outcome", json!("maybe")),
    ] {
        assert!(
            read(&changed(member, value.clone())).is_err(),
            "{member}: {value}"
        );
    }
    for data in [
        json!("text"),
        json!([]),
        json!({ "code": 1 }),
        json!({ "message": {} }),
    ] {
        assert!(read(&reply(&json!("refused"), &data)).is_err(), "{data}");
    }
    for after in [json!(-1), json!("soon"), json!(1e300)] {
        let data = json!({ "code": "c", "retryafter": after });
        assert!(read(&reply(&json!("retry"), &data)).is_err(), "{after}");
    }
    for bad in ["", "{", "\u{0}", "null", "[]"] {
        assert!(Reply::read(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(Reply::read(b"\xff\xfe").is_err());
}
