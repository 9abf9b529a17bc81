//! What is counted of messages through brokers.

use prometheus::{IntCounter, Registry};

use super::families::{Counters, MetricsError};

/// A broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broker {
    /// RabbitMQ.
    RabbitMq,
    /// SQS, or what speaks its protocol.
    Sqs,
}

impl Broker {
    const ALL: [Self; 2] = [Self::RabbitMq, Self::Sqs];

    fn as_str(self) -> &'static str {
        match self {
            Self::RabbitMq => "rabbitmq",
            Self::Sqs => "sqs",
        }
    }
}

/// What became of a message that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// The broker has it.
    Confirmed,
    /// The broker had nowhere to put it.
    Returned,
    /// It was not taken.
    Failed,
}

impl Publishing {
    const ALL: [Self; 3] = [Self::Confirmed, Self::Returned, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Returned => "returned",
            Self::Failed => "failed",
        }
    }
}

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
            published: Broker::ALL.map(|broker| {
                Publishing::ALL.map(|result| published.at([broker.as_str(), result.as_str()]))
            }),
            received: Broker::ALL.map(|broker| {
                Receiving::ALL.map(|result| received.at([broker.as_str(), result.as_str()]))
            }),
        })
    }

    pub(super) fn published(&self, broker: Broker, result: Publishing) {
        let [rabbitmq, sqs] = &self.published;
        let [confirmed, returned, failed] = match broker {
            Broker::RabbitMq => rabbitmq,
            Broker::Sqs => sqs,
        };
        match result {
            Publishing::Confirmed => confirmed.inc(),
            Publishing::Returned => returned.inc(),
            Publishing::Failed => failed.inc(),
        }
    }

    pub(super) fn received(&self, broker: Broker, result: Receiving) {
        let [rabbitmq, sqs] = &self.received;
        let [accepted, duplicate, late, malformed] = match broker {
            Broker::RabbitMq => rabbitmq,
            Broker::Sqs => sqs,
        };
        match result {
            Receiving::Accepted => accepted.inc(),
            Receiving::Duplicate => duplicate.inc(),
            Receiving::Late => late.inc(),
            Receiving::Malformed => malformed.inc(),
        }
    }
}
