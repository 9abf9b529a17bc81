//! What the black-box tests and the benches of amends stand on: the binary as a process, databases
//! of every kind, a participant that injects faults and keeps a ledger, and a client of the API.
//!
//! It knows nothing of the coordinator's code: what it checks, it checks from outside. It panics
//! where a test could not go on.

pub mod api;
pub mod audit;
pub mod collector;
pub mod coordinator;
pub mod database;
pub mod definitions;
pub mod events;
pub mod ledger;
pub mod moto;
pub mod postgres;
pub mod rabbitmq;
pub mod scripted;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A port on loopback that nobody listened on a moment ago. It lies below those that outgoing
/// connections use, so that none of them takes it before it is listened on.
#[must_use]
pub fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nanos = SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |elapsed| elapsed.subsec_nanos());
    let start = std::process::id().wrapping_mul(7_919).wrapping_add(nanos);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step.wrapping_mul(31)) % COUNT;
        let port = u16::try_from(port).expect("below 32000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within `limit`; `what` says what was waited for.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            begun.elapsed() < limit,
            "waited {limit:?} in vain for {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Makes `ring` the process's TLS provider, once.
pub(crate) fn install_tls() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
}

/// Runs a future to its end, from wherever: on a thread and a runtime of its own.
pub(crate) fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(future)
        });
        running
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
