//! The exchanges and queues of a deployment, and whether the server has them so (participants.md,
//! "RabbitMQ").

use std::fmt;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};

use super::connection::Trouble;

/// How often a message is given to a participant's consumers before it is a dead letter.
pub(crate) const DELIVERIES_MAX: i64 = 5;
/// As often as a message of ours is given to us: as often as it takes. It is written out because
/// newer servers have a limit of their own where none is, and drop what passes it.
const DELIVERIES_UNLIMITED: i64 = i32::MAX as i64;
/// What is put behind a queue's name for that of its dead letters.
const DEAD: &str = ".dlq";

/// The names of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The exchange that commands are given to.
    pub(crate) commands: ShortString,
    /// The exchange that dead letters go through.
    pub(crate) dead_letters: ShortString,
    /// The queue that replies come to.
    pub(crate) replies: ShortString,
}

impl Names {
    /// `Err` when the prefix is too long.
    pub(crate) fn of(prefix: &str) -> Result<Self, String> {
        Ok(Self {
            commands: name(&format!("{prefix}.commands"))?,
            dead_letters: name(&format!("{prefix}.dead-letters"))?,
            replies: name(&format!("{prefix}.replies"))?,
        })
    }
}

/// A name as the protocol takes it; `Err` when it is too long.
pub(crate) fn name(text: &str) -> Result<ShortString, String> {
    ShortString::try_new(text).map_err(|_error| format!("the name {text} is too long"))
}

/// The queue of the dead letters of `queue`.
pub(crate) fn dead_letters_of(queue: &str) -> Result<ShortString, String> {
    name(&format!("{queue}{DEAD}"))
}

/// The queue whose dead letters lie in `dead_letters`.
pub(crate) fn queue_of(dead_letters: &str) -> &str {
    dead_letters.strip_suffix(DEAD).unwrap_or(dead_letters)
}

/// One thing that the server must have.
#[derive(Clone, Debug, PartialEq)]
enum Item {
    Exchange(ShortString),
    Queue {
        name: ShortString,
        arguments: FieldTable,
    },
    Binding {
        queue: ShortString,
        exchange: ShortString,
        key: ShortString,
    },
}

impl fmt::Display for Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(name) => write!(formatter, "exchange {name}"),
            Self::Queue { name, .. } => write!(formatter, "queue {name}"),
            Self::Binding {
                queue, exchange, ..
            } => write!(formatter, "queue {queue} bound to exchange {exchange}"),
        }
    }
}

impl Item {
    /// Whether this one needs what `other` is.
    fn needs(&self, other: &Self) -> bool {
        let Self::Binding {
            queue, exchange, ..
        } = self
        else {
            return false;
        };
        match other {
            Self::Exchange(name) => name == exchange,
            Self::Queue { name, .. } => name == queue,
            Self::Binding { .. } => false,
        }
    }
}

/// Everything that the server must have for us.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Topology {
    items: Vec<Item>,
    /// Whether what is missing is made; else it is only looked for.
    declare: bool,
}

impl Topology {
    /// What the coordinator needs: the queues of the participants, and that of the replies.
    pub(crate) fn of_coordinator(
        names: &Names,
        queues: &[String],
        declare: bool,
    ) -> Result<Self, String> {
        let mut topology = Self::exchanges(names, declare);
        for queue in queues {
            topology.add_queue(names, name(queue)?, DELIVERIES_MAX)?;
            topology.items.push(Item::Binding {
                queue: name(queue)?,
                exchange: names.commands.clone(),
                key: name(queue)?,
            });
        }
        // A reply is ours to take. That a connection broke while it was under way is not its fault.
        topology.add_queue(names, names.replies.clone(), DELIVERIES_UNLIMITED)?;
        Ok(topology)
    }

    /// What one participant needs: its own queue.
    pub(crate) fn of_participant(
        names: &Names,
        queue: &str,
        declare: bool,
    ) -> Result<Self, String> {
        if !declare {
            let items = vec![Item::Queue {
                name: name(queue)?,
                arguments: FieldTable::default(),
            }];
            return Ok(Self { items, declare });
        }
        let mut topology = Self::of_coordinator(names, &[queue.to_owned()], declare)?;
        let dead = dead_letters_of(names.replies.as_str())?;
        topology.items.retain(|item| match item {
            Item::Queue { name, .. } | Item::Binding { queue: name, .. } => {
                *name != names.replies && *name != dead
            }
            Item::Exchange(_) => true,
        });
        Ok(topology)
    }

    fn exchanges(names: &Names, declare: bool) -> Self {
        let items = vec![
            Item::Exchange(names.commands.clone()),
            Item::Exchange(names.dead_letters.clone()),
        ];
        Self { items, declare }
    }

    /// A queue, and that of its dead letters.
    fn add_queue(
        &mut self,
        names: &Names,
        queue: ShortString,
        deliveries_max: i64,
    ) -> Result<(), String> {
        let dead = dead_letters_of(queue.as_str())?;
        self.items.push(Item::Queue {
            name: dead.clone(),
            arguments: quorum(DELIVERIES_UNLIMITED),
        });
        self.items.push(Item::Binding {
            queue: dead,
            exchange: names.dead_letters.clone(),
            key: queue.clone(),
        });
        let mut arguments = quorum(deliveries_max);
        for (argument, value) in [
            ("x-dead-letter-exchange", names.dead_letters.as_str()),
            ("x-dead-letter-routing-key", queue.as_str()),
            // A dead letter is not forgotten before the other queue has it, and this strategy is to
            // be had only where a full queue refuses what is new.
            ("x-dead-letter-strategy", "at-least-once"),
            ("x-overflow", "reject-publish"),
        ] {
            arguments.insert(argument.into(), text(value));
        }
        self.items.push(Item::Queue {
            name: queue,
            arguments,
        });
        Ok(())
    }

    /// Looks at everything, and makes what is missing where it may. What does not fit is named with
    /// what is wrong with it; one thing that does not fit hides no other.
    pub(crate) async fn stand(&self, connection: &Connection) -> Result<(), Trouble> {
        let mut channel = open(connection).await?;
        let mut misfits: Vec<(&Item, String)> = Vec::new();
        for item in &self.items {
            if misfits.iter().any(|(misfit, _)| item.needs(misfit)) {
                continue;
            }
            match self.look_at(&channel, item).await {
                Ok(()) => {}
                Err(Trouble::Channel(why)) => {
                    misfits.push((item, why));
                    channel = open(connection).await?;
                }
                Err(lost @ Trouble::Connection(_)) => return Err(lost),
            }
        }
        // The channel has done its work; that it cannot be closed says only that it is.
        let _closed = channel.close(200, "done".into()).await.is_ok();
        if misfits.is_empty() {
            return Ok(());
        }
        let words: Vec<String> = misfits
            .iter()
            .map(|(item, why)| format!("{item} does not fit: {why}"))
            .collect();
        Err(Trouble::Channel(words.join("; ")))
    }

    async fn look_at(&self, channel: &Channel, item: &Item) -> Result<(), Trouble> {
        let (passive, durable) = (!self.declare, true);
        let looked = match item {
            Item::Exchange(name) => {
                let options = ExchangeDeclareOptions {
                    passive,
                    durable,
                    ..ExchangeDeclareOptions::default()
                };
                let arguments = FieldTable::default();
                channel
                    .exchange_declare(name.clone(), ExchangeKind::Direct, options, arguments)
                    .await
            }
            Item::Queue { name, arguments } => {
                let options = QueueDeclareOptions {
                    passive,
                    durable,
                    ..QueueDeclareOptions::default()
                };
                channel
                    .queue_declare(name.clone(), options, arguments.clone())
                    .await
                    .map(drop)
            }
            // Nobody can look for a binding without making it.
            Item::Binding { .. } if passive => Ok(()),
            Item::Binding {
                queue,
                exchange,
                key,
            } => {
                channel
                    .queue_bind(
                        queue.clone(),
                        exchange.clone(),
                        key.clone(),
                        QueueBindOptions::default(),
                        FieldTable::default(),
                    )
                    .await
            }
        };
        Ok(looked?)
    }
}

/// A channel on `connection`.
pub(crate) async fn open(connection: &Connection) -> Result<Channel, Trouble> {
    Ok(connection.create_channel().await?)
}

fn quorum(deliveries_max: i64) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert(
        "x-delivery-limit".into(),
        AMQPValue::LongLongInt(deliveries_max),
    );
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments_of(topology: &Topology, wanted: &str) -> Vec<(String, String)> {
        let arguments = topology.items.iter().find_map(|item| match item {
            Item::Queue { name, arguments } if name.as_str() == wanted => Some(arguments),
            Item::Queue { .. } | Item::Exchange(_) | Item::Binding { .. } => None,
        });
        let mut pairs: Vec<(String, String)> = arguments
            .unwrap_or_else(|| panic!("no queue {wanted}"))
            .into_iter()
            .map(|(name, value)| (name.to_string(), format!("{value:?}")))
            .collect();
        pairs.sort();
        pairs
    }

    #[test]
    fn the_coordinators_topology_is_that_of_the_specification() {
        let names = Names::of("shop").unwrap();
        let topology = Topology::of_coordinator(&names, &["pay".to_owned()], true).unwrap();
        let shown: Vec<String> = topology.items.iter().map(Item::to_string).collect();
        assert_eq!(
            shown,
            [
                "exchange shop.commands",
                "exchange shop.dead-letters",
                "queue pay.dlq",
                "queue pay.dlq bound to exchange shop.dead-letters",
                "queue pay",
                "queue pay bound to exchange shop.commands",
                "queue shop.replies.dlq",
                "queue shop.replies.dlq bound to exchange shop.dead-letters",
                "queue shop.replies",
            ]
        );
        let text = |value: &str| format!("{:?}", text(value));
        let limit = |deliveries: i64| format!("{:?}", AMQPValue::LongLongInt(deliveries));
        let with_dead_letters = |queue: &str, deliveries: i64| {
            [
                ("x-dead-letter-exchange", text("shop.dead-letters")),
                ("x-dead-letter-routing-key", text(queue)),
                ("x-dead-letter-strategy", text("at-least-once")),
                ("x-delivery-limit", limit(deliveries)),
                ("x-overflow", text("reject-publish")),
                ("x-queue-type", text("quorum")),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec()
        };
        assert_eq!(arguments_of(&topology, "pay"), with_dead_letters("pay", 5));
        assert_eq!(
            arguments_of(&topology, "shop.replies"),
            with_dead_letters("shop.replies", DELIVERIES_UNLIMITED)
        );
        for dead in ["pay.dlq", "shop.replies.dlq"] {
            let arguments: Vec<String> = arguments_of(&topology, dead)
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            assert_eq!(arguments, ["x-delivery-limit", "x-queue-type"], "{dead}");
        }
    }

    #[test]
    fn a_participant_makes_its_own_queue_and_no_replies() {
        let names = Names::of("shop").unwrap();
        let all = Topology::of_coordinator(&names, &["pay".to_owned()], true).unwrap();
        let own = Topology::of_participant(&names, "pay", true).unwrap();
        assert_eq!(own.items, all.items[..6]);
        let looked = Topology::of_participant(&names, "pay", false).unwrap();
        assert_eq!(looked.items.len(), 1);
        assert!(!looked.declare);
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let names = Names::of("shop").unwrap();
        let queue = "q".repeat(252);
        assert!(Topology::of_coordinator(&names, &[queue], true).is_err());
        assert!(Topology::of_coordinator(&names, &["q".repeat(251)], true).is_ok());
    }
}
