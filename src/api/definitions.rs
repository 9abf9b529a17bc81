//! Looking at definitions: the list, one, its graph, and checking one.

use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};

use super::App;
use super::access::Reader;
use super::body::{Body, is_json, parse};
use super::error::{ApiError, ErrorCode};
use super::openapi::parameters::{DefinitionPath, Limit, NameCursor, VersionPath, VersionQuery};
use super::openapi::problems;
use super::openapi::requests::DefinitionBody;
use super::query::Parameters;
use super::sagas::cut;
use super::wire::Page;
use super::wire::definition::{CheckResult, Document, Finding, Graph, Listed};
use super::{accept, answer};
use crate::definition::{check, graph};
use crate::engine::catalogue::Published;

/// The media types of YAML that are in use.
const YAML: &[&str] = &[
    "application/yaml",
    "application/x-yaml",
    "text/yaml",
    "text/x-yaml",
];

/// Lists definitions
///
/// By name, each with its versions.
#[utoipa::path(
    get,
    path = "/definitions",
    tag = "definitions",
    operation_id = "listDefinitions",
    params(Limit, NameCursor),
    responses(
        (status = 200, description = "A page of definitions.", body = Page<Listed>),
        problems::ListDefinitions,
    ),
)]
pub(super) async fn list(
    _: Reader,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let parameters = Parameters::of(request.query_string(), &["limit", "cursor"])?;
    let limit = parameters.limit()?;
    let after: Option<String> = parameters.cursor()?;
    let all = app.engine.catalogue().all();
    let follows = |name: &str| after.as_deref().is_none_or(|after| name > after);
    let listed = all.iter().filter(|(name, _)| follows(name));
    let mut items: Vec<_> = listed.collect();
    let next_cursor = cut(&mut items, limit).map(|(name, _)| name.clone());
    let items = items
        .into_iter()
        .filter_map(|(name, versions)| Listed::of(name, versions));
    Ok(answer::json(
        StatusCode::OK,
        &Page {
            items: items.collect(),
            next_cursor,
        },
    ))
}

/// The newest version of a definition
#[utoipa::path(
    get,
    path = "/definitions/{name}",
    tag = "definitions",
    operation_id = "getDefinition",
    params(DefinitionPath),
    responses(
        (status = 200, description = "The definition.", body = Document),
        problems::GetDefinition,
    ),
)]
pub(super) async fn newest(
    _: Reader,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let published = find(&app, &request, None).await?;
    Ok(answer::json(StatusCode::OK, &Document::of(&published)))
}

/// One version of a definition
#[utoipa::path(
    get,
    path = "/definitions/{name}/versions/{version}",
    tag = "definitions",
    operation_id = "getDefinitionVersion",
    params(DefinitionPath, VersionPath),
    responses(
        (status = 200, description = "The definition.", body = Document),
        problems::GetVersion,
    ),
)]
pub(super) async fn version(
    _: Reader,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let text = request.match_info().get("version").unwrap_or("");
    let version = text.parse::<u32>().map_err(|_wrong| {
        ApiError::with(
            ErrorCode::BadRequest,
            format!("`{text}` is not the number of a version"),
        )
    })?;
    let published = find(&app, &request, Some(version)).await?;
    Ok(answer::json(StatusCode::OK, &Document::of(&published)))
}

/// What a graph can be answered as.
const GRAPHS: &[&str] = &[JSON, MERMAID, SVG];
const JSON: &str = "application/json";
const MERMAID: &str = "text/vnd.mermaid";
const SVG: &str = "image/svg+xml";

/// The steps of a definition as a graph
///
/// As JSON, as Mermaid's text or as a picture, by `Accept`.
#[utoipa::path(
    get,
    path = "/definitions/{name}/graph",
    tag = "definitions",
    operation_id = "getGraph",
    params(DefinitionPath, VersionQuery),
    responses(
        (status = 200, description = "The graph.", content(
            (Graph = "application/json"),
            (String = "text/vnd.mermaid"),
            (String = "image/svg+xml"),
        )),
        problems::GetGraph,
    ),
)]
pub(super) async fn graph(
    _: Reader,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let version = Parameters::of(request.query_string(), &["version"])?.version()?;
    let wanted = accept::best(&request, GRAPHS)?;
    let published = find(&app, &request, version).await?;
    let definition = &published.definition;
    let text = match wanted {
        MERMAID => graph::mermaid(definition),
        SVG => graph::svg(definition),
        _ => return Ok(answer::json(StatusCode::OK, &graph::json(definition))),
    };
    Ok(HttpResponse::Ok().content_type(wanted).body(text))
}

/// The version that a request names, or the newest.
pub(super) async fn find(
    app: &App,
    request: &HttpRequest,
    version: Option<u32>,
) -> Result<Published, ApiError> {
    let name = request.match_info().get("name").unwrap_or("");
    let found = app.engine.catalogue().look_up(name, version).await?;
    found.ok_or_else(|| {
        let version = version
            .map(|version| format!(" with version {version}"))
            .unwrap_or_default();
        let detail = format!("there is no definition `{name}`{version}");
        ApiError::with(ErrorCode::DefinitionNotFound, detail)
    })
}

/// Checks a definition
///
/// Nothing is published.
#[utoipa::path(
    post,
    path = "/definitions:check",
    tag = "definitions",
    operation_id = "checkDefinition",
    request_body(
        description = "The definition. No body is an empty document.",
        content(
            (Option<DefinitionBody> = "application/yaml"),
            (Option<DefinitionBody> = "application/json"),
        ),
    ),
    responses(
        (status = 200, description = "What was found.", body = CheckResult),
        problems::CheckDefinition,
    ),
)]
pub(super) async fn check_only(
    _: Reader,
    app: Data<App>,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let source = document(body)?;
    // A long document takes a while, and this thread has others to answer.
    let checked = web::block(move || check(&source, Some(&app.surroundings))).await;
    let checked = checked.map_err(|_cancelled| ApiError::new(ErrorCode::Internal))?;
    let problems = checked.problems.iter().map(Finding::from).collect();
    Ok(answer::json(StatusCode::OK, &CheckResult { problems }))
}

/// The text of a document that was sent as YAML or as JSON.
pub(super) fn document(body: Body) -> Result<String, ApiError> {
    let (bytes, media_type) = body.into_parts();
    match media_type.as_deref() {
        None => {}
        Some(media_type) if YAML.contains(&media_type) => {}
        Some(media_type) if is_json(media_type) => parse(&bytes).map(drop)?,
        Some(_) => {
            let detail = "send the definition as application/yaml or application/json";
            return Err(ApiError::with(ErrorCode::UnsupportedMediaType, detail));
        }
    }
    String::from_utf8(bytes.into())
        .map_err(|_wrong| ApiError::with(ErrorCode::BadRequest, "the body is not UTF-8"))
}
