//! `GET /docs`: the API's document for people, shown by Swagger UI, which is part of the binary.
//! Nothing is fetched from anywhere else, and the page may not.

use std::sync::{Arc, LazyLock};

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};
use utoipa_swagger_ui::{Config, Url};

use super::access::Anyone;
use super::error::{ApiError, ErrorCode};

/// What the page may do: run its own scripts, and call this coordinator. One of its parts makes a
/// style of its own, and its pictures are in its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    // Relative to the page, so that a proxy may serve all of it below a path of its own.
    let config = Config::new([Url::new("amends", "../api/v1/openapi.json")])
        // Otherwise the document's address is sent to a validator on the internet.
        .validator_url("none")
        .doc_expansion("list")
        .default_models_expand_depth(0)
        .display_request_duration(true);
    Arc::new(config)
});

/// `GET /docs`: the page's own files are relative to it, so it has to be a folder.
pub(super) async fn door(_: Anyone) -> HttpResponse {
    HttpResponse::PermanentRedirect()
        .insert_header((LOCATION, "docs/"))
        .finish()
}

/// `GET /docs/{file}`
pub(super) async fn file(_: Anyone, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let name = request.match_info().get("file").unwrap_or("");
    let found = utoipa_swagger_ui::serve(name, Arc::clone(&CONFIG)).map_err(|error| {
        tracing::error!(%error, "a file of the documentation could not be made");
        ApiError::new(ErrorCode::Internal)
    })?;
    let file = found.ok_or_else(|| {
        let detail = format!("there is nothing at {}", request.path());
        ApiError::with(ErrorCode::NotFound, detail)
    })?;
    let mut media_type = file.content_type;
    if media_type.starts_with("text/") {
        media_type.push_str("; charset=utf-8");
    }
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, media_type))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((X_FRAME_OPTIONS, "DENY"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(file.bytes.into_owned()))
}
