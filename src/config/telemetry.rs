//! `telemetry`: logs, and where traces go.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use url::Url;

use super::participant::http_url;
use super::secrets::MASK;
use super::section::Section;

/// The name that traces are shown under, where the configuration does not say.
const SERVICE_NAME: &str = "amends";
/// Where spans are posted below a collector's address.
pub(super) const TRACES_PATH: &str = "/v1/traces";

/// `telemetry`: logs, and where traces go.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// How log lines are written.
    pub log: LogFormat,
    /// Which are written, from `RUST_LOG` (`info` by default).
    pub filter: String,
    /// Where traces go; nowhere when it is not configured.
    pub otlp: Option<Otlp>,
    /// Whether what happens is counted. Not a key: `AMENDS_BENCH_METRICS=off` lets a bench measure
    /// what the counting costs.
    pub counts: bool,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// `telemetry.otlp`: where traces go, by OTLP over HTTP (protobuf).
#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    /// Where spans are posted, its path included.
    pub endpoint: Url,
    /// Sent with every export. Values are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How many of the sagas are traced whose caller says nothing about it, from 0 to 1.
    pub sample_ratio: f64,
    /// The name that they are shown under.
    pub service_name: String,
    /// How many spans may wait to be sent, from `OTEL_BSP_MAX_QUEUE_SIZE`.
    pub queue_spans_max: Option<usize>,
    /// How many are sent together, from `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.
    pub batch_spans_max: Option<usize>,
}

/// What comes from the environment beside the tree.
pub(super) struct Surrounding {
    /// `RUST_LOG`.
    pub(super) filter: String,
    /// Whether what happens is counted.
    pub(super) counts: bool,
    /// `OTEL_BSP_MAX_QUEUE_SIZE`.
    pub(super) queue_spans_max: Option<usize>,
    /// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`.
    pub(super) batch_spans_max: Option<usize>,
}

pub(super) fn read(section: &mut Section, surrounding: Surrounding) -> Telemetry {
    let log = section.read("log", (LogFormat::Json, "json"), |text| match text {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => Err("must be json or text".to_owned()),
    });
    Telemetry {
        log,
        otlp: read_otlp(section, &surrounding),
        filter: surrounding.filter,
        counts: surrounding.counts,
    }
}

fn read_otlp(section: &mut Section, surrounding: &Surrounding) -> Option<Otlp> {
    if !section.has("otlp") {
        section.ignore("otlp");
        section.show("otlp", serde_json::Value::Null);
        return None;
    }
    let mut child = section.child("otlp");
    let endpoint = child.read_required("endpoint", endpoint);
    let mut headers = child.child("headers");
    let sent = read_headers(&mut headers);
    child.absorb("headers", headers);
    let sample_ratio = child.read("sample_ratio", (1.0, "1"), ratio);
    let service_name = child.read(
        "service_name",
        (SERVICE_NAME.to_owned(), SERVICE_NAME),
        |text| match text {
            "" => Err("must not be empty".to_owned()),
            text => Ok(text.to_owned()),
        },
    );
    section.absorb("otlp", child);
    Some(Otlp {
        endpoint: endpoint?,
        headers: sent,
        sample_ratio,
        service_name,
        queue_spans_max: surrounding.queue_spans_max,
        batch_spans_max: surrounding.batch_spans_max,
    })
}

fn endpoint(text: &str) -> Result<Url, String> {
    let mut url = http_url(text)?;
    if matches!(url.path(), "" | "/") {
        url.set_path(TRACES_PATH);
    }
    Ok(url)
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        Ok(_) | Err(_) => Err("must be a number from 0 to 1".to_owned()),
    }
}

fn read_headers(section: &mut Section) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = BTreeMap::new();
    for (name, value) in section.named_scalars() {
        section.show(&name, MASK);
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            section.problem(&name, "is not a header's name");
            continue;
        };
        match HeaderValue::from_bytes(value.text.as_bytes()) {
            Ok(mut value) => {
                value.set_sensitive(true);
                headers.insert(header.as_str().to_owned(), (header, value));
            }
            Err(_) => section.problem(&name, "has a character that no header can hold"),
        }
    }
    headers.into_values().collect()
}
