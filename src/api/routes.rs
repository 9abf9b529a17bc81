//! The routes of the API, as a table: nothing is served that is not in it, and nothing is in it
//! without saying who may call. What has no route is 404, and a method that a route does not take
//! 405, for everybody: the table is public (it is in the OpenAPI document).

use std::fmt;

use actix_web::http::Method;
use actix_web::web::ServiceConfig;
use actix_web::{
    Error, FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, Route, guard, web,
};

use super::access::{Access, Admits, admit};
use super::edge::not_found;
use super::error::{ApiError, ErrorCode};
use super::{
    audit, callback, commands, dead_letters, definitions, docs, explain, journal, openapi, publish,
    sagas, start,
};
use crate::telemetry::{Metrics, metrics};

/// What begins the path of nearly every route.
pub(super) const BASE: &str = "/api/v1";

/// The method of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET, and HEAD, which is answered as GET without the body.
    Get,
    /// POST.
    Post,
}

/// One line of the table.
pub struct Endpoint {
    /// The method.
    pub verb: Verb,
    /// The path's pattern, from the root.
    pub path: &'static str,
    /// Who may call it: what its handler's first argument says.
    pub access: Access,
    attach: Box<dyn Fn(Route) -> Route>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verb, path, access, ..
        } = self;
        write!(formatter, "{verb:?} {path} {access:?}")
    }
}

/// Every route of the API.
#[must_use]
pub fn table() -> Vec<Endpoint> {
    use Verb::{Get, Post};
    vec![
        endpoint(Post, "/api/v1/sagas", start::start),
        endpoint(Get, "/api/v1/sagas", sagas::list),
        endpoint(Post, "/api/v1/sagas:batch", start::batch),
        endpoint(Get, "/api/v1/sagas/{id}", sagas::get),
        endpoint(Get, "/api/v1/sagas/{id}/events", journal::events),
        endpoint(Get, "/api/v1/sagas/{id}/explain", explain::explain),
        endpoint(Post, "/api/v1/sagas/{id}/cancel", commands::cancel),
        endpoint(Post, "/api/v1/sagas/{id}/suspend", commands::suspend),
        endpoint(Post, "/api/v1/sagas/{id}/resume", commands::resume),
        endpoint(Post, "/api/v1/sagas/{id}/retry", commands::retry),
        endpoint(
            Post,
            "/api/v1/sagas/{id}/steps/{step}/resolve",
            commands::resolve,
        ),
        endpoint(
            Post,
            "/api/v1/sagas/{id}/steps/{step}/reply",
            callback::reply,
        ),
        endpoint(Post, "/api/v1/sagas/{id}/signals/{name}", commands::signal),
        endpoint(Get, "/api/v1/definitions", definitions::list),
        endpoint(Post, "/api/v1/definitions", publish::publish),
        endpoint(Post, "/api/v1/definitions:check", definitions::check_only),
        endpoint(Get, "/api/v1/definitions/{name}", definitions::newest),
        endpoint(Get, "/api/v1/definitions/{name}/graph", definitions::graph),
        endpoint(Post, "/api/v1/definitions/{name}/pause", publish::pause),
        endpoint(Post, "/api/v1/definitions/{name}/resume", publish::resume),
        endpoint(
            Get,
            "/api/v1/definitions/{name}/versions/{version}",
            definitions::version,
        ),
        endpoint(Get, "/api/v1/audit", audit::list),
        endpoint(Get, "/api/v1/dead-letters", dead_letters::list),
        endpoint(Get, "/api/v1/dead-letters/{id}", dead_letters::get),
        endpoint(
            Post,
            "/api/v1/dead-letters/{id}/replay",
            dead_letters::replay,
        ),
        endpoint(
            Post,
            "/api/v1/dead-letters/{id}/discard",
            dead_letters::discard,
        ),
        endpoint(Get, "/api/v1/openapi.json", openapi::document),
        endpoint(Get, "/docs", docs::door),
        endpoint(Get, "/docs/{file:.*}", docs::file),
    ]
}

/// Tells the metrics which routes there are.
pub(super) fn know(metrics: &Metrics) {
    for Endpoint { verb, path, .. } in table() {
        match verb {
            Verb::Get => {
                metrics.route_known(metrics::Method::Get, Some(path));
                metrics.route_known(metrics::Method::Head, Some(path));
            }
            Verb::Post => metrics.route_known(metrics::Method::Post, Some(path)),
        }
    }
    metrics.route_known(metrics::Method::Get, None);
}

/// A line of the table. The caller is asked for before the handler's other arguments are read.
fn endpoint<F, Args>(verb: Verb, path: &'static str, handler: F) -> Endpoint
where
    F: Handler<Args>,
    F::Output: Responder + 'static,
    Args: FromRequest + Admits + 'static,
{
    let attach = move |route: Route| {
        let handler = handler.clone();
        route.to(move |request, payload| handle(handler.clone(), request, payload))
    };
    Endpoint {
        verb,
        path,
        access: Args::ACCESS,
        attach: Box::new(attach),
    }
}

async fn handle<F, Args>(
    handler: F,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Error>
where
    F: Handler<Args>,
    F::Output: Responder + 'static,
    Args: FromRequest + Admits + 'static,
{
    admit(&request, Args::ACCESS).await?;
    let mut payload = payload.into_inner();
    let arguments = Args::from_request(&request, &mut payload);
    let arguments = arguments.await.map_err(Into::into)?;
    let answer = handler.call(arguments).await.respond_to(&request);
    Ok(answer.map_into_boxed_body())
}

/// The routes of the API.
pub(super) fn configure(config: &mut ServiceConfig) {
    let mut table = table().into_iter().peekable();
    let mut scope = web::scope(BASE);
    // Lines of one path stand together: they are one resource.
    while let Some(first) = table.next() {
        let path = first.path;
        let mut lines = vec![first];
        while let Some(next) = table.next_if(|next| next.path == path) {
            lines.push(next);
        }
        match path.strip_prefix(BASE) {
            Some(rest) => scope = scope.service(resource(rest, &lines)),
            None => {
                config.service(resource(path, &lines));
            }
        }
    }
    config.service(scope).default_service(web::to(not_found));
}

fn resource(path: &str, lines: &[Endpoint]) -> Resource {
    let has = |verb| lines.iter().any(|line| line.verb == verb);
    let allow = match (has(Verb::Get), has(Verb::Post)) {
        (true, true) => "GET, HEAD, POST",
        (true, false) => "GET, HEAD",
        (false, _) => "POST",
    };
    let resource = web::resource(path).default_service(method_not_allowed(allow));
    lines.iter().fold(resource, |resource, line| {
        let route = match line.verb {
            Verb::Get => reads(),
            Verb::Post => web::post(),
        };
        resource.route((line.attach)(route))
    })
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn lines_of_one_path_stand_together() {
        let table = table();
        let mut paths: Vec<_> = table.iter().map(|line| line.path).collect();
        let distinct: HashSet<_> = paths.iter().copied().collect();
        paths.dedup();
        assert_eq!(paths.len(), distinct.len(), "{paths:?}");
    }
}
