//! `amends graph`: the steps of a definition as a picture, from a file or from the coordinator.

use std::path::Path;
use std::sync::Arc;

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
    let source = if path.is_file() {
        std::fs::read_to_string(path)
            .map_err(|source| CliError::io(format!("{} cannot be read", path.display()), source))?
    } else {
        published(&arguments).await?
    };
    let definition = compiled(&arguments.definition, &source)?;
    match arguments.format {
        GraphFormat::Mermaid => output.line(graph::mermaid(&definition).trim_end())?,
        GraphFormat::Svg => output.line(graph::svg(&definition).trim_end())?,
        GraphFormat::Json => output.json(&graph::json(&definition))?,
    }
    Ok(Verdict::Yes)
}

/// The document of a published definition; JSON is YAML, too.
async fn published(arguments: &Graph) -> Result<String, CliError> {
    let token = arguments.token.as_deref();
    let client = Client::trusting(&arguments.url, token, &arguments.trust)?;
    let name = arguments.definition.as_str();
    let version = arguments.version.map(|version| version.to_string());
    let answer: Value = match &version {
        Some(version) => {
            client
                .get(&["definitions", name, "versions", version], &[])
                .await?
        }
        None => client.get(&["definitions", name], &[]).await?,
    };
    Ok(answer
        .get("definition")
        .map(ToString::to_string)
        .unwrap_or_default())
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
