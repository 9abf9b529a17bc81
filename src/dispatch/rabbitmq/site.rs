//! What a deployment has on a server, seen from outside: whether it is in use, and how it is taken
//! away again. For whoever lets a deployment live for a while only, as the demo does.

use std::time::Duration;

use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection};

use super::connection::{Address, Trouble, close};
use super::topology::{Names, dead_letters_of, name, open};
use super::{NAME, wrong};
use crate::config;
use crate::dispatch::DispatchError;

/// How long the server may take to let us in, before it is said to be away.
const REACH_WITHIN: Duration = Duration::from_secs(5);
/// How often a queue is looked at that nobody takes from.
const LOOK: Duration = Duration::from_millis(50);

/// The exchanges and queues of one deployment.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    address: Address,
    exchanges: Vec<ShortString>,
    /// Those that somebody is to take from.
    queues: Vec<ShortString>,
    dead_letters: Vec<ShortString>,
}

impl Site {
    /// That of a coordinator with these settings; `participants` are the participants' queues.
    ///
    /// # Errors
    /// When the URL cannot be read, or a name is longer than the protocol allows.
    pub(crate) fn of(
        settings: &config::RabbitMq,
        participants: &[String],
    ) -> Result<Self, DispatchError> {
        let address = Address::parse(&settings.url, NAME).map_err(wrong)?;
        let names = Names::of(&settings.prefix).map_err(wrong)?;
        let mut queues = vec![names.replies];
        for participant in participants {
            queues.push(name(participant).map_err(wrong)?);
        }
        let dead_letters = queues.iter().map(|queue| dead_letters_of(queue.as_str()));
        let dead_letters = dead_letters.collect::<Result<_, _>>().map_err(wrong)?;
        Ok(Self {
            address,
            exchanges: vec![names.commands, names.dead_letters],
            queues,
            dead_letters,
        })
    }

    /// Whether the server is there and lets us in.
    ///
    /// # Errors
    /// When it is not, after a few seconds at the most.
    pub(crate) async fn reach(&self) -> Result<(), DispatchError> {
        close(&self.connect().await?).await;
        Ok(())
    }

    /// Waits until somebody takes from every queue.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(crate) async fn taken_from(&self) -> Result<(), DispatchError> {
        let connection = self.connect().await?;
        loop {
            match self.is_taken_from(&connection).await {
                Ok(true) => break,
                // A queue that is not there ends the channel.
                Ok(false) | Err(Trouble::Channel(_)) => tokio::time::sleep(LOOK).await,
                Err(Trouble::Connection(why)) => return Err(wrong(why)),
            }
        }
        close(&connection).await;
        Ok(())
    }

    async fn is_taken_from(&self, connection: &Connection) -> Result<bool, Trouble> {
        let channel = open(connection).await?;
        let mut is_taken_from = true;
        for queue in &self.queues {
            let options = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let looked_at = channel
                .queue_declare(queue.clone(), options, FieldTable::default())
                .await?;
            is_taken_from &= looked_at.consumer_count() > 0;
        }
        let _closed = channel.close(200, "done".into()).await.is_ok();
        Ok(is_taken_from)
    }

    /// Takes everything away, with what still lies in the queues. What is gone already is no error.
    ///
    /// # Errors
    /// When the server is away or forbids it.
    pub(crate) async fn clear(&self) -> Result<(), DispatchError> {
        let connection = self.connect().await?;
        let cleared = match open(&connection).await {
            Ok(channel) => self.clear_on(&channel).await,
            Err(trouble) => Err(trouble),
        };
        close(&connection).await;
        cleared.map_err(|trouble| match trouble {
            Trouble::Channel(why) | Trouble::Connection(why) => wrong(why),
        })
    }

    async fn clear_on(&self, channel: &Channel) -> Result<(), Trouble> {
        // Dead letters last: what is in a queue must not be on its way there any more.
        for queue in self.queues.iter().chain(&self.dead_letters) {
            channel
                .queue_delete(queue.clone(), QueueDeleteOptions::default())
                .await?;
        }
        for exchange in &self.exchanges {
            channel
                .exchange_delete(exchange.clone(), ExchangeDeleteOptions::default())
                .await?;
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Connection, DispatchError> {
        match tokio::time::timeout(REACH_WITHIN, self.address.connect()).await {
            Ok(connected) => connected.map_err(wrong),
            Err(_elapsed) => Err(wrong("it does not answer".to_owned())),
        }
    }
}
