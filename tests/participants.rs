//! What a participant sends, and what it sees, through the whole binary (execution.md, "The
//! outcome of an attempt"; participants.md, "HTTP").
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test may")]

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use support::api::{Api, send};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::scripted::{Asked, Reply, Scripted, http};

const LONG: Duration = Duration::from_secs(30);

const PROBE: &str = "
name: probe
version: 1
retry: { max_attempts: 2, initial: 1ms, max: 5ms }
steps:
  - id: ask
    participant: probe
    timeout: 500ms
    on_failure: continue
    action: { post: '/${ input.case }' }
output: '${ steps.ask.output }'
";

const PICKY: &str = "
name: picky
version: 1
retry: { max_attempts: 2, initial: 1ms, max: 5ms }
steps:
  - id: ask
    participant: probe
    timeout: 500ms
    on_failure: continue
    refuse_on: [503]
    retry_on: [404, 5xx]
    action: { post: '/${ input.case }' }
";

/// What a step comes to: its status, the code of its error, its attempts.
type Expected = (&'static str, &'static str, u64);

const DONE: Expected = ("succeeded", "", 1);
const TOO_LARGE: Expected = ("unknown", "response_too_large", 1);

struct Case {
    name: &'static str,
    reply: fn() -> Reply,
    expected: Expected,
    output: fn() -> Value,
}

fn text(body: &'static str) -> Reply {
    Reply::http(200, &[("content-type", "text/plain")], body)
}

fn as_json(body: &[u8]) -> Reply {
    Reply::http(200, &[("content-type", "application/json")], body)
}

fn status(status: u16) -> Reply {
    Reply::http(status, &[], "")
}

fn refused(code: &'static str) -> Expected {
    ("refused", code, 1)
}

fn unknown(code: &'static str) -> Expected {
    ("unknown", code, 2)
}

fn nothing() -> Value {
    Value::Null
}

fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

/// Longer than the `max_response` that is configured.
fn long() -> String {
    format!("\"{}\"", "x".repeat(70_000))
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    let case = |name, expected, reply: fn() -> Reply, output: fn() -> Value| Case {
        name,
        reply,
        expected,
        output,
    };
    let none = |name, expected, reply| case(name, expected, reply, nothing);
    vec![
        // What was done.
        case(
            "json",
            DONE,
            || Reply::json(201, &json!({ "a": [1, 2.5, "é"] })),
            || json!({ "a": [1, 2.5, "é"] }),
        ),
        case("scalar", DONE, || as_json(b"12"), || json!(12)),
        none("null", DONE, || as_json(b"null")),
        none("empty", DONE, || status(204)),
        none("accepted", DONE, || status(202)),
        case("text", DONE, || text("hello"), || json!("hello")),
        case(
            "untyped",
            DONE,
            || Reply::http(200, &[], "[1]"),
            || json!([1]),
        ),
        case(
            "broken_json",
            DONE,
            || as_json(b"{\"a\":"),
            || json!("{\"a\":"),
        ),
        case("huge_number", DONE, || as_json(b"1e999"), || json!("1e999")),
        case(
            "nul",
            DONE,
            || as_json(br#"{"\u0000":"\u0000"}"#),
            || json!({ "\0": "\0" }),
        ),
        case("nul_text", DONE, || text("a\0b"), || json!("a\0b")),
        case(
            "bad_utf8",
            DONE,
            || as_json(b"\xff\xfe"),
            || json!("\u{fffd}\u{fffd}"),
        ),
        case(
            "lone_surrogate",
            DONE,
            || as_json(br#""\ud800""#),
            || json!(r#""\ud800""#),
        ),
        case(
            "unbounded_nesting",
            DONE,
            || as_json(nested(20_000).as_bytes()),
            || json!(nested(20_000)),
        ),
        // What was done, but is lost.
        none("too_long", TOO_LARGE, || as_json(long().as_bytes())),
        none("too_long_untold", TOO_LARGE, || {
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
            Reply::Bytes((head.to_owned() + &long()).into_bytes())
        }),
        // What was refused.
        none("bad_request", refused("http_400"), || status(400)),
        none("not_found", refused("http_404"), || status(404)),
        none("not_implemented", refused("http_501"), || status(501)),
        none("not_modified", refused("http_304"), || status(304)),
        none("strange", refused("http_599"), || status(599)),
        none("redirect", refused("http_302"), || {
            Reply::http(302, &[("location", "/elsewhere")], "")
        }),
        none("problem", refused("card_declined"), || {
            Reply::problem(409, &json!({ "code": "card_declined", "detail": "no" }))
        }),
        none("problem_of_wrong_types", refused("http_409"), || {
            Reply::problem(409, &json!({ "code": 7, "detail": [], "title": {} }))
        }),
        none("problem_that_is_none", refused("http_409"), || {
            Reply::http(409, &[("content-type", "application/problem+json")], "[")
        }),
        none("problem_too_long", refused("http_409"), || {
            Reply::problem(409, &json!({ "code": "x", "detail": "x".repeat(70_000) }))
        }),
        none("problem_with_nul", refused("http_409"), || {
            Reply::problem(409, &json!({ "code": "a\u{0}", "detail": "a\u{0}b" }))
        }),
        none("other_json", refused("http_409"), || {
            Reply::json(409, &json!({ "code": "not_for_us" }))
        }),
        // What nobody knows.
        none("request_timeout", unknown("http_408"), || status(408)),
        none("too_early", unknown("http_425"), || status(425)),
        none("too_many", unknown("http_429"), || status(429)),
        none("internal", unknown("http_500"), || status(500)),
        none("bad_gateway", unknown("http_502"), || status(502)),
        none("unavailable", unknown("http_503"), || status(503)),
        none("gateway_timeout", unknown("http_504"), || status(504)),
        none("silent", unknown("timeout"), || Reply::Silence),
        none("late", unknown("timeout"), || {
            Reply::Late(Duration::from_secs(5), http(200, &[], b"1"))
        }),
        none("closed", unknown("connection_failed"), || {
            Reply::Bytes(vec![])
        }),
        none("cut_short", unknown("bad_answer"), || {
            Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec())
        }),
        none("cut_in_the_head", unknown("bad_answer"), || {
            Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec())
        }),
        none("bad_chunks", unknown("bad_answer"), || {
            Reply::Bytes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec())
        }),
        none("not_http", unknown("bad_answer"), || {
            Reply::Bytes(b"220 smtp.example ESMTP\r\n\r\n".to_vec())
        }),
        none("noise", unknown("bad_answer"), || {
            Reply::Bytes((0..=255).cycle().take(5_000).collect())
        }),
    ]
}

struct Scene {
    coordinator: Coordinator,
    probe: Scripted,
    // Each outlives the process.
    _definitions: Definitions,
    _database: TestDatabase,
}

async fn scene(
    kind: Kind,
    definitions: &[&str],
    script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> Scene {
    let probe = Scripted::start(script);
    let database = TestDatabase::fresh(kind);
    let definitions = Definitions::of(definitions);
    let binary = env!("CARGO_BIN_EXE_amends");
    let settings = Settings::new(binary, database.url(), definitions.path())
        .participant("probe", probe.url("probe"))
        .participant("nobody", "http://127.0.0.1:1/nobody")
        .key("participants.probe.max_response", "64KiB")
        .key("participants.probe.headers.x-configured", "by the operator")
        .key("sagas.strict", "true");
    Scene {
        coordinator: Coordinator::start(settings).await,
        probe,
        _definitions: definitions,
        _database: database,
    }
}

async fn run(api: &Api, definition: &str, input: &Value) -> Value {
    let started = api.start(definition, input, None).await.expect("an answer");
    api.settled(&started.id(), LONG).await
}

async fn every_answer_has_its_outcome(kind: Kind) {
    let scene = scene(kind, &[PROBE], |asked| {
        let name = asked.path.trim_start_matches("/probe/");
        let cases = cases();
        let case = cases.iter().find(|case| case.name == name);
        case.map_or_else(|| status(418), |case| (case.reply)())
    })
    .await;
    let api = scene.coordinator.api();
    let wrong = join_all(cases().into_iter().map(|case| {
        let api = api.clone();
        async move {
            let end = run(&api, "probe", &json!({ "case": case.name })).await;
            let step = &end["steps"][0];
            let (status, code, attempts) = case.expected;
            let error = if code.is_empty() {
                json!(null)
            } else {
                json!(code)
            };
            let fits = end["status"] == "completed"
                && step["status"] == status
                && step["error"]["code"] == error
                && step["attempts"] == attempts
                && step["output"] == (case.output)()
                && end["output"] == (case.output)();
            let shown: String = end.to_string().chars().take(700).collect();
            (!fits).then(|| format!("{}: {shown}", case.name))
        }
    }))
    .await;
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let followed = scene.probe.asked();
    assert!(!followed.iter().any(|asked| asked.path == "/elsewhere"));
}

#[tokio::test]
async fn every_answer_has_its_outcome_on_sqlite() {
    every_answer_has_its_outcome(Kind::Sqlite).await;
}

#[tokio::test]
async fn every_answer_has_its_outcome_on_postgres() {
    every_answer_has_its_outcome(Kind::Postgres).await;
}

#[tokio::test]
async fn every_answer_has_its_outcome_on_mariadb() {
    every_answer_has_its_outcome(Kind::MariaDb).await;
}

/// An answer that nests so deep that the journal could not be read with it in.
#[tokio::test]
async fn what_nests_deep_can_be_read_back() {
    let deep = "
name: deep
version: 1
steps:
  - { id: ask, participant: probe, action: { post: '/${ input.levels }' }, on_failure: continue }
output: { a: { b: { c: [[[[[['${ steps.ask.output }']]]]]] } } }
";
    let mut scene = scene(Kind::Sqlite, &[deep], |asked| {
        let levels = asked.path.trim_start_matches("/probe/");
        as_json(nested(levels.parse().unwrap_or(1)).as_bytes())
    })
    .await;
    let api = scene.coordinator.api();
    let mut sagas = Vec::new();
    for levels in [1, 90, 91, 99, 100, 101, 110, 119, 120, 126, 127, 128, 200] {
        let end = run(&api, "deep", &json!({ "levels": levels })).await;
        assert_eq!(end["status"], "completed", "{levels} levels");
        let step = &end["steps"][0];
        assert_eq!(step["status"], "succeeded", "{levels} levels");
        // Too deep for the journal is text, as JSON that does not parse is.
        assert_eq!(step["output"].is_array(), levels <= 100, "{levels} levels");
        let has_output = levels <= 91 || levels > 100;
        assert_eq!(end["output"].is_object(), has_output, "{levels} levels");
        assert_eq!(end["output_error"].is_null(), has_output, "{levels} levels");
        sagas.push((levels, end));
    }
    scene.coordinator.kill();
    scene.coordinator.restart().await;
    for (levels, before) in sagas {
        let id = before["id"].as_str().expect("an id");
        let after = api.saga(id).await.expect("an answer").body;
        assert_eq!(after, before, "{levels} levels");
    }
}

#[tokio::test]
async fn statuses_may_be_read_otherwise() {
    let scene = scene(Kind::Sqlite, &[PICKY], |asked| {
        let status = asked.path.trim_start_matches("/probe/").parse();
        Reply::http(status.unwrap_or(418), &[], "")
    })
    .await;
    let api = scene.coordinator.api();
    for (status, expected, attempts) in [
        (404, "unknown", 2),
        (501, "unknown", 2),
        (503, "refused", 1),
        (409, "refused", 1),
        (429, "unknown", 2),
    ] {
        let end = run(&api, "picky", &json!({ "case": status.to_string() })).await;
        let step = &end["steps"][0];
        assert_eq!(step["status"], expected, "{status}");
        assert_eq!(step["attempts"], attempts, "{status}");
    }
}

#[tokio::test]
async fn a_participant_that_is_not_there_failed_to_connect() {
    let absent = PROBE.replace("participant: probe", "participant: nobody");
    let scene = scene(Kind::Sqlite, &[&absent], |_| status(200)).await;
    let end = run(&scene.coordinator.api(), "probe", &json!({ "case": "x" })).await;
    let step = &end["steps"][0];
    assert_eq!(step["status"], "unknown");
    assert_eq!(step["error"]["code"], "connection_failed");
    assert_eq!(step["attempts"], 2);
}

/// `Retry-After` lengthens the wait, up to the policy's longest.
#[tokio::test]
async fn a_participant_may_ask_for_patience() {
    let patient = "
name: patient
version: 1
retry: { max_attempts: 2, initial: 1ms, max: 600ms, jitter: none }
steps:
  - { id: ask, participant: probe, action: { post: /ask, body: '${ input }' },
      on_failure: continue }
";
    let scene = scene(Kind::Sqlite, &[patient], |asked| {
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let after = body["after"].as_str().unwrap_or_default();
        Reply::http(503, &[("retry-after", after)], "")
    })
    .await;
    let api = scene.coordinator.api();
    for (after, lengthened) in [
        ("30", true),
        ("99999999999999999999999", true),
        ("Tue, 31 Dec 2199 23:59:59 GMT", true),
        ("0", false),
        ("soon", false),
        ("-5", false),
        ("Sun, 06 Nov 1994 08:49:37 GMT", false),
    ] {
        let begun = Instant::now();
        let end = run(&api, "patient", &json!({ "after": after })).await;
        let took = begun.elapsed();
        assert_eq!(end["steps"][0]["attempts"], 2, "{after}");
        let waited = took >= Duration::from_millis(600);
        assert_eq!(waited, lengthened, "{after}: {took:?}");
        assert!(took < Duration::from_secs(5), "{after}: {took:?}");
    }
}

const HEADERS: &str = "
name: headers
version: 3
retry: { max_attempts: 3, initial: 1ms, max: 2ms }
compensation: { retry: { initial: 1ms, max: 2ms } }
steps:
  - id: book
    participant: probe
    action:
      put: '/rooms/${ input.room }'
      query: { nights: '${ input.nights }' }
      headers: { x-declared: 'for ${ input.room }', x-configured: by the author }
      body: { room: '${ input.room }' }
    compensation: { delete: '/rooms/${ input.room }' }
  - { id: look, participant: probe, action: { get: /look }, compensation: { command: unlook } }
  - id: pay
    participant: probe
    action: { command: pay }
    compensation: { command: refund }
  - { id: refuse, participant: probe, action: { command: refuse } }
";

/// What a participant is told, at each attempt and in each phase.
#[tokio::test]
async fn a_participant_sees_what_was_promised() {
    let scene = scene(Kind::Sqlite, &[HEADERS], |asked| {
        let attempt = asked.header("amends-attempt");
        match (asked.path.as_str(), attempt) {
            ("/probe/refuse", _) => status(409),
            ("/probe/pay", _) => status(503),
            ("/probe/refund", "1" | "2") => status(503),
            _ => Reply::json(200, &json!({ "n": 1 })),
        }
    })
    .await;
    let api = scene.coordinator.api();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let input = json!({ "room": "a/b c?d", "nights": 2 });
    let request = api
        .request(Method::POST, "/sagas")
        .header("traceparent", trace)
        .header("tracestate", "vendor=1")
        .json(&json!({ "definition": "headers", "input": input }));
    let id = send(request).await.expect("an answer").id();
    let end = api.settled(&id, LONG).await;
    assert_eq!(end["status"], "compensated", "{end}");

    let all = scene.probe.asked();
    for asked in &all {
        let (step, phase) = (asked.header("amends-step"), asked.header("amends-phase"));
        assert_eq!(asked.header("amends-saga-id"), id);
        assert_eq!(asked.header("amends-definition"), "headers/3");
        assert_eq!(
            asked.header("idempotency-key"),
            format!("{id}:{step}:{phase}")
        );
        assert_eq!(asked.header("x-configured"), "by the operator");
        assert_eq!(asked.header("traceparent"), trace);
        assert_eq!(asked.header("tracestate"), "vendor=1");
        assert_ne!(asked.header("amends-deadline"), "");
        let fence: u64 = asked.header("amends-fence").parse().expect("a number");
        assert!(fence >= 1);
        let has_body = !asked.body.is_empty();
        let kind = if has_body { "application/json" } else { "" };
        assert_eq!(asked.header("content-type"), kind, "{step} {phase}");
        let is_undo = phase == "compensation";
        assert_eq!(asked.headers.contains_key("amends-action-outcome"), is_undo);
    }
    let line = |asked: &Asked| {
        let attempt = asked.header("amends-attempt");
        let outcome = asked.header("amends-action-outcome");
        format!("{} {} {attempt} {outcome}", asked.method, asked.path)
    };
    let lines: Vec<String> = all.iter().map(line).collect();
    let expected = [
        "PUT /probe/rooms/a%2Fb%20c%3Fd?nights=2 1 ",
        "GET /probe/look 1 ",
        "POST /probe/pay 1 ",
        "POST /probe/pay 2 ",
        "POST /probe/pay 3 ",
        "POST /probe/refund 1 unknown",
        "POST /probe/refund 2 unknown",
        "POST /probe/refund 3 unknown",
        "POST /probe/unlook 1 succeeded",
        "DELETE /probe/rooms/a%2Fb%20c%3Fd 1 succeeded",
    ];
    assert_eq!(lines, expected);
    let body = |index: usize| serde_json::from_slice::<Value>(&all[index].body).ok();
    assert_eq!(all[0].header("x-declared"), "for a/b c?d");
    assert_eq!(body(0), Some(json!({ "room": "a/b c?d" })));
    assert_eq!(body(1), None);
    // Left out, a body is the input, and for a compensation the output beside it.
    assert_eq!(body(2), Some(input.clone()));
    assert_eq!(body(5), Some(json!({ "input": input, "output": null })));
    let unlook = json!({ "input": input, "output": { "n": 1 } });
    assert_eq!(body(8), Some(unlook));
    assert_eq!(body(9), None);
}

/// Nothing that a participant cannot be sent is sent.
#[tokio::test]
async fn what_cannot_be_rendered_is_refused_unsent() {
    let scene = scene(Kind::Sqlite, &[PROBE], |_| status(200)).await;
    let api = scene.coordinator.api();
    for input in [
        json!({ "case": "" }),
        json!({ "case": ".." }),
        json!({ "case": "." }),
        json!({}),
        json!(null),
        json!([]),
    ] {
        let end = run(&api, "probe", &input).await;
        let step = &end["steps"][0];
        assert_eq!(step["status"], "refused", "{input}: {end}");
        assert_eq!(step["error"]["code"], "expression_failed", "{input}");
    }
    assert_eq!(scene.probe.asked().len(), 0);
}
