//! What the bench prints.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use crate::arguments::Arguments;
use crate::definitions::{self, STEPS, Variant};
use crate::driver::{count, median};
use crate::participants;
use crate::throughput::{Figures, Series};

/// Says what is being measured, beside the figures.
pub(crate) fn progress(what: &str) {
    eprintln!("… {what}");
}

/// Prints a line of the figures.
#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// Prints the reference load's table.
pub(crate) fn throughput(
    arguments: &Arguments,
    ceiling: &Series,
    relayed: Option<&Series>,
    databases: &[Series],
) -> Result<()> {
    line(&format!(
        "\nThe reference load: {} clients, {} s after {} s of warm-up, {} rounds in turns; the \
         median, and the range",
        arguments.clients,
        arguments.measured().as_secs(),
        arguments.warm_up().as_secs(),
        arguments.rounds(),
    ));
    let systems: Vec<&Series> = std::iter::once(ceiling)
        .chain(relayed)
        .chain(databases)
        .collect();
    let header: Vec<String> = systems
        .iter()
        .map(|series| series.name.to_owned())
        .collect();
    row("", &header);
    for (title, variant) in [
        ("completed", Variant::Completed),
        ("refused and undone", Variant::Refused),
    ] {
        line(&format!("{title}:"));
        figures(&systems, variant)?;
        let over = systems
            .iter()
            .map(|series| ratio(series.of(variant), ceiling.of(variant), 1.0))
            .collect::<Result<Vec<_>>>()?;
        row("  OVER THE CEILING", &over);
    }
    let calls = f64::from(Variant::Refused.calls()) / f64::from(Variant::Completed.calls());
    let per_call = systems
        .iter()
        .map(|series| ratio(&series.refused, &series.completed, calls))
        .collect::<Result<Vec<_>>>()?;
    line("both:");
    row("  refused over completed, a call", &per_call);
    if arguments.off_and_on {
        second_over_first("ON OVER OFF", 1, databases)?;
    }
    if let Some(relayed) = relayed {
        second_over_first("RABBITMQ OVER HTTP", 2, databases)?;
        against_the_relay(relayed, databases)?;
    }
    let payloads = definitions::input().to_string().len() + STEPS * participants::ANSWER.len();
    line(&format!(
        "Of the bytes stored, {payloads} a completed saga are its payloads (its input and {STEPS} \
         answers). For n = {STEPS}: n + 1 = {} commits, n + 5 = {} row writes, audit included.",
        STEPS + 1,
        STEPS + 5,
    ));
    Ok(())
}

/// Prints what of each database's two rates, the first over HTTP and the second over RabbitMQ, is
/// the relay's: how much there is to be had over RabbitMQ, and how much of that is had.
fn against_the_relay(relayed: &Series, databases: &[Series]) -> Result<()> {
    for (title, variant) in [
        ("completed", Variant::Completed),
        ("refused", Variant::Refused),
    ] {
        let (mut reach, mut had) = (vec!["-".to_owned(); 2], vec!["-".to_owned(); 2]);
        for pair in databases.chunks(2) {
            let [http, rabbitmq] = pair else { continue };
            let bare = relayed.of(variant);
            reach.extend([ratio(bare, http.of(variant), 1.0)?, "-".to_owned()]);
            had.extend(["-".to_owned(), ratio(rabbitmq.of(variant), bare, 1.0)?]);
        }
        row(&format!("  RELAY OVER HTTP, {title}"), &reach);
        row(&format!("  RABBITMQ OVER RELAY, {title}"), &had);
    }
    Ok(())
}

/// Prints how the second of each database's two columns compares with the first, beside so many
/// columns of ceilings.
fn second_over_first(what: &str, ceilings: usize, databases: &[Series]) -> Result<()> {
    for (title, variant) in [
        ("completed", Variant::Completed),
        ("refused", Variant::Refused),
    ] {
        let mut cells = vec!["-".to_owned(); ceilings];
        for pair in databases.chunks(2) {
            let off = pair.first().context("a column")?;
            for series in pair {
                cells.push(ratio(series.of(variant), off.of(variant), 1.0)?);
            }
        }
        row(&format!("  {what}, {title}"), &cells);
    }
    Ok(())
}

fn figures(systems: &[&Series], variant: Variant) -> Result<()> {
    type Pick = fn(&Figures) -> Option<f64>;
    let rows: [(&str, usize, Pick); 9] = [
        ("  sagas/s", 0, |figures| Some(figures.per_second)),
        ("  p50 ms", 2, |figures| Some(figures.p50_ms)),
        ("  p99 ms", 2, |figures| Some(figures.p99_ms)),
        ("  CPU ms a saga", 3, |figures| Some(figures.cpu_ms)),
        ("  database CPU ms a saga", 3, |figures| {
            figures.database_cpu_ms
        }),
        ("  commits a saga", 3, |figures| figures.commits),
        ("  row writes a saga", 2, |figures| figures.row_writes),
        ("  bytes stored a saga", 0, |figures| figures.bytes),
        ("  peak memory MB", 1, |figures| Some(figures.peak_mb)),
    ];
    for (title, decimals, pick) in rows {
        let cells = systems
            .iter()
            .map(|series| {
                let values: Option<Vec<f64>> = series.of(variant).iter().map(pick).collect();
                values.map_or_else(|| Ok("-".to_owned()), |values| spread(&values, decimals))
            })
            .collect::<Result<Vec<_>>>()?;
        row(title, &cells);
    }
    Ok(())
}

impl Series {
    fn of(&self, variant: Variant) -> &[Figures] {
        match variant {
            Variant::Completed => &self.completed,
            Variant::Refused => &self.refused,
        }
    }
}

/// The ratio of two rates, round by round.
fn ratio(some: &[Figures], others: &[Figures], factor: f64) -> Result<String> {
    let ratios: Vec<f64> = some
        .iter()
        .zip(others)
        .map(|(one, other)| one.per_second * factor / other.per_second)
        .collect();
    spread(&ratios, 3)
}

/// The median with its range.
pub(crate) fn spread(values: &[f64], decimals: usize) -> Result<String> {
    let middle = median(values.iter().copied())?;
    let least = values.iter().copied().min_by(f64::total_cmp);
    let most = values.iter().copied().max_by(f64::total_cmp);
    let (least, most) = least.zip(most).context("no values")?;
    Ok(if count(values.len()) < 2.0 {
        format!("{middle:.decimals$}")
    } else {
        format!("{middle:.decimals$} ({least:.decimals$}–{most:.decimals$})")
    })
}

fn row(title: &str, cells: &[String]) {
    let mut text = format!("{title:<34}");
    for cell in cells {
        // Writing to a string does not fail.
        write!(text, "{cell:>26}").ok();
    }
    line(&text);
}
