//! What the demo's participants answer: made from the call's key, so that it is the same again.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::definition::request::Phase;

use super::ledger::Call;

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Done(Value),
    Refused {
        code: &'static str,
        detail: &'static str,
    },
    DoneInSilence,
}

impl Answer {
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Done(_) | Self::DoneInSilence => true,
            Self::Refused { .. } => false,
        }
    }
}

/// What steers a participant: the member it looks for, and why it declines.
struct Steering {
    member: &'static str,
    code: &'static str,
    detail: &'static str,
}

fn steering(participant: &str) -> Steering {
    let (member, code, detail) = match participant {
        "payment" | "cards" => ("card", "card_declined", "the card was declined"),
        "inventory" => ("stock", "out_of_stock", "there is not enough in stock"),
        "shipping" => ("delivery", "undeliverable", "nobody delivers there"),
        "flights" => ("flight", "sold_out", "the flight is sold out"),
        "hotels" => ("hotel", "sold_out", "the hotel is sold out"),
        "cars" => ("car", "sold_out", "no car is left"),
        "accounts" => ("account", "account_closed", "the account is closed"),
        "identity" => (
            "identity",
            "identity_not_verified",
            "the identity was not verified",
        ),
        "sanctions" => ("sanctions", "sanctioned", "the name is on a sanctions list"),
        _ => ("demo", "declined", "the demo was told to decline"),
    };
    Steering {
        member,
        code,
        detail,
    }
}

/// What `participant` makes of a call that it has not seen before.
pub(super) fn decide(participant: &str, call: &Call, body: &Value) -> Answer {
    let id = id_of(&call.key);
    if call.phase == Phase::Compensation {
        return Answer::Done(json!({ "undone": true, "reference": id }));
    }
    let Steering {
        member,
        code,
        detail,
    } = steering(participant);
    match find(body, member).and_then(Value::as_str) {
        Some("declined") => Answer::Refused { code, detail },
        Some("silent") => Answer::DoneInSilence,
        Some(_) | None => Answer::Done(output(participant, &id, body)),
    }
}

fn output(participant: &str, id: &str, body: &Value) -> Value {
    let amount = find(body, "amount").or_else(|| find(body, "total"));
    match participant {
        "inventory" => json!({
            "reservation_id": format!("res_{id}"), "status": "reserved", "warehouse": "north",
        }),
        "payment" => json!({
            "charge_id": format!("ch_{id}"), "status": "captured", "amount": amount,
        }),
        "shipping" => json!({
            "shipment_id": format!("shp_{id}"), "tracking": format!("TRK-{id}"),
            "carrier": "Northwind", "days": 2,
        }),
        "flights" => json!({
            "booking_id": format!("fl_{id}"), "status": "booked", "seat": "12A",
        }),
        "hotels" => json!({
            "booking_id": format!("ht_{id}"), "status": "booked", "room": "204",
        }),
        "cars" => json!({
            "booking_id": format!("car_{id}"), "status": "booked", "class": "compact",
        }),
        "accounts" => json!({
            "account_id": format!("acc_{id}"), "transaction_id": format!("tx_{id}"),
            "status": "booked", "amount": amount,
        }),
        "identity" => json!({
            "check_id": format!("idv_{id}"), "verified": true, "score": 97,
        }),
        "sanctions" => json!({ "check_id": format!("scr_{id}"), "clear": true, "hits": 0 }),
        "cards" => json!({
            "card_id": format!("crd_{id}"), "status": "issued", "last4": "4242",
        }),
        _ => json!({ "id": id, "status": "done" }),
    }
}

/// The first member of that name, however deep it lies.
fn find<'body>(body: &'body Value, member: &str) -> Option<&'body Value> {
    match body {
        Value::Object(members) => members
            .get(member)
            .or_else(|| members.values().find_map(|value| find(value, member))),
        Value::Array(items) => items.iter().find_map(|item| find(item, member)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Eight hexadecimal digits that the key alone decides.
fn id_of(key: &str) -> String {
    Sha256::digest(key)
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
