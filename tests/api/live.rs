//! Events as they happen, as a stream of server-sent events.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use support::api::{Api, send};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::events::{Message, Stream};
use support::scripted::{Reply, Scripted};
use tokio::io::AsyncWriteExt as _;

use super::{LONG, Scene, WAITING, assert_problem, scene};

/// How many streams a replica serves at a time.
const STREAMS_MAX: usize = 500;

async fn open(api: &Api, saga: &str, seen: Option<u64>) -> Stream {
    let stream = Stream::open(api, saga, seen).await;
    stream.unwrap_or_else(|answer| panic!("{} {}", answer.status, answer.body))
}

async fn journal(api: &Api, saga: &str) -> Vec<Value> {
    let path = format!("/sagas/{saga}/events?limit=500");
    let page = api.get(&path).await.expect("an answer").body;
    page["items"].as_array().expect("items").clone()
}

/// The messages are these events, each under its number and type.
#[track_caller]
fn assert_tells(messages: &[Message], events: &[Value]) {
    let data: Vec<&Value> = messages.iter().map(|message| &message.data).collect();
    assert_eq!(data, events.iter().collect::<Vec<_>>());
    for message in messages {
        assert_eq!(message.id, message.data["seq"].as_u64());
        assert_eq!(message.data["type"], message.event);
    }
}

/// The last message is the end, with the summary as it is, and then the stream is closed.
async fn assert_ends(scene: &Scene, saga: &str, stream: &mut Stream, end: &Message) {
    assert_eq!((end.id, end.event.as_str()), (None, "end"));
    let listed = scene.get("/sagas").await.body;
    let items = listed["items"].as_array().expect("items");
    let summary = items.iter().find(|item| item["id"] == saga);
    assert_eq!(Some(&end.data), summary);
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_stream_tells_everything_from_any_event_on_and_ends() {
    let scene = scene(Kind::Sqlite).await;
    let id = scene.start("refused").await;
    let mut stream = open(&scene.api, &id, None).await;
    let mut messages = stream.until("end").await;
    let end = messages.pop().expect("an end");
    assert_eq!(end.data["status"], "compensated");
    assert_ends(&scene, &id, &mut stream, &end).await;
    let events = journal(&scene.api, &id).await;
    assert_tells(&messages, &events);

    // One that has finished, read from wherever a client was, and from behind its end.
    for seen in 0..=events.len() + 1 {
        let seen_events = u64::try_from(seen).expect("a few");
        let mut stream = open(&scene.api, &id, Some(seen_events)).await;
        let mut rest = stream.until("end").await;
        assert_eq!(rest.pop(), Some(end.clone()));
        assert_tells(&rest, &events[seen.min(events.len())..]);
        assert_eq!(stream.next().await, None);
    }
    let path = format!("/sagas/{id}/events");
    let bad = scene.api.request(Method::GET, &path);
    let bad = bad.header("accept", "text/event-stream");
    let bad = send(bad.header("last-event-id", "x")).await;
    assert_problem(&bad.expect("an answer"), 400, "bad_request");
    let none = Stream::open(&scene.api, "0198c7c4-aaaa-7000-8000-000000000000", None).await;
    assert_problem(&none.expect_err("no stream"), 404, "saga_not_found");
    // Whoever does not ask for a stream gets a page.
    let page = scene.api.request(Method::GET, &path);
    let page = page.header("accept", "application/json, text/event-stream;q=0.5");
    let page = send(page).await.expect("an answer");
    assert_eq!(page.header("content-type"), "application/json");
    let head = scene.api.request(Method::HEAD, &path);
    let head = send(head.header("accept", "text/event-stream")).await;
    assert_eq!(head.expect("an answer").status, 200);
}

#[tokio::test]
async fn what_happens_is_told_when_it_happens() {
    let scene = scene(Kind::Sqlite).await;
    let id = scene.start("waiting").await;
    let mut stream = open(&scene.api, &id, None).await;
    let mut messages = stream.until("wait_started").await;
    let sent = Instant::now();
    scene
        .post(&format!("/sagas/{id}/signals/go"), &json!(1))
        .await;
    messages.extend(stream.until("wait_started").await);
    let took = sent.elapsed();
    assert!(took < Duration::from_secs(4), "woken by nobody: {took:?}");
    // It is silent for long, and shows that it is there.
    let quiet = async { stream.next().await };
    let waited = tokio::time::timeout(Duration::from_secs(17), quiet).await;
    assert!(waited.is_err(), "{waited:?}");
    assert_eq!(stream.comments(), 1);
    scene
        .post(&format!("/sagas/{id}/signals/go"), &json!(2))
        .await;
    messages.extend(stream.until("end").await);
    let end = messages.pop().expect("an end");
    assert_eq!(end.data["status"], "completed");
    assert_tells(&messages, &journal(&scene.api, &id).await);
}

#[tokio::test]
async fn a_failed_saga_that_goes_on_is_followed_further() {
    let scene = scene(Kind::Sqlite).await;
    let id = scene.start("stuck").await;
    let mut stream = open(&scene.api, &id, None).await;
    let mut messages = stream.until("end").await;
    let end = messages.pop().expect("an end");
    assert_eq!(end.data["status"], "failed");
    assert_ends(&scene, &id, &mut stream, &end).await;
    let seen = messages.last().and_then(|message| message.id);

    // Nothing has happened since.
    let mut stream = open(&scene.api, &id, seen).await;
    assert_eq!(stream.next().await, Some(end));
    scene.switch.store(200, Ordering::Relaxed);
    assert_eq!(scene.command(&id, "retry").await.status, 202);
    let mut stream = open(&scene.api, &id, seen).await;
    messages.extend(stream.until("end").await);
    let end = messages.pop().expect("an end");
    assert_eq!(end.data["status"], "compensated");
    assert_tells(&messages, &journal(&scene.api, &id).await);
}

#[tokio::test]
async fn a_client_goes_on_where_it_was_after_the_coordinator_was_killed() {
    let mut scene = scene(Kind::Sqlite).await;
    let id = scene.start("waiting").await;
    let mut messages: Vec<Message> = Vec::new();
    for payload in 1..=2 {
        let seen = messages.last().and_then(|message| message.id);
        let mut stream = open(&scene.api, &id, seen).await;
        messages.extend(stream.until("wait_started").await);
        scene.coordinator.kill();
        while let Some(message) = stream.next().await {
            messages.push(message);
        }
        scene.coordinator.restart().await;
        let path = format!("/sagas/{id}/signals/go");
        assert_eq!(scene.post(&path, &json!(payload)).await.status, 202);
    }
    let seen = messages.last().and_then(|message| message.id);
    let mut stream = open(&scene.api, &id, seen).await;
    messages.extend(stream.until("end").await);
    assert_eq!(messages.pop().expect("an end").data["status"], "completed");
    assert_tells(&messages, &journal(&scene.api, &id).await);
}

#[tokio::test]
async fn a_drain_closes_streams() {
    let mut scene = scene(Kind::Sqlite).await;
    let id = scene.waiting().await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = open(&scene.api, &id, None).await;
        stream.until("wait_started").await;
        streams.push(stream);
    }
    let asked = Instant::now();
    scene.coordinator.signal("TERM");
    for mut stream in streams {
        assert_eq!(stream.next().await, None, "closed, and not by an end");
    }
    let status = support::eventually("the end of the process", LONG, async || {
        scene.coordinator.exit_status()
    })
    .await;
    assert_eq!(status.code(), Some(0), "{}", scene.coordinator.log());
    assert!(asked.elapsed() < Duration::from_secs(10));
}

/// The second replica has no news of the sagas that the first one owns.
#[tokio::test]
async fn a_saga_of_another_replica_is_followed() {
    let probe = Scripted::start(|_| Reply::json(200, &json!({ "ok": true })));
    let database = TestDatabase::fresh(Kind::Postgres);
    let definitions = Definitions::of(&[WAITING]);
    let settings = Settings::new(
        env!("CARGO_BIN_EXE_amends"),
        database.url(),
        definitions.path(),
    )
    .participant("probe", probe.url("probe"));
    let mut owner = Coordinator::start(settings.clone()).await;
    let standby = Coordinator::spawn(settings);
    standby.wait_for("standby", LONG).await;
    support::eventually("the standby's API", LONG, async || {
        standby.api().get("/sagas").await.ok()
    })
    .await;
    let started = owner.api().start("waiting", &Value::Null, None).await;
    let id = started.expect("an answer").id();
    let mut stream = open(&standby.api(), &id, None).await;
    let mut messages = stream.until("wait_started").await;
    let signal = async |api: Api| {
        let path = format!("/sagas/{id}/signals/go");
        let answer = api.post(&path, &json!(1)).await.expect("an answer");
        assert_eq!(answer.status, 202, "{}", answer.body);
    };
    signal(owner.api()).await;
    messages.extend(stream.until("wait_started").await);
    // The stream goes on when its own replica takes over.
    owner.kill();
    standby.wait_for("ready", LONG).await;
    signal(standby.api()).await;
    messages.extend(stream.until("end").await);
    assert_eq!(messages.pop().expect("an end").data["status"], "completed");
    assert_tells(&messages, &journal(&standby.api(), &id).await);
}

#[tokio::test]
async fn two_hundred_streams_tell_the_same_at_the_same_time() {
    let scene = scene(Kind::Postgres).await;
    let sagas = join_all((0..20).map(|_| scene.waiting())).await;
    let follow = async |id: &str| {
        let mut stream = open(&scene.api, id, None).await;
        stream.until("end").await
    };
    let followed: Vec<&String> = sagas.iter().cycle().take(200).collect();
    let told = join_all(followed.iter().map(|id| follow(id)));
    let change = async {
        for id in sagas.iter().chain(&sagas) {
            let path = format!("/sagas/{id}/signals/go");
            assert_eq!(scene.post(&path, &json!(1)).await.status, 202);
        }
    };
    let (told, ()) = tokio::join!(told, change);
    for (id, mut messages) in followed.iter().zip(told) {
        assert_eq!(messages.pop().expect("an end").data["status"], "completed");
        let numbers: BTreeSet<u64> = messages.iter().filter_map(|message| message.id).collect();
        assert_eq!(numbers.len(), messages.len(), "something came twice");
        assert_tells(&messages, &journal(&scene.api, id).await);
    }
}

/// The number of streams is bounded, and a client that goes away leaves its place.
#[tokio::test]
async fn a_client_that_is_gone_leaves_its_place() {
    let scene = scene(Kind::Sqlite).await;
    let id = scene.waiting().await;
    let mut streams = Vec::with_capacity(STREAMS_MAX);
    while streams.len() < STREAMS_MAX {
        let more = (0..50).map(|_| open(&scene.api, &id, None));
        streams.extend(join_all(more).await);
    }
    let one_more = Stream::open(&scene.api, &id, None).await;
    let answer = one_more.expect_err("one too many");
    assert_problem(&answer, 429, "too_many_streams");
    assert_ne!(answer.header("retry-after"), "");
    // It is seen at the next comment at the latest.
    drop(streams);
    support::eventually("a place", Duration::from_secs(60), async || {
        Stream::open(&scene.api, &id, None).await.ok()
    })
    .await;
}

/// Clients that take nothing of what is sent to them cost little, however much there is.
#[tokio::test]
async fn a_slow_client_holds_little() {
    const CLIENTS: usize = 30;
    const SIGNALS: u32 = 20;
    let scene = scene(Kind::Sqlite).await;
    let id = scene.waiting().await;
    scene.command(&id, "suspend").await;
    let payload = json!("x".repeat(900_000));
    for _ in 0..SIGNALS {
        let path = format!("/sagas/{id}/signals/go");
        assert_eq!(scene.post(&path, &payload).await.status, 202);
    }
    let before = resident_mib(&scene);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let address = scene.coordinator.address();
        let stream = tokio::net::TcpStream::connect(&address).await;
        let mut stream = stream.expect("a connection");
        let request = format!(
            "GET /api/v1/sagas/{id}/events HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n"
        );
        let sent = stream.write_all(request.as_bytes()).await;
        sent.expect("sent");
        clients.push(stream);
    }
    // One that reads to the end comes after them, so they have had their time.
    let mut reader = open(&scene.api, &id, None).await;
    let mut received = 0;
    while received < SIGNALS {
        let message = reader.next().await.expect("an event");
        received += u32::from(message.event == "signal_received");
    }
    let grown = resident_mib(&scene).saturating_sub(before);
    // All of it would be 540 MiB.
    assert!(grown < 270, "{grown} MiB for {CLIENTS} clients");
}

fn resident_mib(scene: &Scene) -> u64 {
    let path = format!("/proc/{}/status", scene.coordinator.process_id());
    let status = std::fs::read_to_string(path).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok()).expect("a size") / 1_024
}
