//! Messages as RabbitMQ has them: what is written beside a message's body, and what is read of it.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use serde_json::{Map, Value};

use super::topology::{Names, name};
use crate::dispatch::broker::{Outgoing, RawMessage};
use crate::message::CONTENT_TYPE;

/// Kept on disk.
const PERSISTENT: u8 = 2;
/// Which queues a message died in, the last one first; the broker's own header.
const DEATHS: &str = "x-death";

/// A message as it is given to the server, as often as that takes.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Bytes,
}

impl Message {
    /// Commands go through their exchange. A reply goes to its queue, which the default exchange
    /// knows by its name, as the participants send it. `Err` when the queue's name is too long.
    pub(crate) fn of(outgoing: &Outgoing, names: &Names) -> Result<Self, String> {
        let routing_key = name(&outgoing.queue)?;
        let exchange = if routing_key == names.replies {
            ShortString::default()
        } else {
            names.commands.clone()
        };
        Ok(Self {
            exchange,
            routing_key,
            properties: properties(outgoing),
            body: outgoing.body.clone(),
        })
    }

    /// To a queue by its name, whoever made it.
    pub(crate) fn to_queue(outgoing: &Outgoing) -> Result<Self, String> {
        Ok(Self {
            exchange: ShortString::default(),
            routing_key: name(&outgoing.queue)?,
            properties: properties(outgoing),
            body: outgoing.body.clone(),
        })
    }
}

fn properties(outgoing: &Outgoing) -> BasicProperties {
    let mut properties = BasicProperties::default()
        .with_content_type(CONTENT_TYPE.into())
        .with_delivery_mode(PERSISTENT);
    // All of it is in the message too: what is too long for a property is left out.
    if let Ok(id) = ShortString::try_new(outgoing.id.as_str()) {
        properties = properties.with_message_id(id);
    }
    if let Ok(kind) = ShortString::try_new(outgoing.kind.as_str()) {
        properties = properties.with_type(kind);
    }
    if let Some(Ok(id)) = outgoing.correlation_id.as_deref().map(ShortString::try_new) {
        properties = properties.with_correlation_id(id);
    }
    if let Some(Ok(queue)) = outgoing.reply_to.as_deref().map(ShortString::try_new) {
        properties = properties.with_reply_to(queue);
    }
    if !outgoing.headers.is_empty() {
        properties = properties.with_headers(table(&outgoing.headers));
    }
    properties
}

fn table(members: &Map<String, Value>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in members {
        if let Ok(name) = ShortString::try_new(name.as_str()) {
            table.insert(name, field(value));
        }
    }
    table
}

fn field(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(truth) => AMQPValue::Boolean(*truth),
        Value::Number(number) => number.as_i64().map_or_else(
            || AMQPValue::Double(number.as_f64().unwrap_or_default()),
            AMQPValue::LongLongInt,
        ),
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(items) => {
            let items: Vec<AMQPValue> = items.iter().map(field).collect();
            AMQPValue::FieldArray(items.into())
        }
        Value::Object(members) => AMQPValue::FieldTable(table(members)),
    }
}

/// A message that was brought, with its properties and headers beside each other. Where a header has
/// the name of a property, the property is kept.
pub(crate) fn raw(properties: &BasicProperties, body: Vec<u8>) -> RawMessage {
    let mut headers = Map::new();
    for (name, value) in properties.headers().iter().flatten() {
        headers.insert(name.to_string(), json(value));
    }
    let texts = [
        ("content_type", properties.content_type()),
        ("content_encoding", properties.content_encoding()),
        ("correlation_id", properties.correlation_id()),
        ("reply_to", properties.reply_to()),
        ("expiration", properties.expiration()),
        ("message_id", properties.message_id()),
        ("type", properties.kind()),
        ("user_id", properties.user_id()),
        ("app_id", properties.app_id()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            headers.insert(name.to_owned(), Value::from(text.as_str()));
        }
    }
    let numbers = [
        ("delivery_mode", properties.delivery_mode().map(u64::from)),
        ("priority", properties.priority().map(u64::from)),
        ("timestamp", *properties.timestamp()),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            headers.insert(name.to_owned(), Value::from(number));
        }
    }
    RawMessage {
        id: properties.message_id().as_ref().map(ToString::to_string),
        headers,
        body: Bytes::from(body),
    }
}

fn json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(truth) => Value::from(*truth),
        AMQPValue::ShortShortInt(number) => Value::from(*number),
        AMQPValue::ShortShortUInt(number) => Value::from(*number),
        AMQPValue::ShortInt(number) => Value::from(*number),
        AMQPValue::ShortUInt(number) => Value::from(*number),
        AMQPValue::LongInt(number) => Value::from(*number),
        AMQPValue::LongUInt(number) => Value::from(*number),
        AMQPValue::LongLongInt(number) => Value::from(*number),
        AMQPValue::Float(number) => Value::from(*number),
        AMQPValue::Double(number) => Value::from(*number),
        AMQPValue::DecimalValue(decimal) => {
            let scale = 10_f64.powi(i32::from(decimal.scale));
            Value::from(f64::from(decimal.value) / scale)
        }
        AMQPValue::ShortString(text) => Value::from(text.as_str()),
        AMQPValue::LongString(text) => Value::from(text.to_string()),
        AMQPValue::FieldArray(items) => items.as_slice().iter().map(json).collect(),
        AMQPValue::Timestamp(seconds) => Value::from(*seconds),
        AMQPValue::FieldTable(members) => {
            let members = members.into_iter();
            Value::Object(
                members
                    .map(|(name, value)| (name.to_string(), json(value)))
                    .collect(),
            )
        }
        AMQPValue::ByteArray(bytes) => Value::from(String::from_utf8_lossy(bytes.as_slice())),
        AMQPValue::Void => Value::Null,
    }
}

/// Why a message is a dead letter of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Death {
    /// In the broker's words.
    pub(crate) reason: String,
    /// How often it had been delivered at least.
    pub(crate) deliveries: u32,
}

/// What the broker says of a message in the dead letters of `queue`. `deliveries_max` is that queue's
/// limit, where it has one.
pub(crate) fn death(
    properties: &BasicProperties,
    queue: &str,
    deliveries_max: Option<u32>,
) -> Death {
    let headers = properties.headers().as_ref().map(FieldTable::inner);
    let find = |name: &str| headers.and_then(|headers| headers.get(name));
    let deaths = match find(DEATHS) {
        Some(AMQPValue::FieldArray(deaths)) => FieldArray::as_slice(deaths),
        Some(_) | None => &[],
    };
    let own = deaths
        .iter()
        .filter_map(AMQPValue::as_field_table)
        .find(|death| death.inner().get("queue").and_then(text).as_deref() == Some(queue));
    let reason = own
        .and_then(|death| death.inner().get("reason"))
        .and_then(text)
        .unwrap_or_else(|| "unknown".to_owned());
    // The broker's own count of deliveries is that of the queue which the dead letter lies in now, so
    // what is known of the other is what follows from the reason.
    let deliveries = match reason.as_str() {
        "delivery_limit" => deliveries_max.map_or(1, |limit| limit.saturating_add(1)),
        // It was never given to anybody, as far as anybody knows.
        "expired" | "maxlen" | "unknown" => 0,
        _ => 1,
    };
    Death { reason, deliveries }
}

fn text(value: &AMQPValue) -> Option<String> {
    json(value).as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outgoing(queue: &str) -> Outgoing {
        let headers = json!({ "traceparent": "00-1-2-01", "n": 1, "list": [true, null, 1.5] });
        Outgoing {
            queue: queue.to_owned(),
            id: "saga:step:action:1".to_owned(),
            correlation_id: Some("saga:step:action".to_owned()),
            group: "saga".to_owned(),
            kind: "amends.command.v1".to_owned(),
            reply_to: Some("shop.replies".to_owned()),
            headers: headers.as_object().unwrap().clone(),
            body: Bytes::from_static(b"{}"),
            replay: 0,
        }
    }

    #[test]
    fn a_command_goes_through_its_exchange_and_a_reply_to_its_queue() {
        let names = Names::of("shop").unwrap();
        let message = Message::of(&outgoing("pay"), &names).unwrap();
        assert_eq!(message.exchange.as_str(), "shop.commands");
        assert_eq!(message.routing_key.as_str(), "pay");
        let message = Message::of(&outgoing("shop.replies"), &names).unwrap();
        assert_eq!(message.exchange.as_str(), "");
        assert_eq!(message.routing_key.as_str(), "shop.replies");
        assert!(Message::of(&outgoing(&"q".repeat(256)), &names).is_err());
    }

    #[test]
    fn what_is_written_beside_a_message_is_read_back() {
        let properties = properties(&outgoing("pay"));
        let read = raw(&properties, b"{}".to_vec());
        assert_eq!(read.id.as_deref(), Some("saga:step:action:1"));
        assert_eq!(
            Value::Object(read.headers),
            json!({
                "list": [true, null, 1.5],
                "n": 1,
                "traceparent": "00-1-2-01",
                "content_type": "application/cloudevents+json",
                "correlation_id": "saga:step:action",
                "reply_to": "shop.replies",
                "message_id": "saga:step:action:1",
                "type": "amends.command.v1",
                "delivery_mode": 2,
            })
        );
    }

    #[test]
    fn what_is_too_long_for_a_property_is_left_out() {
        let mut outgoing = outgoing("pay");
        outgoing.id = "i".repeat(256);
        outgoing.headers.insert("h".repeat(256), Value::Null);
        let properties = properties(&outgoing);
        assert!(properties.message_id().is_none());
        assert_eq!(properties.headers().iter().flatten().count(), 3);
    }

    #[test]
    fn a_death_is_that_of_the_queue_and_says_why() {
        let deaths = |deaths: Value| {
            let headers = json!({ "x-death": deaths });
            BasicProperties::default().with_headers(table(headers.as_object().unwrap()))
        };
        let told = deaths(json!([
            { "queue": "other", "reason": "expired", "count": 1 },
            { "queue": "pay", "reason": "rejected", "count": 2 },
        ]));
        let expect = |reason: &str, deliveries| Death {
            reason: reason.to_owned(),
            deliveries,
        };
        assert_eq!(death(&told, "pay", Some(5)), expect("rejected", 1));
        assert_eq!(death(&told, "other", None), expect("expired", 0));
        assert_eq!(death(&told, "none", None), expect("unknown", 0));
        let bare = BasicProperties::default();
        assert_eq!(death(&bare, "pay", None), expect("unknown", 0));
        let told = deaths(json!([{ "queue": "pay", "reason": "delivery_limit" }]));
        assert_eq!(death(&told, "pay", Some(5)), expect("delivery_limit", 6));
    }
}
