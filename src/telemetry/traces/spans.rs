//! The spans: one for a saga, one for each attempt.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, filter};

use super::TARGET;
use super::context::{TraceContext, traceparent};
use super::export::with_ids;
use crate::definition::request::Phase;
use crate::saga::{self, Guard, Outcome, Saga, SagaId, StepError, Timestamp};
use crate::telemetry::metrics::AttemptOutcome;

/// Makes spans of what has our target, and looks at nothing else.
pub(super) fn layer<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
{
    let only_ours: filter::FilterFn = filter_fn(|metadata| metadata.target() == TARGET);
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_filter(only_ours)
}

/// What is told of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct TracedAttempt<'a> {
    /// The saga.
    pub saga: SagaId,
    /// Its definition, `name/version`.
    pub definition: &'a str,
    /// The step's id.
    pub step: &'a str,
    /// The participant.
    pub participant: &'a str,
    /// Which of the step's calls.
    pub phase: Phase,
    /// Which attempt, from 1.
    pub number: u32,
    /// The guard that held it back in memory before it began, and for how long it was held back.
    pub held: Option<(Guard, Duration)>,
}

/// The span of an attempt that is under way; exported when it is dropped.
#[derive(Debug)]
pub struct AttemptSpan {
    span: tracing::Span,
    /// What the participant is told: W3C `traceparent`.
    pub traceparent: String,
    /// The vendors' part of it.
    pub tracestate: Option<String>,
}

impl AttemptSpan {
    pub(super) fn begin(context: &TraceContext, attempt: &TracedAttempt<'_>) -> Self {
        let tracestate = context.tracestate();
        if context.is_sampled()
            && let Some((span, traceparent)) = made(context, attempt)
        {
            return Self {
                span,
                traceparent,
                tracestate,
            };
        }
        Self {
            span: tracing::Span::none(),
            traceparent: context.passed_on(),
            tracestate,
        }
    }

    /// Records what the attempt came to.
    pub fn ended(self, outcome: &Outcome) {
        if !self.span.is_none() {
            self.record(outcome.as_str(), outcome.error());
        }
    }

    /// The same for one that a reply has ended, or its absence.
    pub fn came_to(self, outcome: AttemptOutcome, error: Option<&StepError>) {
        if !self.span.is_none() {
            self.record(outcome.as_str(), error);
        }
    }

    fn record(&self, word: &str, error: Option<&StepError>) {
        self.span.record("amends.outcome", word);
        if let Some(error) = error {
            // The code alone: the sentence may hold what the participant said of its customers.
            self.span.record("error.type", error.code.as_str());
            self.span.set_status(Status::error(error.code.clone()));
        }
    }
}

/// The span and what it is called on the wire; nothing when the process has no subscriber that
/// takes it.
fn made(context: &TraceContext, attempt: &TracedAttempt<'_>) -> Option<(tracing::Span, String)> {
    let held_ms = attempt.held.map_or(0, |(_, held)| held.as_millis());
    let held_ms = u64::try_from(held_ms).unwrap_or(u64::MAX);
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "attempt",
        otel.name = format!("{} {}", attempt.step, attempt.phase.as_str()),
        otel.kind = "client",
        amends.saga_id = %attempt.saga,
        amends.definition = attempt.definition,
        amends.step = attempt.step,
        amends.participant = attempt.participant,
        amends.phase = attempt.phase.as_str(),
        amends.attempt = attempt.number,
        amends.retry = attempt.number.saturating_sub(1),
        amends.guard = attempt.held.map(|(guard, _)| guard.as_str()),
        amends.guard_wait_ms = held_ms,
        amends.outcome = Empty,
        error.type = Empty,
    );
    let parent = Context::new().with_remote_span_context(context.saga());
    span.set_parent(parent).ok()?;
    let of_span = span.context();
    let own = of_span.span().span_context().clone();
    own.is_valid().then(|| {
        let traceparent = traceparent(own.trace_id(), own.span_id(), own.is_sampled());
        (span, traceparent)
    })
}

/// Exports the span of a saga that has finished: its ids are derived, its times are its own.
pub(super) fn export_saga(tracer: &SdkTracer, context: &TraceContext, saga: &Saga) {
    let started = &saga.started;
    let attributes = vec![
        KeyValue::new("amends.saga_id", saga.id.to_string()),
        KeyValue::new(
            "amends.definition",
            format!("{}/{}", started.definition, started.version),
        ),
        KeyValue::new("amends.status", saga.status().as_str()),
    ];
    let builder = SpanBuilder::from_name(started.definition.clone())
        .with_kind(SpanKind::Internal)
        .with_start_time(moment(saga.created_at))
        .with_attributes(attributes);
    let parent = match context.caller() {
        Some(caller) => Context::new().with_remote_span_context(caller),
        None => Context::new(),
    };
    let mut span = with_ids(context.trace_id(), context.span_id(), || {
        tracer.build_with_context(builder, &parent)
    });
    if let Some(failure) = saga.failure() {
        span.set_attribute(KeyValue::new("error.type", failure.code.clone()));
    }
    if saga.status() == saga::Status::Compensated {
        let code = saga.failure().map_or("", |failure| failure.code.as_str());
        span.set_status(Status::error(code.to_owned()));
    }
    span.end_with_timestamp(moment(saga.finished_at.unwrap_or(saga.updated_at)));
}

fn moment(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(Timestamp(0).ms_until(at))
}
