//! The description of the API for machines: an OpenAPI 3.1 document, made from what stands at the
//! handlers (`utoipa::path`) and at the wire's types (`ToSchema`).
//!
//! A new call is annotated where it is handled, named in [`Description`], and gets a line in
//! `problems.rs`. Tests compare the document with the routes, and the fuzzer
//! (`tests/openapi/`) what is answered with the document.

mod complete;
pub(super) mod examples;
pub mod parameters;
pub(super) mod problems;
pub mod requests;
pub(super) mod words;

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Bytes;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

use complete::Complete;

use super::access::Anyone;
use super::{
    audit, callback, commands, dead_letters, definitions, explain, journal, publish, sagas, start,
};

/// What the document is made of. Every handler of the API is named here.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "amends",
        description = include_str!("openapi/description.md"),
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/api/v1", description = "This coordinator")),
    tags(
        (name = "sagas", description = "Starting sagas and looking at them."),
        (name = "commands", description = "Changing sagas: what an operator asks of one, and signals."),
        (name = "callbacks", description = "What participants tell later."),
        (name = "definitions", description = "What sagas are started from."),
        (name = "audit", description = "Who did what."),
        (name = "dead letters", description = "Messages that nobody could take."),
        (name = "description", description = "The API, described."),
    ),
    paths(
        start::start,
        start::batch,
        sagas::list,
        sagas::get,
        journal::events,
        explain::explain,
        commands::cancel,
        commands::suspend,
        commands::resume,
        commands::retry,
        commands::resolve,
        commands::signal,
        callback::reply,
        definitions::list,
        definitions::newest,
        definitions::version,
        definitions::graph,
        definitions::check_only,
        publish::publish,
        publish::pause,
        publish::resume,
        audit::list,
        dead_letters::list,
        dead_letters::get,
        dead_letters::replay,
        dead_letters::discard,
        document,
    ),
    modifiers(&Complete),
)]
struct Description;

/// The document of this version.
pub(super) fn description() -> Document {
    Description::openapi()
}

/// The document, written once.
static WRITTEN: LazyLock<Option<Bytes>> =
    LazyLock::new(|| description().to_json().ok().map(Bytes::from));

/// This document
///
/// OpenAPI 3.1.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "description",
    operation_id = "describe",
    responses((
        status = 200, description = "The document.",
        body = Object, content_type = "application/json",
    )),
)]
pub(super) async fn document(_: Anyone) -> HttpResponse {
    match WRITTEN.as_ref() {
        Some(written) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "application/json"))
            .insert_header((CACHE_CONTROL, "no-cache"))
            .body(written.clone()),
        None => HttpResponse::InternalServerError().finish(),
    }
}

#[cfg(test)]
mod tests;
