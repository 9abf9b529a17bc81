//! Whole answers, and what they mean.

use super::*;
use crate::definition::model::StatusPattern::{Class, Exact};

const JSON: &str = "content-type: application/json\r\n";
const PROBLEM: &str = "content-type: application/problem+json; charset=utf-8\r\n";

async fn answer(status: u16, headers: &str, body: &str) -> Outcome {
    Server::answering(status, headers, body)
        .dispatcher()
        .call(&attempt(), NOW)
        .await
}

#[tokio::test]
async fn a_success_gives_its_body() {
    for (status, headers, body, output) in [
        (
            200,
            JSON,
            r#"{"charge_id":"ch_1","n":[1,2.5]}"#,
            json!({ "charge_id": "ch_1", "n": [1, 2.5] }),
        ),
        (
            201,
            "content-type: Application/HAL+JSON; charset=utf-8\r\n",
            "7",
            json!(7),
        ),
        (200, "", r#"{"a":1}"#, json!({ "a": 1 })),
        (200, "", "fine", json!("fine")),
        (200, JSON, "{not json", json!("{not json")),
        (200, JSON, "null", Value::Null),
        (200, JSON, "", Value::Null),
        (204, "", "", Value::Null),
        (200, "content-type: text/plain\r\n", "42", json!("42")),
        (202, "content-type: text/html\r\n", "<p>", json!("<p>")),
    ] {
        assert_eq!(
            answer(status, headers, body).await,
            succeeded(output),
            "{status} {body}"
        );
    }
    let mut latin = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n".to_vec();
    latin.extend_from_slice(b"a\xffb");
    let server = Server::saying(latin, Then::KeepAlive);
    assert_eq!(
        server.dispatcher().call(&attempt(), NOW).await,
        succeeded(json!("a\u{fffd}b"))
    );
}

#[tokio::test]
async fn json_of_any_depth_is_an_answer() {
    let deep = "[".repeat(400) + &"]".repeat(400);
    assert_eq!(answer(200, JSON, &deep).await, succeeded(json!(deep)));
}

#[tokio::test]
async fn a_body_may_come_in_chunks_or_until_the_end() {
    for text in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\nt: x\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n[1,2]",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n[1,2]",
    ] {
        let outcome = Server::saying(text, Then::Close)
            .dispatcher()
            .call(&attempt(), NOW)
            .await;
        assert_eq!(outcome, succeeded(json!([1, 2])), "{text}");
    }
}

#[tokio::test]
async fn statuses_that_pass_are_transient() {
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let outcome = answer(status, "", "busy").await;
        assert_eq!(transient_code(&outcome), format!("http_{status}"));
    }
    let problem = r#"{"code":"busy","detail":"come back"}"#;
    assert_eq!(
        answer(503, PROBLEM, problem).await,
        Outcome::Transient {
            error: StepError::new("http_503", "come back"),
            retry_after_ms: None,
        }
    );
}

#[tokio::test]
async fn retry_after_is_seconds_or_a_date() {
    let at = |seconds: u64| {
        let now = u64::try_from(NOW.0).unwrap() / 1_000;
        httpdate::fmt_http_date(
            std::time::UNIX_EPOCH + std::time::Duration::from_secs(now + seconds),
        )
    };
    for (value, expected) in [
        ("3".to_owned(), Some(3_000)),
        ("0".to_owned(), Some(0)),
        ("99999999999999999999999".to_owned(), Some(u64::MAX)),
        (at(90), Some(90_000)),
        ("Thu, 01 Jan 1970 00:00:00 GMT".to_owned(), Some(0)),
        ("soon".to_owned(), None),
        ("-3".to_owned(), None),
        (String::new(), None),
    ] {
        let outcome = answer(503, &format!("retry-after: {value}\r\n"), "").await;
        let Outcome::Transient { retry_after_ms, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(retry_after_ms, expected, "{value}");
    }
}

#[tokio::test]
async fn any_other_status_is_refused() {
    for status in [
        300, 301, 302, 304, 307, 400, 401, 403, 404, 409, 410, 422, 501, 505, 599,
    ] {
        let location = "location: http://127.0.0.1:1/elsewhere\r\n";
        let (code, message) = refusal(answer(status, location, "").await);
        assert_eq!(code, format!("http_{status}"));
        assert!(message.contains(&status.to_string()), "{message}");
    }
}

#[tokio::test]
async fn a_refusal_says_why_in_a_problem() {
    let long = "x".repeat(200);
    for (headers, body, code, message) in [
        (
            PROBLEM,
            r#"{"code":"card_declined","detail":"No.","title":"T"}"#,
            "card_declined",
            "No.",
        ),
        (PROBLEM, r#"{"title":"Declined"}"#, "http_409", "Declined"),
        (
            PROBLEM,
            r#"{"code":7,"detail":null}"#,
            "http_409",
            "payment answered 409 Conflict",
        ),
        (
            PROBLEM,
            r#"{"code":""}"#,
            "http_409",
            "payment answered 409 Conflict",
        ),
        (
            PROBLEM,
            r#"{"code":"a\u0000b","detail":"c\u0000d"}"#,
            "http_409",
            "c\u{fffd}d",
        ),
        (PROBLEM, "[]", "http_409", "payment answered 409 Conflict"),
        (PROBLEM, "{", "http_409", "payment answered 409 Conflict"),
        (
            JSON,
            r#"{"code":"x","detail":"y"}"#,
            "http_409",
            "payment answered 409 Conflict",
        ),
        (
            PROBLEM,
            &format!(r#"{{"code":"{long}"}}"#),
            "http_409",
            "payment answered 409 Conflict",
        ),
    ] {
        let refusal = refusal(answer(409, headers, body).await);
        assert_eq!(refusal, (code.to_owned(), message.to_owned()), "{body}");
    }
    let body = format!(r#"{{"code":"c","detail":"{}"}}"#, "y".repeat(2_000));
    assert_eq!(
        refusal(answer(409, PROBLEM, &body).await).0,
        "http_409",
        "too long to be read"
    );
}

#[tokio::test]
async fn the_step_says_how_statuses_are_read() {
    let server = Server::new(|stream, request, _| {
        let status = request
            .split("status=")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").unwrap();
        Then::KeepAlive
    });
    let dispatcher = server.dispatcher();
    for (status, is_transient) in [
        (404, true),
        (409, false),
        (423, true),
        (503, false),
        (500, true),
        (302, true),
        (400, true),
    ] {
        let mut attempt = attempt();
        attempt.request.query = format!("status={status}");
        attempt.refuse_on = vec![Exact(409), Exact(503)];
        attempt.retry_on = vec![Class(4), Exact(302)];
        match dispatcher.call(&attempt, NOW).await {
            Outcome::Transient { .. } => assert!(is_transient, "{status}"),
            Outcome::Refused(_) => assert!(!is_transient, "{status}"),
            other @ (Outcome::Succeeded { .. } | Outcome::Unknown(_)) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_a_too_long_answer_means_hangs_on_its_status_and_phase() {
    let body = "x".repeat(1_001);
    let declared = |status| Server::answering(status, "", &body);
    let streamed = |status| {
        let text =
            format!("HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n{body}\r\n");
        Server::saying(text, Then::KeepAlive)
    };
    for server in [&declared as &dyn Fn(u16) -> Server, &streamed] {
        let ok = server(200).dispatcher();
        let outcome = ok.call(&attempt(), NOW).await;
        let Outcome::Unknown(error) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(error.code, "response_too_large");
        assert_eq!(ok.call(&compensation(), NOW).await, succeeded(Value::Null));
        let busy = server(503).dispatcher().call(&attempt(), NOW).await;
        assert_eq!(transient_code(&busy), "http_503");
        assert_eq!(
            refusal(server(409).dispatcher().call(&attempt(), NOW).await).0,
            "http_409"
        );
    }
    let fits = "y".repeat(1_000);
    assert_eq!(answer(200, "", &fits).await, succeeded(json!(fits)));
}

#[tokio::test]
async fn who_is_not_configured_is_not_refused() {
    let dispatcher = dispatcher("http://127.0.0.1:1");
    assert!(dispatcher.knows("payment") && !dispatcher.knows("inventory"));
    let attempt = Attempt {
        participant: "inventory".into(),
        ..attempt()
    };
    assert_eq!(
        transient_code(&dispatcher.call(&attempt, NOW).await),
        "participant_unknown"
    );
}
