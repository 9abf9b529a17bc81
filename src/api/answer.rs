//! Answers: serialised once, straight from what is borrowed.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;

use super::error::{ApiError, ErrorCode};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Room for most answers, so that they are not moved while they grow.
const ANSWER_BYTES: usize = 1_024;

/// A JSON answer.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> HttpResponse {
    let mut body = Vec::with_capacity(ANSWER_BYTES);
    match serde_json::to_writer(&mut body, value) {
        Ok(()) => HttpResponseBuilder::new(status)
            .insert_header((CONTENT_TYPE, JSON))
            .body(body),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            HttpResponse::from_error(ApiError::new(ErrorCode::Internal))
        }
    }
}
