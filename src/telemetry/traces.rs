//! Traces: a saga is one trace, by OpenTelemetry, sent by OTLP over HTTP.
//!
//! **Nothing about a trace is stored but what the caller sent.** The rest is derived: the trace's
//! id is the caller's, else the saga's own; the saga's span has an id that follows from the
//! saga's. So a restart changes nothing, a saga of three days holds nothing in memory, and whoever
//! finishes it exports its span, with its true times. Every attempt is a span of its own under it,
//! with a new id each time it is sent.
//!
//! Whether a saga is traced is the caller's decision, where it made one; else it follows from the
//! saga's id and the configured ratio, so that every replica decides alike.
//!
//! Exporting never holds a saga up: spans go to a queue with a bound, and what does not fit is
//! dropped.

mod context;
mod export;
mod spans;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

pub use context::{TraceContext, trace_id};
pub use export::TracesError;
pub use opentelemetry::trace::TraceId;
pub use spans::{AttemptSpan, TracedAttempt};

use crate::config::Otlp;
use crate::saga::{Saga, SagaId, Started};

/// The target of the spans that become traces, and of nothing else.
pub(super) const TARGET: &str = "amends::trace";

/// How long the end of a process waits for its last spans to be sent.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// Where traces are made. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    exporting: Option<Arc<Exporting>>,
}

#[derive(Debug)]
struct Exporting {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    sample_ratio: f64,
}

impl Traces {
    /// No traces. Participants still get a valid context: the caller's, or one to correlate by
    /// that says that nothing is recorded.
    #[must_use]
    pub fn off() -> Self {
        Self::default()
    }

    /// Traces that are sent where `otlp` says.
    ///
    /// # Errors
    /// When the exporter cannot be made: TLS, or a variable of OpenTelemetry that it does not take.
    pub fn to(otlp: &Otlp) -> Result<Self, TracesError> {
        let (provider, tracer) = export::provider(otlp)?;
        Ok(Self {
            exporting: Some(Arc::new(Exporting {
                provider,
                tracer,
                sample_ratio: otlp.sample_ratio,
            })),
        })
    }

    /// What has to be part of the process's subscriber for attempts to become spans.
    #[must_use]
    pub fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    {
        let exporting = self.exporting.as_ref()?;
        Some(spans::layer(exporting.tracer.clone()))
    }

    /// The trace of a saga.
    #[must_use]
    pub fn of(&self, saga: SagaId, started: &Started) -> TraceContext {
        let sample_ratio = self
            .exporting
            .as_ref()
            .map(|exporting| exporting.sample_ratio);
        TraceContext::of(saga, started, sample_ratio)
    }

    /// Begins the span of an attempt, where its saga is traced; and says what the participant is
    /// to be told of the trace.
    #[must_use]
    pub fn attempt(&self, context: &TraceContext, attempt: &TracedAttempt<'_>) -> AttemptSpan {
        AttemptSpan::begin(context, attempt)
    }

    /// Exports the span of a saga that has just finished.
    pub fn finished(&self, saga: &Saga) {
        let Some(exporting) = &self.exporting else {
            return;
        };
        let context = self.of(saga.id, &saga.started);
        if context.is_sampled() {
            spans::export_saga(&exporting.tracer, &context, saga);
        }
    }

    /// Sends what is still to be sent, for a few seconds at most.
    pub async fn shut_down(&self) {
        let Some(exporting) = self.exporting.clone() else {
            return;
        };
        // It waits for the exporter's thread, which would hold the runtime up.
        let flushed = tokio::task::spawn_blocking(move || {
            exporting.provider.shutdown_with_timeout(FLUSH_WITHIN)
        });
        match flushed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last spans were not sent"),
            Err(error) => tracing::warn!(%error, "the last spans were not sent"),
        }
    }
}
