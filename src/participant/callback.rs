//! Posts the reply to a command that was only accepted (`reply: async`).
//!
//! A service that answers 202 first notes the command down where it survives a crash, the
//! callback's URL included, and posts when the work is done. The token in the URL is a secret: it
//! is in no error and no log line of this module.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::command::CallbackUrl;
use crate::definition::request::Phase;
use crate::message::ReplyOutcome;

/// How long one exchange may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// The wait before the second try; each later one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The body of a callback: `{ "phase", "outcome", "data" }`.
#[must_use]
pub fn body(phase: Phase, outcome: &ReplyOutcome) -> Value {
    let mut body = json!({ "phase": phase.as_str() });
    if let (Value::Object(body), Value::Object(outcome)) = (&mut body, outcome.to_value()) {
        body.extend(outcome);
    }
    body
}

/// What the coordinator said to a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// It has the reply for good.
    Taken,
    /// The step does not wait for it any more: it had a reply, or its time was up.
    NotWaiting,
}

/// Why a reply could not be posted.
#[derive(Debug, thiserror::Error)]
pub enum CallbackError {
    /// The coordinator did not take it, and will not: a token that is not for this reply or has
    /// expired, or a body that it cannot read.
    #[error("the coordinator refused the callback with {0}")]
    Refused(StatusCode),
    /// It was away, or too busy, all the time.
    #[error("the coordinator answered {0} until the time was up")]
    Busy(StatusCode),
    /// It could not be reached at all; or the URL is none.
    #[error("the coordinator could not be reached with the callback")]
    Unreachable(#[source] reqwest::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// Posts callbacks. Make one and share it: it holds the connections.
#[derive(Clone, Debug)]
pub struct Callbacks {
    client: reqwest::Client,
}

impl Callbacks {
    /// Makes ready to post, over TLS with the system's authorities.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, CallbackError> {
        let mut roots = RootCertStore::empty();
        // A system without authorities can still post to `http` URLs.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(CallbackError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(EXCHANGE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(CallbackError::Unreachable)?;
        Ok(Self { client })
    }

    /// Posts through a client of the service's own, with its proxies and certificates.
    #[must_use]
    pub fn through(client: reqwest::Client) -> Self {
        Self { client }
    }

    /// Posts the outcome until the coordinator has it, for at most `limit`. The same reply may be
    /// posted again at any time: it is one reply.
    ///
    /// # Errors
    /// When the coordinator refuses it, which another try would not change, or has not taken it
    /// when the time is up.
    pub async fn post(
        &self,
        url: &CallbackUrl,
        phase: Phase,
        outcome: &ReplyOutcome,
        limit: Duration,
    ) -> Result<Posted, CallbackError> {
        let body = body(phase, outcome).to_string();
        let begun = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            let failure = match self.exchange(url, &body).await {
                Ok(posted) => return Ok(posted),
                Err(refused @ (CallbackError::Refused(_) | CallbackError::Tls(_))) => {
                    return Err(refused);
                }
                Err(CallbackError::Unreachable(error)) if error.is_builder() => {
                    return Err(CallbackError::Unreachable(error));
                }
                Err(failure @ (CallbackError::Busy(_) | CallbackError::Unreachable(_))) => failure,
            };
            if begun.elapsed() + pause > limit {
                return Err(failure);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn exchange(&self, url: &CallbackUrl, body: &str) -> Result<Posted, CallbackError> {
        let sent = self
            .client
            .post(url.as_str())
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_owned())
            .send()
            .await;
        let status = match sent {
            Ok(answer) => answer.status(),
            // The URL has the token.
            Err(error) => return Err(CallbackError::Unreachable(error.without_url())),
        };
        match status.as_u16() {
            200..=299 => Ok(Posted::Taken),
            409 => Ok(Posted::NotWaiting),
            408 | 425 | 429 | 500..=599 => Err(CallbackError::Busy(status)),
            _ => Err(CallbackError::Refused(status)),
        }
    }
}

#[cfg(test)]
mod tests;
