//! Very many sagas in a long delay: the coordinator is killed and started again over them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{StatusCode, Uri};
use serde_json::{Value, json};
use support::coordinator::Coordinator;

use crate::arguments::{Arguments, Kind};
use crate::client::{client, exchange};
use crate::database::Watched;
use crate::definitions::{self, WAITING};
use crate::driver::count;
use crate::process::{self, RoleProcess};
use crate::report;
use crate::throughput::settings;

/// The most sagas that one batch may start.
const BATCH_MAX: usize = 500;
/// When memory is looked at, after it is ready again.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// Measures on every database, and prints it.
pub(crate) async fn run(arguments: &Arguments, participants: &RoleProcess) -> Result<()> {
    let sagas = arguments.waiting;
    report::line(&format!(
        "\n{sagas} unfinished sagas in a delay of an hour, the coordinator killed (-9) and started \
         again:"
    ));
    for kind in &arguments.databases {
        report::progress(&format!("{sagas} waiting sagas: {}", kind.name()));
        of(*kind, arguments, participants).await?;
    }
    Ok(())
}

async fn of(kind: Kind, arguments: &Arguments, participants: &RoleProcess) -> Result<()> {
    let sagas = arguments.waiting;
    let database = Watched::fresh(kind, arguments).await?;
    let directory = definitions::directory()?;
    // Admission counts them as active; one more than they are is enough.
    let settings = settings(database.url(), &directory, participants.url())
        .key("engine.max_active_sagas", (sagas + 1).to_string());
    let mut coordinator = Coordinator::start(settings).await;

    let begun = Instant::now();
    start(&format!("{}/api/v1/sagas:batch", coordinator.url()), sagas).await?;
    let started_per_second = count(sagas) / begun.elapsed().as_secs_f64();
    let before_mb = process::memory_mb(coordinator.process_id(), "VmRSS")?;

    coordinator.kill();
    let begun = Instant::now();
    coordinator.restart().await;
    let ready = begun.elapsed();
    tokio::time::sleep(SETTLED_AFTER).await;
    let resident_mb = process::memory_mb(coordinator.process_id(), "VmRSS")?;
    report::line(&format!(
        "  {:<12} ready after {:.2} s; resident {resident_mb:.0} MB {} s later ({before_mb:.0} MB \
         before the kill); started {started_per_second:.0}/s in batches of {BATCH_MAX}",
        kind.name(),
        ready.as_secs_f64(),
        SETTLED_AFTER.as_secs(),
    ));
    Ok(())
}

async fn start(uri: &str, sagas: usize) -> Result<()> {
    let uri: Uri = uri.parse()?;
    let client = client();
    let mut left = sagas;
    while left > 0 {
        let size = left.min(BATCH_MAX);
        let one = json!({ "definition": WAITING, "input": definitions::input() });
        let body = Bytes::from(json!({ "sagas": vec![one; size] }).to_string());
        let answer = exchange(&client, &uri, &body, None).await?;
        let said: Value = serde_json::from_slice(&answer.body)?;
        let results = said.get("results").and_then(Value::as_array);
        let results = results.with_context(|| format!("{} {said}", answer.status))?;
        let refused = results
            .iter()
            .find(|result| result.get("status") != Some(&json!(202)));
        ensure!(
            answer.status == StatusCode::MULTI_STATUS && results.len() == size,
            "{} with {} results",
            answer.status,
            results.len()
        );
        ensure!(refused.is_none(), "a start was answered {refused:?}");
        left -= size;
    }
    Ok(())
}
