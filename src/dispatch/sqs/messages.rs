//! Messages as SQS has them: what is given to it beside a message's body, and what is read of it.

use std::collections::HashMap;

use aws_sdk_sqs::types::{
    Message as Brought, MessageAttributeValue, MessageSystemAttributeName,
    SendMessageBatchRequestEntry,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::names::is_fifo;
use crate::dispatch::broker::{Outgoing, RawMessage};

/// How many attributes a message may have.
const ATTRIBUTES_MAX: usize = 10;
/// The longest name of an attribute, in characters.
const NAME_CHARS_MAX: usize = 256;
/// The longest group and the longest deduplication id, in characters.
const ID_CHARS_MAX: usize = 128;
/// What is said of a message beside what its sender says; all of it is kept with a dead letter.
pub(super) const SYSTEM_ATTRIBUTES: [MessageSystemAttributeName; 5] = [
    MessageSystemAttributeName::ApproximateReceiveCount,
    MessageSystemAttributeName::SentTimestamp,
    MessageSystemAttributeName::MessageGroupId,
    MessageSystemAttributeName::MessageDeduplicationId,
    MessageSystemAttributeName::DeadLetterQueueSourceArn,
];

/// A message as it is given to SQS, as often as that takes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(super) queue: String,
    body: String,
    attributes: Vec<(String, String)>,
    /// The group and the deduplication id, where the queue keeps an order.
    pub(super) order: Option<Order>,
}

/// What a FIFO queue goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) group: String,
    deduplication: String,
}

impl Message {
    /// `Err` says what SQS would never take.
    pub(crate) fn of(outgoing: &Outgoing) -> Result<Self, String> {
        let body = std::str::from_utf8(&outgoing.body)
            .map_err(|error| format!("its body is no text: {error}"))?;
        if let Some(bad) = body.chars().find(|c| !is_text(*c)) {
            return Err(format!("its body has {bad:?} in it"));
        }
        Ok(Self {
            queue: outgoing.queue.clone(),
            body: escaped(body),
            attributes: attributes(&outgoing.headers)?,
            order: is_fifo(&outgoing.queue).then(|| Order {
                group: id(&outgoing.group),
                deduplication: id(&deduplication(outgoing)),
            }),
        })
    }

    /// How long it is, as SQS counts.
    pub(super) fn bytes(&self) -> usize {
        let attributes = self.attributes.iter();
        let beside: usize = attributes
            .map(|(name, value)| name.len() + "String".len() + value.len())
            .sum();
        self.body.len() + beside
    }

    /// As the entry of a batch. `Err` says what it lacks, which is nothing.
    pub(super) fn entry(&self, id: String) -> Result<SendMessageBatchRequestEntry, String> {
        let mut entry = SendMessageBatchRequestEntry::builder()
            .id(id)
            .message_body(&self.body);
        for (name, value) in &self.attributes {
            let value = MessageAttributeValue::builder()
                .data_type("String")
                .string_value(value)
                .build()
                .map_err(|error| error.to_string())?;
            entry = entry.message_attributes(name, value);
        }
        if let Some(order) = &self.order {
            entry = entry
                .message_group_id(&order.group)
                .message_deduplication_id(&order.deduplication);
        }
        entry.build().map_err(|error| error.to_string())
    }
}

/// What SQS takes in a body, or can be written so that it does.
fn is_text(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r') || c >= ' '
}

/// SQS takes no U+FFFE and no U+FFFF, as XML does not. Only JSON text of ours can have them, inside
/// of strings, where an escape is the same character: what came through SQS has none.
fn escaped(body: &str) -> String {
    body.replace('\u{fffe}', "\\ufffe")
        .replace('\u{ffff}', "\\uffff")
}

fn attributes(headers: &Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    if headers.len() > ATTRIBUTES_MAX {
        let count = headers.len();
        return Err(format!(
            "it has {count} headers, and SQS takes {ATTRIBUTES_MAX}"
        ));
    }
    headers
        .iter()
        .map(|(name, value)| {
            if !is_attribute_name(name) {
                return Err(format!("SQS takes no header of the name {name:?}"));
            }
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => value.to_string(),
            };
            if value.is_empty() || !value.chars().all(|c| is_text(c) && c < '\u{fffe}') {
                return Err(format!("SQS takes no such value of the header {name}"));
            }
            Ok((name.clone(), value))
        })
        .collect()
}

fn is_attribute_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && !lower.starts_with("aws.")
        && !lower.starts_with("amazon.")
}

fn deduplication(outgoing: &Outgoing) -> String {
    match outgoing.replay {
        0 => outgoing.id.clone(),
        replay => format!("{}:replay:{replay}", outgoing.id),
    }
}

/// An id as SQS takes it: itself, or a digest of it.
fn id(wanted: &str) -> String {
    let fits =
        (1..=ID_CHARS_MAX).contains(&wanted.len()) && wanted.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        return wanted.to_owned();
    }
    let digest = Sha256::digest(wanted.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How often it was brought, as far as SQS tells; a dead letter has been brought before it was dead.
pub(super) fn deliveries(brought: &Brought) -> u32 {
    let count = MessageSystemAttributeName::ApproximateReceiveCount;
    let attributes = brought.attributes();
    attributes
        .and_then(|attributes| attributes.get(&count)?.parse().ok())
        .unwrap_or(1)
}

/// A message that was brought, with what is beside it by its names there. SQS's own id of it is among
/// that: the message has one that its sender gave it.
pub(crate) fn raw(brought: Brought) -> RawMessage {
    let mut headers = Map::new();
    let of_sender: HashMap<String, MessageAttributeValue> =
        brought.message_attributes.unwrap_or_default();
    for (name, value) in of_sender {
        headers.insert(name, json(&value));
    }
    for (name, value) in brought.attributes.into_iter().flatten() {
        headers.insert(name.as_str().to_owned(), Value::String(value));
    }
    if let Some(id) = brought.message_id {
        headers.insert("MessageId".to_owned(), Value::String(id));
    }
    headers.sort_keys();
    RawMessage {
        id: None,
        headers,
        body: Bytes::from(brought.body.unwrap_or_default()),
    }
}

fn json(value: &MessageAttributeValue) -> Value {
    match (value.string_value(), value.binary_value()) {
        (Some(text), _) => Value::from(text),
        (None, Some(bytes)) => Value::String(STANDARD.encode(bytes)),
        (None, None) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::primitives::Blob;
    use serde_json::json;

    use super::*;

    fn outgoing(queue: &str) -> Outgoing {
        let headers = json!({ "traceparent": "00-1", "x-number": 7 });
        Outgoing {
            queue: queue.to_owned(),
            id: "saga:pay:action:1".to_owned(),
            correlation_id: Some("saga:pay:action".to_owned()),
            group: "saga".to_owned(),
            kind: "amends.command.v1".to_owned(),
            reply_to: Some("amends-replies".to_owned()),
            headers: headers.as_object().unwrap().clone(),
            body: Bytes::from_static(b"{\"a\":1}"),
            replay: 0,
        }
    }

    #[test]
    fn a_message_has_its_headers_and_in_a_fifo_queue_its_order() {
        let entry = Message::of(&outgoing("pay")).unwrap().entry("0".to_owned());
        let entry = entry.unwrap();
        assert_eq!((entry.id(), entry.message_body()), ("0", "{\"a\":1}"));
        let attributes = entry.message_attributes().unwrap();
        assert_eq!(attributes["traceparent"].string_value(), Some("00-1"));
        assert_eq!(attributes["x-number"].string_value(), Some("7"));
        assert_eq!(entry.message_group_id(), None);
        assert_eq!(entry.message_deduplication_id(), None);

        let mut outgoing = outgoing("pay.fifo");
        let deduplication = |outgoing: &Outgoing| {
            let entry = Message::of(outgoing)
                .unwrap()
                .entry("0".to_owned())
                .unwrap();
            assert_eq!(entry.message_group_id(), Some("saga"));
            entry.message_deduplication_id().unwrap().to_owned()
        };
        assert_eq!(deduplication(&outgoing), "saga:pay:action:1");
        outgoing.replay = 2;
        assert_eq!(deduplication(&outgoing), "saga:pay:action:1:replay:2");
        let mut digests = std::collections::BTreeSet::new();
        for odd in ["a b", "ä", "", &"x".repeat(129)] {
            odd.clone_into(&mut outgoing.id);
            outgoing.replay = 0;
            let digest = deduplication(&outgoing);
            assert!(digest.len() == 64 && digests.insert(digest), "{odd}");
        }
    }

    #[test]
    fn its_length_is_that_of_all_its_parts() {
        let message = Message::of(&outgoing("pay")).unwrap();
        let beside = "traceparent".len() + 6 + 4 + "x-number".len() + 6 + 1;
        assert_eq!(message.bytes(), 7 + beside);
    }

    #[test]
    fn what_sqs_never_takes_is_refused_with_the_reason() {
        let refused = |change: &dyn Fn(&mut Outgoing)| {
            let mut outgoing = outgoing("pay");
            change(&mut outgoing);
            Message::of(&outgoing).unwrap_err()
        };
        let with = |name: &str, value: Value| {
            refused(&|it| {
                it.headers.insert(name.to_owned(), value.clone());
            })
        };
        for name in ["", "a b", ".a", "a.", "a..b", "AWS.x", "amazon.y", "ä"] {
            assert!(with(name, json!("v")).contains("name"), "{name}");
        }
        for value in ["", "\u{1}", "\u{fffe}"] {
            assert!(with("x", json!(value)).contains("value"), "{value:?}");
        }
        let many = refused(&|it| {
            for number in 0..9 {
                it.headers.insert(format!("h{number}"), json!("v"));
            }
        });
        assert_eq!(many, "it has 11 headers, and SQS takes 10");
        let binary = refused(&|it| it.body = Bytes::from_static(b"\xff"));
        assert!(binary.contains("no text"), "{binary}");
        let control = refused(&|it| it.body = Bytes::from_static(b"\x02"));
        assert!(control.contains("'\\u{2}'"), "{control}");
    }

    #[test]
    fn characters_that_xml_lacks_are_escaped() {
        let mut outgoing = outgoing("pay");
        outgoing.body = Bytes::from("\"a\u{fffe}\u{ffff}\"");
        let message = Message::of(&outgoing).unwrap();
        assert_eq!(message.body, "\"a\\ufffe\\uffff\"");
        let read: String = serde_json::from_str(&message.body).unwrap();
        assert_eq!(read, "a\u{fffe}\u{ffff}");
    }

    #[test]
    fn what_is_brought_keeps_all_that_is_beside_it() {
        let text = MessageAttributeValue::builder()
            .data_type("String")
            .string_value("00-1");
        let bytes = MessageAttributeValue::builder()
            .data_type("Binary")
            .binary_value(Blob::new(*b"\xff"));
        let count = MessageSystemAttributeName::ApproximateReceiveCount;
        let brought = Brought::builder()
            .message_id("m")
            .body("text")
            .message_attributes("traceparent", text.build().unwrap())
            .message_attributes("raw", bytes.build().unwrap())
            .attributes(count, "3")
            .build();
        assert_eq!(deliveries(&brought), 3);
        let raw = raw(brought);
        assert_eq!((raw.id, &raw.body[..]), (None, &b"text"[..]));
        let expected = json!({
            "ApproximateReceiveCount": "3", "MessageId": "m", "raw": "/w==", "traceparent": "00-1",
        });
        assert_eq!(Value::Object(raw.headers), expected);
        assert_eq!(deliveries(&Brought::builder().build()), 1);
    }
}
