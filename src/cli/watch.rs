//! `amends watch`: follows a saga by its journal, and tells what happens as it happens.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Verdict;
use super::arguments::OneSaga;
use super::client::{Client, ClientError};
use super::error::CliError;
use super::fact::{Fact, Page, SagaView};
use super::layout;
use super::narrate::{Clock, Narrator};
use super::output::Output;

/// How soon the journal is looked at again after something has happened.
const POLL_SOONEST: Duration = Duration::from_millis(20);
/// How late, when nothing happens.
const POLL_LATEST: Duration = Duration::from_millis(500);
/// How long a coordinator may be away before the watch is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many facts are asked for at a time.
const PAGE: &str = "500";

/// How a watch shows what it sees.
pub(super) enum Style {
    /// Lines for people.
    Told(Narrator),
    /// One JSON object a line.
    Json,
}

/// `amends watch ID`
pub(super) async fn run(watch: OneSaga, mut output: Output) -> Result<Verdict, CliError> {
    let client = watch.connection.client()?;
    let saga: SagaView = client.get(&["sagas", &watch.id], &[]).await?;
    follow_to_the_end(&client, &saga, watch.connection.json, &mut output).await
}

/// Follows a saga, and says at the end what became of it.
pub(super) async fn follow_to_the_end(
    client: &Client,
    saga: &SagaView,
    json: bool,
    output: &mut Output,
) -> Result<Verdict, CliError> {
    let steps = saga.steps.iter().map(|step| step.id.as_str());
    let style = if json {
        Style::Json
    } else {
        Style::Told(Narrator::new(Clock::Wall, steps))
    };
    follow(client, &saga.id, style, output).await?;
    let end: SagaView = client.get(&["sagas", &saga.id], &[]).await?;
    if !json {
        output.line(layout::closing(&end, output))?;
    }
    Ok(if end.status == "completed" {
        Verdict::Yes
    } else {
        Verdict::No
    })
}

/// Tells a saga's facts from the first, until it has finished or failed.
pub(super) async fn follow(
    client: &Client,
    id: &str,
    mut style: Style,
    output: &mut Output,
) -> Result<(), CliError> {
    let mut cursor = 0_u64;
    let mut settled = false;
    let mut pause = POLL_SOONEST;
    let mut last_answer = Instant::now();
    loop {
        let page = match page(client, id, cursor).await {
            Ok(page) => page,
            Err(error) if error.may_pass() && last_answer.elapsed() < PATIENCE => {
                tokio::time::sleep(POLL_LATEST).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        last_answer = Instant::now();
        for (fact, value) in &page.items {
            cursor = fact.seq;
            settled = settles(&fact.r#type).unwrap_or(settled);
            show(&mut style, fact, value, output)?;
        }
        if page.next_cursor.is_some() {
            continue;
        }
        if settled {
            return Ok(());
        }
        pause = if page.items.is_empty() {
            (pause * 2).min(POLL_LATEST)
        } else {
            POLL_SOONEST
        };
        tokio::time::sleep(pause).await;
    }
}

async fn page(client: &Client, id: &str, cursor: u64) -> Result<Page<(Fact, Value)>, ClientError> {
    let query = [("cursor", cursor.to_string()), ("limit", PAGE.to_owned())];
    let Page { items, next_cursor } = client
        .get::<Page<Value>>(&["sagas", id, "events"], &query)
        .await?;
    let fact = |value: Value| {
        let fact = serde_json::from_value(value.clone()).ok();
        fact.map(|fact: Fact| (fact, value))
    };
    Ok(Page {
        items: items.into_iter().filter_map(fact).collect(),
        next_cursor,
    })
}

fn show(
    style: &mut Style,
    fact: &Fact,
    value: &Value,
    output: &mut Output,
) -> Result<(), CliError> {
    match style {
        Style::Json => output.line(value),
        Style::Told(narrator) => match narrator.tell(fact, output) {
            Some(line) => output.line(line),
            None => Ok(()),
        },
    }
}

/// Whether a fact means that whoever waits for the saga is answered; none when it says nothing
/// about that.
fn settles(r#type: &str) -> Option<bool> {
    match r#type {
        "saga_completed" | "saga_compensated" | "saga_failed" => Some(true),
        "saga_unblocked" | "saga_compensating" | "saga_went_forward" => Some(false),
        _ => None,
    }
}
