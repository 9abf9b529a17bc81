//! A command out of an HTTP request, and the answer to it (participants.md, "HTTP").
//!
//! It works on the types of the `http` crate, which axum and hyper have as their own; it serves
//! nothing itself. With actix-web, whose types are older, the headers are carried over by name:
//! `for (name, value) in request.headers() { headers.append(HeaderName::try_from(name.as_str())?,
//! HeaderValue::from_bytes(value.as_bytes())?); }`, and the answer likewise.

use std::str::FromStr;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde::de::IntoDeserializer as _;
use serde::de::value::StrDeserializer;
use serde_json::{Value, json};

use super::command::{CallbackUrl, Command, ReplyTo};
use crate::message::ReplyOutcome;
use crate::saga::{StepError, Timestamp};

/// The header that is the same on every attempt.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The header with the saga's id.
pub const SAGA_ID: &str = "Amends-Saga-Id";
/// The header with the definition, `name/version`.
pub const DEFINITION: &str = "Amends-Definition";
/// The header with the step's id.
pub const STEP: &str = "Amends-Step";
/// The header with `action` or `compensation`.
pub const PHASE: &str = "Amends-Phase";
/// The header with the number of the attempt, from 1.
pub const ATTEMPT: &str = "Amends-Attempt";
/// The header that tells a compensation what became of the action.
pub const ACTION_OUTCOME: &str = "Amends-Action-Outcome";
/// The header with the time when the attempt is given up.
pub const DEADLINE: &str = "Amends-Deadline";
/// The header with the fence of the saga's shard.
pub const FENCE: &str = "Amends-Fence";
/// The header with the URL to post the reply to.
pub const CALLBACK: &str = "Amends-Callback";

/// Why a request is no command. [`RequestError::answer`] is what to answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// A header that a coordinator always sends is not there.
    #[error("the header {header} is missing")]
    Missing {
        /// Which.
        header: &'static str,
    },
    /// A header is not what it should be.
    #[error("the header {header} is not {expected}")]
    Invalid {
        /// Which.
        header: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The idempotency key is of another saga, step or phase than the other headers.
    #[error("the header {IDEMPOTENCY_KEY} is not {expected}, as the other headers have it")]
    OtherKey {
        /// What the other headers come to.
        expected: String,
    },
    /// The body is no UTF-8.
    #[error("the body is no text")]
    Body(#[from] std::str::Utf8Error),
}

impl RequestError {
    /// 400 with a problem that names the header; a coordinator reads it as a refusal.
    #[must_use]
    pub fn answer(&self) -> Response<String> {
        let error = StepError::new("not_a_command", self.to_string());
        problem(StatusCode::BAD_REQUEST, &error)
    }
}

/// Reads a request. `name` is what the service calls the route, and becomes the command's name.
///
/// # Errors
/// When a header is missing or wrong, which names it. The body's JSON is read by
/// [`Command::data`] only.
pub fn command(name: &str, headers: &HeaderMap, body: &[u8]) -> Result<Command, RequestError> {
    let key = text(headers, IDEMPOTENCY_KEY)?;
    let callback = optional(headers, CALLBACK)?;
    let data = std::str::from_utf8(body)?;
    let command = Command {
        name: name.to_owned(),
        saga: parsed(headers, SAGA_ID, "a UUID")?,
        definition: text(headers, DEFINITION)?.to_owned(),
        step: text(headers, STEP)?.to_owned(),
        phase: word(PHASE, text(headers, PHASE)?, "`action` or `compensation`")?,
        attempt: parsed(headers, ATTEMPT, "a number")?,
        action_outcome: optional(headers, ACTION_OUTCOME)?
            .map(|text| word(ACTION_OUTCOME, text, "`succeeded`, `refused` or `unknown`"))
            .transpose()?,
        deadline: Timestamp::from_rfc3339(text(headers, DEADLINE)?).ok_or(
            RequestError::Invalid {
                header: DEADLINE,
                expected: "an RFC 3339 time",
            },
        )?,
        fence: parsed(headers, FENCE, "a number")?,
        traceparent: optional(headers, "traceparent")?.map(str::to_owned),
        tracestate: optional(headers, "tracestate")?.map(str::to_owned),
        reply_to: callback.map_or(ReplyTo::Answer, |url| {
            ReplyTo::Callback(CallbackUrl::new(url.to_owned()))
        }),
        data: if data.is_empty() { "null" } else { data }.to_owned(),
    };
    let expected = command.idempotency_key();
    if key == expected {
        Ok(command)
    } else {
        Err(RequestError::OtherKey { expected })
    }
}

/// The answer that says this outcome: 200 with JSON, or 204 where the output is null; 409 with a
/// problem; 503 with a problem and `Retry-After`.
#[must_use]
pub fn answer(outcome: &ReplyOutcome) -> Response<String> {
    match outcome {
        ReplyOutcome::Succeeded(Value::Null) => response(StatusCode::NO_CONTENT, String::new()),
        ReplyOutcome::Succeeded(output) => {
            with_type("application/json", StatusCode::OK, output.to_string())
        }
        ReplyOutcome::Refused(error) => problem(StatusCode::CONFLICT, error),
        ReplyOutcome::Retry { error, after_ms } => {
            let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, error);
            if let Some(after_ms) = after_ms {
                let seconds = HeaderValue::from(after_ms.div_ceil(1_000));
                response.headers_mut().insert(RETRY_AFTER, seconds);
            }
            response
        }
    }
}

/// 202: the work is noted down for good, and its outcome will be posted to the callback. For a
/// command with [`ReplyTo::Callback`] only; without one the coordinator would take the 202 for
/// the outcome.
#[must_use]
pub fn accepted() -> Response<String> {
    response(StatusCode::ACCEPTED, String::new())
}

fn problem(status: StatusCode, error: &StepError) -> Response<String> {
    let body = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "code": error.code,
        "detail": error.message,
    });
    with_type("application/problem+json", status, body.to_string())
}

fn with_type(content_type: &'static str, status: StatusCode, body: String) -> Response<String> {
    let mut response = response(status, body);
    let value = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

fn response(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn optional<'a>(
    headers: &'a HeaderMap,
    header: &'static str,
) -> Result<Option<&'a str>, RequestError> {
    headers
        .get(header)
        .map(|value| std::str::from_utf8(value.as_bytes()))
        .transpose()
        .map_err(|_not_text| RequestError::Invalid {
            header,
            expected: "text",
        })
}

fn text<'a>(headers: &'a HeaderMap, header: &'static str) -> Result<&'a str, RequestError> {
    optional(headers, header)?.ok_or(RequestError::Missing { header })
}

fn parsed<T: FromStr>(
    headers: &HeaderMap,
    header: &'static str,
    expected: &'static str,
) -> Result<T, RequestError> {
    text(headers, header)?
        .parse()
        .map_err(|_not_one| RequestError::Invalid { header, expected })
}

/// A word that the wire types know.
fn word<'a, T: Deserialize<'a>>(
    header: &'static str,
    text: &'a str,
    expected: &'static str,
) -> Result<T, RequestError> {
    let text: StrDeserializer<'a, serde::de::value::Error> = text.into_deserializer();
    T::deserialize(text).map_err(|_no_such_word| RequestError::Invalid { header, expected })
}

#[cfg(test)]
mod tests;
