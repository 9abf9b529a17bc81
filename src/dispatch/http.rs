//! One participant over HTTP: an exchange from the request to the outcome, within its deadline.

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use crate::config::HttpTransport;
use crate::saga::{Outcome, StepError, Timestamp};

use super::answer::{self, Body};
use super::client::Client;
use super::request::Origin;
use super::watched::BeforeAnswer;
use super::{Attempt, DispatchError};

/// What a call came to.
pub(super) struct Called {
    pub(super) outcome: Outcome,
    /// Whether the participant is well by it: it did what it was asked, or refused to. None where
    /// the call says nothing about that.
    pub(super) well: Option<bool>,
}

/// How a participant is reached, with everything that does not change made ready.
#[derive(Debug)]
pub(super) struct HttpParticipant {
    name: String,
    timeout_ms: u64,
    response_max_bytes: usize,
    origin: Origin,
    client: Client,
}

impl HttpParticipant {
    pub(super) fn new(
        name: &str,
        timeout_ms: u64,
        transport: &HttpTransport,
    ) -> Result<Self, DispatchError> {
        let origin = Origin::new(transport).map_err(|source| DispatchError::Url {
            participant: name.to_owned(),
            source,
        })?;
        Ok(Self {
            name: name.to_owned(),
            timeout_ms,
            response_max_bytes: transport.response_max_bytes,
            origin,
            client: Client::new(name, transport)?,
        })
    }

    pub(super) fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    pub(super) async fn call(
        &self,
        attempt: &Attempt,
        now: Timestamp,
        deadline: Timestamp,
    ) -> Called {
        let left_ms = now.ms_until(deadline);
        if left_ms == 0 {
            let outcome = transient("timeout", "its time was up before it was sent".to_owned());
            return Called {
                outcome,
                well: None,
            };
        }
        let request = match self.origin.request(attempt, deadline) {
            Ok(request) => request,
            // Nothing was sent, and what was rendered once is rendered so for ever.
            Err(error) => {
                let message = format!("what was rendered is no HTTP request: {error}");
                let outcome = Outcome::Refused(StepError::new("expression_failed", message));
                return Called {
                    outcome,
                    well: None,
                };
            }
        };
        let exchange = self.exchange(request, attempt, now);
        match tokio::time::timeout(Duration::from_millis(left_ms), exchange).await {
            Ok(outcome) => Called {
                well: Some(!matches!(outcome, Outcome::Transient { .. })),
                outcome,
            },
            Err(_elapsed) => Called {
                // One that the end of its saga cut short had not the time that was its due.
                well: (attempt.not_after != Some(deadline)).then_some(false),
                outcome: transient(
                    "timeout",
                    format!("no answer from {} within {left_ms} ms", self.name),
                ),
            },
        }
    }

    async fn exchange(
        &self,
        request: ::http::Request<http_body_util::Full<Bytes>>,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Outcome {
        let (head, incoming) = match self.client.request(request).await {
            Ok(response) => response.into_parts(),
            Err(error) => return self.not_answered(&error),
        };
        match read(incoming, self.response_max_bytes).await {
            Ok(body) => answer::outcome(&self.name, &head, &body, attempt, now),
            Err(error) => {
                let why = chain(&error);
                transient(
                    "bad_answer",
                    format!("the answer of {} broke off: {why}", self.name),
                )
            }
        }
    }

    fn not_answered(&self, error: &hyper_util::client::legacy::Error) -> Outcome {
        let why = chain(error);
        if error.is_connect() || is_before_answer(error) {
            transient(
                "connection_failed",
                format!("no connection to {}: {why}", self.name),
            )
        } else {
            transient(
                "bad_answer",
                format!("{} did not answer in HTTP: {why}", self.name),
            )
        }
    }
}

fn transient(code: &str, message: String) -> Outcome {
    Outcome::Transient {
        error: StepError::new(code, message),
        retry_after_ms: None,
    }
}

/// Reads the body, as far as it may go. One that says that it is too long is not even begun.
async fn read(mut incoming: Incoming, bytes_max: usize) -> Result<Body, hyper::Error> {
    let declared = incoming.size_hint().lower();
    if usize::try_from(declared).map_or(true, |declared| declared > bytes_max) {
        return Ok(Body::TooLong);
    }
    // Nearly every answer is one frame, which is taken as it is.
    let mut whole = Bytes::new();
    let mut gathered = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if whole.len() + gathered.len() + data.len() > bytes_max {
            return Ok(Body::TooLong);
        }
        if gathered.is_empty() && whole.is_empty() {
            whole = data;
        } else {
            gathered.extend_from_slice(&std::mem::take(&mut whole));
            gathered.extend_from_slice(&data);
        }
    }
    Ok(Body::Whole(if gathered.is_empty() {
        whole
    } else {
        gathered.freeze()
    }))
}

/// Whether the connection was lost before a byte of the answer.
fn is_before_answer(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && (error.is_canceled() || error.is_closed() || error.is_body_write_aborted())
        {
            return true;
        }
        // The source of an io::Error is that of what it wraps, not what it wraps.
        let io = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if io.is_some_and(|inner| inner.is::<BeforeAnswer>()) {
            return true;
        }
        next = error.source();
    }
    false
}

/// An error and what caused it, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}
