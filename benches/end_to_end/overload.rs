//! Four times what the coordinator can take: what becomes of what is too much, and of the rest.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use http::{StatusCode, Uri};
use serde_json::Value;
use support::coordinator::Coordinator;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::arguments::{Arguments, Kind};
use crate::client::{client, exchange};
use crate::database::Watched;
use crate::definitions::{self, Variant};
use crate::driver::{Order, count, load, milliseconds, quantile};
use crate::process::{self, RoleProcess};
use crate::report;
use crate::throughput::settings;

/// How much more is asked for than can be taken.
const TIMES: f64 = 4.0;
/// How many connections the load comes over.
const CONNECTIONS: usize = 256;
/// How many sagas may be active.
const ACTIVE_MAX: usize = 2_000;
/// How long what was accepted is given to finish.
const FINISHED_WITHIN: Duration = Duration::from_secs(60);

/// What became of the starts over one connection.
#[derive(Default)]
struct Fate {
    accepted: usize,
    /// How long the answer to each that was accepted took, in milliseconds.
    accepted_ms: Vec<f64>,
    /// How long each refusal took, in milliseconds.
    refused_ms: Vec<f64>,
}

/// Measures on every database, and prints it.
pub(crate) async fn run(arguments: &Arguments, participants: &RoleProcess) -> Result<()> {
    report::line(&format!(
        "\nOverload: {TIMES} times the rate of the reference load for {} s, over {CONNECTIONS} \
         connections, at most {ACTIVE_MAX} active sagas:",
        arguments.overload
    ));
    for kind in &arguments.databases {
        report::progress(&format!("overload: {}", kind.name()));
        of(*kind, arguments, participants).await?;
    }
    Ok(())
}

async fn of(kind: Kind, arguments: &Arguments, participants: &RoleProcess) -> Result<()> {
    let database = Watched::fresh(kind, arguments).await?;
    let directory = definitions::directory()?;
    let settings = settings(database.url(), &directory, participants.url())
        .key("engine.max_active_sagas", ACTIVE_MAX.to_string());
    let coordinator = Coordinator::start(settings).await;
    let order = Order::to_coordinator(&coordinator.url(), Variant::Completed)?;
    let times = (arguments.warm_up(), arguments.measured());
    let sustained = load(&order, arguments.clients, times, async || Ok(())).await?;
    let before_mb = process::memory_mb(coordinator.process_id(), "VmRSS")?;

    let wanted = TIMES * sustained.per_second();
    let length = Duration::from_secs(arguments.overload);
    let fate = overload(&coordinator.url(), wanted, length).await?;
    let left = Instant::now();
    all_finish(&coordinator).await?;
    let peak_mb = process::memory_mb(coordinator.process_id(), "VmHWM")?;
    let seconds = length.as_secs_f64();
    let offered = count(fate.accepted + fate.refused_ms.len()) / seconds;
    report::line(&format!(
        "  {:<12} {:.0}/s of {wanted:.0}/s offered; {:.0}/s accepted ({:.2} of the {:.0}/s \
         without overload), p99 {:.1} ms; {:.0}/s refused, p50 {:.1} ms, p99 {:.1} ms, longest \
         {:.1} ms; all finished {:.1} s later; memory {before_mb:.0} MB before, peak {peak_mb:.0} MB",
        kind.name(),
        offered,
        count(fate.accepted) / seconds,
        count(fate.accepted) / seconds / sustained.per_second(),
        sustained.per_second(),
        quantile(&fate.accepted_ms, 0.99)?,
        count(fate.refused_ms.len()) / seconds,
        quantile(&fate.refused_ms, 0.5)?,
        quantile(&fate.refused_ms, 0.99)?,
        quantile(&fate.refused_ms, 1.0)?,
        left.elapsed().as_secs_f64(),
    ));
    Ok(())
}

/// Starts at a fixed rate over every connection; one that is behind catches up.
async fn overload(url: &str, per_second: f64, length: Duration) -> Result<Fate> {
    let uri: Uri = format!("{url}/api/v1/sagas").parse()?;
    let body = definitions::start(Variant::Completed.definition());
    let pause = Duration::from_secs_f64(count(CONNECTIONS) / per_second);
    let mut connections = JoinSet::new();
    for place in 0..CONNECTIONS {
        let (uri, body) = (uri.clone(), body.clone());
        connections.spawn(async move {
            let client = client();
            // Spread over the pause, so that they do not all come at once.
            let first =
                tokio::time::Instant::now() + pause.mul_f64(count(place) / count(CONNECTIONS));
            let mut tick = tokio::time::interval_at(first, pause);
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let end = first + length;
            let mut fate = Fate::default();
            while tokio::time::Instant::now() < end {
                tick.tick().await;
                let begun = Instant::now();
                let answer = exchange(&client, &uri, &body, None).await?;
                let took = milliseconds(begun.elapsed());
                match answer.status {
                    StatusCode::ACCEPTED => {
                        fate.accepted += 1;
                        fate.accepted_ms.push(took);
                    }
                    StatusCode::TOO_MANY_REQUESTS => fate.refused_ms.push(took),
                    status => bail!("{status} {}", String::from_utf8_lossy(&answer.body)),
                }
            }
            Ok(fate)
        });
    }
    let mut all = Fate::default();
    while let Some(fate) = connections.join_next().await {
        let fate = fate??;
        all.accepted += fate.accepted;
        all.accepted_ms.extend(fate.accepted_ms);
        all.refused_ms.extend(fate.refused_ms);
    }
    all.accepted_ms.sort_by(f64::total_cmp);
    all.refused_ms.sort_by(f64::total_cmp);
    ensure!(!all.refused_ms.is_empty(), "nothing was too much");
    Ok(all)
}

/// Waits until no saga is under way any longer, and sees that none came to anything but its end.
async fn all_finish(coordinator: &Coordinator) -> Result<()> {
    let api = coordinator.api();
    let found = async |statuses: &str| -> Result<bool> {
        let answer = api.get(&format!("/sagas?{statuses}&limit=1")).await?;
        let items = answer.body.get("items").and_then(Value::as_array);
        Ok(!items.context("a list")?.is_empty())
    };
    let begun = Instant::now();
    while found("status=running&status=compensating").await? {
        ensure!(begun.elapsed() < FINISHED_WITHIN, "some do not finish");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(
        !found("status=failed&status=compensated").await?,
        "some did not complete"
    );
    Ok(())
}
