//! The routes of the API. What has no route is 404, and a method that a route does not take 405.

use actix_web::http::Method;
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, Resource, Route, guard, web};

use super::edge::not_found;
use super::error::{ApiError, ErrorCode};
use super::{commands, definitions, publish, sagas, start};

/// The routes of the API.
pub(super) fn configure(config: &mut ServiceConfig) {
    let scope = web::scope("/api/v1")
        .service(
            both("/sagas")
                .route(reads().to(sagas::list))
                .route(web::post().to(start::start)),
        )
        .service(write("/sagas:batch").route(web::post().to(start::batch)))
        .service(read("/sagas/{id}").route(reads().to(sagas::get)))
        .service(read("/sagas/{id}/events").route(reads().to(sagas::events)))
        .service(write("/sagas/{id}/cancel").route(web::post().to(commands::cancel)))
        .service(write("/sagas/{id}/suspend").route(web::post().to(commands::suspend)))
        .service(write("/sagas/{id}/resume").route(web::post().to(commands::resume)))
        .service(write("/sagas/{id}/retry").route(web::post().to(commands::retry)))
        .service(write("/sagas/{id}/steps/{step}/resolve").route(web::post().to(commands::resolve)))
        .service(write("/sagas/{id}/signals/{name}").route(web::post().to(commands::signal)))
        .service(
            both("/definitions")
                .route(reads().to(definitions::list))
                .route(web::post().to(publish::publish)),
        )
        .service(write("/definitions:check").route(web::post().to(definitions::check_only)))
        .service(read("/definitions/{name}").route(reads().to(definitions::newest)))
        .service(read("/definitions/{name}/graph").route(reads().to(definitions::graph)))
        .service(write("/definitions/{name}/pause").route(web::post().to(publish::pause)))
        .service(write("/definitions/{name}/resume").route(web::post().to(publish::resume)))
        .service(
            read("/definitions/{name}/versions/{version}").route(reads().to(definitions::version)),
        );
    config.service(scope).default_service(web::to(not_found));
}

fn read(path: &str) -> Resource {
    web::resource(path).default_service(method_not_allowed("GET, HEAD"))
}

fn write(path: &str) -> Resource {
    web::resource(path).default_service(method_not_allowed("POST"))
}

fn both(path: &str) -> Resource {
    web::resource(path).default_service(method_not_allowed("GET, HEAD, POST"))
}

/// A route that only reads: GET, and HEAD, which is answered as GET without the body.
pub(super) fn reads() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// What answers the methods that a resource does not take.
pub(super) fn method_not_allowed(allow: &'static str) -> Route {
    web::to(move |request: HttpRequest| async move {
        let detail = format!("{} is not one of {allow}", Method::as_str(request.method()));
        let error = ApiError::with(ErrorCode::MethodNotAllowed, detail);
        Err::<&'static str, _>(ApiError {
            allow: Some(allow),
            ..error
        })
    })
}
