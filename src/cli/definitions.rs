//! `amends definitions`: what sagas can be started from.

use std::path::Path;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Verdict;
use super::arguments::{DefinitionsCommand, OneDefinition, Publish};
use super::client::{Client, ClientError, FoundProblem, Problem};
use super::error::CliError;
use super::fact::Page;
use super::output::{Output, Tone};

/// How many definitions are asked for at a time.
const PAGE: &str = "500";

/// A definition in a list.
#[derive(Clone, Debug, Deserialize)]
struct Listed {
    name: String,
    version: u32,
    versions: Vec<Version>,
    description: Option<String>,
}

/// A published version.
#[derive(Clone, Debug, Deserialize)]
struct Version {
    version: u32,
    paused: bool,
}

/// `amends definitions …`
pub(super) async fn run(
    command: DefinitionsCommand,
    mut output: Output,
) -> Result<Verdict, CliError> {
    match command {
        DefinitionsCommand::List(list) => {
            let client = list.connection.client()?;
            show(&all(&client).await?, list.connection.json, &mut output)
        }
        DefinitionsCommand::Publish(publish) => publish_all(&publish, &mut output).await,
        DefinitionsCommand::Pause(one) => change("pause", one, &mut output).await,
        DefinitionsCommand::Resume(one) => change("resume", one, &mut output).await,
    }
}

/// Every definition, page by page.
async fn all(client: &Client) -> Result<Vec<Value>, ClientError> {
    let mut items = Vec::new();
    let mut query = vec![("limit", PAGE.to_owned())];
    loop {
        let page: Page<Value> = client.get(&["definitions"], &query).await?;
        items.extend(page.items);
        let Some(cursor) = page.next_cursor else {
            return Ok(items);
        };
        query.truncate(1);
        query.push(("cursor", cursor));
    }
}

async fn change(what: &str, one: OneDefinition, output: &mut Output) -> Result<Verdict, CliError> {
    let client = one.connection.client()?;
    let path = ["definitions", &one.name, what];
    let body = json!({ "version": one.version });
    let answer: Value = client.post(&path, &body).await?;
    if one.connection.json {
        output.json(&answer)?;
        return Ok(Verdict::Yes);
    }
    show(&[answer], false, output)
}

fn show(items: &[Value], json: bool, output: &mut Output) -> Result<Verdict, CliError> {
    if json {
        output.json(&json!({ "items": items }))?;
        return Ok(Verdict::Yes);
    }
    let read = |item: &Value| serde_json::from_value(item.clone()).ok();
    let listed: Vec<Listed> = items.iter().filter_map(read).collect();
    for line in layout(&listed, output) {
        output.line(line)?;
    }
    if listed.is_empty() {
        output.line(output.toned(Tone::Faint, "no definitions"))?;
    }
    Ok(Verdict::Yes)
}

/// The definitions in columns: the name, the newest version, which are paused.
fn layout(all: &[Listed], output: &Output) -> Vec<String> {
    let width = |text: fn(&Listed) -> usize| all.iter().map(text).max().unwrap_or(0);
    let name_width = width(|one| one.name.chars().count());
    let version_width = width(|one| one.version.to_string().len());
    let line = |one: &Listed| {
        let name = format!("{:<name_width$}", one.name);
        let told = format!(
            "{}  {:>version_width$}  {}  {}",
            output.toned(Tone::Strong, &name),
            one.version,
            output.toned(Tone::Doubt, &paused(&one.versions)),
            output.toned(Tone::Faint, one.description.as_deref().unwrap_or_default()),
        );
        told.trim_end().to_owned()
    };
    all.iter().map(line).collect()
}

fn paused(versions: &[Version]) -> String {
    let paused: Vec<String> = versions
        .iter()
        .filter(|version| version.paused)
        .map(|version| version.version.to_string())
        .collect();
    if paused.is_empty() {
        String::new()
    } else if paused.len() == versions.len() {
        "paused".to_owned()
    } else {
        format!("paused: {}", paused.join(", "))
    }
}

/// What became of a file.
enum Outcome {
    /// It is published; whether it is new.
    Published { new: bool, answer: Value },
    /// The coordinator said no to this document.
    Refused(Problem),
}

async fn publish_all(publish: &Publish, output: &mut Output) -> Result<Verdict, CliError> {
    let client = publish.connection.client()?;
    let mut results = Vec::new();
    let mut refused = false;
    for path in &publish.files {
        let outcome = publish_one(&client, path).await?;
        refused |= matches!(outcome, Outcome::Refused(_));
        let file = path.display().to_string();
        if publish.connection.json {
            results.push(as_json(&file, &outcome));
        } else {
            for line in lines(&file, &outcome, output) {
                output.line(line)?;
            }
        }
    }
    if publish.connection.json {
        output.json(&json!({ "results": results }))?;
    }
    Ok(if refused { Verdict::No } else { Verdict::Yes })
}

async fn publish_one(client: &Client, path: &Path) -> Result<Outcome, CliError> {
    let source = std::fs::read(path)
        .map_err(|error| CliError::Usage(format!("{} cannot be read: {error}", path.display())))?;
    let is_json = path
        .extension()
        .is_some_and(|extension| extension == "json");
    let media_type = if is_json {
        "application/json"
    } else {
        "application/yaml"
    };
    let request = client
        .request(Method::POST, &["definitions"])
        .header("content-type", media_type)
        .body(source);
    match client.exchange(request).await {
        Ok((status, body)) => {
            let answer = serde_json::from_slice(&body).map_err(|_wrong| client.strange(status))?;
            let new = status == StatusCode::CREATED;
            Ok(Outcome::Published { new, answer })
        }
        // What is wrong with one document is no reason not to try the next.
        Err(ClientError::Refused(problem)) if matches!(problem.status, 400 | 409 | 413 | 422) => {
            Ok(Outcome::Refused(problem))
        }
        Err(error) => Err(error.into()),
    }
}

fn as_json(file: &str, outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Published { new, answer } => {
            json!({ "file": file, "new": new, "definition": answer, "problem": null })
        }
        Outcome::Refused(problem) => {
            json!({ "file": file, "new": false, "definition": null, "problem": problem })
        }
    }
}

fn lines(file: &str, outcome: &Outcome, output: &Output) -> Vec<String> {
    match outcome {
        Outcome::Published { new, answer } => {
            let name = answer["name"].as_str().unwrap_or_default();
            let what = format!("{name} {}", answer["version"]);
            vec![if *new {
                output.toned(Tone::Good, &format!("✓ {what} is published"))
            } else {
                output.toned(Tone::Faint, &format!("· {what} was published before"))
            }]
        }
        Outcome::Refused(problem) if problem.problems.is_empty() => {
            vec![output.toned(Tone::Bad, &format!("✗ {file}: {problem}"))]
        }
        Outcome::Refused(problem) => {
            let found = problem.problems.iter();
            found.map(|found| line(file, found, output)).collect()
        }
    }
}

/// A problem as `amends check` shows it.
fn line(file: &str, found: &FoundProblem, output: &Output) -> String {
    let tone = match found.severity.as_str() {
        "error" => Tone::Bad,
        _ => Tone::Doubt,
    };
    let place = format!("{file}:{}:{}", found.line, found.column);
    format!(
        "{}: {}: {} {}",
        output.toned(Tone::Strong, &place),
        output.toned(tone, &found.severity),
        found.message,
        output.toned(Tone::Faint, &format!("[{}]", found.code)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_have_columns() {
        let all = json!([
            {
                "name": "order", "version": 12, "description": "Sells things.",
                "versions": [{ "version": 11, "paused": true }, { "version": 12, "paused": false }],
            },
            { "name": "pay", "version": 1, "description": null, "versions": [{ "version": 1, "paused": true }] },
        ]);
        let all: Vec<Listed> = serde_json::from_value(all).unwrap();
        assert_eq!(
            layout(&all, &Output::plain()),
            ["order  12  paused: 11  Sells things.", "pay     1  paused"]
        );
    }
}
