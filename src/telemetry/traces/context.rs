//! The context of a saga's trace (W3C Trace Context): derived from the saga's id and what its
//! caller sent, and from nothing else.

use std::fmt::Write as _;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use crate::saga::{SagaId, Started};

/// The trace of a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: TraceId,
    /// The saga's own span.
    span_id: SpanId,
    /// The caller's span, and what it sent.
    caller: Option<Caller>,
    sampled: bool,
}

/// What a caller sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Caller {
    span_id: SpanId,
    traceparent: String,
    tracestate: Option<String>,
}

/// The trace's id of a saga, for log lines.
#[must_use]
pub fn trace_id(saga: SagaId, started: &Started) -> TraceId {
    let parsed = started.traceparent.as_deref().and_then(parse);
    parsed.map_or_else(|| own_trace_id(saga), |parsed| parsed.trace_id)
}

fn own_trace_id(saga: SagaId) -> TraceId {
    TraceId::from_bytes(*saga.0.as_bytes())
}

/// The lower half of the id, which is all chance but for two bits that are never zero.
fn own_span_id(saga: SagaId) -> SpanId {
    let (_, low) = saga.0.as_u64_pair();
    SpanId::from(low)
}

/// Whether a saga whose caller made no decision is traced: as many of them as the ratio says,
/// and always the same ones.
fn falls_to(saga: SagaId, ratio: f64) -> bool {
    // The topmost two bits of the lower half are the UUID's variant; the 32 after them are chance.
    let (_, low) = saga.0.as_u64_pair();
    let chance = u32::try_from((low >> 30) & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    f64::from(chance) < ratio * 4_294_967_296.0
}

impl TraceContext {
    /// Of a saga; without a ratio nothing is exported, so nothing is sampled.
    pub(super) fn of(saga: SagaId, started: &Started, sample_ratio: Option<f64>) -> Self {
        let parsed = started.traceparent.as_deref().and_then(parse);
        let sampled = match (sample_ratio, &parsed) {
            (None, _) => false,
            (Some(_), Some(parsed)) => parsed.sampled,
            (Some(ratio), None) => falls_to(saga, ratio),
        };
        Self {
            trace_id: parsed
                .as_ref()
                .map_or_else(|| own_trace_id(saga), |parsed| parsed.trace_id),
            span_id: own_span_id(saga),
            caller: parsed
                .zip(started.traceparent.clone())
                .map(|(parsed, traceparent)| Caller {
                    span_id: parsed.span_id,
                    traceparent,
                    tracestate: started.tracestate.clone(),
                }),
            sampled,
        }
    }

    /// Whether its spans are exported.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The trace's id.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The id of the saga's own span.
    pub(super) fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// The saga's span, as the parent of attempts.
    pub(super) fn saga(&self) -> SpanContext {
        self.remote(self.span_id)
    }

    /// The caller's span, as the parent of the saga's.
    pub(super) fn caller(&self) -> Option<SpanContext> {
        let caller = self.caller.as_ref()?;
        Some(self.remote(caller.span_id))
    }

    fn remote(&self, span_id: SpanId) -> SpanContext {
        let flags = TraceFlags::default().with_sampled(self.sampled);
        let state = TraceState::default();
        SpanContext::new(self.trace_id, span_id, flags, true, state)
    }

    /// What participants are told where nothing is exported: what the caller sent, unchanged; else
    /// ids to correlate by, and that nobody records them.
    pub(super) fn passed_on(&self) -> String {
        match &self.caller {
            Some(caller) => caller.traceparent.clone(),
            None => traceparent(self.trace_id, self.span_id, false),
        }
    }

    /// The vendors' part of what the caller sent.
    pub(super) fn tracestate(&self) -> Option<String> {
        self.caller.as_ref()?.tracestate.clone()
    }
}

/// `00-{trace}-{span}-{flags}`.
pub(super) fn traceparent(trace_id: TraceId, span_id: SpanId, sampled: bool) -> String {
    let mut text = String::with_capacity(55);
    let flags = u8::from(sampled);
    let written = write!(text, "00-{trace_id}-{span_id}-{flags:02x}");
    debug_assert!(written.is_ok(), "a String takes everything");
    text
}

struct Parsed {
    trace_id: TraceId,
    span_id: SpanId,
    sampled: bool,
}

/// Reads a `traceparent`; the API has let nothing in that is none.
fn parse(text: &str) -> Option<Parsed> {
    let mut parts = text.split('-');
    let (_version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some(Parsed {
        trace_id: TraceId::from_hex(trace).ok()?,
        span_id: SpanId::from_hex(span).ok()?,
        sampled: flags & 1 == 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use uuid::Uuid;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn started(traceparent: Option<&str>) -> Started {
        Started {
            definition: "d".to_owned(),
            version: 1,
            key: None,
            labels: BTreeMap::new(),
            input: Arc::new(serde_json::Value::Null),
            deadline: None,
            traceparent: traceparent.map(str::to_owned),
            tracestate: traceparent.map(|_| "a=b".to_owned()),
            actor: String::new(),
        }
    }

    /// A UUIDv7 as they are made, with this much chance in it.
    fn saga(chance: u64) -> SagaId {
        let random = (chance << 30).to_be_bytes();
        let counter = [0; 2];
        let bytes: [u8; 10] = [&counter[..], &random[..]].concat().try_into().unwrap();
        SagaId(uuid::Builder::from_unix_timestamp_millis(1, &bytes).into_uuid())
    }

    #[test]
    fn without_a_caller_everything_follows_from_the_sagas_id() {
        let id: Uuid = "0198c7c4-aaaa-7000-8000-0000000000ff".parse().unwrap();
        let context = TraceContext::of(SagaId(id), &started(None), Some(1.0));
        assert!(context.is_sampled() && context.caller().is_none());
        assert_eq!(
            context.passed_on(),
            "00-0198c7c4aaaa700080000000000000ff-80000000000000ff-00"
        );
        assert_eq!(context.trace_id(), trace_id(SagaId(id), &started(None)));
        assert_eq!(context.saga().span_id().to_string(), "80000000000000ff");
    }

    #[test]
    fn a_callers_trace_is_gone_on_with() {
        let context = TraceContext::of(saga(0), &started(Some(CALLER)), Some(0.0));
        assert!(context.is_sampled(), "the caller has decided");
        assert_eq!(
            context.trace_id().to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        let caller = context.caller().unwrap();
        assert_eq!(caller.span_id().to_string(), "b7ad6b7169203331");
        assert_eq!(context.tracestate().as_deref(), Some("a=b"));

        let unsampled = CALLER.replace("-01", "-00");
        let context = TraceContext::of(saga(0), &started(Some(&unsampled)), Some(1.0));
        assert!(!context.is_sampled(), "the caller has decided");
        assert_eq!(context.passed_on(), unsampled);
    }

    #[test]
    fn without_an_exporter_nothing_is_sampled_and_the_caller_is_passed_on() {
        let context = TraceContext::of(saga(0), &started(Some(CALLER)), None);
        assert!(!context.is_sampled());
        assert_eq!(context.passed_on(), CALLER);
    }

    #[test]
    fn as_many_are_sampled_as_the_ratio_says() {
        let among = |ratio: f64| {
            (0..1_000_u64)
                .filter(|n| falls_to(saga(n * (1 << 32) / 1_000), ratio))
                .count()
        };
        assert_eq!(among(0.0), 0);
        assert_eq!(among(1.0), 1_000);
        assert!(among(0.25).abs_diff(250) <= 1, "{}", among(0.25));
    }
}
