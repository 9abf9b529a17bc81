//! The three orders of the demo, and how they are told.

use serde_json::{Value, json};

use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::cli::fact::SagaView;
use crate::cli::layout;
use crate::cli::narrate::{Clock, Narrator};
use crate::cli::output::{Output, Tone};
use crate::cli::watch::{self, Style};

/// The definition that the orders are started from.
const DEFINITION: &str = "order_fulfilment";

/// An order and what is going to happen to it.
struct Order {
    headline: &'static str,
    story: &'static str,
    key: &'static str,
    card: &'static str,
    total: f64,
    ends: &'static str,
    moral: &'static str,
}

const ORDERS: [Order; 3] = [
    Order {
        headline: "An order like any other",
        story: "Stock is reserved, the card is charged, the parcel is shipped.",
        key: "ORD-1001",
        card: "4242",
        total: 89.5,
        ends: "completed",
        moral: "Nothing had to be undone.",
    },
    Order {
        headline: "A card that is declined",
        story: "The stock is reserved already when the payment is refused.",
        key: "ORD-1002",
        card: "declined",
        total: 249.0,
        ends: "compensated",
        moral: "No money was taken, so only the reservation had to be undone.",
    },
    Order {
        headline: "A payment that never answers",
        story: "Was the card charged? Nobody knows, and asking again does not help.",
        key: "ORD-1003",
        card: "silent",
        total: 120.0,
        ends: "compensated",
        moral: "The charge may have been made, so it was undone too, with the reservation.",
    },
];

/// Runs the orders one after the other; whether each ended as it should.
pub(super) async fn run(client: &Client, output: &mut Output) -> Result<bool, CliError> {
    let mut as_told = true;
    for (order, number) in ORDERS.iter().zip(1_u32..) {
        let headline = format!("{number}  {}", order.headline);
        output.line("")?;
        output.line(output.toned(Tone::Strong, &headline))?;
        output.line(format!("   {}", output.toned(Tone::Faint, order.story)))?;
        output.line("")?;
        let end = run_one(client, order, output).await?;
        as_told &= end.status == order.ends;
        output.line("")?;
        output.line(format!("   {}", closing(&end, output)))?;
        output.line(format!("   {}", output.toned(Tone::Faint, order.moral)))?;
    }
    Ok(as_told)
}

async fn run_one(
    client: &Client,
    order: &Order,
    output: &mut Output,
) -> Result<SagaView, CliError> {
    let started: SagaView = client.post(&["sagas"], &start(order)).await?;
    let whole: SagaView = client.get(&["sagas", &started.id], &[]).await?;
    let steps = whole.steps.iter().map(|step| step.id.as_str());
    let style = Style::Told(Narrator::new(Clock::Elapsed, steps));
    watch::follow(client, &started.id, style, output).await?;
    Ok(client.get(&["sagas", &started.id], &[]).await?)
}

fn start(order: &Order) -> Value {
    json!({
        "definition": DEFINITION,
        "key": order.key,
        "labels": { "channel": "demo" },
        "input": {
            "order_id": order.key,
            "items": [{ "sku": "teapot", "quantity": 1 }, { "sku": "cup", "quantity": 4 }],
            "total": order.total,
            "card": order.card,
        },
    })
}

/// The status, and what came out of it.
fn closing(saga: &SagaView, output: &Output) -> String {
    layout::closing(saga, output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample::{IN_COMMANDS, SAMPLES};
    use crate::definition::check;

    #[test]
    fn every_order_fits_the_samples_schema() {
        for samples in [SAMPLES, IN_COMMANDS] {
            let (_, source) = samples
                .iter()
                .find(|(name, _)| name.starts_with(DEFINITION))
                .unwrap();
            let definition = check(source, None).definition.unwrap();
            for order in &ORDERS {
                let input = &start(order)["input"];
                assert_eq!(definition.input.as_ref().unwrap().problems(input), []);
            }
        }
    }
}
