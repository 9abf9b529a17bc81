//! `amends audit`: who did what.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::Value;

use super::Verdict;
use super::arguments::{Audit, Connection};
use super::client::Client;
use super::error::CliError;
use super::fact::{AuditView, Page};
use super::layout;
use super::output::{Output, Tone};

/// How long a stream of the whole audit may take.
const STREAM_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// How many entries a page has when nobody says.
const LIMIT_DEFAULT: u16 = 50;

/// `amends audit`
pub(super) async fn run(audit: Audit, mut output: Output) -> Result<Verdict, CliError> {
    let client = audit.connection.client()?;
    let stream = [
        (audit.csv, "text/csv"),
        (audit.ndjson, "application/x-ndjson"),
    ];
    if let Some((_, form)) = stream.into_iter().find(|(wanted, _)| *wanted) {
        copy(&client, &query(&audit), form, &mut output).await?;
        return Ok(Verdict::Yes);
    }
    let mut query = query(&audit);
    if audit.limit.is_none() {
        query.push(("limit", LIMIT_DEFAULT.to_string()));
    }
    let Connection { json, .. } = audit.connection;
    if json {
        let page: Value = client.get(&["audit"], &query).await?;
        output.json(&page)?;
        return Ok(Verdict::Yes);
    }
    let page: Page<AuditView> = client.get(&["audit"], &query).await?;
    for line in layout::audit(&page.items, &output) {
        output.line(line)?;
    }
    if page.items.is_empty() {
        output.line(output.toned(Tone::Faint, "nothing of the kind"))?;
    }
    if let Some(cursor) = page.next_cursor {
        output.line(output.toned(Tone::Faint, &format!("more: --cursor {cursor}")))?;
    }
    Ok(Verdict::Yes)
}

fn query(audit: &Audit) -> Vec<(&'static str, String)> {
    let limit = audit.limit.map(|limit| limit.to_string());
    let one = [
        ("saga", &audit.saga),
        ("actor", &audit.actor),
        ("from", &audit.from),
        ("to", &audit.to),
        ("limit", &limit),
        ("cursor", &audit.cursor),
    ];
    let mut query: Vec<_> = one
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.clone()?)))
        .collect();
    let actions = audit.actions.iter();
    query.extend(actions.map(|action| ("action", action.clone())));
    query
}

/// Hands a stream on as it comes. One that breaks off is an error: it is not whole.
async fn copy(
    client: &Client,
    query: &[(&'static str, String)],
    form: &str,
    output: &mut Output,
) -> Result<(), CliError> {
    let request = client
        .request(Method::GET, &["audit"])
        .query(query)
        .header(ACCEPT, form)
        .timeout(STREAM_TIMEOUT);
    let mut answer = client.open(request).await?;
    loop {
        match answer.chunk().await {
            Ok(Some(piece)) => output.bytes(&piece)?,
            Ok(None) => return Ok(()),
            Err(error) => {
                let why = format!("the audit broke off before its end: {error}");
                return Err(CliError::NoAnswer(why));
            }
        }
    }
}
