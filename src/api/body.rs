//! Reading bodies: within the limit, in the time that one may take, and of the right media type.
//!
//! All bodies that are being read share a room of bounded size, so that however many clients send
//! at the same time, and however slowly, memory is bounded. Who finds it full waits for its turn.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::{self, Bytes, Data};
use actix_web::{FromRequest, HttpRequest};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::App;
use super::error::{ApiError, ErrorCode};

/// A body up to this length needs no room: its connection's buffers hold as much. So whoever fills
/// the room with long ones that never come keeps nobody from starting sagas.
const SMALL_BYTES: usize = 16 * 1_024;
/// How many of the longest bodies have room at the same time.
const LONGEST_AT_ONCE: usize = 64;
/// What a place in the room is counted in, in bytes.
const PLACE_BYTES: usize = 1_024;
/// How long a body may take, from its head to its end.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// The room that the bodies under way share.
#[derive(Clone)]
pub(super) struct BodyRoom {
    places: Arc<Semaphore>,
    size: u32,
}

impl BodyRoom {
    /// A room for bodies of up to so many bytes each.
    pub(super) fn new(body_max_bytes: usize) -> Self {
        let size = places(body_max_bytes.saturating_mul(LONGEST_AT_ONCE));
        Self {
            places: Arc::new(Semaphore::new(size as usize)),
            size,
        }
    }

    /// Waits for room for a body; none is needed for a small one.
    async fn enter(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if bytes <= SMALL_BYTES {
            return None;
        }
        let places = places(bytes).min(self.size);
        // It is never closed.
        Arc::clone(&self.places)
            .acquire_many_owned(places)
            .await
            .ok()
    }
}

fn places(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PLACE_BYTES)).unwrap_or(u32::MAX >> 3)
}

/// The body of a request, read to its end.
pub(super) struct Body {
    bytes: Bytes,
    media_type: Option<String>,
    /// Its place in the room, for as long as it is held.
    _place: Option<OwnedSemaphorePermit>,
}

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let limit = request
            .app_data::<Data<App>>()
            .map_or(0, |app| app.body_max_bytes);
        let room = request.app_data::<BodyRoom>().cloned();
        let declared = request
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
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
            if declared.is_some_and(|length| length > limit) {
                return Err(too_large());
            }
            let read = async {
                let place = match &room {
                    Some(room) => room.enter(declared.unwrap_or(limit)).await,
                    None => None,
                };
                match payload.to_bytes_limited(limit).await {
                    Ok(Ok(bytes)) => Ok(Self {
                        bytes,
                        media_type,
                        _place: place,
                    }),
                    Ok(Err(error)) => Err(unreadable(&error)),
                    Err(_exceeded) => Err(too_large()),
                }
            };
            match tokio::time::timeout(READ_WITHIN, read).await {
                Ok(read) => read,
                Err(_elapsed) => {
                    let detail = format!("the body did not come within {READ_WITHIN:?}");
                    Err(ApiError::with(ErrorCode::BadRequest, detail))
                }
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
    use futures_util::FutureExt as _;
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

    #[tokio::test]
    async fn long_bodies_share_a_room_and_wait_for_their_turn() {
        const LONG: usize = 1 << 20;
        let room = BodyRoom::new(LONG);
        let most = room.enter((LONGEST_AT_ONCE - 1) * LONG).await;
        let last = room.enter(LONG).now_or_never();
        assert!(last.as_ref().is_some_and(Option::is_some), "there is room");
        assert!(
            room.enter(LONG).now_or_never().is_none(),
            "there is no room"
        );
        assert!(
            room.enter(SMALL_BYTES).now_or_never().is_some(),
            "a small one needs none"
        );
        drop(most);
        assert!(
            room.enter(LONG).now_or_never().is_some(),
            "there is room again"
        );
        drop(last);
        // One that says that it is longer than the room has all of it, and does not wait for ever.
        let longest = room.enter(usize::MAX).now_or_never();
        assert!(longest.is_some_and(|place| place.is_some()));
    }
}
