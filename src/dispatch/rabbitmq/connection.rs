//! One connection to RabbitMQ: how it is made, what it tells of itself, and what an error ends.
//!
//! Nothing it says has the server's address or a credential in it.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use lapin::types::{LongString, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Error, ErrorKind, Event};

use crate::config::BrokerUrl;

/// How long a server may be silent where its URL does not say, in seconds; the client gives it up
/// after twice that.
const HEARTBEAT_SECONDS: u16 = 10;
/// How long the way to the server may take where its URL does not say.
const CONNECT_MS: u64 = 5_000;
/// How long it may take until the server has let us in.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// How long a connection may take to be closed.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// How often a connection is looked at that tells nothing.
const LOOK: Duration = Duration::from_secs(1);

/// Where a server is and who we are there.
#[derive(Clone)]
pub(crate) struct Address {
    uri: AMQPUri,
    name: LongString,
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Address").finish_non_exhaustive()
    }
}

impl Address {
    /// Reads a URL; `name` is what the server's operator sees of us. `Err` says what is wrong.
    pub(crate) fn parse(url: &BrokerUrl, name: &str) -> Result<Self, String> {
        // What the library says of a URL that it cannot read may hold the URL.
        let mut uri: AMQPUri = url
            .as_str()
            .parse()
            .map_err(|_url_in_it| "its URL cannot be read".to_owned())?;
        if ShortString::try_new(uri.vhost.as_str()).is_err() {
            return Err("the virtual host in its URL is too long".to_owned());
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        uri.query.connection_timeout.get_or_insert(CONNECT_MS);
        Ok(Self {
            uri,
            name: name.into(),
        })
    }

    /// Connects once.
    pub(crate) async fn connect(&self) -> Result<Connection, String> {
        let properties = ConnectionProperties::default().with_connection_name(self.name.clone());
        let connecting = Connection::connect_uri(self.uri.clone(), properties);
        match tokio::time::timeout(HANDSHAKE, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(words(&error)),
            Err(_elapsed) => Err("it does not answer".to_owned()),
        }
    }
}

/// Closes a connection that is of no use any more. Where that does not work, it is gone or will be.
pub(crate) async fn close(connection: &Connection) {
    let closing = connection.close(200, "done".into());
    let _closed = tokio::time::timeout(CLOSE_MAX, closing).await.is_ok();
}

/// Until a connection is gone and whoever waits for anything on it had time to hear of it.
pub(crate) async fn gone(connection: &Connection) {
    while connection.status().connected() {
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(LOOK).await;
}

/// What an error ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The connection: everything on it is gone.
    Connection(String),
    /// A channel: the connection stands.
    Channel(String),
}

impl From<Error> for Trouble {
    /// Reads what the library says.
    fn from(error: Error) -> Self {
        let is_channel = error.is_amqp_soft_error()
            || matches!(
                error.kind(),
                ErrorKind::InvalidChannel(_)
                    | ErrorKind::InvalidChannelState(..)
                    | ErrorKind::ChannelsLimitReached
            );
        if is_channel {
            Self::Channel(words(&error))
        } else {
            Self::Connection(words(&error))
        }
    }
}

/// An error in the server's own words where it has any, without the name that we have there.
fn words(error: &Error) -> String {
    let kind = error.kind();
    if let ErrorKind::ProtocolError(error) = kind {
        let said = error.get_message().as_str();
        return said
            .split(" for user '")
            .next()
            .unwrap_or_default()
            .to_owned();
    }
    if let ErrorKind::IOError(error) = kind {
        return format!("it cannot be reached: {error}");
    }
    if let ErrorKind::InvalidConnectionState(_) = kind {
        return "the connection was closed".to_owned();
    }
    error.to_string()
}

/// What a connection tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The server takes no messages for now.
    Blocked(String),
    /// It takes messages again.
    Unblocked,
    /// It is gone.
    Lost(String),
}

/// Listens to a connection. There may be one listener only: each thing is told once.
pub(crate) struct Listener {
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    last: Option<String>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Listener").finish_non_exhaustive()
    }
}

impl Listener {
    pub(crate) fn to(connection: &Connection) -> Self {
        Self {
            events: Box::pin(connection.events_listener()),
            last: None,
        }
    }

    /// The next thing that `connection` tells. May be dropped and called again.
    pub(crate) async fn next(&mut self, connection: &Connection) -> News {
        loop {
            let event = tokio::time::timeout(LOOK, self.events.next()).await;
            if let Ok(Some(Event::ConnectionBlocked(why))) = event {
                return News::Blocked(why);
            }
            if let Ok(Some(Event::ConnectionUnblocked)) = event {
                return News::Unblocked;
            }
            if let Ok(Some(Event::Error(error))) = &event {
                self.last = Some(words(error));
            }
            if !connection.status().connected() || matches!(event, Ok(None)) {
                let why = self.last.take();
                return News::Lost(why.unwrap_or_else(|| "the connection was lost".to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};

    use super::*;

    fn protocol(kind: impl Into<AMQPErrorKind>, message: &str) -> Error {
        ErrorKind::ProtocolError(AMQPError::new(kind.into(), message.into())).into()
    }

    #[test]
    fn channel_and_connection_errors_are_told_apart_and_name_no_user() {
        let error = protocol(
            AMQPSoftError::ACCESSREFUSED,
            "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'ann'",
        );
        let expected = "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused";
        assert_eq!(Trouble::from(error), Trouble::Channel(expected.to_owned()));
        let error = protocol(
            AMQPHardError::CONNECTIONFORCED,
            "CONNECTION_FORCED - shutdown",
        );
        let expected = "CONNECTION_FORCED - shutdown";
        assert_eq!(
            Trouble::from(error),
            Trouble::Connection(expected.to_owned())
        );
        let error = Error::from(ErrorKind::MissingHeartbeatError);
        assert!(matches!(Trouble::from(error), Trouble::Connection(_)));
        let error = Error::from(ErrorKind::InvalidChannel(3));
        assert!(matches!(Trouble::from(error), Trouble::Channel(_)));
    }

    #[test]
    fn an_address_is_not_printed() {
        let url = BrokerUrl::parse("amqp://ann:hunter2@rabbit:5672/%2f?heartbeat=3").unwrap();
        let address = Address::parse(&url, "test").unwrap();
        assert_eq!(address.uri.query.heartbeat, Some(3));
        assert_eq!(address.uri.query.connection_timeout, Some(CONNECT_MS));
        let printed = format!("{address:?}");
        assert!(
            !printed.contains("hunter2") && !printed.contains("rabbit"),
            "{printed}"
        );
        let long = format!("amqp://rabbit/{}", "v".repeat(300));
        let error = Address::parse(&BrokerUrl::parse(&long).unwrap(), "test").unwrap_err();
        assert!(!error.contains("rabbit"), "{error}");
    }
}
