//! Reading bodies: within the limit, and of the right media type.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use actix_web::web::{self, Bytes, Data};
use actix_web::{FromRequest, HttpRequest};
use serde_json::Value;

use super::App;
use super::error::{ApiError, ErrorCode};

/// The body of a request, read to its end.
pub(super) struct Body {
    bytes: Bytes,
    media_type: Option<String>,
}

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let limit = request
            .app_data::<Data<App>>()
            .map_or(0, |app| app.body_max_bytes);
        let described = media_type(request);
        let payload = web::Payload::from_request(request, payload);
        Box::pin(async move {
            let media_type = described?;
            let too_large = || {
                let detail = format!("the body is longer than {limit} bytes");
                ApiError::with(ErrorCode::PayloadTooLarge, detail)
            };
            let unreadable = |error: &dyn std::fmt::Display| {
                let detail = format!("the body could not be read: {error}");
                ApiError::with(ErrorCode::BadRequest, detail)
            };
            let payload = payload.await.map_err(|error| unreadable(&error))?;
            match payload.to_bytes_limited(limit).await {
                Ok(Ok(bytes)) => Ok(Self { bytes, media_type }),
                Ok(Err(error)) => Err(unreadable(&error)),
                Err(_exceeded) => Err(too_large()),
            }
        })
    }
}

/// The media type without its parameters, in lower case. No call takes a compressed body.
fn media_type(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    let header = |name| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or("?"))
    };
    if let Some(encoding) = header(CONTENT_ENCODING)
        && !encoding.eq_ignore_ascii_case("identity")
    {
        let detail = "the body has a content encoding; send it as it is";
        return Err(ApiError::with(ErrorCode::UnsupportedMediaType, detail));
    }
    let essence = header(CONTENT_TYPE).map(|value| value.split(';').next().unwrap_or(value).trim());
    Ok(essence.map(str::to_ascii_lowercase))
}

impl Body {
    /// The bytes and the media type that they are sent as.
    pub(super) fn into_parts(self) -> (Bytes, Option<String>) {
        (self.bytes, self.media_type)
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Result<Value, ApiError> {
        let is_json = self.media_type.as_deref().is_none_or(is_json);
        if !is_json {
            let detail = "send the body as application/json";
            return Err(ApiError::with(ErrorCode::UnsupportedMediaType, detail));
        }
        parse(&self.bytes)
    }

    /// The body as JSON, or nothing where there is none.
    pub(super) fn json_if_any(&self) -> Result<Option<Value>, ApiError> {
        if self.bytes.is_empty() {
            Ok(None)
        } else {
            self.json().map(Some)
        }
    }
}

/// Whether a media type is JSON's.
pub(super) fn is_json(media_type: &str) -> bool {
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// Reads JSON.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::with(ErrorCode::MalformedJson, format!("not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_json_is_malformed() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        let bad = [
            "",
            "{",
            "{\"a\":}",
            "nul",
            "{\"a\":1}x",
            "\"\\ud800\"",
            "1e999",
            &deep,
            "\u{feff}{}",
        ];
        for text in bad {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.code, ErrorCode::MalformedJson, "{text}");
        }
        assert_eq!(parse(b"\xff\"").unwrap_err().code, ErrorCode::MalformedJson);
    }

    #[test]
    fn the_last_of_two_equal_members_counts() {
        assert_eq!(parse(br#"{"a":1,"a":2}"#).unwrap(), json!({ "a": 2 }));
    }

    #[test]
    fn json_media_types_are_known() {
        assert!(is_json("application/json") && is_json("application/problem+json"));
        assert!(!is_json("text/plain") && !is_json("application/x-www-form-urlencoded"));
    }
}
