//! The commands that change sagas, over the API.

use std::io::Read as _;

use reqwest::Method;
use serde_json::{Value, json};

use super::Verdict;
use super::arguments::{Cancel, OneSaga, Resolve, Signal, Start};
use super::client::Client;
use super::error::CliError;
use super::fact::SagaView;
use super::layout;
use super::output::Output;
use super::watch;

/// `amends start NAME`
pub(super) async fn start(start: Start, mut output: Output) -> Result<Verdict, CliError> {
    let client = start.connection.client()?;
    let mut body = json!({ "definition": start.name });
    let labels = (!start.labels.is_empty()).then(|| {
        start
            .labels
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect()
    });
    let input = start.input.as_deref().map(json_or_file).transpose()?;
    let members = [
        ("version", start.version.map(Value::from)),
        ("key", start.key.map(Value::from)),
        ("labels", labels.map(Value::Object)),
        ("input", input),
    ];
    if let Some(object) = body.as_object_mut() {
        let given = members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        object.extend(given);
    }
    let mut request = client.request(Method::POST, &["sagas"]).json(&body);
    if let Some(key) = &start.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let answer: Value = client.send(request).await?;
    if !start.wait {
        return show(&answer, start.connection.json, &mut output);
    }
    let id = answer.get("id").and_then(Value::as_str).unwrap_or_default();
    let saga: SagaView = client.get(&["sagas", id], &[]).await?;
    watch::follow_to_the_end(&client, &saga, start.connection.json, &mut output).await
}

/// The JSON that a text is, or that the file of that name holds; `-` is the standard input.
fn json_or_file(text: &str) -> Result<Value, CliError> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let (name, content) = if text == "-" {
        let mut content = String::new();
        let read = std::io::stdin().read_to_string(&mut content);
        ("the standard input", read.map(|_bytes| content))
    } else {
        (text, std::fs::read_to_string(text))
    };
    let content = content.map_err(|error| {
        CliError::Usage(format!(
            "--input is neither JSON nor a file that can be read: {error}"
        ))
    })?;
    serde_json::from_str(&content)
        .map_err(|error| CliError::Usage(format!("{name} does not hold JSON: {error}")))
}

/// The JSON of an option.
fn json_of(option: &str, text: &str) -> Result<Value, CliError> {
    serde_json::from_str(text)
        .map_err(|error| CliError::Usage(format!("{option} is not JSON: {error}")))
}

/// `amends suspend`, `resume`, `retry`
pub(super) async fn plain(
    action: &str,
    saga: OneSaga,
    mut output: Output,
) -> Result<Verdict, CliError> {
    let client = saga.connection.client()?;
    let answer = post(&client, &["sagas", &saga.id, action], &json!({})).await?;
    show(&answer, saga.connection.json, &mut output)
}

/// `amends cancel ID`
pub(super) async fn cancel(cancel: Cancel, mut output: Output) -> Result<Verdict, CliError> {
    let client = cancel.connection.client()?;
    let body = json!({ "reason": cancel.reason });
    let answer = post(&client, &["sagas", &cancel.id, "cancel"], &body).await?;
    show(&answer, cancel.connection.json, &mut output)
}

/// `amends resolve ID STEP`
pub(super) async fn resolve(resolve: Resolve, mut output: Output) -> Result<Verdict, CliError> {
    let client = resolve.connection.client()?;
    let mut body = json!({ "outcome": resolve.outcome.as_str(), "note": resolve.note });
    if let (Some(text), Some(body)) = (&resolve.output, body.as_object_mut()) {
        body.insert("output".to_owned(), json_of("--output", text)?);
    }
    let path = ["sagas", &resolve.id, "steps", &resolve.step, "resolve"];
    let answer = post(&client, &path, &body).await?;
    show(&answer, resolve.connection.json, &mut output)
}

/// `amends signal ID NAME`
pub(super) async fn signal(signal: Signal, mut output: Output) -> Result<Verdict, CliError> {
    let client = signal.connection.client()?;
    let payload = signal
        .payload
        .as_deref()
        .map(|text| json_of("--payload", text))
        .transpose()?;
    let path = ["sagas", &signal.id, "signals", &signal.name];
    let mut request = client
        .request(Method::POST, &path)
        .json(&payload.unwrap_or_default());
    if let Some(key) = &signal.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let answer: Value = client.send(request).await?;
    show(&answer, signal.connection.json, &mut output)
}

async fn post(client: &Client, path: &[&str], body: &Value) -> Result<Value, CliError> {
    Ok(client.post(path, body).await?)
}

/// Shows the summary that the API answered.
fn show(answer: &Value, json: bool, output: &mut Output) -> Result<Verdict, CliError> {
    match serde_json::from_value::<SagaView>(answer.clone()) {
        Ok(saga) if !json => {
            for line in layout::list(&[saga], output) {
                output.line(line)?;
            }
        }
        Ok(_) | Err(_) => output.json(answer)?,
    }
    Ok(Verdict::Yes)
}
