//! What a gate costs each call: one whose participant has no guards, and one that has all three.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use uuid::Uuid;

use amends::config::{Bulkhead, CircuitBreaker, Guards, RateLimit};
use amends::dispatch::{Entrance, Gate};
use amends::saga::SagaId;

const ID: SagaId = SagaId(Uuid::from_u128(0x0198_c700_0000_7000_8000_0000_0000_0001));

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("gate");
    for (name, guards) in [("unguarded", Guards::default()), ("guarded", all_three())] {
        let gate = Gate::new("payment", &guards);
        group.bench_function(name, |bencher| bencher.iter(|| call(&gate)));
    }
    group.finish();
    criterion.final_summary();
}

/// A call that is let through and succeeds.
fn call(gate: &Arc<Gate>) {
    match gate.enter(black_box(ID)) {
        Entrance::Open(pass) => pass.end(Some(true), Duration::from_millis(1)),
        Entrance::Wait(_) | Entrance::Away(_) => {}
    }
}

/// Guards that hold nothing back here.
fn all_three() -> Guards {
    Guards {
        circuit_breaker: Some(CircuitBreaker {
            failure_rate: Some(0.5),
            window_ms: 30_000,
            calls_min: 20,
            consecutive_failures: Some(5),
            slow_call_ms: Some(5_000),
            open_for_ms: 5_000,
            open_for_max_ms: 60_000,
            probes: 1,
        }),
        bulkhead: Some(Bulkhead {
            concurrent_max: 50,
            waiting_max: 1_000,
            wait_max_ms: 10_000,
        }),
        rate_limit: Some(RateLimit {
            per_second: 1_000_000_000,
            burst: 1_000_000_000,
        }),
    }
}
