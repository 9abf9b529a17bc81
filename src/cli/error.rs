//! Why a command could not be carried out, and with which status the process then ends.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use super::client::ClientError;
use crate::api::gate::KeySourceError;
use crate::api::tls::TlsError;
use crate::config::ConfigError;
use crate::dispatch::DispatchError;
use crate::engine::catalogue::CatalogueError;
use crate::store::StoreError;
use crate::telemetry::metrics::MetricsError;
use crate::telemetry::traces::TracesError;

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// Used wrongly.
    #[error("{0}")]
    Usage(String),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A call of the API failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The schema is not up to date, and the configuration forbids to change it.
    #[error("the database's schema is not up to date; run `amends migrate` ({} to apply)", .0.len())]
    SchemaBehind(Vec<String>),
    /// The definitions could not be read.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// A definition has an error, and `--strict` was asked for.
    #[error("a definition has errors, and the start is strict")]
    BadDefinition,
    /// Participants cannot be reached at all.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The metrics could not be made: a bug.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// Traces cannot be sent where they are to go.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// The keys of tokens cannot be read.
    #[error(transparent)]
    Keys(#[from] KeySourceError),
    /// TLS cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Something could not be read, written or listened on.
    #[error("{what}")]
    Io {
        /// What.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Nobody reads the output any more.
    #[error("the output was closed")]
    OutputClosed,
    /// Something that was waited for did not come.
    #[error("{0}")]
    NoAnswer(String),
}

impl CliError {
    /// What could not be done with `what`.
    pub(super) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }

    fn status(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Usage(_) | Self::Config(_) => 2,
            Self::Client(ClientError::Url { .. } | ClientError::Trust { .. }) => 2,
            Self::Client(_)
            | Self::Store(_)
            | Self::SchemaBehind(_)
            | Self::Catalogue(_)
            | Self::BadDefinition
            | Self::Dispatch(_)
            | Self::Metrics(_)
            | Self::Traces(_)
            | Self::Keys(_)
            | Self::Tls(_)
            | Self::Io { .. }
            | Self::NoAnswer(_) => 1,
        }
    }

    /// The error and all that caused it, in one sentence.
    pub(super) fn sentence(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let said = cause.to_string();
            // Many an error repeats its source.
            if !text.ends_with(&said) {
                let written = write!(text, ": {said}");
                debug_assert!(written.is_ok(), "a String takes everything");
            }
            source = cause.source();
        }
        text
    }

    /// Says what went wrong; the process then ends with the status.
    pub(super) fn report(&self) -> ExitCode {
        let status = self.status();
        if status != 0 {
            eprintln!("amends: {}", self.sentence());
        }
        ExitCode::from(status)
    }
}
