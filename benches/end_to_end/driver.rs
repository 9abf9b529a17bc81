//! The driver: clients that each start a saga, wait for its end, and start the next.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{StatusCode, Uri};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::client::{Client, client, exchange};
use crate::definitions::{self, Variant};

/// One client's work: what it posts, where, and how the saga must end.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    uri: Uri,
    body: Bytes,
    status: &'static str,
}

#[derive(Deserialize)]
struct Ended<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
}

impl Order {
    /// To a coordinator at `url`.
    pub(crate) fn to_coordinator(url: &str, variant: Variant) -> Result<Self> {
        Self::new(&format!("{url}/api/v1/sagas"), variant)
    }

    /// To the proxy or the relay at `url`.
    pub(crate) fn to_bare(url: &str, variant: Variant) -> Result<Self> {
        Self::new(&format!("{url}{}", variant.path()), variant)
    }

    fn new(uri: &str, variant: Variant) -> Result<Self> {
        Ok(Self {
            uri: uri.parse()?,
            body: definitions::start(variant.definition()),
            status: variant.status(),
        })
    }

    /// Runs one saga from its start to its end.
    pub(crate) async fn carry_out(&self, client: &Client) -> Result<()> {
        let answer = exchange(client, &self.uri, &self.body, Some("wait=60")).await?;
        let ended = serde_json::from_slice::<Ended<'_>>(&answer.body);
        ensure!(
            answer.status == StatusCode::OK && ended.is_ok_and(|ended| ended.status == self.status),
            "a saga that should end as {} was answered {} {}",
            self.status,
            answer.status,
            String::from_utf8_lossy(&answer.body),
        );
        Ok(())
    }

    /// Runs sagas one after another; answers with how long each took, in milliseconds.
    pub(crate) async fn carry_out_alone(&self, client: &Client, sagas: usize) -> Result<Vec<f64>> {
        let mut took = Vec::with_capacity(sagas);
        for _ in 0..sagas {
            let begun = Instant::now();
            self.carry_out(client).await?;
            took.push(milliseconds(begun.elapsed()));
        }
        Ok(took)
    }
}

/// What the clients saw.
#[derive(Clone, Debug)]
pub(crate) struct Seen<T> {
    /// Sagas that ended while it was measured.
    pub(crate) ended: usize,
    /// Sagas that ended at all, before and after too.
    pub(crate) total: usize,
    /// How long it was measured.
    pub(crate) measured: Duration,
    /// How long those took from start to end, in milliseconds, sorted.
    pub(crate) took_ms: Vec<f64>,
    /// What was looked up just before and just after it was measured.
    pub(crate) around: (T, T),
}

impl<T> Seen<T> {
    /// Sagas that ended in a second.
    pub(crate) fn per_second(&self) -> f64 {
        count(self.ended) / self.measured.as_secs_f64()
    }
}

/// Runs `clients` side by side for so long; `look` is called as the measuring begins and ends.
pub(crate) async fn load<T>(
    order: &Order,
    clients: usize,
    (warm_up, measured): (Duration, Duration),
    look: impl AsyncFn() -> Result<T>,
) -> Result<Seen<T>> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    for _ in 0..clients {
        running.spawn(work(order.clone(), Arc::clone(&stop)));
    }
    let timed = async {
        tokio::time::sleep(warm_up).await;
        let before = look().await?;
        let begun = Instant::now();
        tokio::time::sleep(measured).await;
        let ended = Instant::now();
        anyhow::Ok(((before, look().await?), begun, ended))
    };
    // A client ends early only when something is wrong.
    let (around, begun, ended) = tokio::select! {
        timed = timed => timed?,
        Some(failed) = running.join_next() => {
            failed??;
            anyhow::bail!("a client ended early");
        }
    };
    stop.store(true, Ordering::Relaxed);
    let mut took_ms = Vec::new();
    let mut total = 0;
    while let Some(done) = running.join_next().await {
        let done = done??;
        total += done.len();
        let within = done
            .into_iter()
            .filter(|(at, _)| *at >= begun && *at < ended);
        took_ms.extend(within.map(|(_, took)| milliseconds(took)));
    }
    ensure!(!took_ms.is_empty(), "no saga ended");
    took_ms.sort_by(f64::total_cmp);
    Ok(Seen {
        ended: took_ms.len(),
        total,
        measured: ended - begun,
        took_ms,
        around,
    })
}

async fn work(order: Order, stop: Arc<AtomicBool>) -> Result<Vec<(Instant, Duration)>> {
    let client = client();
    let mut took = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        order.carry_out(&client).await?;
        let ended = Instant::now();
        took.push((ended, ended - begun));
    }
    Ok(took)
}

/// The value that so large a share of `sorted` does not exceed.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Result<f64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index into what is in memory"
    )]
    let index = (count(sorted.len()) * share) as usize;
    let last = sorted.len().checked_sub(1).context("no values")?;
    sorted.get(index.min(last)).copied().context("no values")
}

/// The middle of values in any order.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Result<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

/// A count as a number to calculate with.
pub(crate) fn count(number: usize) -> f64 {
    number as f64
}

/// A time as a number to calculate with.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
