//! What holds of every call, said once: who may make it, and the headers that every answer has.

use utoipa::Modify;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, Header, OpenApi, PathItem, RefOr, Response, SecurityRequirement,
};

/// The name of the security scheme.
const BEARER: &str = "bearer";

/// Completes the document.
pub(super) struct Complete;

impl Modify for Complete {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_with(Components::new);
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "An API key or a JWT, where `auth` is configured; without it nothing is asked for.",
            ))
            .build();
        components.add_security_scheme(BEARER, SecurityScheme::Http(scheme));
        // Which of the two holds is the configuration's business.
        document.security = Some(vec![
            SecurityRequirement::new::<_, [&str; 0], &str>(BEARER, []),
            SecurityRequirement::default(),
        ]);
        for operation in operations(document) {
            for (status, response) in &mut operation.responses.responses {
                if let RefOr::T(response) = response {
                    dress(status, response);
                }
            }
        }
    }
}

/// The calls of the document.
fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    document.paths.paths.values_mut().flat_map(of_path)
}

fn of_path(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut path.get,
        &mut path.post,
        &mut path.put,
        &mut path.delete,
        &mut path.patch,
    ]
    .into_iter()
    .flatten()
}

/// Gives a response the headers that every answer of its status has.
fn dress(status: &str, response: &mut Response) {
    let mut add = |name: &str, header: Header| {
        response.headers.insert(name.to_owned(), header.into());
    };
    add(
        "x-request-id",
        text("Names the request: the client's own id where it sent a sane one."),
    );
    if matches!(status, "429" | "503") {
        add(
            "Retry-After",
            text("How many seconds to wait before trying again."),
        );
    }
}

/// A header that is a text.
pub(super) fn text(description: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
    HeaderBuilder::new()
        .schema(Some(schema))
        .description(Some(description))
        .build()
}
