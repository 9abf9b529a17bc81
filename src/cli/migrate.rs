//! `amends migrate`: the database's schema.

use serde_json::json;

use super::arguments::Migrate;
use super::error::CliError;
use super::output::{Output, Tone};
use super::serve::flags;
use super::{Verdict, coordinator};
use crate::config::{Config, Sources};

/// `amends migrate`
pub(super) async fn run(migrate: Migrate, mut output: Output) -> Result<Verdict, CliError> {
    let flags = flags(&migrate.configured);
    let config = Config::load(&Sources::of_process(
        migrate.configured.config.clone(),
        flags,
    ))?;
    let store = coordinator::connect(&config).await?;
    let (applied, pending) = if migrate.check {
        (Vec::new(), store.pending_migrations().await?)
    } else {
        (store.migrate().await?, Vec::new())
    };
    store.close().await?;
    if migrate.json {
        let up_to_date = pending.is_empty();
        output.json(&json!({
            "up_to_date": up_to_date, "applied": applied, "pending": pending,
        }))?;
    } else {
        tell(&applied, &pending, &mut output)?;
    }
    Ok(if pending.is_empty() {
        Verdict::Yes
    } else {
        Verdict::No
    })
}

fn tell(applied: &[String], pending: &[String], output: &mut Output) -> Result<(), CliError> {
    for migration in applied {
        output.line(format!("applied  {migration}"))?;
    }
    for migration in pending {
        output.line(format!("pending  {migration}"))?;
    }
    if pending.is_empty() {
        output.line(output.toned(Tone::Good, "✓ the schema is up to date"))
    } else {
        output.line(output.toned(Tone::Bad, "✗ the schema is not up to date: amends migrate"))
    }
}
