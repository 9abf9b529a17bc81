//! The request headers that calls listen to.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;

use super::error::{ApiError, ErrorCode};

/// The longest idempotency key, in characters.
pub(super) const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// The longest that a start waits for its saga, in seconds.
pub(super) const WAIT_MAX_S: u64 = 60;
/// The longest `tracestate` that is passed on, in bytes.
pub(super) const TRACESTATE_BYTES_MAX: usize = 512;

/// The `Idempotency-Key`, when there is one. Clients send what is not ASCII as UTF-8, or as Latin-1
/// where it fits.
pub(super) fn idempotency_key(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    let bad = |detail: &str| Err(ApiError::with(ErrorCode::BadRequest, detail));
    let mut values = request.headers().get_all("idempotency-key");
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return bad("there is more than one Idempotency-Key");
    }
    let key = match std::str::from_utf8(value.as_bytes()) {
        Ok(key) => key.to_owned(),
        Err(_latin_1) => value.as_bytes().iter().copied().map(char::from).collect(),
    };
    let is_printable = !key.bytes().any(|byte| byte.is_ascii_control());
    if !is_printable || !(1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.chars().count()) {
        return bad("the Idempotency-Key must have 1 to 255 characters, none a control character");
    }
    Ok(Some(key))
}

/// How long a start is to wait for its saga: `Prefer: wait=N`. Other preferences are ignored, as
/// RFC 7240 has it.
pub(super) fn wait(headers: &HeaderMap) -> Result<Option<Duration>, ApiError> {
    let mut wait = None;
    for value in headers.get_all("prefer") {
        let text = value.to_str().unwrap_or("");
        for preference in text.split(',') {
            let preference = preference.split(';').next().unwrap_or("").trim();
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            if name.trim().eq_ignore_ascii_case("wait") && wait.is_none() {
                wait = Some(seconds(value.trim().trim_matches('"'))?);
            }
        }
    }
    Ok(wait.filter(|wait| !wait.is_zero()))
}

fn seconds(text: &str) -> Result<Duration, ApiError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let detail = "`Prefer: wait=N` takes a whole number of seconds";
        return Err(ApiError::with(ErrorCode::BadRequest, detail));
    }
    // What is too long for a number is more than the most, too.
    Ok(Duration::from_secs(
        text.parse().unwrap_or(WAIT_MAX_S).min(WAIT_MAX_S),
    ))
}

/// The caller's W3C trace context: `traceparent` and `tracestate`. One that is not well-formed
/// is as good as none (W3C Trace Context, "Processing Model").
pub(super) fn trace_context(headers: &HeaderMap) -> (Option<String>, Option<String>) {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(parent) = header("traceparent").filter(|parent| is_traceparent(parent)) else {
        return (None, None);
    };
    let state = header("tracestate")
        .filter(|state| !state.is_empty() && state.len() <= TRACESTATE_BYTES_MAX);
    (Some(parent.to_owned()), state.map(str::to_owned))
}

fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags] = parts.as_slice() else {
        return false;
    };
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let not_zero = |part: &str| part.bytes().any(|byte| byte != b'0');
    hex(version, 2)
        && *version != "ff"
        && hex(trace, 32)
        && not_zero(trace)
        && hex(span, 16)
        && not_zero(span)
        && hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn wait_of(prefer: &[&str]) -> Result<Option<u64>, ErrorCode> {
        let mut request = TestRequest::default();
        for value in prefer {
            request = request.append_header(("prefer", *value));
        }
        let waited = wait(request.to_http_request().headers());
        waited
            .map(|wait| wait.map(|wait| wait.as_secs()))
            .map_err(|error| error.code)
    }

    #[test]
    fn a_wait_is_read() {
        assert_eq!(wait_of(&[]), Ok(None));
        assert_eq!(wait_of(&["wait=30"]), Ok(Some(30)));
        assert_eq!(wait_of(&["respond-async, Wait = 5; x=y"]), Ok(Some(5)));
        assert_eq!(wait_of(&["return=minimal", "wait=7"]), Ok(Some(7)));
        assert_eq!(wait_of(&["wait=0"]), Ok(None));
        assert_eq!(wait_of(&["wait=61"]), Ok(Some(60)));
        assert_eq!(wait_of(&["wait=99999999999999999999999"]), Ok(Some(60)));
        for bad in ["wait", "wait=", "wait=-1", "wait=soon", "wait=1.5"] {
            assert_eq!(wait_of(&[bad]), Err(ErrorCode::BadRequest), "{bad}");
        }
    }

    #[test]
    fn an_idempotency_key_is_read() {
        let key_of = |keys: &[&str]| {
            let mut request = TestRequest::default();
            for key in keys {
                request = request.append_header(("idempotency-key", *key));
            }
            idempotency_key(&request.to_http_request()).map_err(|error| error.code)
        };
        assert_eq!(key_of(&[]), Ok(None));
        assert_eq!(key_of(&["k"]), Ok(Some("k".to_owned())));
        assert_eq!(key_of(&["a key"]), Ok(Some("a key".to_owned())));
        assert_eq!(key_of(&[&"k".repeat(255)]), Ok(Some("k".repeat(255))));
        assert_eq!(key_of(&[&"é".repeat(255)]), Ok(Some("é".repeat(255))));
        let latin_1 = actix_web::http::header::HeaderValue::from_bytes(b"\xe9 key").unwrap();
        let request = TestRequest::default().append_header(("idempotency-key", latin_1));
        let key = idempotency_key(&request.to_http_request()).unwrap();
        assert_eq!(key.as_deref(), Some("é key"));
        assert_eq!(key_of(&["a\tb"]), Err(ErrorCode::BadRequest));
        assert_eq!(key_of(&[""]), Err(ErrorCode::BadRequest));
        assert_eq!(key_of(&[&"k".repeat(256)]), Err(ErrorCode::BadRequest));
        assert_eq!(key_of(&["a", "b"]), Err(ErrorCode::BadRequest));
    }

    #[test]
    fn only_a_sane_trace_context_is_passed_on() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context_of = |parent: &'static str| {
            let request = TestRequest::default()
                .insert_header(("traceparent", parent))
                .insert_header(("tracestate", "a=b"));
            trace_context(request.to_http_request().headers())
        };
        assert_eq!(
            context_of(good),
            (Some(good.to_owned()), Some("a=b".to_owned()))
        );
        for bad in [
            "",
            "00-0-0-0",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        ] {
            assert_eq!(context_of(bad), (None, None), "{bad}");
        }
    }
}
