//! The participants beside the demo's coordinator, and what depends on the way to them.

use std::net::SocketAddr;

use tokio_util::task::TaskTracker;

use super::participants::Participants;
use super::participants::queues::Queues;
use crate::cli::error::CliError;
use crate::cli::sample::{self, IN_COMMANDS, SAMPLES};
use crate::config::{BrokerUrl, RabbitMq};
use crate::dispatch::rabbitmq::site::Site;
use crate::engine::clock;
use crate::participant::rabbitmq::Settings;

/// How many commands of one queue may be under way at a time, those counted that stay unanswered.
const PREFETCH: u16 = 64;
/// How much of chance is in the names on the broker, in hexadecimal digits.
const CHANCE_DIGITS: usize = 12;

/// A start to try next: a definition and its input.
type Try = (&'static str, &'static str);

/// The participants.
pub(super) enum Beside {
    /// Reached over HTTP.
    Http {
        /// They themselves.
        participants: Participants,
        /// Where they are served.
        tasks: TaskTracker,
    },
    /// Reached over RabbitMQ.
    RabbitMq {
        /// They themselves.
        participants: Queues,
        /// How the coordinator is configured.
        settings: RabbitMq,
        /// What there is on the server because of the demo.
        site: Box<Site>,
    },
}

impl Beside {
    /// Listens for HTTP at once.
    pub(super) fn over_http(address: SocketAddr) -> Result<Self, CliError> {
        let (participants, server) = Participants::bind(address)
            .map_err(|source| CliError::io(format!("{address} cannot be listened on"), source))?;
        let tasks = TaskTracker::new();
        tasks.spawn(server);
        Ok(Self::Http {
            participants,
            tasks,
        })
    }

    /// Takes commands from RabbitMQ, under names of this run's own.
    pub(super) async fn over_rabbitmq(url: &BrokerUrl) -> Result<Self, CliError> {
        let chance: String = clock::secret().chars().take(CHANCE_DIGITS).collect();
        let settings = RabbitMq {
            url: url.clone(),
            prefix: format!("amends-demo-{chance}"),
            declare: true,
            prefetch: PREFETCH,
        };
        let names = sample::participants(IN_COMMANDS);
        let queues: Vec<String> = names
            .iter()
            .map(|name| queue_of(&settings.prefix, name))
            .collect();
        let site = Site::of(&settings, &queues)?;
        // The coordinator would wait for a server that is away, for ever.
        site.reach().await?;
        let participants = Queues::default();
        for (name, queue) in names.into_iter().zip(queues) {
            let settings = Settings {
                url: settings.url.clone(),
                queue,
                prefix: settings.prefix.clone(),
                declare: settings.declare,
                prefetch: settings.prefetch,
                source: format!("/{name}"),
            };
            participants.serve(name, settings);
        }
        Ok(Self::RabbitMq {
            participants,
            settings,
            site: Box::new(site),
        })
    }

    /// The definitions that they can take part in.
    pub(super) fn samples(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Http { .. } => SAMPLES,
            Self::RabbitMq { .. } => IN_COMMANDS,
        }
    }

    /// How the coordinator reaches them: keys of its configuration.
    pub(super) fn keys(&self) -> Vec<(String, String)> {
        let names = sample::participants(self.samples()).into_iter();
        match self {
            Self::Http { participants, .. } => names
                .map(|name| (format!("participants.{name}.url"), participants.url(&name)))
                .collect(),
            Self::RabbitMq { settings, .. } => {
                let broker = [
                    ("url", settings.url.as_str().to_owned()),
                    ("prefix", settings.prefix.clone()),
                    ("declare", settings.declare.to_string()),
                    ("prefetch", settings.prefetch.to_string()),
                ];
                let broker = broker.map(|(key, value)| (format!("rabbitmq.{key}"), value));
                let each = names.flat_map(|name| {
                    let key = |key| format!("participants.{name}.{key}");
                    let queue = queue_of(&settings.prefix, &name);
                    [
                        (key("transport"), "rabbitmq".to_owned()),
                        (key("queue"), queue),
                    ]
                });
                broker.into_iter().chain(each).collect()
            }
        }
    }

    /// Where they are, for people.
    pub(super) fn places(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Http { participants, .. } => {
                let at = participants.address();
                let place = format!("http://{at} (inventory, payment, shipping and more)");
                vec![("participants", place)]
            }
            Self::RabbitMq { settings, .. } => {
                let queues = "queues (inventory, payment, shipping; gone when the demo ends)";
                vec![
                    ("rabbitmq", settings.url.masked()),
                    ("participants", format!("{}.* {queues}", settings.prefix)),
                ]
            }
        }
    }

    /// What a visitor may try next.
    pub(super) fn try_next(&self) -> Try {
        match self {
            Self::Http { .. } => (
                "money_transfer",
                r#"{"from": "alice", "to": "bob", "amount": 500, "currency": "EUR"}"#,
            ),
            Self::RabbitMq { .. } => (
                "order_fulfilment",
                r#"{"order_id": "A-1", "items": [{"sku": "tea", "quantity": 2}], "total": 40}"#,
            ),
        }
    }

    /// Waits until both sides take what the other sends.
    pub(super) async fn ready(&self) -> Result<(), CliError> {
        match self {
            Self::Http { .. } => Ok(()),
            Self::RabbitMq { site, .. } => Ok(site.taken_from().await?),
        }
    }

    /// Ends them.
    pub(super) async fn stop(&self) {
        match self {
            Self::Http {
                participants,
                tasks,
            } => {
                participants.stop().await;
                tasks.close();
                tasks.wait().await;
            }
            Self::RabbitMq { participants, .. } => participants.stop().await,
        }
    }

    /// Takes away what is left when the coordinator has ended, too.
    pub(super) async fn clear(&self) -> Result<(), CliError> {
        match self {
            Self::Http { .. } => Ok(()),
            Self::RabbitMq { site, .. } => Ok(site.clear().await?),
        }
    }

    /// What is left where nothing was taken away.
    pub(super) fn left(&self) -> Option<String> {
        match self {
            Self::Http { .. } => None,
            Self::RabbitMq { settings, .. } => {
                let prefix = &settings.prefix;
                Some(format!("the queues and exchanges {prefix}.* of RabbitMQ"))
            }
        }
    }
}

fn queue_of(prefix: &str, participant: &str) -> String {
    format!("{prefix}.{participant}")
}
