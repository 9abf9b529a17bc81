//! Bad input that nobody thought of: good requests with things broken at random, by seed.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value, json};
use support::database::Kind;

use super::{Request, scene};

/// How many requests a run makes.
const REQUESTS: usize = 700;

const TEXTS: &[&str] = &[
    "",
    "a",
    "loose",
    "strict",
    "go",
    "succeeded",
    "\0",
    "é\u{1f600}",
    "../..",
    "%00",
    "${ input }",
    "' OR 1=1 --",
    "1",
    "true",
    "2026-11-21T10:00:00Z",
    "\u{feff}",
    "\u{202e}x",
    "\r\n\r\nGET /",
];

const MEMBERS: &[&str] = &[
    "definition",
    "version",
    "key",
    "input",
    "labels",
    "sagas",
    "idempotency_key",
    "outcome",
    "note",
    "output",
    "reason",
    "order",
    "items",
    "sku",
    "a",
    "b",
    "c",
    "",
    "/~",
    "\0",
];

const PARAMETERS: &[&str] = &[
    "definition",
    "version",
    "status",
    "key",
    "label",
    "created_after",
    "created_before",
    "failure_code",
    "suspended",
    "overdue",
    "limit",
    "cursor",
    "x",
];

const HEADERS: &[&str] = &[
    "idempotency-key",
    "prefer",
    "traceparent",
    "tracestate",
    "x-request-id",
    "accept",
    "content-type",
    "content-encoding",
    "last-event-id",
    "authorization",
    "if-match",
    "range",
    "expect",
];

fn pick<'a>(dice: &mut StdRng, of: &[&'a str]) -> &'a str {
    of[dice.random_range(0..of.len())]
}

fn value(dice: &mut StdRng, levels: u32) -> Value {
    match dice.random_range(0..if levels == 0 { 7 } else { 10 }) {
        0 => Value::Null,
        1 => json!(dice.random_bool(0.5)),
        2 => json!(dice.random_range(-3..600_i64)),
        3 => json!(dice.random::<f64>() * 1e300),
        4 => json!(dice.random::<u64>()),
        5 => json!(pick(dice, TEXTS).repeat(dice.random_range(1..200))),
        6 => json!(pick(dice, TEXTS)),
        7 => Value::Array(
            (0..dice.random_range(0..4))
                .map(|_| value(dice, levels - 1))
                .collect(),
        ),
        8 => (0..dice.random_range(0..120)).fold(json!(1), |inner, _| json!([inner])),
        _ => {
            let count = dice.random_range(0..5);
            let members =
                (0..count).map(|_| (pick(dice, MEMBERS).to_owned(), value(dice, levels - 1)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

/// A good body of the call, to be broken.
fn good_body(path: &str) -> Value {
    let start = json!({
        "definition": "strict", "version": 1, "key": "k",
        "input": { "order": "1", "items": [{ "sku": "a" }] }, "labels": { "a": "b" },
    });
    if path == "/sagas" {
        start
    } else if path == "/sagas:batch" {
        json!({ "sagas": [start, { "definition": "loose", "input": { "a": "b" } }] })
    } else if path.ends_with("/resolve") {
        json!({ "outcome": "succeeded", "note": "n", "output": 1 })
    } else if path.ends_with("/cancel") {
        json!({ "reason": "r" })
    } else {
        json!({})
    }
}

/// Puts something else in one place of a value.
fn break_value(dice: &mut StdRng, target: &mut Value) {
    let deeper = dice.random_bool(0.7);
    match target {
        Value::Object(members) if deeper && !members.is_empty() => {
            let place = dice.random_range(0..members.len());
            if dice.random_bool(0.2) {
                let name = pick(dice, MEMBERS).to_owned();
                let more = value(dice, 2);
                members.insert(name, more);
            } else if let Some((_, member)) = members.iter_mut().nth(place) {
                break_value(dice, member);
            }
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let place = dice.random_range(0..items.len());
            break_value(dice, &mut items[place]);
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => *target = value(dice, 3),
    }
}

fn body(dice: &mut StdRng, path: &str) -> Vec<u8> {
    let mut good = good_body(path);
    if dice.random_bool(0.8) {
        break_value(dice, &mut good);
    }
    let mut bytes = good.to_string().into_bytes();
    if dice.random_bool(0.2) && !bytes.is_empty() {
        for _ in 0..dice.random_range(1..4) {
            let place = dice.random_range(0..bytes.len());
            bytes[place] = dice.random();
        }
    }
    if dice.random_bool(0.05) {
        bytes.truncate(dice.random_range(0..=bytes.len()));
    }
    bytes
}

/// As it may stand in a path or a query.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn path(dice: &mut StdRng, ids: &[String]) -> String {
    let id = if dice.random_bool(0.7) && !ids.is_empty() {
        ids[dice.random_range(0..ids.len())].clone()
    } else {
        encoded(pick(dice, TEXTS))
    };
    let name = encoded(pick(dice, TEXTS));
    match dice.random_range(0..14) {
        0..=3 => "/sagas".to_owned(),
        4 => "/sagas:batch".to_owned(),
        5 => format!("/sagas/{id}"),
        6 => format!("/sagas/{id}/events"),
        7 => format!("/sagas/{id}/cancel"),
        8 => format!(
            "/sagas/{id}/{}",
            pick(dice, &["suspend", "resume", "retry"])
        ),
        9 => format!(
            "/sagas/{id}/steps/{}/resolve",
            pick(dice, &["ask", "approval", &name])
        ),
        10 => format!("/sagas/{id}/signals/{}", pick(dice, &["go", &name])),
        11 => format!("/definitions/{name}"),
        12 => "/definitions:check".to_owned(),
        _ => format!("/{name}/{id}"),
    }
}

fn query(dice: &mut StdRng) -> String {
    let pairs: Vec<String> = (0..dice.random_range(1..4))
        .map(|_| {
            let text = encoded(pick(dice, TEXTS));
            format!("{}={text}", pick(dice, PARAMETERS))
        })
        .collect();
    format!("?{}", pairs.join("&"))
}

/// Bytes that a header can hold.
fn header_value(dice: &mut StdRng) -> Vec<u8> {
    if dice.random_bool(0.5) {
        let length = dice.random_range(0..300);
        let noise = (0..length).map(|_| dice.random_range(0x20..=0xff_u8));
        noise.filter(|byte| *byte != 0x7f).collect()
    } else {
        let text = pick(dice, TEXTS).replace(['\0', '\r', '\n'], "");
        text.into_bytes()
    }
}

fn request(dice: &mut StdRng, ids: &[String]) -> Request {
    let mut path = path(dice, ids);
    let method = if dice.random_bool(0.1) {
        pick(
            dice,
            &[
                "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW",
            ],
        )
    } else if path.ends_with("/events") || path.starts_with("/definitions/") {
        "GET"
    } else {
        pick(dice, &["POST", "POST", "POST", "GET"])
    };
    let mut request = Request::post(&path, body(dice, &path));
    if method == "GET" && dice.random_bool(0.7) {
        path.push_str(&query(dice));
        request.path = path;
    }
    request.method = method.to_owned();
    if dice.random_bool(0.2) {
        let name = pick(dice, HEADERS);
        let value = header_value(dice);
        // Who waits is answered, but the test would wait, too; and so it would for a 100.
        if !value.starts_with(b"wait") && name != "expect" {
            request.headers.retain(|(known, _)| known != name);
            request = request.header(name, value);
        }
    }
    request
}

async fn nothing_random_breaks_it(kind: Kind, seed: u64) {
    let mut scene = scene(kind).await;
    let mut dice = StdRng::seed_from_u64(seed);
    let (mut ids, mut wrong) = (Vec::new(), Vec::new());
    let mut answers = [0_usize; 6];
    for number in 0..REQUESTS {
        let request = request(&mut dice, &ids);
        let answer = scene.send(&request).await;
        answers[usize::from(answer.status / 100)] += 1;
        // A HEAD has no body to tell with.
        let told = request.method != "HEAD" || answer.status >= 500;
        if let Some(complaint) = answer.complaint().filter(|_| told) {
            let sent = String::from_utf8_lossy(&request.bytes()).into_owned();
            wrong.push(format!("request {number}:\n{sent}\n{complaint}"));
        }
        let results = answer.body["results"].as_array().into_iter().flatten();
        let made = results.map(|result| &result["saga"]);
        let one = [&answer.body];
        let is_start = request.method == "POST" && request.path == "/sagas";
        let made = made.chain(one.into_iter().filter(|_| is_start));
        for id in made.filter_map(|saga| saga["id"].as_str()) {
            if !ids.iter().any(|known| known == id) {
                ids.push(id.to_owned());
            }
        }
    }
    eprintln!(
        "{kind:?}, seed {seed}: {} sagas, answers by class {answers:?}",
        ids.len()
    );
    assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n\n"));
    assert!(answers[2] > 20 && answers[4] > 300, "{answers:?}");
    // What was signalled or suspended may go on.
    for id in &ids {
        let path = format!("/sagas/{id}/resume");
        let resumed = scene.api.post(&path, &json!({})).await;
        assert!(resumed.is_ok_and(|answer| matches!(answer.status.as_u16(), 202 | 409)));
    }
    scene.is_sound(ids.len()).await;
}

#[tokio::test]
async fn nothing_random_breaks_it_on_sqlite() {
    nothing_random_breaks_it(Kind::Sqlite, 1).await;
}

#[tokio::test]
async fn nothing_random_breaks_it_on_postgres() {
    nothing_random_breaks_it(Kind::Postgres, 2).await;
}

#[tokio::test]
async fn nothing_random_breaks_it_on_mariadb() {
    nothing_random_breaks_it(Kind::MariaDb, 3).await;
}
