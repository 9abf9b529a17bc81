//! `amends graph`: the steps of a definition as a picture, from a file or from the coordinator.

use std::path::Path;
use std::sync::Arc;

use reqwest::Method;
use serde_json::Value;

use super::Verdict;
use super::arguments::{Graph, GraphFormat};
use super::client::Client;
use super::error::CliError;
use super::output::Output;
use crate::definition::{Definition, Severity, check, graph};

/// `amends graph NAME|FILE`
pub(super) async fn run(arguments: Graph, mut output: Output) -> Result<Verdict, CliError> {
    let path = Path::new(&arguments.definition);
    if !path.is_file() {
        return published(&arguments, &mut output).await;
    }
    let source = std::fs::read_to_string(path)
        .map_err(|source| CliError::io(format!("{} cannot be read", path.display()), source))?;
    let definition = compiled(&arguments.definition, &source)?;
    match arguments.format {
        GraphFormat::Mermaid => output.line(graph::mermaid(&definition).trim_end())?,
        GraphFormat::Svg => output.line(graph::svg(&definition).trim_end())?,
        GraphFormat::Json => output.json(&graph::json(&definition))?,
    }
    Ok(Verdict::Yes)
}

/// The graph of a published definition, as the coordinator draws it.
async fn published(arguments: &Graph, output: &mut Output) -> Result<Verdict, CliError> {
    let token = arguments.token.as_deref();
    let client = Client::trusting(&arguments.url, token, &arguments.trust)?;
    let path = ["definitions", arguments.definition.as_str(), "graph"];
    let media_type = match arguments.format {
        GraphFormat::Mermaid => "text/vnd.mermaid",
        GraphFormat::Svg => "image/svg+xml",
        GraphFormat::Json => "application/json",
    };
    let version = arguments.version.map(|version| ("version", version));
    let request = client
        .request(Method::GET, &path)
        .query(&version.as_slice())
        .header("accept", media_type);
    if arguments.format == GraphFormat::Json {
        output.json(&client.send::<Value>(request).await?)?;
        return Ok(Verdict::Yes);
    }
    let (_, body) = client.exchange(request).await?;
    output.line(String::from_utf8_lossy(&body).trim_end())?;
    Ok(Verdict::Yes)
}

fn compiled(name: &str, source: &str) -> Result<Arc<Definition>, CliError> {
    let checked = check(source, None);
    checked.definition.ok_or_else(|| {
        let first = checked
            .problems
            .iter()
            .find(|problem| problem.severity == Severity::Error);
        let said = first.map(|problem| {
            format!(
                "{name}:{}:{}: {}",
                problem.line, problem.column, problem.message
            )
        });
        let said = said.unwrap_or_default();
        CliError::NoAnswer(format!(
            "{said}\nthe definition has errors; see `amends check`"
        ))
    })
}
