//! The configuration (operations.md): one typed tree, read once at the start.
//!
//! Layers are merged as text, `${env:…}` and `${file:…}` are put in place, and then every key is
//! read by name. Nothing here has a silent fallback: whatever is unknown, wrong, missing or not
//! built yet is a [`ConfigProblem`], and all of them are found at once. This is the one module
//! that reads the environment.

mod audit;
mod auth;
mod broker;
mod customary;
mod database;
mod guards;
mod jwt_keys;
mod participant;
mod problem;
mod quantity;
mod secrets;
mod section;
mod shown;
mod sources;
mod telemetry;
#[cfg(test)]
mod tests;
mod tls;
mod tree;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::Value;
use url::Url;

pub use auth::{ApiKey, Auth, Jwt, JwtKeys, KeyDigest, Role};
pub use broker::{BrokerUrl, RabbitMq, Sqs};
pub use database::{Database, DatabaseKind, DatabaseUrl};
pub use guards::{Bulkhead, CircuitBreaker, Guards, RateLimit};
pub use jwt_keys::{KeyError, VerificationKey, VerificationKeys};
pub use participant::{
    ClientIdentity, ClientTls, HttpTransport, OnDeadLetter, Participant, QueueTransport,
    RESPONSE_MAX_DEFAULT_BYTES, TIMEOUT_DEFAULT_MS, Transport, is_reserved_header,
};
pub use problem::{ConfigError, ConfigProblem};
pub use sources::Sources;
pub use telemetry::{LogFormat, Otlp, Telemetry};
pub use tls::ServerTls;

use crate::definition::{Surroundings, TransportKind};
use crate::store::AuditPolicy;
use quantity::{count, duration_from, duration_ms, size_bytes, truth};
use section::Section;

/// Everything that can be configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the coordinator listens.
    pub server: Server,
    /// Who may call the API.
    pub auth: Auth,
    /// Where sagas are kept.
    pub database: Database,
    /// How sagas are run.
    pub engine: Engine,
    /// The definitions published at the start.
    pub sagas: Sagas,
    /// RabbitMQ; `None` is none.
    pub rabbitmq: Option<RabbitMq>,
    /// SQS; `None` is none.
    pub sqs: Option<Sqs>,
    /// The participants by name.
    pub participants: BTreeMap<String, Participant>,
    /// What is written to the audit.
    pub audit: AuditPolicy,
    /// Logs and traces.
    pub telemetry: Telemetry,
    shown: Value,
}

/// `server`: where the coordinator listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The API's address.
    pub listen: SocketAddr,
    /// The management port's address.
    pub management: SocketAddr,
    /// The longest body that is taken, in bytes.
    pub body_max_bytes: usize,
    /// Where participants reach callbacks.
    pub public_url: Option<Url>,
    /// What the tokens of callbacks are made with; `None` is a key that the database keeps.
    pub callback_key: Option<CallbackKey>,
    /// TLS on the API's port; `None` is plain HTTP.
    pub tls: Option<ServerTls>,
}

/// A secret that the tokens of callbacks are made with.
#[derive(Clone, PartialEq, Eq)]
pub struct CallbackKey(String);

impl CallbackKey {
    /// The shortest key, in bytes: as long as what it makes (RFC 2104, section 3).
    const BYTES_MIN: usize = 32;

    fn read(section: &mut Section) -> Option<Self> {
        let key = section.read_optional("callback_key", |text| {
            if text.len() < Self::BYTES_MIN {
                let min = Self::BYTES_MIN;
                return Err(format!(
                    "must have at least {min} bytes; openssl rand -hex {min}"
                ));
            }
            Ok(Self(text.to_owned()))
        });
        section.mask("callback_key", |_| secrets::MASK.to_owned());
        key
    }

    /// The key itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for CallbackKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(secrets::MASK)
    }
}

/// `engine`: how sagas are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Into how many shards sagas are divided.
    pub shards: u32,
    /// How long this replica owns its shards without renewing, in milliseconds.
    pub lease_ms: u64,
    /// The most sagas that this replica runs or compensates at once.
    pub active_sagas_max: u32,
    /// How long a drain waits for exchanges under way, in milliseconds.
    pub drain_timeout_ms: u64,
}

/// `sagas`: the definitions published at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sagas {
    /// Where the files are.
    pub directory: PathBuf,
    /// Whether a bad file ends the start.
    pub strict: bool,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// With every problem of every layer at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let surrounding = telemetry::Surrounding {
            filter: sources.log_filter(&mut problems),
            counts: sources.counts(),
            queue_spans_max: sources.number("OTEL_BSP_MAX_QUEUE_SIZE"),
            batch_spans_max: sources.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
        };
        let mut root = Section::open("", Some(sources.merged(&mut problems)));
        let config = read(&mut root, surrounding);
        let closed = root.close();
        problems.extend(closed.problems);
        if problems.is_empty() {
            Ok(Self {
                shown: closed.shown,
                ..config
            })
        } else {
            Err(ConfigError { problems })
        }
    }

    /// What is in force, with secrets masked.
    #[must_use]
    pub fn masked(&self) -> &Value {
        &self.shown
    }

    /// What is in force as YAML, with secrets masked, for `--print-config`.
    #[must_use]
    pub fn masked_yaml(&self) -> String {
        shown::yaml(&self.shown)
    }

    /// What a definition's check is told of this configuration.
    #[must_use]
    pub fn surroundings(&self) -> Surroundings {
        let kind = |participant: &Participant| match participant.transport {
            Transport::Http(_) => TransportKind::Http,
            Transport::RabbitMq(_) => TransportKind::RabbitMq,
            Transport::Sqs(_) => TransportKind::Sqs,
            Transport::Local => TransportKind::Local,
        };
        Surroundings {
            participants: self
                .participants
                .iter()
                .map(|(name, participant)| (name.clone(), kind(participant)))
                .collect(),
            has_public_url: self.server.public_url.is_some(),
        }
    }
}

/// Reads `key` as a section of its own.
fn within<T>(root: &mut Section, key: &'static str, read: impl FnOnce(&mut Section) -> T) -> T {
    let mut child = root.child(key);
    let value = read(&mut child);
    root.absorb(key, child);
    value
}

fn read(root: &mut Section, surrounding: telemetry::Surrounding) -> Config {
    let server = within(root, "server", read_server);
    let (auth, auth_is_written) = within(root, "auth", auth::read);
    if !server.listen.ip().to_canonical().is_loopback() && !auth_is_written {
        root.problem(
            "server.listen",
            "opens the API to others without authentication; configure `auth`, or write \
             `auth: { mode: none }` if that is meant",
        );
    }
    let config = Config {
        server,
        auth,
        database: within(root, "database", database::read),
        engine: within(root, "engine", read_engine),
        sagas: within(root, "sagas", read_sagas),
        rabbitmq: within(root, "rabbitmq", broker::read_rabbitmq),
        sqs: within(root, "sqs", broker::read_sqs),
        participants: within(root, "participants", participant::read_all),
        audit: within(root, "audit", audit::read),
        telemetry: within(root, "telemetry", |section| {
            telemetry::read(section, surrounding)
        }),
        shown: Value::Null,
    };
    brokers_are_there(root, &config);
    config
}

/// Participants over a broker that is not configured could never be reached.
fn brokers_are_there(root: &mut Section, config: &Config) {
    for (name, participant) in &config.participants {
        let missing = match participant.transport {
            Transport::RabbitMq(_) if config.rabbitmq.is_none() => "`rabbitmq.url`",
            Transport::Sqs(_) if config.sqs.is_none() => "`sqs.enabled: true`",
            Transport::Http(_) | Transport::RabbitMq(_) | Transport::Sqs(_) | Transport::Local => {
                continue;
            }
        };
        let path = format!("participants.{name}.transport");
        root.problem(&path, format!("needs {missing}"));
    }
}

fn read_server(section: &mut Section) -> Server {
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let server = Server {
        listen: section.read("listen", (local(8080), "127.0.0.1:8080"), address),
        management: section.read("management", (local(8081), "127.0.0.1:8081"), address),
        body_max_bytes: section.read("max_body", (1 << 20, "1MiB"), size_bytes),
        public_url: section.read_optional("public_url", participant::http_url),
        callback_key: CallbackKey::read(section),
        tls: tls::read(section),
    };
    if server.listen == server.management && server.listen.port() != 0 {
        section.problem("management", "must not be the address of server.listen");
    }
    server
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|error| {
        format!("must be an IP address and a port, like 127.0.0.1:8080 or [::1]:8080: {error}")
    })
}

fn read_engine(section: &mut Section) -> Engine {
    let engine = Engine {
        shards: section.read("shards", (64, "64"), count(1..=4_096)),
        lease_ms: section.read("lease", (10_000, "10s"), duration_from(1_000)),
        active_sagas_max: section.read(
            "max_active_sagas",
            (100_000, "100000"),
            count(1..=100_000_000),
        ),
        drain_timeout_ms: section.read("drain_timeout", (30_000, "30s"), duration_ms),
    };
    // Without previews every replica is active, told so or not.
    section.read("role", ((), "auto"), |text| match text {
        "auto" | "active" => Ok(()),
        "preview" => Err("preview is not supported by this version yet".to_owned()),
        _ => Err("must be auto or active".to_owned()),
    });
    section.not_yet("role_file", Some("/etc/podinfo/role"));
    section.not_yet("preview_namespace", Some("preview"));
    engine
}

fn read_sagas(section: &mut Section) -> Sagas {
    let directory = |text: &str| match text {
        "" => Err("must name a directory".to_owned()),
        text => Ok(PathBuf::from(text)),
    };
    Sagas {
        directory: section.read("directory", ("sagas".into(), "sagas"), directory),
        strict: section.read("strict", (false, "false"), truth),
    }
}
