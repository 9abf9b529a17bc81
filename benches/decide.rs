//! What the pure core costs: one decision of a ten-step saga with real templates and an input of
//! about 1 KB, and the replay of its journal. The bar: a transition under 10 µs.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use serde_json::{Value, json};
use uuid::Uuid;

use amends::definition::{Definition, check};
use amends::saga::replay::{Transition, replay};
use amends::saga::{
    Attempted, Decision, InFlight, Input, Outcome, Saga, SagaId, Started, Status, StepError,
    Timestamp, decide, start,
};

const ID: SagaId = SagaId(Uuid::from_u128(0x0198_c700_0000_7000_8000_0000_0000_0001));
const STARTED_AT: Timestamp = Timestamp(1_795_000_000_000);

fn main() -> Result<()> {
    let scenario = Scenario::new()?;
    let mut criterion = Criterion::default().configure_from_args();
    decisions(&mut criterion, &scenario)?;
    replays(&mut criterion, &scenario)?;
    criterion.final_summary();
    Ok(())
}

fn decisions(criterion: &mut Criterion, scenario: &Scenario) -> Result<()> {
    let mut group = criterion.benchmark_group("decide");
    group.bench_function("start", |bencher| {
        let started = scenario.started();
        bencher.iter_batched(
            || started.clone(),
            |started| start(&scenario.definition, ID, started, STARTED_AT),
            BatchSize::SmallInput,
        );
    });

    let run = scenario.run(succeeded)?;
    ensure!(run.end.status() == Status::Completed, "it must complete");
    for step in [1_usize, 5, 10] {
        let (saga, input) = run.inputs.get(step - 1).context("ten steps")?;
        let name = BenchmarkId::new("step_succeeded", step);
        group.bench_function(name, |bencher| scenario.bench(bencher, saga, input));
    }

    let undone = scenario.run(|step| {
        if step == 9 {
            refused()
        } else {
            succeeded(step)
        }
    })?;
    ensure!(
        undone.end.status() == Status::Compensated,
        "it must be undone"
    );
    let (saga, input) = undone.inputs.get(9).context("the refusal")?;
    group.bench_function("last_step_refused", |bencher| {
        scenario.bench(bencher, saga, input);
    });
    let (saga, input) = undone.inputs.get(14).context("a compensation")?;
    group.bench_function("step_compensated", |bencher| {
        scenario.bench(bencher, saga, input);
    });

    // The start and ten answers, each decided on what the one before it left.
    group.throughput(Throughput::Elements(11));
    group.bench_function("whole_saga_of_11_transitions", |bencher| {
        bencher.iter(|| black_box(scenario.run(succeeded)));
    });
    group.finish();
    Ok(())
}

fn replays(criterion: &mut Criterion, scenario: &Scenario) -> Result<()> {
    let run = scenario.run(succeeded)?;
    let definition = &*scenario.definition;
    ensure!(
        replay(definition, ID, &run.journal)? == run.end,
        "replay must give the state that was"
    );
    let stored: Vec<(u64, Timestamp, String)> = run
        .journal
        .iter()
        .map(|row| Ok((row.seq, row.at, serde_json::to_string(&row.events)?)))
        .collect::<Result<_>>()?;

    let mut group = criterion.benchmark_group("replay");
    group.bench_function("finished_ten_steps", |bencher| {
        bencher.iter(|| replay(definition, ID, black_box(&run.journal)));
    });
    group.bench_function("finished_ten_steps_from_text", |bencher| {
        bencher.iter(|| {
            let rows = stored
                .iter()
                .map(|(seq, at, events)| Transition::read(*seq, *at, events))
                .collect::<Result<Vec<_>, _>>()?;
            replay(definition, ID, &rows)
        });
    });
    group.finish();
    Ok(())
}

/// A saga driven from its start to its end.
struct Run {
    /// The state before each input, and the input.
    inputs: Vec<(Saga, Input)>,
    journal: Vec<Transition>,
    end: Saga,
}

struct Scenario {
    definition: Arc<Definition>,
    input: Arc<Value>,
}

impl Scenario {
    fn new() -> Result<Self> {
        let checked = check(&document(), None);
        let definition = checked
            .definition
            .with_context(|| format!("the definition: {:?}", checked.problems))?;
        ensure!(definition.steps.len() == 10, "ten steps");
        let input = Arc::new(input());
        let bytes = input.to_string().len();
        ensure!((900..1_200).contains(&bytes), "an input of {bytes} bytes");
        Ok(Self { definition, input })
    }

    fn started(&self) -> Started {
        Started {
            definition: self.definition.name.clone(),
            version: self.definition.version,
            key: Some("ORD-12345".to_owned()),
            labels: BTreeMap::from([("channel".to_owned(), "web".to_owned())]),
            input: Arc::clone(&self.input),
            deadline: self.definition.timeout_ms.map(|ms| STARTED_AT.plus_ms(ms)),
            traceparent: None,
            tracestate: None,
            actor: "anonymous".to_owned(),
        }
    }

    /// Answers every attempt with what `outcome` says of its step, until nothing is in flight.
    fn run(&self, outcome: impl Fn(u16) -> Outcome) -> Result<Run> {
        let begun = start(&self.definition, ID, self.started(), STARTED_AT);
        let mut run = Run {
            inputs: Vec::new(),
            journal: Vec::new(),
            end: begun.saga.clone(),
        };
        run.record(begun, 1);
        while let Some(call) = { run.end.in_flight().next() } {
            let compensating = run.end.status() == Status::Compensating;
            let answer = if compensating {
                succeeded(call.step.0)
            } else {
                outcome(call.step.0)
            };
            let input = answered(call, answer);
            let now = run.end.updated_at.plus_ms(3);
            let decision = decide(&self.definition, &run.end, input.clone(), now)?;
            run.inputs.push((run.end.clone(), input));
            let seq = run.end.seq + 1;
            run.record(decision, seq);
        }
        Ok(run)
    }

    fn bench(&self, bencher: &mut criterion::Bencher<'_>, saga: &Saga, input: &Input) {
        let now = saga.updated_at.plus_ms(3);
        bencher.iter_batched(
            || input.clone(),
            |input| decide(&self.definition, black_box(saga), input, now),
            BatchSize::SmallInput,
        );
    }
}

impl Run {
    fn record(&mut self, decision: Decision, seq: u64) {
        self.journal.push(Transition {
            seq,
            at: decision.saga.updated_at,
            events: decision.events,
        });
        self.end = decision.saga;
    }
}

fn answered(call: InFlight, outcome: Outcome) -> Input {
    Input::Attempt(Attempted {
        step: call.step,
        phase: call.phase,
        attempt: call.attempt,
        outcome,
        draw: 0.5,
    })
}

fn succeeded(step: u16) -> Outcome {
    Outcome::Succeeded {
        output: json!({ "reference": format!("r-{step}"), "accepted": true, "amount": 40 }),
    }
}

fn refused() -> Outcome {
    Outcome::Refused(StepError::new("no_capacity", "no carrier takes it today"))
}

/// Ten steps, each with a body of its input and of what the step before it gave, and each undone
/// by what the saga knows.
fn document() -> String {
    let mut document = String::from(
        "name: ten_steps\nversion: 1\ninput: { type: object, required: [order_id, items, total] }\n\
         timeout: 72h\nsteps:\n",
    );
    for step in 1..=10 {
        let before = match step {
            1 => "${ input.order_id }".to_owned(),
            _ => format!("${{ steps.step_{}.output.reference }}", step - 1),
        };
        document.push_str(&format!(
            "  - id: step_{step}\n    participant: somebody\n    when: input.total > 0\n    \
             action:\n      put: /things/${{ saga.id }}-{step}\n      body:\n        \
             order: \"${{ input.order_id }}\"\n        items: \"${{ input.items }}\"\n        \
             amount: \"${{ input.total * 2 }}\"\n        before: \"{before}\"\n        \
             note: \"step {step} of ${{ input.order_id }} for ${{ input.customer.name }}\"\n    \
             compensation:\n      delete: /things/${{ saga.id }}-{step}\n",
        ));
    }
    document.push_str("output: { reference: \"${ steps.step_10.output.reference }\" }\n");
    document
}

fn input() -> Value {
    let items: Vec<Value> = (1..=10)
        .map(|number| {
            json!({
                "sku": format!("SKU-{number:06}"),
                "title": format!("Thing number {number}"),
                "quantity": number,
                "price": 12.5,
            })
        })
        .collect();
    json!({
        "order_id": "ORD-12345",
        "customer": { "name": "Ann Example", "email": "ann@example.org", "city": "Utrecht" },
        "address": { "street": "Long Street 1", "zip": "3511 AA", "country": "NL" },
        "items": items,
        "total": 687,
    })
}
