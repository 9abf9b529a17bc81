//! What is counted of messages through brokers.

use prometheus::{IntCounter, Registry};

use super::families::{Counters, MetricsError};
use crate::dispatch::PublishResult;
use crate::dispatch::broker::BrokerKind;

/// What became of a message that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiving {
    /// It moved its saga.
    Accepted,
    /// It was seen before.
    Duplicate,
    /// Its step had ended.
    Late,
    /// It could not be read, or is for nobody.
    Malformed,
}

impl Receiving {
    const ALL: [Self; 4] = [Self::Accepted, Self::Duplicate, Self::Late, Self::Malformed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::Malformed => "malformed",
        }
    }
}

/// What is counted of messages.
#[derive(Debug)]
pub(super) struct MessageMetrics {
    published: [[IntCounter; 3]; 2],
    received: [[IntCounter; 4]; 2],
}

impl MessageMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let published = Counters::new(
            registry,
            (
                "amends_messages_published_total",
                "Commands given to a broker, by what it did with them.",
            ),
            ["transport", "result"],
        )?;
        let received = Counters::new(
            registry,
            (
                "amends_messages_received_total",
                "Replies that came through a broker, by what became of them.",
            ),
            ["transport", "result"],
        )?;
        Ok(Self {
            published: BrokerKind::ALL.map(|broker| {
                PublishResult::ALL.map(|result| published.at([broker.as_str(), result.as_str()]))
            }),
            received: BrokerKind::ALL.map(|broker| {
                Receiving::ALL.map(|result| received.at([broker.as_str(), result.as_str()]))
            }),
        })
    }

    pub(super) fn published(&self, broker: BrokerKind, result: PublishResult) {
        let [rabbitmq, sqs] = &self.published;
        let [confirmed, returned, failed] = match broker {
            BrokerKind::RabbitMq => rabbitmq,
            BrokerKind::Sqs => sqs,
        };
        match result {
            PublishResult::Confirmed => confirmed.inc(),
            PublishResult::Returned => returned.inc(),
            PublishResult::Failed => failed.inc(),
        }
    }

    pub(super) fn received(&self, broker: BrokerKind, result: Receiving) {
        let [rabbitmq, sqs] = &self.received;
        let [accepted, duplicate, late, malformed] = match broker {
            BrokerKind::RabbitMq => rabbitmq,
            BrokerKind::Sqs => sqs,
        };
        match result {
            Receiving::Accepted => accepted.inc(),
            Receiving::Duplicate => duplicate.inc(),
            Receiving::Late => late.inc(),
            Receiving::Malformed => malformed.inc(),
        }
    }
}
