//! Changing sagas: what a person asks of one, and signals.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;

use super::App;
use super::access::{Client, Operator};
use super::answer;
use super::body::Body;
use super::error::{ApiError, BodyProblem};
use super::headers;
use super::members::{Length, Members, shallow};
use super::openapi::parameters::{IdempotencyKey, SagaPath, SignalPath, StepPath};
use super::openapi::problems;
use super::openapi::requests::{CancelBody, EmptyBody, ResolveBody, SignalBody};
use super::sagas::saga_id;
use super::wire::saga::Summary;
use crate::engine::{Actor, CommandError, Snapshot};
use crate::saga::{Command, Resolution};

/// The longest reason of a cancel, in characters.
pub(super) const REASON_CHARS_MAX: usize = 4_096;
/// The longest note of a resolve, in characters.
pub(super) const NOTE_CHARS_MAX: usize = 4_096;

/// How a step may be resolved.
pub(super) const RESOLUTIONS: &[(&str, Resolution)] = &[
    ("succeeded", Resolution::Succeeded),
    ("skipped", Resolution::Skipped),
    ("refused", Resolution::Refused),
    ("compensated", Resolution::Compensated),
];

/// Cancels a saga
///
/// What was done is undone. One that is compensating already stays as it is.
#[utoipa::path(
    post,
    path = "/sagas/{id}/cancel",
    tag = "commands",
    operation_id = "cancelSaga",
    params(SagaPath),
    request_body = Option<CancelBody>,
    responses(
        (status = 202, description = "The saga as it is now.", body = Summary),
        problems::Cancel,
    ),
)]
pub(super) async fn cancel(
    Operator(actor): Operator,
    app: Data<App>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let id = saga_id(&request)?;
    let reason = read_cancel(body.json_if_any()?).map_err(ApiError::input_invalid)?;
    let snapshot = app
        .engine
        .command(id, Command::Cancel { reason }, actor)
        .await?;
    Ok(accepted(&snapshot))
}

/// Suspends a saga
///
/// Attempts in flight finish; nothing new is sent until it is resumed.
#[utoipa::path(
    post,
    path = "/sagas/{id}/suspend",
    tag = "commands",
    operation_id = "suspendSaga",
    params(SagaPath),
    request_body = Option<EmptyBody>,
    responses(
        (status = 202, description = "The saga as it is now.", body = Summary),
        problems::Suspend,
    ),
)]
pub(super) async fn suspend(
    Operator(actor): Operator,
    app: Data<App>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    plain(&app, actor, &request, &body, Command::Suspend).await
}

/// Resumes a suspended saga
#[utoipa::path(
    post,
    path = "/sagas/{id}/resume",
    tag = "commands",
    operation_id = "resumeSaga",
    params(SagaPath),
    request_body = Option<EmptyBody>,
    responses(
        (status = 202, description = "The saga as it is now.", body = Summary),
        problems::Resume,
    ),
)]
pub(super) async fn resume(
    Operator(actor): Operator,
    app: Data<App>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    plain(&app, actor, &request, &body, Command::Resume).await
}

/// Retries what stopped a failed saga
///
/// With a fresh set of attempts.
#[utoipa::path(
    post,
    path = "/sagas/{id}/retry",
    tag = "commands",
    operation_id = "retrySaga",
    params(SagaPath),
    request_body = Option<EmptyBody>,
    responses(
        (status = 202, description = "The saga as it is now.", body = Summary),
        problems::Retry,
    ),
)]
pub(super) async fn retry(
    Operator(actor): Operator,
    app: Data<App>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    plain(&app, actor, &request, &body, Command::Retry).await
}

/// A command with nothing to say beside its name.
async fn plain(
    app: &App,
    actor: Actor,
    request: &HttpRequest,
    body: &Body,
    command: Command,
) -> Result<HttpResponse, ApiError> {
    let id = saga_id(request)?;
    read_nothing(body.json_if_any()?).map_err(ApiError::input_invalid)?;
    let snapshot = app.engine.command(id, command, actor).await?;
    Ok(accepted(&snapshot))
}

/// Settles a step by hand
///
/// Says how a person has settled a step that stopped its saga; the saga goes on from there.
#[utoipa::path(
    post,
    path = "/sagas/{id}/steps/{step}/resolve",
    tag = "commands",
    operation_id = "resolveStep",
    params(SagaPath, StepPath),
    request_body = ResolveBody,
    responses(
        (status = 202, description = "The saga as it is now.", body = Summary),
        problems::Resolve,
    ),
)]
pub(super) async fn resolve(
    Operator(actor): Operator,
    app: Data<App>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let id = saga_id(&request)?;
    let step_id = request.match_info().get("step").unwrap_or("");
    let read = read_resolve(body.json()?).map_err(ApiError::input_invalid)?;
    let snapshot = app.engine.saga(id).await?;
    let step = snapshot
        .definition
        .step_named(step_id)
        .ok_or_else(|| CommandError::StepNotFound(step_id.to_owned()))?;
    let Resolve {
        resolution,
        note,
        output,
    } = read;
    let command = Command::Resolve {
        step,
        resolution,
        note,
        output,
    };
    let snapshot = app.engine.command(id, command, actor).await?;
    Ok(accepted(&snapshot))
}

/// Sends a signal
///
/// The payload is for the `wait` step of that name. It is kept when it comes before the step
/// does, up to 100 of them.
#[utoipa::path(
    post,
    path = "/sagas/{id}/signals/{name}",
    tag = "commands",
    operation_id = "signalSaga",
    params(SagaPath, SignalPath, IdempotencyKey),
    request_body = Option<SignalBody>,
    responses(
        (status = 202, description = "The saga as it is now.", body = Summary),
        problems::Signal,
    ),
)]
pub(super) async fn signal(
    Client(actor): Client,
    app: Data<App>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let id = saga_id(&request)?;
    let name = request.match_info().get("name").unwrap_or("").to_owned();
    let key = headers::idempotency_key(&request)?;
    let payload = body.json_if_any()?.unwrap_or_default();
    shallow(&payload, String::new()).map_err(|problem| ApiError::input_invalid(vec![problem]))?;
    let snapshot = app.engine.signal(id, name, payload, key, actor).await?;
    Ok(accepted(&snapshot))
}

fn accepted(snapshot: &Snapshot) -> HttpResponse {
    answer::json(StatusCode::ACCEPTED, &Summary::of(snapshot))
}

/// How a step is settled, as it was read.
#[derive(Debug, PartialEq)]
struct Resolve {
    resolution: Resolution,
    note: String,
    output: Value,
}

fn read_resolve(value: Value) -> Result<Resolve, Vec<BodyProblem>> {
    let mut members = Members::of(value, "")?;
    let resolution = members.word("outcome", RESOLUTIONS);
    let note = members.required_text(
        "note",
        Length {
            min: 1,
            max: NOTE_CHARS_MAX,
        },
    );
    let output = members.payload("output").unwrap_or_default();
    let has_output = !output.is_null();
    if has_output && resolution.is_some_and(|resolution| resolution != Resolution::Succeeded) {
        members.problem("output", "not", "only a step that succeeded has an output");
    }
    members.close()?;
    // `close` has told of a missing outcome.
    resolution
        .map(|resolution| Resolve {
            resolution,
            note,
            output,
        })
        .ok_or_else(Vec::new)
}

fn read_cancel(value: Option<Value>) -> Result<Option<String>, Vec<BodyProblem>> {
    let Some(value) = value else { return Ok(None) };
    let mut members = Members::of(value, "")?;
    let reason = members.text(
        "reason",
        Length {
            min: 0,
            max: REASON_CHARS_MAX,
        },
    );
    members
        .close()
        .map(|()| reason.filter(|reason| !reason.is_empty()))
}

pub(super) fn read_nothing(value: Option<Value>) -> Result<(), Vec<BodyProblem>> {
    match value {
        None => Ok(()),
        Some(value) => Members::of(value, "")?.close(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_resolve_is_read() {
        let body = json!({ "outcome": "succeeded", "note": "by hand", "output": { "id": 7 } });
        let read = read_resolve(body).unwrap();
        assert_eq!(read.resolution, Resolution::Succeeded);
        assert_eq!(
            (read.note.as_str(), read.output),
            ("by hand", json!({ "id": 7 }))
        );
    }

    #[test]
    fn what_is_wrong_with_a_resolve_is_told() {
        let table = [
            (json!(null), vec![("", "type")]),
            (
                json!({}),
                vec![("/outcome", "required"), ("/note", "required")],
            ),
            (
                json!({ "outcome": "done", "note": "n" }),
                vec![("/outcome", "enum")],
            ),
            (
                json!({ "outcome": 1, "note": 2 }),
                vec![("/outcome", "type"), ("/note", "type")],
            ),
            (
                json!({ "outcome": "skipped", "note": "" }),
                vec![("/note", "min_length")],
            ),
            (
                json!({ "outcome": "skipped", "note": "n", "output": 1, "x": 1 }),
                vec![("/output", "not"), ("/x", "additional_properties")],
            ),
        ];
        for (body, expected) in table {
            let shown = body.to_string();
            let problems = read_resolve(body).unwrap_err();
            let found: Vec<_> = problems
                .iter()
                .map(|p| (p.pointer.as_str(), p.code.as_str()))
                .collect();
            assert_eq!(found, expected, "{shown}");
        }
    }

    #[test]
    fn a_cancel_may_have_a_reason() {
        assert_eq!(read_cancel(None), Ok(None));
        assert_eq!(read_cancel(Some(json!({}))), Ok(None));
        let body = json!({ "reason": "changed my mind" });
        assert_eq!(
            read_cancel(Some(body)),
            Ok(Some("changed my mind".to_owned()))
        );
        let wrong = |body| read_cancel(Some(body)).unwrap_err()[0].pointer.clone();
        assert_eq!(wrong(json!({ "reason": 1 })), "/reason");
        assert_eq!(wrong(json!({ "reasons": "x" })), "/reasons");
        assert_eq!(wrong(json!("x")), "");
    }

    #[test]
    fn a_plain_command_takes_nothing() {
        assert_eq!(read_nothing(None), Ok(()));
        assert_eq!(read_nothing(Some(json!({}))), Ok(()));
        assert!(read_nothing(Some(json!({ "reason": "x" }))).is_err());
    }
}
