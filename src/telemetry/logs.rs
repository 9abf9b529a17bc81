//! Where log lines and the spans of attempts go.
//!
//! A line about a saga has `saga_id` and `trace_id`, and `step` where there is one, as fields of its
//! own. Never what a saga was started with, what participants were asked or said, or a secret.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, fmt};

use super::traces::{TARGET, Traces};
use crate::config::{LogFormat, Telemetry};
use crate::dispatch::rabbitmq;
use crate::store;

/// Writes logs to the standard error from now on, and lets attempts become spans. `quiet` says what
/// of the libraries underneath is of no use to anybody, and is written only when asked for.
///
/// # Errors
/// When this process has a subscriber already: logs go where they went before.
pub fn install(telemetry: &Telemetry, quiet: &str, traces: &Traces) -> Result<(), TryInitError> {
    let filter = telemetry.filter.as_str();
    let quiet = match quiet {
        quiet if filter == "off" || names_any_of(filter, quiet) => String::new(),
        quiet => format!(",{quiet}"),
    };
    let filter = EnvFilter::builder()
        .parse_lossy(format!("{filter}{quiet}"))
        .and(filter_fn(|metadata| {
            metadata.target() != TARGET && !holds_secrets(metadata)
        }));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match telemetry.log {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.boxed(),
    };
    tracing_subscriber::registry()
        .with(traces.layer())
        .with(lines.with_filter(filter))
        .try_init()
}

/// What is never written, however much is asked for: the database library's own spans hold the
/// database's password and the values of every statement, and the broker library's lines its
/// password and whole messages.
fn holds_secrets(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let of_library = [store::LIBRARY_TARGET, rabbitmq::LIBRARY_TARGET]
        .map(|library| target.starts_with(library));
    target == rabbitmq::LIBRARY_RETURNS_TARGET
        || (*metadata.level() > Level::INFO && of_library.contains(&true))
}

/// Whether a filter says something of what would be quiet.
fn names_any_of(filter: &str, quiet: &str) -> bool {
    quiet
        .split(',')
        .filter_map(|directive| directive.split(['_', '=']).next())
        .any(|library| filter.contains(library))
}
