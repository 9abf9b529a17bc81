//! Dead letters on the wire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::At;
use crate::api::openapi::{examples, words};
use crate::saga::SagaId;
use crate::store::DeadLetter;

/// A message that nobody could take, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = examples::dead_letter, as = DeadLetter)]
pub struct DeadLetterView<'a> {
    /// Its id.
    pub id: Uuid,
    /// Where it stands.
    #[schema(schema_with = words::dead_letter_status)]
    pub status: &'static str,
    /// What it came through.
    #[schema(schema_with = words::dead_letter_transport)]
    pub transport: &'a str,
    /// The queue that it was going to.
    pub queue: &'a str,
    /// The participant whose queue that is.
    #[schema(required)]
    pub participant: Option<&'a str>,
    /// Why nobody could take it: its broker's word, or what is wrong with it.
    pub reason: &'a str,
    /// How often it was delivered, as far as its broker tells.
    pub deliveries: u32,
    /// When the coordinator got it.
    pub received_at: At,
    /// The saga that it is about.
    #[schema(value_type = Option<Uuid>, required)]
    pub saga: Option<SagaId>,
    /// The step, in the message's own words.
    #[schema(required)]
    pub step: Option<&'a str>,
    /// Which of the step's two calls: `action` or `compensation`.
    #[schema(required)]
    pub phase: Option<&'a str>,
    /// The whole message: JSON where it is that, else a text, else base64.
    #[schema(schema_with = words::dead_message)]
    pub message: Message<'a>,
    /// How the message is written, where it is neither JSON nor a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = words::message_encoding, required = false)]
    pub message_encoding: Option<&'static str>,
    /// What came beside the message: properties and headers, as its broker has them.
    #[schema(value_type = Object)]
    pub headers: &'a Map<String, Value>,
    /// When it was replayed or discarded.
    #[schema(required)]
    pub settled_at: Option<At>,
    /// Who did that.
    #[schema(required)]
    pub settled_by: Option<&'a str>,
    /// Why it was discarded.
    #[schema(required)]
    pub note: Option<&'a str>,
}

/// A message as it can be shown.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Message<'a> {
    /// JSON, as it stands there.
    Json(&'a RawValue),
    /// Any other text.
    Text(&'a str),
    /// Bytes, in base64.
    Bytes(String),
}

impl<'a> Message<'a> {
    fn of(message: &'a [u8]) -> Self {
        // What a reader like ours would not take, too deep or with half a character, is a text.
        let is_json = serde_json::from_slice::<Value>(message).is_ok();
        if let (true, Ok(json)) = (is_json, serde_json::from_slice(message)) {
            return Self::Json(json);
        }
        match std::str::from_utf8(message) {
            Ok(text) => Self::Text(text),
            Err(_bytes) => Self::Bytes(STANDARD.encode(message)),
        }
    }

    fn encoding(&self) -> Option<&'static str> {
        match self {
            Self::Json(_) | Self::Text(_) => None,
            Self::Bytes(_) => Some(words::BASE64),
        }
    }
}

impl<'a> DeadLetterView<'a> {
    /// A kept letter.
    #[must_use]
    pub fn of(letter: &'a DeadLetter) -> Self {
        let message = Message::of(&letter.message);
        Self {
            id: letter.id.0,
            status: letter.status.as_str(),
            transport: &letter.transport,
            queue: &letter.queue,
            participant: letter.participant.as_deref(),
            reason: &letter.reason,
            deliveries: letter.deliveries,
            received_at: At(letter.received_at),
            saga: letter.saga,
            step: letter.step.as_deref(),
            phase: letter.phase.as_deref(),
            message_encoding: message.encoding(),
            message,
            headers: &letter.headers,
            settled_at: letter.settled_at.map(At),
            settled_by: letter.settled_by.as_deref(),
            note: letter.note.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_shown_as_what_it_is() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        let quoted = serde_json::to_string(&deep).unwrap();
        let cases: [(&[u8], &str, Option<&str>); 9] = [
            (
                b" {\"a\": 1.50, \"a\": 2}\n",
                "{\"a\": 1.50, \"a\": 2}",
                None,
            ),
            (b"\"text\"", "\"text\"", None),
            (b"12345678901234567890.5", "12345678901234567890.5", None),
            (b"", "\"\"", None),
            ("{\"a\": \u{e9}".as_bytes(), "\"{\\\"a\\\": \u{e9}\"", None),
            (b"\"\\ud800\"", "\"\\\"\\\\ud800\\\"\"", None),
            (b"1e999", "\"1e999\"", None),
            (deep.as_bytes(), &quoted, None),
            (b"\xff\x00", "\"/wA=\"", Some("base64")),
        ];
        for (bytes, shown, encoding) in cases {
            let message = Message::of(bytes);
            assert_eq!(serde_json::to_string(&message).unwrap(), shown);
            assert_eq!(message.encoding(), encoding);
        }
    }
}
