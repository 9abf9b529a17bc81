//! Bad input that somebody thought of, each with the answer it must get.

use serde_json::json;
use support::database::Kind;

use super::{Raw, Request, exchange, scene};

type Row = (Request, u16, &'static str, &'static [&'static str]);

fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

fn start(body: &str) -> Request {
    Request::post("/sagas", body)
}

/// Bodies that are not JSON at all.
fn not_json() -> Vec<Row> {
    let deep = nested(100_000);
    let texts: [&[u8]; 16] = [
        b"",
        b" ",
        b"{",
        b"{\"definition\":}",
        b"nul",
        b"{\"definition\":\"loose\"}x",
        b"{'definition':'loose'}",
        b"{\"definition\":\"loose\",}",
        b"{\"definition\":\"\\ud800\"}",
        b"{\"definition\":\"loose\",\"input\":1e999}",
        b"{\"definition\":\"loose\",\"input\":01}",
        b"{\"definition\":\"loose\",\"input\":NaN}",
        b"{\"definition\":\"lo\xff\"}",
        b"\xef\xbb\xbf{\"definition\":\"loose\"}",
        b"{\"definition\":\"lo\0\"}",
        deep.as_bytes(),
    ];
    let row =
        |text: &&[u8]| -> Row { (Request::post("/sagas", *text), 400, "malformed_json", &[]) };
    texts.iter().map(row).collect()
}

/// JSON that is not what a start takes.
fn not_a_start() -> Vec<Row> {
    let invalid =
        |body: String, pointers| -> Row { (start(&body), 422, "input_invalid", pointers) };
    let with =
        |member: &str, value: &str| format!("{{\"definition\":\"loose\",\"{member}\":{value}}}");
    let long = format!("\"{}\"", "x".repeat(256));
    let labels: Vec<String> = (0..65)
        .map(|number| format!("\"{number}\":\"x\""))
        .collect();
    vec![
        invalid("null".into(), &[""]),
        invalid("[]".into(), &[""]),
        invalid("\"loose\"".into(), &[""]),
        invalid("12".into(), &[""]),
        invalid("{}".into(), &["/definition"]),
        invalid("{\"definition\":null}".into(), &["/definition"]),
        invalid("{\"definition\":7}".into(), &["/definition"]),
        invalid("{\"definition\":[\"loose\"]}".into(), &["/definition"]),
        invalid("{\"definition\":\"\"}".into(), &["/definition"]),
        invalid("{\"definition\":\"\\u0000\"}".into(), &["/definition"]),
        invalid(with("version", "0"), &["/version"]),
        invalid(with("version", "-1"), &["/version"]),
        invalid(with("version", "1.5"), &["/version"]),
        invalid(with("version", "1e300"), &["/version"]),
        invalid(with("version", "99999999999999999999"), &["/version"]),
        invalid(with("version", "\"1\""), &["/version"]),
        invalid(with("version", "{}"), &["/version"]),
        invalid(with("key", "\"\""), &["/key"]),
        invalid(with("key", "7"), &["/key"]),
        invalid(with("key", "\"a\\u0000\""), &["/key"]),
        invalid(with("key", &long), &["/key"]),
        invalid(with("labels", "[]"), &["/labels"]),
        invalid(with("labels", "\"a:b\""), &["/labels"]),
        invalid(with("labels", "{\"a\":1}"), &["/labels/a"]),
        invalid(with("labels", "{\"a/b~c\":null}"), &["/labels/a~1b~0c"]),
        invalid(with("labels", "{\"\":\"x\"}"), &["/labels/"]),
        invalid(with("labels", "{\"a:b\":\"x\"}"), &["/labels/a:b"]),
        invalid(with("labels", "{\"a\":\"\\u0000\"}"), &["/labels/a"]),
        invalid(with("labels", &format!("{{\"a\":{long}}}")), &["/labels/a"]),
        invalid(
            with("labels", &format!("{{{}}}", labels.join(","))),
            &["/labels"],
        ),
        invalid(with("input", &nested(101)), &["/input"]),
        invalid(with("__proto__", "1"), &["/__proto__"]),
        invalid(with("Definition", "1"), &["/Definition"]),
        invalid(
            "{\"version\":0,\"key\":1,\"x\":1}".into(),
            &["/definition", "/version", "/key", "/x"],
        ),
        invalid(
            "{\"definition\":\"strict\",\"input\":{\"order\":7,\"items\":[{\"sku\":\"a\"},{}]}}"
                .into(),
            &["/input/order", "/input/items/1/sku"],
        ),
        invalid("{\"definition\":\"strict\"}".into(), &["/input"]),
    ]
}

/// Headers and paths.
#[expect(clippy::too_many_lines, reason = "a table")]
fn around_a_start() -> Vec<Row> {
    let good = || start("{\"definition\":\"loose\"}");
    let key = |key: &[u8]| -> Row {
        (
            good().header("idempotency-key", key),
            400,
            "bad_request",
            &[],
        )
    };
    let typed = |kind: &[u8]| -> Row {
        let mut request = good();
        request.headers = vec![("content-type".into(), kind.to_vec())];
        (request, 415, "unsupported_media_type", &[])
    };
    let lost = |path: &str, status, code| -> Row { (Request::post(path, "{}"), status, code, &[]) };
    vec![
        key(b""),
        key(b"a\tb"),
        key("k".repeat(256).as_bytes()),
        (
            good()
                .header("idempotency-key", "a")
                .header("idempotency-key", "b"),
            400,
            "bad_request",
            &[],
        ),
        (
            good().header("prefer", "wait=soon"),
            400,
            "bad_request",
            &[],
        ),
        typed(b"text/plain"),
        typed(b"application/x-www-form-urlencoded"),
        typed(b"\xff"),
        typed(b""),
        (
            good().header("content-encoding", "gzip"),
            415,
            "unsupported_media_type",
            &[],
        ),
        (
            start(&format!("\"{}\"", "x".repeat(210_000))),
            413,
            "payload_too_large",
            &[],
        ),
        lost("/saga", 404, "not_found"),
        lost("/sagas/", 404, "not_found"),
        lost("/sagas/x/cancel", 400, "bad_request"),
        lost("/sagas/%ff%00/retry", 400, "bad_request"),
        lost("/sagas/x/steps/%2e%2e/resolve", 400, "bad_request"),
        (
            start("{\"definition\":\"absent\"}"),
            404,
            "definition_not_found",
            &[],
        ),
        (
            start("{\"definition\":\"LOOSE\"}"),
            404,
            "definition_not_found",
            &[],
        ),
        (
            start("{\"definition\":\"loose\",\"version\":2}"),
            404,
            "definition_not_found",
            &[],
        ),
    ]
}

/// What is wrong with commands on a saga that is there.
fn commands(id: &str) -> Vec<Row> {
    let to = |what: &str, body: &str, pointers| -> Row {
        let path = format!("/sagas/{id}/{what}");
        (Request::post(&path, body), 422, "input_invalid", pointers)
    };
    let resolve = "steps/ask/resolve";
    let mut rows = vec![
        to("cancel", "7", &[""]),
        to("cancel", "{\"reason\":7}", &["/reason"]),
        to("cancel", "{\"reason\":\"a\\u0000\"}", &["/reason"]),
        to("cancel", "{\"why\":\"x\"}", &["/why"]),
        to("suspend", "{\"x\":1}", &["/x"]),
        to("resume", "[]", &[""]),
        to("retry", "\"now\"", &[""]),
        to(resolve, "{}", &["/outcome", "/note"]),
        to(
            resolve,
            "{\"outcome\":\"done\",\"note\":\"n\"}",
            &["/outcome"],
        ),
        to(
            resolve,
            "{\"outcome\":1,\"note\":[]}",
            &["/outcome", "/note"],
        ),
        to(
            resolve,
            "{\"outcome\":\"skipped\",\"note\":\"\"}",
            &["/note"],
        ),
        to(
            resolve,
            "{\"outcome\":\"skipped\",\"note\":\"n\",\"output\":1}",
            &["/output"],
        ),
    ];
    let path = format!("/sagas/{id}/signals/go");
    rows.push((
        Request::post(&path, nested(101)),
        422,
        "input_invalid",
        &[""],
    ));
    rows.push((Request::post(&path, "{"), 400, "malformed_json", &[]));
    for name in ["absent", "%00", "go%20", "GO"] {
        let path = format!("/sagas/{id}/signals/{name}");
        rows.push((Request::post(&path, "1"), 404, "signal_unknown", &[]));
    }
    let path = format!("/sagas/{id}/cancel");
    rows.push((Request::post(&path, "{"), 400, "malformed_json", &[]));
    rows
}

fn batches() -> Vec<Row> {
    let invalid = |body: &str, pointers| -> Row {
        (
            Request::post("/sagas:batch", body),
            422,
            "input_invalid",
            pointers,
        )
    };
    vec![
        invalid("[]", &[""]),
        invalid("{}", &["/sagas"]),
        invalid("{\"sagas\":{}}", &["/sagas"]),
        invalid("{\"sagas\":null}", &["/sagas"]),
        invalid("{\"sagas\":[],\"more\":1}", &["/more"]),
    ]
}

fn mismatch(row: &Row, answer: &Raw) -> Option<String> {
    let (request, status, code, pointers) = row;
    let errors = answer.body["errors"].as_array();
    let mut found: Vec<&str> = errors
        .into_iter()
        .flatten()
        .filter_map(|error| error["pointer"].as_str())
        .collect();
    let mut expected = pointers.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    let fits = answer.complaint().is_none()
        && answer.status == *status
        && answer.body["code"] == *code
        && found == expected;
    let body: String = String::from_utf8_lossy(&request.body)
        .chars()
        .take(100)
        .collect();
    (!fits).then(|| {
        format!(
            "{} {body}\n  expected {status} {code} {expected:?}\n  {} {}",
            request.path, answer.status, answer.body
        )
    })
}

async fn every_row_is_answered(kind: Kind) {
    let mut scene = scene(kind).await;
    let started = scene
        .send(&start("{\"definition\":\"loose\",\"input\":{\"a\":1}}"))
        .await;
    let id = started.body["id"].as_str().unwrap_or_default().to_owned();
    let rows = [
        not_json(),
        not_a_start(),
        around_a_start(),
        commands(&id),
        batches(),
    ];
    let mut wrong = Vec::new();
    for row in rows.iter().flatten() {
        let answer = scene.send(&row.0).await;
        wrong.extend(mismatch(row, &answer));
    }
    assert!(wrong.is_empty(), "{kind:?}:\n{}", wrong.join("\n"));
    scene.is_sound(1).await;
}

#[tokio::test]
async fn every_row_is_answered_on_sqlite() {
    every_row_is_answered(Kind::Sqlite).await;
}

#[tokio::test]
async fn every_row_is_answered_on_postgres() {
    every_row_is_answered(Kind::Postgres).await;
}

#[tokio::test]
async fn every_row_is_answered_on_mariadb() {
    every_row_is_answered(Kind::MariaDb).await;
}

/// Odd, and allowed: it is kept and given back as it came.
#[tokio::test]
async fn what_is_odd_but_good_is_taken() {
    for kind in Kind::ALL {
        let mut scene = scene(kind).await;
        let inputs = [
            json!({ "a": "\u{0}\u{1f600}\u{202e}" }),
            json!({ "a": i64::MAX, "b": u64::MAX, "c": -0.0 }),
            json!({ "a": 1e308, "b": 5e-324, "c": "x" }),
            json!({ "": { "": "" }, "a/b~c": [], "\u{0}": 1 }),
            json!({ "a": "x".repeat(100_000) }),
            serde_json::from_str(&nested(100)).unwrap_or_default(),
            json!(null),
            json!("\u{fffd}"),
        ];
        for input in &inputs {
            let body =
                json!({ "definition": "loose", "input": input, "key": "'; DROP TABLE sagas" });
            let answer = scene.send(&Request::post("/sagas", body.to_string())).await;
            assert_eq!(answer.status, 202, "{kind:?}: {input}: {}", answer.body);
            let id = answer.body["id"].as_str().unwrap_or_default();
            let saga = scene.api.saga(id).await;
            assert_eq!(
                saga.map(|saga| saga.body["input"].clone()).ok().as_ref(),
                Some(input)
            );
        }
        scene.is_sound(inputs.len()).await;
    }
}

/// What is not HTTP is turned away, and the process lives.
#[tokio::test]
async fn what_is_not_http_is_turned_away() {
    let mut scene = scene(Kind::Sqlite).await;
    let address = scene.coordinator.address();
    let long = "x".repeat(300_000);
    let many: String = (0..2_000)
        .map(|number| format!("x-{number}: y\r\n"))
        .collect();
    let texts: Vec<Vec<u8>> = vec![
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"G\0T /api/v1/sagas HTTP/1.1\r\n\r\n".to_vec(),
        b"GET /api/v1/\xff\xfe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(),
        b"GET /api/v1/sagas HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n".to_vec(),
        b"POST /api/v1/sagas HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n{}".to_vec(),
        b"POST /api/v1/sagas HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}".to_vec(),
        b"POST /api/v1/sagas HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        format!("GET /api/v1/sagas?key={long} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes(),
        format!("GET /api/v1/sagas HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\nconnection: close\r\n\r\n").into_bytes(),
        format!("GET /api/v1/sagas HTTP/1.1\r\nhost: x\r\n{many}\r\n").into_bytes(),
    ];
    for text in texts {
        let shown = String::from_utf8_lossy(&text)
            .chars()
            .take(60)
            .collect::<String>();
        if let Some(answer) = exchange(&address, &text).await {
            assert!((400..500).contains(&answer.status), "{shown}: {answer:?}");
        }
    }
    scene.is_sound(0).await;
}
