//! Reaches participants, and reads what comes back as an [`Outcome`] (participants.md, and the
//! tables of execution.md).
//!
//! It owns connections and the wire format. It must not know the database, the API, the journal
//! or a clock: the current time comes in with every call, and an outcome is all that goes out.
//! What is sent and answered is never logged.

mod answer;
mod client;
pub mod guards;
mod http;
mod request;
#[cfg(test)]
mod tests;
mod tls;
mod watched;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use guards::{BreakerState, Entrance, Gate, GuardReading, Pass, Waiting};

use crate::config::{Participant, TIMEOUT_DEFAULT_MS, Transport};
use crate::definition::model::StatusPattern;
use crate::definition::request::{Phase, Request};
use crate::saga::{ActionOutcome, Outcome, SagaId, StepError, Timestamp};

/// One attempt at an action or a compensation: what is asked, and what the participant is told of
/// where it comes from.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The saga.
    pub saga: SagaId,
    /// Its definition, `name/version`.
    pub definition: Arc<str>,
    /// The step's id.
    pub step: Arc<str>,
    /// The participant's name.
    pub participant: Arc<str>,
    /// Which of the step's two calls.
    pub phase: Phase,
    /// Which attempt it is, from 1.
    pub number: u32,
    /// On compensations, what became of the action.
    pub action_outcome: Option<ActionOutcome>,
    /// The fence of the saga's shard.
    pub fence: i64,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// W3C trace context.
    pub tracestate: Option<String>,
    /// The step's own time limit, in milliseconds; else the participant's.
    pub timeout_ms: Option<u64>,
    /// When the saga's time is up, which bounds the attempt too.
    pub not_after: Option<Timestamp>,
    /// What is asked.
    pub request: Request,
    /// Statuses read as a refusal; wins over `retry_on`.
    pub refuse_on: Vec<StatusPattern>,
    /// Statuses read as transient.
    pub retry_on: Vec<StatusPattern>,
}

/// Why participants cannot be reached at all. A reason not to start.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// An `https` participant, and nobody to trust.
    #[error("the system has no certificate authorities; configure tls.ca")]
    NoSystemAuthorities {
        /// What went wrong when they were looked for.
        #[source]
        source: Option<rustls_native_certs::Error>,
    },
    /// A certificate or key file that cannot be read.
    #[error("the file {} cannot be read", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// Certificates or a key that TLS cannot use.
    #[error("the TLS configuration of participant {participant} cannot be used")]
    Tls {
        /// The participant.
        participant: String,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// A URL that cannot be sent to.
    #[error("the URL of participant {participant} cannot be used")]
    Url {
        /// The participant.
        participant: String,
        /// Why.
        #[source]
        source: ::http::Error,
    },
}

/// Reaches every configured participant. Share one: it holds the connections.
#[derive(Debug)]
pub struct Dispatcher {
    participants: HashMap<String, Reached>,
}

/// One participant: the way to it, and what holds calls back on that way.
#[derive(Debug)]
struct Reached {
    http: http::HttpParticipant,
    gate: Arc<Gate>,
}

impl Dispatcher {
    /// Makes ready to reach `participants`. Certificates are read only where a URL is `https`.
    ///
    /// # Errors
    /// When TLS is wanted and cannot be had: no authorities, files that cannot be read or used.
    pub fn new(participants: &BTreeMap<String, Participant>) -> Result<Self, DispatchError> {
        let participants = participants
            .iter()
            .map(|(name, participant)| match &participant.transport {
                Transport::Http(transport) => {
                    let timeout_ms = participant.timeout_ms;
                    let gate = Gate::new(name, &participant.guards);
                    http::HttpParticipant::new(name, timeout_ms, transport)
                        .map(|http| (name.clone(), Reached { http, gate }))
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { participants })
    }

    /// Whether `participant` is configured.
    #[must_use]
    pub fn knows(&self, participant: &str) -> bool {
        self.participants.contains_key(participant)
    }

    /// How the guards of each configured participant stand, without those that wait in the journal.
    pub fn guards(&self) -> impl Iterator<Item = GuardReading> {
        self.gates().map(|gate| gate.reading())
    }

    /// The gates in front of the participants.
    pub fn gates(&self) -> impl Iterator<Item = &Arc<Gate>> {
        self.participants.values().map(|reached| &reached.gate)
    }

    /// The gate in front of one; none where it is not configured.
    #[must_use]
    pub fn gate(&self, participant: &str) -> Option<&Arc<Gate>> {
        self.participants
            .get(participant)
            .map(|reached| &reached.gate)
    }

    /// The longest that an attempt at `participant` may take where the step does not say.
    #[must_use]
    pub fn timeout_ms(&self, participant: &str) -> u64 {
        self.participants
            .get(participant)
            .map_or(TIMEOUT_DEFAULT_MS, |reached| reached.http.timeout_ms())
    }

    /// When `attempt`, begun `now`, is given up: after its own time limit, or when the saga's time
    /// is up.
    #[must_use]
    pub fn deadline(&self, attempt: &Attempt, now: Timestamp) -> Timestamp {
        let timeout_ms = attempt
            .timeout_ms
            .unwrap_or_else(|| self.timeout_ms(&attempt.participant));
        let own = now.plus_ms(timeout_ms);
        attempt
            .not_after
            .map_or(own, |not_after| not_after.min(own))
    }

    /// Carries out one attempt that its participant's gate let pass. It takes until [`Dispatcher::deadline`] at most. Dropping the
    /// future gives the attempt up; what was sent may still have its effect.
    ///
    /// A participant that is not configured is a transient outcome (`participant_unknown`): its
    /// effects may exist from when it was, so nobody may take this for a refusal.
    pub async fn send(&self, pass: Pass, attempt: &Attempt, now: Timestamp) -> Outcome {
        let Some(reached) = self.participants.get(&*attempt.participant) else {
            return Outcome::Transient {
                error: StepError::new(
                    "participant_unknown",
                    format!("no participant {} is configured", attempt.participant),
                ),
                retry_after_ms: None,
            };
        };
        let begun = (!pass.is_free()).then(Instant::now);
        let deadline = self.deadline(attempt, now);
        let http::Called { outcome, well } = reached.http.call(attempt, now, deadline).await;
        pass.end(well, begun.map_or(Duration::ZERO, |begun| begun.elapsed()));
        outcome
    }
}
