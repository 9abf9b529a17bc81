//! Makes the HTTP request of an attempt (participants.md, "HTTP").
//!
//! Everything that an attempt changes is written into one buffer, and the request's path and
//! header values are slices of it; what a participant never changes is made once.

use std::ops::Range;

use ::http::header::{CONTENT_TYPE, HOST};
use ::http::uri::{Authority, PathAndQuery, Scheme};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use bytes::Bytes;
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::HttpTransport;
use crate::definition::request::{Method as Verb, Phase, Target};
use crate::saga::{ActionOutcome, Timestamp};

use super::Attempt;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const SAGA_ID: HeaderName = HeaderName::from_static("amends-saga-id");
const DEFINITION: HeaderName = HeaderName::from_static("amends-definition");
const STEP: HeaderName = HeaderName::from_static("amends-step");
const PHASE: HeaderName = HeaderName::from_static("amends-phase");
const ATTEMPT: HeaderName = HeaderName::from_static("amends-attempt");
const ACTION_OUTCOME: HeaderName = HeaderName::from_static("amends-action-outcome");
const DEADLINE: HeaderName = HeaderName::from_static("amends-deadline");
const FENCE: HeaderName = HeaderName::from_static("amends-fence");
const CALLBACK: HeaderName = HeaderName::from_static("amends-callback");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The headers of the table and the three of HTTP.
const OWN_HEADERS: usize = 15;

/// What a command's name may hold unescaped in a path.
const COMMAND: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');

/// Where a participant's requests go, and what goes with each.
#[derive(Debug)]
pub(super) struct Origin {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    /// The URL's path without its last `/`.
    base: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Origin {
    pub(super) fn new(transport: &HttpTransport) -> Result<Self, ::http::Error> {
        let url = &transport.url;
        let scheme = if url.scheme() == "https" {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        let host = url.host_str().unwrap_or_default();
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self {
            scheme,
            host: HeaderValue::from_str(&authority)?,
            authority: Authority::try_from(authority)?,
            base: url.path().trim_end_matches('/').to_owned(),
            headers: transport.headers.clone(),
        })
    }

    /// The request of `attempt`.
    ///
    /// # Errors
    /// When a path or a declared header is nothing that HTTP can carry.
    pub(super) fn request(
        &self,
        attempt: &Attempt,
        deadline: Timestamp,
    ) -> Result<Request<Full<Bytes>>, ::http::Error> {
        let (method, text) = Text::of(&self.base, attempt, deadline);
        let mut uri = ::http::uri::Parts::default();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(self.authority.clone());
        uri.path_and_query = Some(PathAndQuery::from_maybe_shared(text.slice(&text.path))?);

        let body = attempt.request.body.as_ref();
        let mut request =
            Request::new(Full::new(body.map_or_else(Bytes::new, |body| {
                Bytes::copy_from_slice(body.as_bytes())
            })));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_parts(uri)?;
        *request.headers_mut() = self.headers(attempt, &text)?;
        Ok(request)
    }

    /// Declared headers, over them the configured ones, over them the coordinator's own.
    fn headers(&self, attempt: &Attempt, text: &Text) -> Result<HeaderMap, ::http::Error> {
        let declared = &attempt.request.headers;
        let mut headers =
            HeaderMap::with_capacity(OWN_HEADERS + self.headers.len() + declared.len());
        for (name, value) in declared {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            headers.insert(name, HeaderValue::from_bytes(value.as_bytes())?);
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        headers.insert(HOST, self.host.clone());
        if attempt.request.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers.insert(IDEMPOTENCY_KEY, text.value(&text.key)?);
        headers.insert(SAGA_ID, text.value(&text.saga)?);
        headers.insert(DEFINITION, text.value(&text.definition)?);
        headers.insert(STEP, text.value(&text.step)?);
        headers.insert(PHASE, HeaderValue::from_static(attempt.phase.as_str()));
        headers.insert(ATTEMPT, HeaderValue::from(attempt.number));
        headers.insert(DEADLINE, text.value(&text.deadline)?);
        headers.insert(FENCE, HeaderValue::from(attempt.fence));
        if let Some(callback) = &attempt.callback {
            let mut callback = HeaderValue::from_bytes(callback.as_bytes())?;
            callback.set_sensitive(true);
            headers.insert(CALLBACK, callback);
        }
        let outcome = attempt
            .action_outcome
            .filter(|_| attempt.phase == Phase::Compensation);
        if let Some(outcome) = outcome.map(ActionOutcome::as_str) {
            headers.insert(ACTION_OUTCOME, HeaderValue::from_static(outcome));
        }
        if let Some(traceparent) = &attempt.traceparent {
            headers.insert(
                TRACEPARENT,
                HeaderValue::from_bytes(traceparent.as_bytes())?,
            );
        }
        if let Some(tracestate) = &attempt.tracestate {
            headers.insert(TRACESTATE, HeaderValue::from_bytes(tracestate.as_bytes())?);
        }
        Ok(headers)
    }
}

/// What an attempt changes, in one buffer, and where each part of it lies. The saga's id and the
/// step are parts of the idempotency key.
struct Text {
    bytes: Bytes,
    path: Range<usize>,
    key: Range<usize>,
    saga: Range<usize>,
    step: Range<usize>,
    definition: Range<usize>,
    deadline: Range<usize>,
}

impl Text {
    fn of(base: &str, attempt: &Attempt, deadline: Timestamp) -> (Method, Self) {
        let request = &attempt.request;
        let mut text = String::with_capacity(
            base.len() + request.query.len() + attempt.step.len() + attempt.definition.len() + 256,
        );
        text.push_str(base);
        let method = match &request.target {
            Target::Http { method, path } => {
                text.push_str(path);
                verb(*method)
            }
            Target::Command(command) => {
                text.push('/');
                text.extend(utf8_percent_encode(command, COMMAND));
                Method::POST
            }
        };
        if !request.query.is_empty() {
            text.push('?');
            text.push_str(&request.query);
        }
        let path = 0..text.len();

        let saga = part(&mut text, |text| {
            let mut id = uuid::Uuid::encode_buffer();
            text.push_str(attempt.saga.0.hyphenated().encode_lower(&mut id));
        });
        text.push(':');
        let step = part(&mut text, |text| text.push_str(&attempt.step));
        text.push(':');
        text.push_str(attempt.phase.as_str());
        let key = saga.start..text.len();
        let definition = part(&mut text, |text| text.push_str(&attempt.definition));
        let deadline = part(&mut text, |text| text.push_str(&deadline.to_rfc3339()));
        (
            method,
            Self {
                bytes: text.into(),
                path,
                key,
                saga,
                step,
                definition,
                deadline,
            },
        )
    }

    fn slice(&self, range: &Range<usize>) -> Bytes {
        self.bytes.slice(range.clone())
    }

    fn value(&self, range: &Range<usize>) -> Result<HeaderValue, ::http::Error> {
        Ok(HeaderValue::from_maybe_shared(self.slice(range))?)
    }
}

fn part(text: &mut String, write: impl FnOnce(&mut String)) -> Range<usize> {
    let start = text.len();
    write(text);
    start..text.len()
}

fn verb(method: Verb) -> Method {
    match method {
        Verb::Get => Method::GET,
        Verb::Post => Method::POST,
        Verb::Put => Method::PUT,
        Verb::Patch => Method::PATCH,
        Verb::Delete => Method::DELETE,
    }
}
