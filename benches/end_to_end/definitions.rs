//! The sagas of the bench: the reference one, its failing variant, and one that waits.

use std::path::Path;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::Uri;
use serde_json::json;
use tempfile::TempDir;

use crate::participants::REFUSED;

/// How many steps the reference saga has.
pub(crate) const STEPS: usize = 3;
/// The definition that waits.
pub(crate) const WAITING: &str = "waiting";
/// The participants, each with a step; all are one server.
pub(crate) const PARTICIPANTS: [&str; STEPS] = ["inventory", "payment", "shipping"];

/// How the reference saga goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Every step is done.
    Completed,
    /// The third step is refused, and two are undone.
    Refused,
}

/// The calls of a saga.
#[derive(Clone, Debug)]
pub(crate) struct Calls<T> {
    /// The steps' actions, in their order.
    pub(crate) actions: Vec<T>,
    /// What undoes them when the last is refused, in its order.
    pub(crate) compensations: Vec<T>,
}

impl Variant {
    /// Its definition.
    pub(crate) fn definition(self) -> &'static str {
        match self {
            Self::Completed => "reference",
            Self::Refused => "reference_refused",
        }
    }

    /// Its path at the proxy.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Completed => "/reference",
            Self::Refused => "/reference_refused",
        }
    }

    /// The status it ends with.
    pub(crate) fn status(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Refused => "compensated",
        }
    }

    /// How many calls participants get of one saga.
    pub(crate) fn calls(self) -> u32 {
        match self {
            Self::Completed => 3,
            Self::Refused => 5,
        }
    }

    fn ship(self) -> &'static str {
        match self {
            Self::Completed => "ship",
            Self::Refused => REFUSED,
        }
    }

    fn document(self) -> String {
        let (name, ship) = (self.definition(), self.ship());
        format!(
            r#"name: {name}
version: 1
input:
  type: object
  required: [order_id, items, total]
steps:
  - id: reserve
    participant: inventory
    action: {{ command: reserve, body: {{ order_id: "${{ input.order_id }}", items: "${{ input.items }}" }} }}
    compensation: {{ command: release, body: {{ order_id: "${{ input.order_id }}" }} }}
  - id: charge
    participant: payment
    action: {{ command: charge, body: {{ reference: "${{ saga.id }}", amount: "${{ input.total }}" }} }}
    compensation: {{ command: refund, body: {{ reference: "${{ saga.id }}" }} }}
  - id: ship
    participant: shipping
    pivot: true
    action: {{ command: {ship}, body: {{ order_id: "${{ input.order_id }}", reservation: "${{ steps.reserve.output.reference }}" }} }}
"#
        )
    }
}

impl Calls<String> {
    /// What the participants are called with, relative to their URL.
    pub(crate) fn of(variant: Variant) -> Self {
        let ship = variant.ship();
        Self {
            actions: ["reserve", "charge", ship].map(str::to_owned).to_vec(),
            compensations: ["refund", "release"].map(str::to_owned).to_vec(),
        }
    }

    /// The same, where the participants are.
    pub(crate) fn at(&self, participants: &str) -> Result<Calls<Uri>> {
        let resolved = |calls: &[String]| {
            calls
                .iter()
                .map(|call| Ok(format!("{participants}/{call}").parse()?))
                .collect::<Result<Vec<Uri>>>()
        };
        Ok(Calls {
            actions: resolved(&self.actions)?,
            compensations: resolved(&self.compensations)?,
        })
    }
}

/// A directory with every definition of the bench.
pub(crate) fn directory() -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    for variant in [Variant::Completed, Variant::Refused] {
        write(directory.path(), variant.definition(), &variant.document())?;
    }
    let waiting = format!(
        "name: {WAITING}\nversion: 1\nsteps:\n  - {{ id: pause, delay: 1h }}\n  \
         - {{ id: go, participant: inventory, action: {{ command: reserve }}, \
         compensation: {{ command: release }} }}\n"
    );
    write(directory.path(), WAITING, &waiting)?;
    Ok(directory)
}

fn write(directory: &Path, name: &str, document: &str) -> Result<()> {
    let path = directory.join(format!("{name}.yaml"));
    std::fs::write(&path, document).with_context(|| path.display().to_string())
}

/// The input of every saga: a small order.
pub(crate) fn input() -> serde_json::Value {
    json!({
        "order_id": "ORD-12345",
        "items": [{ "sku": "SKU-000017", "quantity": 2 }, { "sku": "SKU-000404", "quantity": 1 }],
        "total": 40,
    })
}

/// The body that starts a saga.
pub(crate) fn start(definition: &str) -> Bytes {
    let body = json!({ "definition": definition, "input": input() });
    Bytes::from(body.to_string())
}
