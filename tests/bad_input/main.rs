//! Whatever a client sends: a 4xx with a code and a pointer, never a 5xx or a half-made saga.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may"
)]

mod dice;
mod table;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use support::api::Api;
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;
use support::ledger::{Faults, Ledger};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LONG: Duration = Duration::from_secs(30);

const STRICT: &str = "
name: strict
version: 1
input:
  type: object
  required: [order, items]
  properties:
    order: { type: string, minLength: 1 }
    items: { type: array, items: { type: object, required: [sku], properties: { sku: { type: string } } } }
steps:
  - { id: ask, participant: ledger, action: { command: ask }, compensation: { command: unask } }
";

/// It takes any input, and uses it.
const LOOSE: &str = "
name: loose
version: 1
steps:
  - id: ask
    participant: ledger
    when: has(input.a) && input.a != null
    action:
      put: '/x/${ input.a }'
      query: { b: '${ input.?b.orValue(1) }' }
      headers: { x-c: '${ input.?c.orValue(\"c\") }' }
      body: { all: '${ input }' }
    compensation: { command: unask }
  - { id: approval, wait: { signal: go, timeout: 2s }, on_failure: continue }
output: { all: '${ input }', more: '${ input.a }' }
";

/// An answer as it came over the wire.
#[derive(Debug)]
struct Raw {
    status: u16,
    head: String,
    body: Value,
}

impl Raw {
    /// What is wrong with this as an answer to bad input; nothing when it is a good answer.
    fn complaint(&self) -> Option<String> {
        let code = self.body["code"].as_str().unwrap_or_default();
        let is_problem = self.head.contains("content-type: application/problem+json")
            && !code.is_empty()
            && self.body["status"] == self.status;
        match self.status {
            200..=299 => None,
            400..=499 if is_problem => None,
            _ => Some(format!("{} {}", self.head, self.body)),
        }
    }
}

/// A request as it goes over the wire.
#[derive(Clone, Debug, Default)]
struct Request {
    method: String,
    /// From `/api/v1` on.
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Request {
    fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: "POST".to_owned(),
            path: path.to_owned(),
            headers: vec![("content-type".to_owned(), b"application/json".to_vec())],
            body: body.into(),
        }
    }

    fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} /api/v1{} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        bytes.extend_from_slice(b"host: localhost\r\nconnection: close\r\n");
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", self.body.len()).as_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Sends bytes and reads the answer; `None` when the connection was closed without one.
async fn exchange(address: &str, bytes: &[u8]) -> Option<Raw> {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    // It may answer and close before everything was sent.
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await;
    read.expect("an answer in time").ok();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = serde_json::from_slice(&answer[end + 4..]).unwrap_or_default();
    Some(Raw { status, head, body })
}

struct Scene {
    coordinator: Coordinator,
    api: Api,
    _ledger: Ledger,
    _definitions: Definitions,
    _database: TestDatabase,
}

async fn scene(kind: Kind) -> Scene {
    let ledger = Ledger::start(Faults::default());
    let database = TestDatabase::fresh(kind);
    let definitions = Definitions::of(&[STRICT, LOOSE]);
    let binary = env!("CARGO_BIN_EXE_amends");
    let settings = Settings::new(binary, database.url(), definitions.path())
        .participant("ledger", ledger.url("ledger"))
        .key("server.max_body", "200KiB")
        .key("engine.lease", "1s")
        .key("sagas.strict", "true");
    let coordinator = Coordinator::start(settings).await;
    Scene {
        api: coordinator.api(),
        coordinator,
        _ledger: ledger,
        _definitions: definitions,
        _database: database,
    }
}

impl Scene {
    async fn send(&self, request: &Request) -> Raw {
        let answer = exchange(&self.coordinator.address(), &request.bytes()).await;
        answer.unwrap_or_else(|| panic!("no answer to {request:?}"))
    }

    /// Every saga there is.
    async fn sagas(&self) -> Vec<String> {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.api.get(&format!("/sagas?limit=500{cursor}")).await;
            let page = page.expect("it lives").body;
            let items = page["items"].as_array().expect("items");
            ids.extend(
                items
                    .iter()
                    .filter_map(|item| item["id"].as_str().map(str::to_owned)),
            );
            let Some(next) = page["next_cursor"].as_str() else {
                return ids;
            };
            cursor = format!("&cursor={next}");
        }
    }

    /// The process is what it was; every saga that there is was accepted, ends, and can be read,
    /// before and after a restart.
    async fn is_sound(&mut self, accepted: usize) {
        assert!(self.coordinator.exit_status().is_none(), "it ended");
        let sagas = self.sagas().await;
        assert_eq!(sagas.len(), accepted, "a saga was half made");
        let ends = join_all(sagas.iter().map(|id| self.api.settled(id, LONG))).await;
        self.coordinator.kill();
        self.coordinator.restart().await;
        for before in ends {
            assert_ne!(before["status"], "failed", "{before}");
            let id = before["id"].as_str().expect("an id");
            let after = self.api.saga(id).await.expect("an answer").body;
            assert_eq!(after, before);
            let path = format!("/sagas/{id}/events");
            let events = self.api.get(&path).await.expect("an answer");
            assert_eq!(events.status, 200);
            let first = &events.body["items"][0]["type"];
            assert_eq!(first, "saga_started", "{}", events.body);
        }
        let log = self.coordinator.log();
        assert!(!log.contains("panicked"), "{log}");
        assert!(!log.contains("\"ERROR\""), "{log}");
    }
}
