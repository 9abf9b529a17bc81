//! The examples in the document: the ones of the API's documentation. A test checks each against
//! its schema.

use serde_json::{Value, json};

const SAGA: &str = "0198c7c4-aaaa-7000-8000-000000000000";

/// A start.
pub(in crate::api) fn start() -> Value {
    json!({
        "definition": "order_fulfilment",
        "version": 1,
        "key": "ORD-12345",
        "input": {
            "order_id": "ORD-12345",
            "items": [{ "sku": "tea", "quantity": 2 }],
            "total": 40,
        },
        "labels": { "channel": "web" },
    })
}

/// A batch.
pub(in crate::api) fn batch() -> Value {
    let mut keyed = start();
    if let Some(members) = keyed.as_object_mut() {
        members.insert("idempotency_key".to_owned(), json!("ORD-12345"));
    }
    json!({ "sagas": [keyed, { "definition": "order_fulfilment", "input": {} }] })
}

/// A definition.
pub(in crate::api) fn definition() -> Value {
    json!({
        "name": "newsletter",
        "version": 1,
        "steps": [{
            "id": "subscribe",
            "participant": "mailing",
            "action": { "command": "subscribe" },
            "compensation": { "command": "unsubscribe" },
        }],
    })
}

/// A cancel.
pub(in crate::api) fn cancel() -> Value {
    json!({ "reason": "The customer changed their mind." })
}

/// A resolve.
pub(in crate::api) fn resolve() -> Value {
    json!({
        "outcome": "succeeded",
        "note": "The carrier's portal shows the parcel.",
        "output": { "tracking": "TR-1" },
    })
}

/// A saga's summary.
pub(in crate::api) fn summary() -> Value {
    json!({
        "id": SAGA,
        "definition": "order_fulfilment",
        "version": 1,
        "key": "ORD-12345",
        "labels": { "channel": "web" },
        "status": "compensated",
        "suspended": false,
        "overdue": false,
        "failure": failure(),
        "created_at": "2026-11-21T09:30:00.000Z",
        "updated_at": "2026-11-21T09:30:00.120Z",
        "finished_at": "2026-11-21T09:30:00.120Z",
        "deadline": "2026-11-24T09:30:00.000Z",
    })
}

/// A whole saga.
pub(in crate::api) fn saga() -> Value {
    let mut whole = summary();
    if let Some(members) = whole.as_object_mut() {
        let input = start().get("input").cloned().unwrap_or_default();
        members.insert("input".to_owned(), input);
        members.insert("output".to_owned(), Value::Null);
        members.insert("output_error".to_owned(), Value::Null);
        members.insert("steps".to_owned(), json!([step()]));
    }
    whole
}

fn failure() -> Value {
    json!({
        "step": "charge_payment",
        "code": "card_declined",
        "message": "payment refused: the card was declined",
    })
}

fn step() -> Value {
    json!({
        "id": "reserve_stock",
        "status": "compensated",
        "attempts": 1,
        "compensation_attempts": 1,
        "started_at": "2026-11-21T09:30:00.000Z",
        "finished_at": "2026-11-21T09:30:00.120Z",
        "next_attempt_at": null,
        "waiting_for": null,
        "output": {},
        "error": null,
    })
}

/// An event.
pub(in crate::api) fn event() -> Value {
    json!({
        "seq": 3,
        "at": "2026-11-21T09:30:00.040Z",
        "type": "step_succeeded",
        "step": "reserve_stock",
        "output": {},
    })
}

/// Why a saga stands where it stands.
pub(in crate::api) fn explanation() -> Value {
    json!({
        "id": "0198c7c4-aaaa-7000-8000-000000000000",
        "status": "running",
        "summary": "Waiting for payment: attempt 3 of charge_payment begins in 12 s (the last answer was 503).",
        "waiting": [{
            "step": "charge_payment",
            "for": "retry",
            "participant": "payment",
            "since": "2026-11-21T09:30:00.040Z",
            "until": "2026-11-21T09:30:12.040Z",
            "attempt": 3,
            "last_error": { "code": "http_503", "message": "busy" },
        }],
        "cancel": {
            "possible": true,
            "why_not": null,
            "undoes": [["charge_payment"], ["reserve_stock"]],
        },
    })
}

/// An entry of the audit.
pub(in crate::api) fn audit_entry() -> Value {
    json!({
        "seq": 1042,
        "at": "2026-11-21T09:30:00.120Z",
        "actor": "ann",
        "action": "SAGA_CANCELLED",
        "saga": SAGA,
        "definition": "order_fulfilment/1",
        "step": null,
        "detail": { "reason": "The customer changed their mind." },
        "remote": "10.0.0.7",
    })
}

/// A discard.
pub(in crate::api) fn discard() -> Value {
    json!({ "reason": "Of a load test; nobody waits for it." })
}

/// A dead letter.
pub(in crate::api) fn dead_letter() -> Value {
    json!({
        "id": "0198c7c4-bbbb-7000-8000-000000000000",
        "status": "open",
        "transport": "rabbitmq",
        "queue": "payment.commands",
        "participant": "payment",
        "reason": "delivery_limit",
        "deliveries": 6,
        "received_at": "2026-11-21T09:30:12.040Z",
        "saga": SAGA,
        "step": "charge_payment",
        "phase": "action",
        "message": {
            "specversion": "1.0",
            "id": format!("{SAGA}:charge_payment:action:1"),
            "type": "amends.command.v1",
            "sagaid": SAGA,
            "data": { "amount": 40 },
        },
        "headers": { "content_type": "application/cloudevents+json" },
        "settled_at": null,
        "settled_by": null,
        "note": null,
    })
}

/// A problem.
pub(in crate::api) fn problem() -> Value {
    json!({
        "type": "urn:amends:error:input_invalid",
        "title": "The body is not what the call takes.",
        "status": 422,
        "detail": "the input does not fit the definition's schema",
        "instance": "/api/v1/sagas",
        "code": "input_invalid",
        "errors": [{
            "pointer": "/input/items/0/sku",
            "code": "required",
            "detail": "`sku` is missing",
        }],
    })
}
