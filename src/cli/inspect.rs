//! `amends list` and `amends get`.

use serde_json::Value;

use super::Verdict;
use super::arguments::{List, OneSaga};
use super::error::CliError;
use super::fact::{Page, SagaView};
use super::layout;
use super::output::{Output, Tone};

/// `amends list`
pub(super) async fn list(list: List, mut output: Output) -> Result<Verdict, CliError> {
    let client = list.connection.client()?;
    let query = query(&list);
    if list.connection.json {
        let page: Value = client.get(&["sagas"], &query).await?;
        output.json(&page)?;
        return Ok(Verdict::Yes);
    }
    let page: Page<SagaView> = client.get(&["sagas"], &query).await?;
    for line in layout::list(&page.items, &output) {
        output.line(line)?;
    }
    if page.items.is_empty() {
        output.line(output.toned(Tone::Faint, "no sagas"))?;
    }
    if let Some(cursor) = page.next_cursor {
        output.line(output.toned(Tone::Faint, &format!("more: --cursor {cursor}")))?;
    }
    Ok(Verdict::Yes)
}

fn query(list: &List) -> Vec<(&'static str, String)> {
    let mut query = vec![("limit", list.limit.to_string())];
    let one = [
        ("definition", &list.definition),
        ("key", &list.key),
        ("failure_code", &list.failure_code),
        ("created_after", &list.created_after),
        ("created_before", &list.created_before),
        ("cursor", &list.cursor),
    ];
    query.extend(
        one.into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?))),
    );
    query.extend(
        list.statuses
            .iter()
            .map(|status| ("status", status.clone())),
    );
    query.extend(list.labels.iter().map(|label| ("label", label.clone())));
    let flags = [("suspended", list.suspended), ("overdue", list.overdue)];
    query.extend(
        flags
            .iter()
            .filter(|(_, set)| *set)
            .map(|(name, _)| (*name, "true".to_owned())),
    );
    query
}

/// `amends get ID`
pub(super) async fn get(get: OneSaga, mut output: Output) -> Result<Verdict, CliError> {
    let client = get.connection.client()?;
    if get.connection.json {
        let saga: Value = client.get(&["sagas", &get.id], &[]).await?;
        output.json(&saga)?;
        return Ok(Verdict::Yes);
    }
    let saga: SagaView = client.get(&["sagas", &get.id], &[]).await?;
    for line in layout::saga(&saga, &output) {
        output.line(line)?;
    }
    Ok(Verdict::Yes)
}
