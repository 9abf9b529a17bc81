//! What holds of every call, said once: who may make it, and the headers that every answer has.

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, Content, Header, OpenApi, RefOr, Required, Response, Schema, SecurityRequirement,
};
use utoipa::{IntoParams as _, Modify};

use super::parameters::RequestId;
use super::problems::responses;
use super::words;
use crate::api::access::Access;
use crate::api::error::ErrorCode;
use crate::api::routes::{self, Verb};

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
        for line in routes::table() {
            let path = line.path.strip_prefix(routes::BASE).unwrap_or(line.path);
            if let Some(operation) = operation(document, line.verb, path) {
                complete(operation, line.access);
            }
        }
        for item in document.paths.paths.values_mut() {
            let everywhere = RequestId::into_params(|| None);
            item.parameters = Some(everywhere.into_iter().map(RefOr::T).collect());
        }
    }
}

/// The call of the document that a line of the route table is.
pub(super) fn operation<'d>(
    document: &'d mut OpenApi,
    verb: Verb,
    path: &str,
) -> Option<&'d mut Operation> {
    let item = document.paths.paths.get_mut(path)?;
    match verb {
        Verb::Get => item.get.as_mut(),
        Verb::Post => item.post.as_mut(),
    }
}

fn complete(operation: &mut Operation, access: Access) {
    let (who, security) = match access {
        Access::Anyone => ("Open to everyone.".to_owned(), vec![]),
        Access::Role(role) => (
            format!("Needs the role `{}`.", role.as_str()),
            // Whether a credential is asked for is the configuration's business.
            vec![
                SecurityRequirement::new::<_, [&str; 0], &str>(BEARER, []),
                SecurityRequirement::default(),
            ],
        ),
    };
    operation.security = Some(security);
    if let Access::Role(_) = access {
        let refusals = responses(&[&[ErrorCode::Unauthenticated, ErrorCode::Forbidden]]);
        operation.responses.responses.extend(refusals);
    }
    let description = operation.description.take().unwrap_or_default();
    operation.description = Some(format!("{description}\n\n{who}").trim().to_owned());
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        let mut is_optional = false;
        for content in body.content.values_mut() {
            is_optional |= drop_null(content);
        }
        body.required = Some(if is_optional {
            Required::False
        } else {
            Required::True
        });
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            dress(status, response);
        }
    }
}

/// A body that is an `Option` at the handler may be left out, which is not to say that it may be
/// null. Whether it was one.
fn drop_null(content: &mut RefOr<Content>) -> bool {
    let RefOr::T(content) = content else {
        return false;
    };
    match &mut content.schema {
        Some(RefOr::T(Schema::Object(object))) => drop_null_type(object),
        Some(RefOr::T(Schema::OneOf(choice))) => {
            let null = RefOr::from(Schema::from(words::null()));
            let count = choice.items.len();
            choice.items.retain(|item| *item != null);
            let (true, [only]) = (choice.items.len() < count, choice.items.as_slice()) else {
                return false;
            };
            content.schema = Some(only.clone());
            true
        }
        Some(_) | None => false,
    }
}

fn drop_null_type(object: &mut Object) -> bool {
    let SchemaType::Array(types) = &mut object.schema_type else {
        return false;
    };
    let count = types.len();
    types.retain(|one| *one != Type::Null);
    let (true, [only]) = (types.len() < count, types.as_slice()) else {
        return false;
    };
    object.schema_type = SchemaType::Type(only.clone());
    true
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
    if status == "401" {
        add(
            "WWW-Authenticate",
            text("How a credential is shown: `Bearer`."),
        );
    }
    add(
        "Cache-Control",
        text("`no-store`: what is answered is the state of this moment."),
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
