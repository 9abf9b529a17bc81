//! Requests as a coordinator makes them, and every way in which they can be wrong.

use http::HeaderName;

use super::*;
use crate::definition::request::Phase;
use crate::saga::ActionOutcome;

const SAGA: &str = "0198c7a0-0000-7000-8000-000000000001";

fn headers(changes: &[(&str, Option<&str>)]) -> HeaderMap {
    let key = format!("{SAGA}:charge:compensation");
    let mut headers = HeaderMap::new();
    let all = [
        (IDEMPOTENCY_KEY, Some(key.as_str())),
        (SAGA_ID, Some(SAGA)),
        (DEFINITION, Some("order/3")),
        (STEP, Some("charge")),
        (PHASE, Some("compensation")),
        (ATTEMPT, Some("2")),
        (ACTION_OUTCOME, Some("unknown")),
        (DEADLINE, Some("2026-11-21T10:00:10Z")),
        (FENCE, Some("7")),
        (CALLBACK, Some("https://amends/reply?token=secret")),
        ("traceparent", Some("00-a-b-01")),
        ("tracestate", Some("a=b")),
    ];
    for (name, value) in all.iter().chain(changes) {
        let name = HeaderName::try_from(*name).unwrap();
        match value {
            Some(value) => headers.insert(name, HeaderValue::from_str(value).unwrap()),
            None => headers.remove(name),
        };
    }
    headers
}

#[test]
fn a_request_has_everything_of_the_table() {
    let command = command("refund", &headers(&[]), br#"{"amount":40}"#).unwrap();
    assert_eq!(
        command.idempotency_key(),
        format!("{SAGA}:charge:compensation")
    );
    assert!(!format!("{command:?}").contains("secret"));
    let expected = Command {
        name: "refund".to_owned(),
        saga: SAGA.parse().unwrap(),
        definition: "order/3".to_owned(),
        step: "charge".to_owned(),
        phase: Phase::Compensation,
        attempt: 2,
        action_outcome: Some(ActionOutcome::Unknown),
        deadline: Timestamp::from_rfc3339("2026-11-21T10:00:10Z").unwrap(),
        fence: 7,
        traceparent: Some("00-a-b-01".to_owned()),
        tracestate: Some("a=b".to_owned()),
        reply_to: ReplyTo::Callback(CallbackUrl::new(
            "https://amends/reply?token=secret".to_owned(),
        )),
        data: r#"{"amount":40}"#.to_owned(),
    };
    assert_eq!(command, expected);
}

#[test]
fn some_headers_need_not_be_there() {
    let action = format!("{SAGA}:charge:action");
    let changes = [
        (IDEMPOTENCY_KEY, Some(action.as_str())),
        (PHASE, Some("action")),
        (ACTION_OUTCOME, None),
        (CALLBACK, None),
        ("traceparent", None),
        ("tracestate", None),
    ];
    let command = command("charge", &headers(&changes), b"").unwrap();
    assert_eq!(command.phase, Phase::Action);
    assert_eq!(command.action_outcome, None);
    assert_eq!(command.reply_to, ReplyTo::Answer);
    assert_eq!(command.data::<Option<u8>>().unwrap(), None);
}

#[test]
fn what_is_wrong_is_named() {
    let required = [
        IDEMPOTENCY_KEY,
        SAGA_ID,
        DEFINITION,
        STEP,
        PHASE,
        ATTEMPT,
        DEADLINE,
        FENCE,
    ];
    for header in required {
        let error = command("x", &headers(&[(header, None)]), b"").unwrap_err();
        assert!(matches!(error, RequestError::Missing { header: named } if named == header));
    }
    for (header, value) in [
        (SAGA_ID, "one"),
        (PHASE, "Action"),
        (ATTEMPT, "first"),
        (ATTEMPT, "-1"),
        (ACTION_OUTCOME, "done"),
        (DEADLINE, "soon"),
        (FENCE, "1.5"),
    ] {
        let error = command("x", &headers(&[(header, Some(value))]), b"").unwrap_err();
        assert!(
            matches!(error, RequestError::Invalid { header: named, .. } if named == header),
            "{header}: {value}: {error}"
        );
        let answer = error.answer();
        assert_eq!(answer.status(), 400);
        assert!(answer.body().contains(header), "{}", answer.body());
    }
    let other = format!("{SAGA}:charge:action");
    let error = command("x", &headers(&[(IDEMPOTENCY_KEY, Some(&other))]), b"").unwrap_err();
    assert!(matches!(error, RequestError::OtherKey { .. }));
    let error = command("x", &headers(&[]), b"\xff").unwrap_err();
    assert!(matches!(error, RequestError::Body(_)));
}

#[test]
fn outcomes_are_answers() {
    let retry = |after_ms| ReplyOutcome::Retry {
        error: StepError::new("busy", "later"),
        after_ms,
    };
    let header = |answer: &Response<String>, name| {
        let value = answer.headers().get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    for (outcome, status, content_type, after) in [
        (
            ReplyOutcome::Succeeded(json!({ "id": 1 })),
            200,
            Some("application/json"),
            None,
        ),
        (ReplyOutcome::Succeeded(Value::Null), 204, None, None),
        (
            ReplyOutcome::Refused(StepError::new("no_stock", "none left")),
            409,
            Some("application/problem+json"),
            None,
        ),
        (
            retry(Some(1_001)),
            503,
            Some("application/problem+json"),
            Some("2"),
        ),
        (retry(None), 503, Some("application/problem+json"), None),
    ] {
        let answer = answer(&outcome);
        assert_eq!(answer.status(), status);
        assert_eq!(header(&answer, CONTENT_TYPE).as_deref(), content_type);
        assert_eq!(header(&answer, RETRY_AFTER).as_deref(), after);
        match outcome {
            ReplyOutcome::Succeeded(Value::Null) => assert_eq!(answer.body(), ""),
            ReplyOutcome::Succeeded(output) => assert_eq!(*answer.body(), output.to_string()),
            ReplyOutcome::Refused(error) | ReplyOutcome::Retry { error, .. } => {
                let problem: Value = serde_json::from_str(answer.body()).unwrap();
                assert_eq!(problem["status"], status);
                assert_eq!(problem["code"], error.code);
                assert_eq!(problem["detail"], error.message);
            }
        }
    }
    assert_eq!(accepted().status(), 202);
}
