//! What goes over the wire.

use ::http::{HeaderName, HeaderValue};

use super::*;

async fn sent(base: &str, attempt: &Attempt) -> String {
    let server = Server::answering(200, "", "");
    let mut transport = transport(&format!("{}{base}", server.url));
    for (name, value) in [("authorization", "Bearer s"), ("x-both", "configured")] {
        transport.headers.push((
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        ));
    }
    let outcome = reaching(transport).unwrap().call(attempt, NOW).await;
    assert_eq!(outcome, succeeded(Value::Null));
    server.requests().remove(0)
}

#[tokio::test]
async fn an_action_carries_the_headers_of_the_table() {
    let mut attempt = attempt();
    attempt.number = 3;
    attempt.traceparent =
        Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    attempt.tracestate = Some("a=b".to_owned());
    attempt.request.headers = vec![
        ("x-both".to_owned(), "declared".to_owned()),
        ("X-Declared".to_owned(), "Jürgen".to_owned()),
        ("amends-fence".to_owned(), "8".to_owned()),
    ];
    let request = sent("", &attempt).await;
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, r#"{"amount":40}"#);
    let mut lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines.remove(0), "POST /charge HTTP/1.1");
    lines.retain(|line| !line.starts_with("host: 127.0.0.1:"));
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "amends-attempt: 3",
            "amends-deadline: 2027-01-15T08:00:05.000Z",
            "amends-definition: order_fulfilment/1",
            "amends-fence: 7",
            "amends-phase: action",
            "amends-saga-id: 0198c7a0-0000-7000-8000-000000000001",
            "amends-step: charge_payment",
            "authorization: Bearer s",
            "content-length: 13",
            "content-type: application/json",
            "idempotency-key: 0198c7a0-0000-7000-8000-000000000001:charge_payment:action",
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "tracestate: a=b",
            "x-both: configured",
            "x-declared: Jürgen",
        ]
    );
}

#[tokio::test]
async fn a_compensation_says_what_became_of_its_action() {
    for (outcome, word) in [
        (ActionOutcome::Succeeded, "succeeded"),
        (ActionOutcome::Refused, "refused"),
        (ActionOutcome::Unknown, "unknown"),
    ] {
        let attempt = Attempt {
            action_outcome: Some(outcome),
            ..compensation()
        };
        let request = sent("", &attempt).await;
        assert!(
            request.contains(&format!("\r\namends-action-outcome: {word}\r\n")),
            "{request}"
        );
        assert!(
            request.contains("\r\namends-phase: compensation\r\n"),
            "{request}"
        );
        assert!(
            request.contains(":charge_payment:compensation\r\n"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn paths_come_after_the_base() {
    let with = |target: Target, query: &str| {
        let mut attempt = attempt();
        attempt.request.target = target;
        attempt.request.query = query.to_owned();
        attempt
    };
    let path = |method, path: &str| Target::Http {
        method,
        path: path.to_owned(),
    };
    let command = |name: &str| Target::Command(name.to_owned());
    for (base, target, query, line) in [
        (
            "/base/v1",
            command("charge"),
            "",
            "POST /base/v1/charge HTTP/1.1",
        ),
        (
            "/base/",
            command("charge"),
            "a=1",
            "POST /base/charge?a=1 HTTP/1.1",
        ),
        ("", command("a b/c?"), "", "POST /a%20b%2Fc%3F HTTP/1.1"),
        (
            "/",
            path(Method::Put, "/r/x%2Fy"),
            "",
            "PUT /r/x%2Fy HTTP/1.1",
        ),
        (
            "/b",
            path(Method::Delete, "/r"),
            "q=%20&r=1",
            "DELETE /b/r?q=%20&r=1 HTTP/1.1",
        ),
        ("/b", path(Method::Patch, "/"), "", "PATCH /b/ HTTP/1.1"),
    ] {
        let request = sent(base, &with(target, query)).await;
        assert_eq!(request.lines().next(), Some(line));
    }
}

#[tokio::test]
async fn without_a_body_there_is_no_content_type() {
    let attempt = Attempt {
        request: get("/stock"),
        ..attempt()
    };
    let request = sent("", &attempt).await;
    assert!(request.starts_with("GET /stock HTTP/1.1\r\n"), "{request}");
    assert!(!request.contains("content-"), "{request}");
}

#[tokio::test]
async fn what_http_cannot_carry_is_refused_unsent() {
    let server = Server::answering(200, "", "");
    let dispatcher = server.dispatcher();
    let long = format!("/{}", "x".repeat(70_000));
    for path in ["/a b", "/a\nb", long.as_str()] {
        let attempt = Attempt {
            request: get(path),
            ..attempt()
        };
        assert_eq!(
            refusal(dispatcher.call(&attempt, NOW).await).0,
            "expression_failed"
        );
    }
    let mut attempt = attempt();
    attempt.request.headers = vec![("x".to_owned(), "a\r\nb: c".to_owned())];
    assert_eq!(
        refusal(dispatcher.call(&attempt, NOW).await).0,
        "expression_failed"
    );
    assert!(server.requests().is_empty());
}
