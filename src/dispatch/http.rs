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
use super::{Attempt, DispatchError, Sent, transient};

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

    /// Makes the exchange, and whether the participant is well by it: it did what it was asked,
    /// accepted it, or refused to. None where the call says nothing about that.
    pub(super) async fn call(
        &self,
        attempt: &Attempt,
        now: Timestamp,
        deadline: Timestamp,
    ) -> (Sent, Option<bool>) {
        // Where the answer only accepts, the step's time is the reply's, and the participant's own
        // bounds the exchange.
        let given_up = match attempt.callback {
            Some(_) => deadline.min(now.plus_ms(self.timeout_ms)),
            None => deadline,
        };
        let left_ms = now.ms_until(given_up);
        if left_ms == 0 {
            let outcome = transient("timeout", "its time was up before it was sent".to_owned());
            return (Sent::Ended(outcome), None);
        }
        let request = match self.origin.request(attempt, deadline) {
            Ok(request) => request,
            // Nothing was sent, and what was rendered once is rendered so for ever.
            Err(error) => {
                let message = format!("what was rendered is no HTTP request: {error}");
                let outcome = Outcome::Refused(StepError::new("expression_failed", message));
                return (Sent::Ended(outcome), None);
            }
        };
        let exchange = self.exchange(request, attempt, now);
        match tokio::time::timeout(Duration::from_millis(left_ms), exchange).await {
            Ok(None) => (Sent::Accepted { until: deadline }, Some(true)),
            Ok(Some(outcome)) => {
                let well = !matches!(outcome, Outcome::Transient { .. });
                (Sent::Ended(outcome), Some(well))
            }
            Err(_elapsed) => {
                let why = format!("no answer from {} within {left_ms} ms", self.name);
                // One that the end of its saga cut short had not the time that was its due.
                let well = (attempt.not_after != Some(given_up)).then_some(false);
                (Sent::Ended(transient("timeout", why)), well)
            }
        }
    }

    /// The outcome; none where the answer only accepts.
    async fn exchange(
        &self,
        request: ::http::Request<http_body_util::Full<Bytes>>,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Option<Outcome> {
        let (head, incoming) = match self.client.request(request).await {
            Ok(response) => response.into_parts(),
            Err(error) => return Some(self.not_answered(&error)),
        };
        let accepts = attempt.callback.is_some() && head.status == ::http::StatusCode::ACCEPTED;
        match read(incoming, self.response_max_bytes).await {
            _ if accepts => None,
            Ok(body) => Some(answer::outcome(&self.name, &head, &body, attempt, now)),
            Err(error) => {
                let why = chain(&error);
                Some(transient(
                    "bad_answer",
                    format!("the answer of {} broke off: {why}", self.name),
                ))
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
