//! What telling of itself costs a coordinator, a saga of three steps at a time: the counting, the
//! context that participants are told, and the spans. No journal, no network but the exporter's,
//! which sends to nobody.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use criterion::Criterion;
use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use uuid::Uuid;

use amends::config::Otlp;
use amends::definition::request::Phase;
use amends::definition::{Definition, StepIndex, check};
use amends::saga::{Outcome, SagaId, Started};
use amends::telemetry::metrics::{AttemptOutcome, Finish, Method};
use amends::telemetry::traces::TracedAttempt;
use amends::telemetry::{Metrics, Traces};

const ID: SagaId = SagaId(Uuid::from_u128(0x0198_c700_0000_7000_8000_0000_0000_0001));
const DOCUMENT: &str = "
name: order
version: 1
steps:
  - { id: reserve, participant: shop, action: { command: reserve } }
  - { id: charge, participant: shop, action: { command: charge } }
  - { id: ship, participant: shop, action: { command: ship } }
";

fn main() -> Result<()> {
    let definition = check(DOCUMENT, None)
        .definition
        .context("the definition is good")?;
    let mut criterion = Criterion::default().configure_from_args();
    counting(
        &mut criterion,
        "metrics/on",
        &Metrics::new(["shop"])?,
        &definition,
    );
    counting(
        &mut criterion,
        "metrics/off",
        &Metrics::silent()?,
        &definition,
    );
    tracing_of(&mut criterion, "traces/off", &Traces::off());
    let traces = Traces::to(&Otlp {
        endpoint: "http://127.0.0.1:9/v1/traces".parse()?,
        headers: Vec::new(),
        sample_ratio: 1.0,
        service_name: "amends".to_owned(),
        queue_spans_max: None,
        batch_spans_max: None,
    })?;
    tracing_subscriber::registry()
        .with(traces.layer())
        .try_init()?;
    tracing_of(&mut criterion, "traces/on", &traces);
    criterion.final_summary();
    Ok(())
}

/// All that is counted of a saga that completes, with its own commits and its start's answer.
fn counting(criterion: &mut Criterion, name: &str, metrics: &Metrics, definition: &Definition) {
    let took = Duration::from_millis(3);
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            let sagas = metrics.sagas_of(black_box(definition));
            sagas.started();
            for step in 0..3 {
                if let Some(participant) = sagas.participant(StepIndex(step)) {
                    participant.attempt_ended(Phase::Action, AttemptOutcome::Succeeded, took);
                }
                metrics.committed(2, took);
            }
            sagas.finished(Finish::Completed, 12);
            metrics.committed(2, took);
            metrics.request_answered(Method::Post, Some("/api/v1/sagas"), 200, took);
        });
    });
}

/// The contexts and spans of three attempts.
fn tracing_of(criterion: &mut Criterion, name: &str, traces: &Traces) {
    let started = Started {
        definition: "order".to_owned(),
        version: 1,
        key: None,
        labels: BTreeMap::new(),
        input: Arc::new(Value::Null),
        deadline: None,
        traceparent: None,
        tracestate: None,
        actor: String::new(),
    };
    let outcome = Outcome::Succeeded {
        output: Value::Null,
    };
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            for step in ["reserve", "charge", "ship"] {
                let attempt = TracedAttempt {
                    saga: ID,
                    definition: "order/1",
                    step,
                    participant: "shop",
                    phase: Phase::Action,
                    number: 1,
                    held: None,
                };
                let span = traces.attempt(&traces.of(ID, black_box(&started)), &attempt);
                black_box(&span.traceparent);
                span.ended(&outcome);
            }
        });
    });
}
