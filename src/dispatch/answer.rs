//! Reads an HTTP answer as an outcome (execution.md, "The outcome of an attempt").

use std::time::UNIX_EPOCH;

use ::http::header::{CONTENT_TYPE, RETRY_AFTER};
use ::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde_json::Value;

use crate::definition::model::StatusPattern;
use crate::definition::request::Phase;
use crate::saga::nesting::is_shallow;
use crate::saga::{Outcome, StepError, Timestamp};

use super::Attempt;

/// The body of an answer.
pub(super) enum Body {
    Whole(Bytes),
    /// Longer than the participant's `max_response`; not kept.
    TooLong,
}

/// What the answer of `participant` to `attempt` means.
pub(super) fn outcome(
    participant: &str,
    head: &::http::response::Parts,
    body: &Body,
    attempt: &Attempt,
    now: Timestamp,
) -> Outcome {
    let status = head.status;
    if status.is_success() {
        return succeeded(participant, head, body, attempt.phase);
    }
    let problem = problem(&head.headers, body);
    let message = problem
        .as_ref()
        .and_then(Problem::message)
        .unwrap_or_else(|| format!("{participant} answered {status}"));
    let http_code = || format!("http_{}", status.as_u16());
    if is_transient(status, attempt) {
        let error = StepError::new(http_code(), message);
        return Outcome::Transient {
            error,
            retry_after_ms: retry_after_ms(&head.headers, now),
        };
    }
    let code = problem.and_then(Problem::code).unwrap_or_else(http_code);
    Outcome::Refused(StepError::new(code, message))
}

fn succeeded(
    participant: &str,
    head: &::http::response::Parts,
    body: &Body,
    phase: Phase,
) -> Outcome {
    match (body, phase) {
        (Body::Whole(body), _) => Outcome::Succeeded {
            output: output(&head.headers, body),
        },
        (Body::TooLong, Phase::Compensation) => Outcome::Succeeded {
            output: Value::Null,
        },
        (Body::TooLong, Phase::Action) => Outcome::Unknown(StepError::new(
            "response_too_large",
            format!("{participant} did it, but its answer is longer than max_response"),
        )),
    }
}

fn is_transient(status: StatusCode, attempt: &Attempt) -> bool {
    let is_in = |patterns: &[StatusPattern]| {
        patterns
            .iter()
            .any(|pattern| pattern.matches(status.as_u16()))
    };
    if is_in(&attempt.refuse_on) {
        return false;
    }
    is_in(&attempt.retry_on) || matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

fn output(headers: &HeaderMap, body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    // Without a content type JSON is taken for JSON: small servers leave it out.
    let parsed = match essence(headers) {
        Some(essence) if !is_json(essence) => None,
        Some(_) | None => serde_json::from_slice(body).ok(),
    };
    // What the journal could not hold as JSON is kept as the text that it is.
    let held = parsed.filter(is_shallow);
    held.unwrap_or_else(|| Value::String(String::from_utf8_lossy(body).into_owned()))
}

/// The content type without its parameters.
fn essence(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(
        value
            .split_once(';')
            .map_or(value, |(essence, _)| essence)
            .trim(),
    )
}

fn is_json(essence: &str) -> bool {
    let ends_with = |suffix: &str| {
        essence
            .len()
            .checked_sub(suffix.len())
            .and_then(|start| essence.get(start..))
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    ends_with("/json") || ends_with("+json")
}

/// The members of a problem+json body (RFC 9457) that are read; of another type than text they
/// count as absent.
struct Problem(serde_json::Map<String, Value>);

impl Problem {
    fn code(self) -> Option<String> {
        let is_word = |code: &&str| {
            code.len() <= StepError::CODE_BYTES_MAX && !code.contains(|c: char| c.is_control())
        };
        self.text("code").filter(is_word).map(str::to_owned)
    }

    fn message(&self) -> Option<String> {
        let text = self.text("detail").or_else(|| self.text("title"))?;
        Some(text.chars().take(StepError::MESSAGE_CHARS_MAX).collect())
    }

    fn text(&self, member: &str) -> Option<&str> {
        self.0.get(member)?.as_str().filter(|text| !text.is_empty())
    }
}

fn problem(headers: &HeaderMap, body: &Body) -> Option<Problem> {
    let Body::Whole(body) = body else { return None };
    if !essence(headers)?.eq_ignore_ascii_case("application/problem+json") {
        return None;
    }
    serde_json::from_slice(body).ok().map(Problem)
}

/// `Retry-After` as milliseconds from now: seconds, or a date. Anything else is as if absent.
fn retry_after_ms(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(
            text.parse::<u64>()
                .map_or(u64::MAX, |seconds| seconds.saturating_mul(1_000)),
        );
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let since_epoch = date.duration_since(UNIX_EPOCH).ok()?;
    let at = Timestamp(i64::try_from(since_epoch.as_millis()).ok()?);
    Some(now.ms_until(at))
}
