//! Sending spans: the exporter, its queue, and the ids of spans that are known beforehand.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use opentelemetry::trace::{SpanId, TraceId, TracerProvider as _};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator, RandomIdGenerator, Sampler, SdkTracer,
    SdkTracerProvider,
};

use crate::config::Otlp;

/// How many spans may wait to be sent; what comes beyond that is dropped. Some seconds of a
/// coordinator under full load.
const QUEUE_SPANS_MAX: usize = 32_768;
/// How many spans are sent together.
const BATCH_SPANS_MAX: usize = 2_048;
/// How long an export may take.
const EXPORT_WITHIN: Duration = Duration::from_secs(10);

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The client could not be made.
    #[error("no client could be made for telemetry.otlp")]
    Client(#[source] reqwest::Error),
    /// The thread that makes the client could not be had.
    #[error("no client could be made for telemetry.otlp")]
    Thread(#[source] std::io::Error),
    /// The exporter could not be made.
    #[error("telemetry.otlp cannot be used")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// What exports, and what makes spans for it.
pub(super) fn provider(otlp: &Otlp) -> Result<(SdkTracerProvider, SdkTracer), TracesError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client(otlp)?)
        .with_endpoint(otlp.endpoint.as_str())
        .with_protocol(Protocol::HttpBinary)
        .build()?;
    let batch = BatchConfigBuilder::default()
        .with_max_queue_size(otlp.queue_spans_max.unwrap_or(QUEUE_SPANS_MAX))
        .with_max_export_batch_size(otlp.batch_spans_max.unwrap_or(BATCH_SPANS_MAX))
        .build();
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batch)
        .build();
    let resource = Resource::builder()
        .with_service_name(otlp.service_name.clone())
        .build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_resource(resource)
        // Only spans of sampled sagas are made at all.
        .with_sampler(Sampler::AlwaysOn)
        .with_id_generator(Ids)
        .build();
    let tracer = provider.tracer("amends");
    Ok((provider, tracer))
}

/// The blocking client is made, and used, on threads that are not the runtime's.
fn client(otlp: &Otlp) -> Result<Client, TracesError> {
    let made = std::thread::scope(|scope| {
        let making = std::thread::Builder::new().spawn_scoped(scope, || {
            reqwest::blocking::Client::builder()
                .timeout(EXPORT_WITHIN)
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .map_err(TracesError::Client)
        });
        match making.map_err(TracesError::Thread)?.join() {
            Ok(made) => made,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    Ok(Client {
        inner: made,
        headers: otlp.headers.clone(),
    })
}

/// Sends exports with the configured headers, which win over what the exporter reads from the
/// environment by itself.
struct Client {
    inner: reqwest::blocking::Client,
    headers: Vec<(http::HeaderName, http::HeaderValue)>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        for (name, value) in &self.headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        self.inner.send_bytes(request).await
    }
}

thread_local! {
    /// The ids of the next span that this thread makes, where they are known beforehand.
    static KNOWN: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Makes a span with these ids.
pub(super) fn with_ids<T>(trace_id: TraceId, span_id: SpanId, make: impl FnOnce() -> T) -> T {
    KNOWN.set(Some((trace_id, span_id)));
    let made = make();
    KNOWN.set(None);
    made
}

/// Ids by chance, but for spans whose ids are known.
#[derive(Debug)]
struct Ids;

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        KNOWN.get().map_or_else(
            || RandomIdGenerator::default().new_trace_id(),
            |(trace_id, _)| trace_id,
        )
    }

    fn new_span_id(&self) -> SpanId {
        KNOWN.get().map_or_else(
            || RandomIdGenerator::default().new_span_id(),
            |(_, span_id)| span_id,
        )
    }
}
