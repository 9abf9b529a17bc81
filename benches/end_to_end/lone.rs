//! One saga alone on PostgreSQL: how long it takes beside its bare calls and commits, and what it
//! costs the database, counted.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};
use support::coordinator::Coordinator;

use crate::arguments::{Arguments, Kind};
use crate::client::{Client, client, exchange};
use crate::database::{self, Counters, Watched};
use crate::definitions::{self, Calls, STEPS, Variant};
use crate::driver::{Order, count, median, milliseconds, quantile};
use crate::process::RoleProcess;
use crate::report;
use crate::throughput::settings;

/// The three are taken in so many turns, so that a bad moment of the machine meets all of them.
const TURNS: usize = 10;
/// How many sagas are counted.
const COUNTED: usize = 500;
/// An idle session writes its counters down after ten seconds at the latest.
const COUNTERS_SETTLE: Duration = Duration::from_secs(12);

/// Measures and counts, and prints it.
pub(crate) async fn run(arguments: &Arguments, participants: &RoleProcess) -> Result<()> {
    report::progress("one saga alone: PostgreSQL");
    let database = Watched::fresh(Kind::Postgres, arguments).await?;
    let directory = definitions::directory()?;
    let settings = settings(database.url(), &directory, participants.url());
    let coordinator = Coordinator::start(settings).await;
    let client = client();
    let order = Order::to_coordinator(&coordinator.url(), Variant::Completed)?;

    order.carry_out_alone(&client, 200).await?;
    latency(arguments, &order, &client, participants).await?;
    if arguments.quick {
        report::line("  commits and row writes of a lone saga: not counted by --quick");
        return Ok(());
    }
    report::progress("one saga alone: its commits and row writes");
    cost(&order, &client, &database).await
}

async fn latency(
    arguments: &Arguments,
    order: &Order,
    client: &Client,
    participants: &RoleProcess,
) -> Result<()> {
    // In a database of its own, so that none of it counts as the coordinator's.
    let bare = Watched::fresh(Kind::Postgres, arguments).await?;
    let connection = database::connect(bare.url()).await?;
    connection.execute_unprepared(BARE_TABLE).await?;
    let calls = Calls::of(Variant::Completed).at(participants.url())?;
    let each = arguments.lone().div_ceil(TURNS);
    let (mut sagas, mut http, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        sagas.extend(order.carry_out_alone(client, each).await?);
        http.extend(bare_calls(client, &calls, each).await?);
        commits.extend(bare_commits(&connection, each).await?);
    }
    connection.close().await?;

    let alone = median(sagas.iter().copied())?;
    let (http, commits) = (median(http)?, median(commits)?);
    sagas.sort_by(f64::total_cmp);
    report::line(&format!(
        "\nOne saga alone, PostgreSQL, {} sagas one after another, in {TURNS} turns with the bare \
         calls and commits:",
        sagas.len(),
    ));
    report::line(&format!(
        "  p50 {alone:.3} ms (p99 {:.3}); {STEPS} bare calls {http:.3} ms + {} bare commits \
         {commits:.3} ms = {:.3} ms; RATIO {:.2}",
        quantile(&sagas, 0.99)?,
        STEPS + 1,
        http + commits,
        alone / (http + commits),
    ));
    Ok(())
}

const BARE_TABLE: &str = "CREATE TABLE bare (id bigserial PRIMARY KEY, body text NOT NULL)";

/// A saga's calls with nobody between them, so often; how long the calls of one saga took.
async fn bare_calls(client: &Client, calls: &Calls<http::Uri>, sagas: usize) -> Result<Vec<f64>> {
    let body = definitions::start("bare");
    let mut took = Vec::with_capacity(sagas);
    for _ in 0..sagas {
        let begun = Instant::now();
        for uri in &calls.actions {
            exchange(client, uri, &body, None).await?;
        }
        took.push(milliseconds(begun.elapsed()));
    }
    Ok(took)
}

/// As many one-row inserts as a saga has commits, each a statement of its own with no transaction
/// around it, so often; how long those of one saga took.
async fn bare_commits(connection: &DatabaseConnection, sagas: usize) -> Result<Vec<f64>> {
    let statement = Statement::from_sql_and_values(
        connection.get_database_backend(),
        "INSERT INTO bare (body) VALUES ($1)",
        [definitions::input().to_string().into()],
    );
    let mut took = Vec::with_capacity(sagas);
    for _ in 0..sagas {
        let begun = Instant::now();
        for _ in 0..=STEPS {
            connection.execute(statement.clone()).await?;
        }
        took.push(milliseconds(begun.elapsed()));
    }
    Ok(took)
}

/// Counts what sagas that run alone cost, less what an idle coordinator does in the same time.
async fn cost(order: &Order, client: &Client, database: &Watched) -> Result<()> {
    let looked = async || database.counters().await?.context("PostgreSQL counts");
    tokio::time::sleep(COUNTERS_SETTLE).await;
    let (before, begun) = (looked().await?, Instant::now());
    order.carry_out_alone(client, COUNTED).await?;
    tokio::time::sleep(COUNTERS_SETTLE).await;
    let (after, busy) = (looked().await?, begun.elapsed());
    tokio::time::sleep(busy.max(COUNTERS_SETTLE)).await;
    let idle_for = begun.elapsed() - busy;
    let idle = looked().await?.since(after);

    let share = busy.as_secs_f64() / idle_for.as_secs_f64();
    let counted = after.since(before);
    let own = Counters {
        commits: counted.commits - idle.commits * share,
        row_writes: counted.row_writes - idle.row_writes * share,
    };
    report::line(&format!(
        "  {COUNTED} sagas of n = {STEPS} steps, each alone: {:.3} commits a saga (n + 1 = {}), \
         {:.3} row writes a saga (n + 5 = {}, audit included); an idle coordinator makes {:.2} \
         commits/s and {:.2} row writes/s, taken off",
        own.commits / count(COUNTED),
        STEPS + 1,
        own.row_writes / count(COUNTED),
        STEPS + 5,
        idle.commits / idle_for.as_secs_f64(),
        idle.row_writes / idle_for.as_secs_f64(),
    ));
    Ok(())
}
