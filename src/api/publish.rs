//! Changing what sagas can be started from: publishing, pausing, resuming.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;

use super::App;
use super::access::{Admin, Operator};
use super::answer;
use super::body::Body;
use super::definitions::{document, find};
use super::error::{ApiError, BodyProblem, ErrorCode};
use super::members::Members;
use super::openapi::parameters::DefinitionPath;
use super::openapi::problems;
use super::openapi::requests::{DefinitionBody, PauseBody};
use super::wire::definition::{Document, Listed};
use crate::definition::{Checked, Severity, check};
use crate::engine::Actor;
use crate::engine::catalogue::{Publication, Published};

/// Publishes a definition
///
/// A published version never changes. The same again is answered with what is there.
#[utoipa::path(
    post,
    path = "/definitions",
    tag = "definitions",
    operation_id = "publishDefinition",
    request_body(
        description = "The definition. No body is an empty document.",
        content(
            (Option<DefinitionBody> = "application/yaml"),
            (Option<DefinitionBody> = "application/json"),
        ),
    ),
    responses(
        (
            status = 201, description = "It is published.", body = Document,
            headers(("Location" = String, description = "Where it is.")),
        ),
        (
            status = 200, description = "The same was published before.", body = Document,
            headers(("Location" = String, description = "Where it is.")),
        ),
        problems::PublishDefinition,
    ),
)]
pub(super) async fn publish(
    Admin(actor): Admin,
    app: Data<App>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let source = document(body)?;
    let surroundings = app.surroundings.clone();
    // A long document takes a while, and this thread has others to answer.
    let checked = web::block(move || check(&source, Some(&surroundings)))
        .await
        .map_err(|_cancelled| ApiError::new(ErrorCode::Internal))?;
    let Checked {
        definition,
        problems,
    } = checked;
    let bad = problems
        .iter()
        .any(|problem| problem.severity == Severity::Error);
    let Some(definition) = definition.filter(|_| !bad) else {
        return Err(ApiError::definition_invalid(problems));
    };
    match app.engine.catalogue().publish(&definition, &actor).await? {
        Publication::New(published) => Ok(shown(StatusCode::CREATED, &published)),
        Publication::Same(published) => Ok(shown(StatusCode::OK, &published)),
        Publication::Conflict => {
            let detail = format!(
                "{} is published already with another content; a published version never changes: give this one a new version",
                definition.reference()
            );
            Err(ApiError::with(ErrorCode::VersionConflict, detail))
        }
    }
}

fn shown(status: StatusCode, published: &Published) -> HttpResponse {
    let mut answer = answer::json(status, &Document::of(published));
    let definition = &published.definition;
    let (name, version) = (&definition.name, definition.version);
    let location = format!("/api/v1/definitions/{name}/versions/{version}");
    if let Ok(location) = HeaderValue::try_from(location) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

/// Pauses a definition
///
/// That version, or every one, takes no new starts. Sagas that run go on; other replicas learn of
/// it within a few seconds.
#[utoipa::path(
    post,
    path = "/definitions/{name}/pause",
    tag = "definitions",
    operation_id = "pauseDefinition",
    params(DefinitionPath),
    request_body = Option<PauseBody>,
    responses(
        (status = 200, description = "The definition with its versions.", body = Listed),
        problems::PauseDefinition,
    ),
)]
pub(super) async fn pause(
    Operator(actor): Operator,
    app: Data<App>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    set_paused(&app, &actor, &request, &body, true).await
}

/// Resumes a definition
///
/// That version, or every one, takes new starts again.
#[utoipa::path(
    post,
    path = "/definitions/{name}/resume",
    tag = "definitions",
    operation_id = "resumeDefinition",
    params(DefinitionPath),
    request_body = Option<PauseBody>,
    responses(
        (status = 200, description = "The definition with its versions.", body = Listed),
        problems::PauseDefinition,
    ),
)]
pub(super) async fn resume(
    Operator(actor): Operator,
    app: Data<App>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    set_paused(&app, &actor, &request, &body, false).await
}

/// Answers with the definition as a list shows it, every version with whether it is paused.
async fn set_paused(
    app: &App,
    actor: &Actor,
    request: &HttpRequest,
    body: &Body,
    paused: bool,
) -> Result<HttpResponse, ApiError> {
    let version = read_version(body.json_if_any()?).map_err(ApiError::input_invalid)?;
    let name = find(app, request, version).await?.definition.name.clone();
    let catalogue = app.engine.catalogue();
    let versions = catalogue.pause(&name, version, paused, actor).await?;
    let listed = versions.as_deref().and_then(|all| Listed::of(&name, all));
    let listed = listed.ok_or_else(|| ApiError::new(ErrorCode::DefinitionNotFound))?;
    Ok(answer::json(StatusCode::OK, &listed))
}

fn read_version(value: Option<Value>) -> Result<Option<u32>, Vec<BodyProblem>> {
    let Some(value) = value else { return Ok(None) };
    let mut members = Members::of(value, "")?;
    let version = members.count("version");
    members.close().map(|()| version)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pause_may_name_a_version() {
        assert_eq!(read_version(None), Ok(None));
        assert_eq!(read_version(Some(json!({}))), Ok(None));
        assert_eq!(read_version(Some(json!({ "version": 3 }))), Ok(Some(3)));
        for (body, pointer) in [
            (json!({ "version": 0 }), "/version"),
            (json!({ "version": "1" }), "/version"),
            (json!({ "versions": 1 }), "/versions"),
            (json!(1), ""),
        ] {
            assert_eq!(read_version(Some(body)).unwrap_err()[0].pointer, pointer);
        }
    }
}
