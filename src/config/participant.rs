//! The participants: how each is reached.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::{HeaderName, HeaderValue};
use url::Url;

use super::broker::fits_every_broker;
use super::guards::{Guards, read_guards};
use super::quantity::{duration_ms, size_bytes};
use super::secrets::MASK;
use super::section::Section;
use super::tls::{certificates_at, key_at};

/// How long one exchange may take where neither the step nor the participant says.
pub const TIMEOUT_DEFAULT_MS: u64 = 30_000;

/// The longest answer read where the participant does not say, in bytes.
pub const RESPONSE_MAX_DEFAULT_BYTES: usize = 1 << 20;

/// The longest name of a queue: SQS takes 80 characters, and `-dlq` and `.fifo` come behind it.
const QUEUE_CHARS_MAX: usize = 70;

/// One participant.
#[derive(Clone, Debug)]
pub struct Participant {
    /// How long one exchange may take where the step does not say, in milliseconds.
    pub timeout_ms: u64,
    /// How it is reached.
    pub transport: Transport,
    /// What holds calls back.
    pub guards: Guards,
}

/// How a participant is reached.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Over HTTP.
    Http(HttpTransport),
    /// By commands in a queue of RabbitMQ.
    RabbitMq(QueueTransport),
    /// By commands in a queue of SQS.
    Sqs(QueueTransport),
    /// In this process: a function that the embedding program brings.
    Local,
}

/// A participant that takes commands from a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueTransport {
    /// The queue.
    pub queue: String,
    /// What becomes of a step whose command nobody could take.
    pub on_dead_letter: OnDeadLetter,
}

/// What becomes of a step whose command nobody could take (participants.md, "Dead letters").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDeadLetter {
    /// Nobody knows whether it was done: the step ends as `unknown`.
    #[default]
    Fail,
    /// The attempt failed and is tried again by the step's policy.
    Retry,
    /// The step waits for an operator, or its timeout.
    Hold,
}

impl OnDeadLetter {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Fail, Self::Retry, Self::Hold];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Retry => "retry",
            Self::Hold => "hold",
        }
    }
}

/// A participant that is reached over HTTP.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    /// Where it listens, `http` or `https`; its path, if any, comes before every call's.
    pub url: Url,
    /// How much of an answer is read at most, in bytes.
    pub response_max_bytes: usize,
    /// Sent with every call; they win over a definition's. Values are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whom to trust and who to be; `None` is the system's authorities and no certificate.
    pub tls: Option<ClientTls>,
}

/// TLS towards one participant. All files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// The only authorities trusted; `None` is the system's.
    pub ca: Option<PathBuf>,
    /// The certificate shown to the participant, when it asks for one.
    pub identity: Option<ClientIdentity>,
}

/// A client certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate and what leads to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Whether a header is the coordinator's or the transport's own (participants.md): neither a
/// definition nor the configuration can set it. `name` is in lower case.
#[must_use]
pub fn is_reserved_header(name: &str) -> bool {
    name.starts_with("amends-")
        || matches!(
            name,
            "idempotency-key"
                | "traceparent"
                | "tracestate"
                | "content-type"
                | "content-length"
                | "host"
                | "transfer-encoding"
                | "connection"
                | "keep-alive"
                | "proxy-connection"
                | "te"
                | "trailer"
                | "upgrade"
                | "expect"
        )
}

pub(super) fn read_all(section: &mut Section) -> BTreeMap<String, Participant> {
    let mut participants = BTreeMap::new();
    for (name, mut child) in section.named_children() {
        if !is_name(&name) {
            section.problem(&name, "a participant's name is [a-z][a-z0-9_-]{0,62}");
        }
        let participant = read(&mut child);
        section.absorb(name.clone(), child);
        if let Some(participant) = participant {
            participants.insert(name, participant);
        }
    }
    participants
}

fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

/// The words for the transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    RabbitMq,
    Sqs,
    Local,
}

fn read(section: &mut Section) -> Option<Participant> {
    let kind = section.read("transport", (Some(Kind::Http), "http"), |text| match text {
        "http" => Ok(Some(Kind::Http)),
        "rabbitmq" => Ok(Some(Kind::RabbitMq)),
        "sqs" => Ok(Some(Kind::Sqs)),
        "local" => Ok(Some(Kind::Local)),
        _ => Err("must be http, rabbitmq, sqs or local".to_owned()),
    });
    let timeout_ms = section.read("timeout", (TIMEOUT_DEFAULT_MS, "30s"), duration_ms);
    let is_http = kind == Some(Kind::Http);
    let http = if is_http {
        read_http(section)
    } else {
        not_of_http(section)
    };
    let is_queue = matches!(kind, Some(Kind::RabbitMq | Kind::Sqs));
    let queue = if is_queue {
        read_queue(section)
    } else {
        not_of_queues(section)
    };
    let guards = read_guards(section);
    let transport = match kind? {
        Kind::Http => Transport::Http(http?),
        Kind::RabbitMq => Transport::RabbitMq(queue?),
        Kind::Sqs => Transport::Sqs(queue?),
        Kind::Local => Transport::Local,
    };
    Some(Participant {
        timeout_ms,
        transport,
        guards,
    })
}

fn read_http(section: &mut Section) -> Option<HttpTransport> {
    // Of one whose transport is no word at all, the URL is not missed.
    let url = if section.has_problem() && !section.has("url") {
        section.read_optional("url", http_url)
    } else {
        section.read_required("url", http_url)
    };
    let response_max_bytes = section.read(
        "max_response",
        (RESPONSE_MAX_DEFAULT_BYTES, "1MiB"),
        size_bytes,
    );
    let mut child = section.child("headers");
    let headers = read_headers(&mut child);
    section.absorb("headers", child);
    let tls = read_tls(section, url.as_ref());
    Some(HttpTransport {
        url: url?,
        response_max_bytes,
        headers,
        tls,
    })
}

fn read_queue(section: &mut Section) -> Option<QueueTransport> {
    let queue = section.read_required("queue", queue_name);
    let default = OnDeadLetter::default();
    let on_dead_letter = section.read("on_dead_letter", (default, default.as_str()), |text| {
        let mut all = OnDeadLetter::ALL.into_iter();
        all.find(|policy| policy.as_str() == text)
            .ok_or_else(|| "must be fail, retry or hold".to_owned())
    });
    Some(QueueTransport {
        queue: queue?,
        on_dead_letter,
    })
}

/// What only participants over HTTP have.
fn not_of_http(section: &mut Section) -> Option<HttpTransport> {
    for key in ["url", "max_response", "headers", "tls"] {
        section.misplaced(key, "is only for a participant with `transport: http`");
    }
    None
}

/// What only participants over a broker have.
fn not_of_queues(section: &mut Section) -> Option<QueueTransport> {
    for key in ["queue", "on_dead_letter"] {
        let why = "is only for a participant with `transport: rabbitmq` or `sqs`";
        section.misplaced(key, why);
    }
    None
}

/// A name that every broker takes, with room for what is put behind it.
fn queue_name(text: &str) -> Result<String, String> {
    let bare = text.strip_suffix(".fifo").unwrap_or(text);
    fits_every_broker(bare, QUEUE_CHARS_MAX)?;
    Ok(text.to_owned())
}

pub(super) fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must be http://HOST… or https://HOST…".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password; configure a header".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must have neither a query nor a fragment".to_owned());
    }
    Ok(url)
}

fn read_headers(section: &mut Section) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (name, value) in section.named_scalars() {
        section.show(&name, MASK);
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            section.problem(&name, "is not a header's name");
            continue;
        };
        if is_reserved_header(header.as_str()) {
            section.problem(&name, "is set by the coordinator and cannot be configured");
            continue;
        }
        match HeaderValue::from_bytes(value.text.as_bytes()) {
            Ok(mut value) => {
                value.set_sensitive(true);
                headers.push((header, value));
            }
            Err(_) => section.problem(&name, "has a character that no header can hold"),
        }
    }
    headers
}

fn read_tls(section: &mut Section, url: Option<&Url>) -> Option<ClientTls> {
    if !section.has("tls") {
        section.ignore("tls");
        section.show("tls", serde_json::Value::Null);
        return None;
    }
    if url.is_some_and(|url| url.scheme() != "https") {
        section.problem("tls", "is only for a url that begins with https:");
    }
    let mut child = section.child("tls");
    let ca = child.read_optional("ca", certificates_at);
    let (has_certificate, has_key) = (child.has("certificate"), child.has("key"));
    let certificate = child.read_optional("certificate", certificates_at);
    let key = child.read_optional("key", key_at);
    if has_certificate && !has_key {
        child.problem("key", "is required with a certificate");
    }
    if has_key && !has_certificate {
        child.problem("certificate", "is required with a key");
    }
    section.absorb("tls", child);
    let identity = certificate.zip(key);
    let identity = identity.map(|(certificate, key)| ClientIdentity { certificate, key });
    Some(ClientTls { ca, identity })
}
