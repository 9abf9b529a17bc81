//! The reference load: the ceiling and the coordinator on each database, in turns.

use std::time::Duration;

use anyhow::{Context as _, Result};
use support::coordinator::{Coordinator, Settings};

use crate::arguments::{Arguments, Kind, Role, Trim};
use crate::broker::Broker;
use crate::client::client;
use crate::database::Watched;
use crate::definitions::{self, PARTICIPANTS, Variant};
use crate::driver::{Order, Seen, count, load, quantile};
use crate::process::{self, CpuTimes, RoleProcess};
use crate::report;

/// A server writes its counters down at most once a second, when a transaction ends.
const COUNTERS_LAG: Duration = Duration::from_millis(1_200);

/// What one measurement of one system gave.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Sagas that ended in a second.
    pub(crate) per_second: f64,
    /// Half of the sagas took no longer, in milliseconds.
    pub(crate) p50_ms: f64,
    /// Of a hundred sagas, 99 took no longer, in milliseconds.
    pub(crate) p99_ms: f64,
    /// CPU of the coordinator, the proxy or the relay for one saga.
    pub(crate) cpu_ms: f64,
    /// CPU of the database's server for one saga.
    pub(crate) database_cpu_ms: Option<f64>,
    /// Commits for one saga.
    pub(crate) commits: Option<f64>,
    /// Rows written for one saga.
    pub(crate) row_writes: Option<f64>,
    /// Bytes on disk for one saga.
    pub(crate) bytes: Option<f64>,
    /// The most memory that it held so far.
    pub(crate) peak_mb: f64,
}

/// What was measured of one system: both variants, once a round.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// Its name.
    pub(crate) name: &'static str,
    /// Of sagas that complete.
    pub(crate) completed: Vec<Figures>,
    /// Of sagas that are refused and undone.
    pub(crate) refused: Vec<Figures>,
}

impl Series {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            completed: Vec::new(),
            refused: Vec::new(),
        }
    }

    fn add(&mut self, [completed, refused]: [Figures; 2]) {
        report::progress(&format!(
            "{}: {:.0} completed/s, {:.0} undone/s",
            self.name, completed.per_second, refused.per_second
        ));
        self.completed.push(completed);
        self.refused.push(refused);
    }
}

/// Measures everything, and prints it.
pub(crate) async fn run(
    arguments: &Arguments,
    participants: &RoleProcess,
    broker: Option<&Broker>,
) -> Result<()> {
    let mut ceiling = Series::new("bare proxy");
    let mut relayed = broker.map(|broker| (broker, Series::new("bare relay, RabbitMQ")));
    let mut databases: Vec<(Kind, Trim, Series)> = arguments
        .databases
        .iter()
        .flat_map(|kind| arguments.trims().iter().map(|trim| (*kind, *trim)))
        .map(|(kind, trim)| (kind, trim, Series::new(kind.titled(trim))))
        .collect();
    let collector = RoleProcess::start(Role::Collector, "")?;
    let others = Others {
        participants,
        collector: &collector,
        broker,
    };
    for round in 1..=arguments.rounds() {
        report::progress(&format!("round {round}: the bare proxy"));
        let proxy = RoleProcess::start(Role::Proxy, participants.url())?;
        ceiling.add(bare(arguments, &proxy).await?);
        drop(proxy);
        if let Some((broker, series)) = &mut relayed {
            report::progress(&format!("round {round}: the bare relay"));
            let relay = RoleProcess::start_with(Role::Relay, &broker.told())?;
            series.add(bare(arguments, &relay).await?);
        }
        for (kind, trim, series) in &mut databases {
            report::progress(&format!("round {round}: {}", series.name));
            series.add(of_coordinator(arguments, &others, *kind, *trim).await?);
        }
    }
    let databases: Vec<Series> = databases.into_iter().map(|(_, _, series)| series).collect();
    let relayed = relayed.map(|(_, series)| series);
    report::throughput(arguments, &ceiling, relayed.as_ref(), &databases)
}

/// The processes that a coordinator talks to.
struct Others<'a> {
    participants: &'a RoleProcess,
    collector: &'a RoleProcess,
    broker: Option<&'a Broker>,
}

/// Guards that are asked at every call and hold nothing back.
const GUARDS: [(&str, &str); 7] = [
    ("circuit_breaker.failure_rate", "0.5"),
    ("circuit_breaker.consecutive_failures", "50"),
    ("circuit_breaker.slow_call", "10s"),
    ("bulkhead.max_concurrent", "1000"),
    ("bulkhead.max_waiting", "10000"),
    ("rate_limit.per_second", "1000000"),
    ("rate_limit.burst", "100000"),
];

/// What is added to a coordinator as it ships.
fn trimmed(settings: Settings, trim: Trim, collector: &str) -> Settings {
    match trim {
        Trim::Shipped | Trim::RabbitMq => return settings,
        Trim::Off => return settings.variable("AMENDS_BENCH_METRICS", "off"),
        Trim::On => {}
    }
    let guards = PARTICIPANTS
        .iter()
        .flat_map(|name| GUARDS.map(|(key, value)| (format!("participants.{name}.{key}"), value)));
    guards
        .fold(settings, |settings, (key, value)| settings.key(&key, value))
        .key("telemetry.otlp.endpoint", collector)
}

/// A coordinator as it is shipped, with the bench's definitions and participants.
pub(crate) fn settings(database: &str, directory: &tempfile::TempDir, url: &str) -> Settings {
    let settings = without_participants(database, directory);
    PARTICIPANTS
        .iter()
        .fold(settings, |settings, name| settings.participant(name, url))
}

/// One that knows no participant.
fn without_participants(database: &str, directory: &tempfile::TempDir) -> Settings {
    Settings::new(env!("CARGO_BIN_EXE_amends"), database, directory.path())
}

/// Measures a process that passes a saga's calls on and keeps nothing.
async fn bare(arguments: &Arguments, process: &RoleProcess) -> Result<[Figures; 2]> {
    let look = async || {
        Ok(Look {
            own: process::cpu_ms([process.id()]),
            database: None,
        })
    };
    let mut figures = Vec::new();
    for variant in [Variant::Completed, Variant::Refused] {
        let order = Order::to_bare(process.url(), variant)?;
        let times = (arguments.warm_up(), arguments.measured());
        let seen = load(&order, arguments.clients, times, look).await?;
        figures.push(Figures::of(&seen, process.id())?);
    }
    both(figures)
}

async fn of_coordinator(
    arguments: &Arguments,
    others: &Others<'_>,
    kind: Kind,
    trim: Trim,
) -> Result<[Figures; 2]> {
    let database = Watched::fresh(kind, arguments).await?;
    let directory = definitions::directory()?;
    let settings = match others.broker.filter(|_| trim == Trim::RabbitMq) {
        Some(broker) => broker.configure(without_participants(database.url(), &directory)),
        None => settings(database.url(), &directory, others.participants.url()),
    };
    let settings = trimmed(settings, trim, others.collector.url());
    let coordinator = Coordinator::start(settings).await;
    let process = coordinator.process_id();
    let look = async || {
        Ok(Look {
            own: process::cpu_ms([process]),
            database: database.cpu_ms().await?,
        })
    };
    let mut figures = Vec::new();
    for variant in [Variant::Completed, Variant::Refused] {
        let order = Order::to_coordinator(&coordinator.url(), variant)?;
        let times = (arguments.warm_up(), arguments.measured());
        let before = (database.bytes().await?, database.counters().await?);
        let seen = load(&order, arguments.clients, times, look).await?;
        // The end of this saga's transactions makes the server write down what went before.
        tokio::time::sleep(COUNTERS_LAG).await;
        order.carry_out(&client()).await?;
        let sagas = count(seen.total + 1);
        let mut measured = Figures::of(&seen, process)?;
        measured.bytes = Some((database.bytes().await? - before.0) / sagas);
        if let (Some(before), Some(after)) = (before.1, database.counters().await?) {
            let counted = after.since(before);
            measured.commits = Some(counted.commits / sagas);
            measured.row_writes = Some(counted.row_writes / sagas);
        }
        figures.push(measured);
    }
    both(figures)
}

fn both(figures: Vec<Figures>) -> Result<[Figures; 2]> {
    figures.try_into().ok().context("two variants")
}

/// The CPU times at one moment.
#[derive(Clone, Debug)]
struct Look {
    own: CpuTimes,
    database: Option<CpuTimes>,
}

impl Figures {
    fn of(seen: &Seen<Look>, process: u32) -> Result<Self> {
        let (before, after) = &seen.around;
        let sagas = count(seen.ended);
        let database = before.database.as_ref().zip(after.database.as_ref());
        Ok(Self {
            per_second: seen.per_second(),
            p50_ms: quantile(&seen.took_ms, 0.5)?,
            p99_ms: quantile(&seen.took_ms, 0.99)?,
            cpu_ms: process::cpu_ms_between(&before.own, &after.own) / sagas,
            database_cpu_ms: database
                .map(|(before, after)| process::cpu_ms_between(before, after) / sagas),
            commits: None,
            row_writes: None,
            bytes: None,
            peak_mb: process::memory_mb(process, "VmHWM")?,
        })
    }
}
