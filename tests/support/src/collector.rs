//! A collector of traces that takes OTLP over HTTP and remembers every span.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::eventually;
use crate::scripted::{Asked, Reply, Scripted};

/// A span as it was received; ids in hex.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The trace.
    pub trace: String,
    /// The span.
    pub span: String,
    /// Its parent; empty when it has none.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// When it began, in milliseconds since 1970.
    pub begun_ms: u64,
    /// When it ended, in milliseconds since 1970.
    pub ended_ms: u64,
    /// Its attributes, as text.
    pub attributes: BTreeMap<String, String>,
    /// Whether its status is an error.
    pub failed: bool,
    /// The name of the service that sent it.
    pub service: String,
}

impl Seen {
    /// An attribute; empty when it is not there.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// A running collector. Ends when dropped.
#[derive(Debug)]
pub struct Collector {
    server: Scripted,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Collector {
    /// Starts one on a free port of loopback.
    #[must_use]
    pub fn start() -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&seen);
        let server = Scripted::start(move |asked| match spans(asked) {
            Some(spans) => {
                let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
                book.extend(spans);
                Reply::http(200, &[("content-type", "application/x-protobuf")], "")
            }
            None => Reply::http(400, &[], "not OTLP"),
        });
        Self { server, seen }
    }

    /// Where it is, as `telemetry.otlp.endpoint` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        let url = self.server.url("");
        url.trim_end_matches('/').to_owned()
    }

    /// Every request that came.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.server.asked()
    }

    /// Every span so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The spans of a trace so far.
    #[must_use]
    pub fn trace(&self, id: &str) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|span| span.trace == id);
        seen
    }

    /// The spans of a trace once there are this many.
    ///
    /// # Panics
    /// When there are not within `limit`.
    pub async fn wait_for(&self, trace: &str, spans: usize, limit: Duration) -> Vec<Seen> {
        let what = format!("{spans} spans of trace {trace}");
        eventually(&what, limit, async || {
            let seen = self.trace(trace);
            (seen.len() >= spans).then_some(seen)
        })
        .await
    }
}

fn spans(asked: &Asked) -> Option<Vec<Seen>> {
    if asked.path != "/v1/traces" || asked.header("content-type") != "application/x-protobuf" {
        return None;
    }
    let request = ExportTraceServiceRequest::decode(asked.body.as_slice()).ok()?;
    let mut seen = Vec::new();
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.unwrap_or_default();
        let service = texts(&resource.attributes)
            .remove("service.name")
            .unwrap_or_default();
        for span in of_resource.scope_spans.into_iter().flat_map(|of| of.spans) {
            seen.push(read(&span, &service));
        }
    }
    Some(seen)
}

fn read(span: &Span, service: &str) -> Seen {
    const ERROR: i32 = 2;
    Seen {
        trace: hex(&span.trace_id),
        span: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name.clone(),
        begun_ms: span.start_time_unix_nano / 1_000_000,
        ended_ms: span.end_time_unix_nano / 1_000_000,
        attributes: texts(&span.attributes),
        failed: span
            .status
            .as_ref()
            .is_some_and(|status| status.code == ERROR),
        service: service.to_owned(),
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::BoolValue(truth) => Some(truth.to_string()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::DoubleValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    };
    attributes
        .iter()
        .filter_map(|attribute| Some((attribute.key.clone(), text(attribute)?)))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    text
}
