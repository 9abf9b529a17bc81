//! The edge of the API: what every answer carries, whatever became of the request. Each has an
//! `x-request-id`, and an error names the path that it answers.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpRequest};

use super::App;
use super::error::{ApiError, ErrorCode};

/// The header that names a request.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The longest request id that is taken from a client, in bytes.
pub(super) const REQUEST_ID_BYTES_MAX: usize = 128;

/// Gives every answer its request id, and every error its problem document.
pub(super) async fn dress(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = request_id(&request);
    let app = request.app_data::<Data<App>>().cloned();
    let answer = next.call(request).await?;
    let mut answer = if answer.response().error().is_some() {
        problem(answer)
    } else {
        answer
    };
    let headers = answer.headers_mut();
    headers.insert(X_REQUEST_ID, id);
    if !headers.contains_key(CACHE_CONTROL) {
        // What is answered is the state of this moment, and nobody else's business.
        headers.insert(CACHE_CONTROL, NO_STORE);
    }
    if app.is_some_and(|app| app.engine.is_draining()) {
        // Whoever kept its connection to a replica that is stopping would meet its end.
        let head = answer.response_mut().head_mut();
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(answer)
}

/// Renders an error again, now with the path that it answers. What is no error of ours was made
/// by the framework, which could not read the request.
fn problem(answer: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let path = answer.request().path().to_owned();
    let error = answer.response().error();
    let response = match error.and_then(Error::as_error::<ApiError>) {
        Some(error) => error.response(&path),
        None => ApiError::new(match answer.status().as_u16() {
            404 => ErrorCode::NotFound,
            413 => ErrorCode::PayloadTooLarge,
            400..=499 => ErrorCode::BadRequest,
            _ => ErrorCode::Internal,
        })
        .response(&path),
    };
    if response.status().is_server_error() && response.status().as_u16() == 500 {
        tracing::error!(path, error = ?answer.response().error(), "a request failed");
    }
    answer.into_response(response)
}

/// The id of the client, where it sent a sane one, else a new one.
fn request_id(request: &ServiceRequest) -> HeaderValue {
    let sent = request.headers().get(X_REQUEST_ID).filter(|id| is_sane(id));
    sent.cloned().unwrap_or_else(new_request_id)
}

fn is_sane(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(plain)
}

/// A number of this process and a running one: unique without a draw of chance a request.
fn new_request_id() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    static RUNNING: AtomicU64 = AtomicU64::new(1);
    let id = format!(
        "{:016x}{:08x}",
        *PROCESS,
        RUNNING.fetch_add(1, Ordering::Relaxed)
    );
    HeaderValue::try_from(id).unwrap_or_else(|_wrong| HeaderValue::from_static("unknown"))
}

/// No such route.
pub(super) async fn not_found(request: HttpRequest) -> Result<&'static str, ApiError> {
    let detail = format!("there is nothing at {}", request.path());
    Err(ApiError::with(ErrorCode::NotFound, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_taken_when_they_are_sane() {
        let sane = |id: &str| is_sane(&HeaderValue::from_str(id).unwrap());
        assert!(sane("0198c7c4-aaaa-7000-8000-000000000000"));
        assert!(!sane("") && !sane("a b") && !sane("<script>") && !sane(&"x".repeat(129)));
    }

    #[test]
    fn request_ids_are_unique() {
        assert_ne!(new_request_id(), new_request_id());
    }
}
