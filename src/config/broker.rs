//! `rabbitmq` and `sqs`: the brokers that participants may be reached over.

use std::fmt;

use url::Url;

use super::quantity::{count, truth};
use super::secrets::MASK;
use super::section::Section;

/// What begins the names of a deployment's queues and exchanges where nobody says.
const PREFIX: &str = "amends";
/// The longest prefix, in characters: what is put behind it fits into the names that brokers take.
const PREFIX_CHARS_MAX: usize = 40;

/// `rabbitmq`: a RabbitMQ server or cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RabbitMq {
    /// Where it is.
    pub url: BrokerUrl,
    /// What the names of this deployment's exchanges and queues begin with.
    pub prefix: String,
    /// Whether what is missing of them is made; else they are only checked.
    pub declare: bool,
    /// How many messages may be under way to this process before one is settled.
    pub prefetch: u16,
}

/// `sqs`: Amazon SQS, or what speaks its protocol. Region and credentials are taken from the usual
/// AWS variables and files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sqs {
    /// Another server than Amazon's.
    pub endpoint: Option<Url>,
    /// What the names of this deployment's own queues begin with.
    pub prefix: String,
    /// Whether queues that are missing are made; else they are only looked up.
    pub declare: bool,
}

/// The URL of a RabbitMQ server, with the password in it hidden from whoever prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl(String);

impl BrokerUrl {
    /// Reads a URL; `Err` says what is wrong with it.
    ///
    /// # Errors
    /// When it is none, of another scheme, or has no host.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
        if !matches!(url.scheme(), "amqp" | "amqps") || !url.has_host() {
            return Err("must be amqp://USER:PASSWORD@HOST/VHOST, or amqps://…".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// The URL as the client takes it, password included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL for people: without the password.
    #[must_use]
    pub fn masked(&self) -> String {
        masked(&self.0)
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.masked())
    }
}

fn masked(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) if url.password().is_some() => {
            // A URL with a password has a host, so it can have another.
            let _set = url.set_password(Some(MASK));
            url.to_string()
        }
        Ok(_) | Err(_) => text.to_owned(),
    }
}

pub(super) fn read_rabbitmq(section: &mut Section) -> Option<RabbitMq> {
    let url = section.read_optional("url", BrokerUrl::parse);
    section.mask("url", masked);
    let prefix = section.read("prefix", (PREFIX.to_owned(), PREFIX), prefix);
    let declare = section.read("declare", (true, "true"), truth);
    let prefetch = section.read("prefetch", (256, "256"), count(1..=10_000));
    Some(RabbitMq {
        url: url?,
        prefix,
        declare,
        prefetch: u16::try_from(prefetch).unwrap_or(u16::MAX),
    })
}

pub(super) fn read_sqs(section: &mut Section) -> Option<Sqs> {
    let enabled = section.read("enabled", (false, "false"), truth);
    let endpoint = section.read_optional("endpoint", super::participant::http_url);
    let prefix = section.read("prefix", (PREFIX.to_owned(), PREFIX), prefix);
    let declare = section.read("declare", (false, "false"), truth);
    enabled.then_some(Sqs {
        endpoint,
        prefix,
        declare,
    })
}

fn prefix(text: &str) -> Result<String, String> {
    fits_every_broker(text, PREFIX_CHARS_MAX)?;
    Ok(text.to_owned())
}

/// Whether every broker takes that as a name, or as a part of one; `Err` says what it must be.
pub(super) fn fits_every_broker(text: &str, chars_max: usize) -> Result<(), String> {
    let fits = (1..=chars_max).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if fits {
        Ok(())
    } else {
        Err(format!("must be 1 to {chars_max} of A-Z a-z 0-9 - _ ."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_printed() {
        let url = BrokerUrl::parse("amqp://ann:hunter2@rabbit:5672/%2f").unwrap();
        let printed = format!("{url:?}");
        assert!(!printed.contains("hunter2"), "{printed}");
        assert!(printed.contains("ann:***@rabbit"), "{printed}");
        assert_eq!(url.as_str(), "amqp://ann:hunter2@rabbit:5672/%2f");
        for bad in ["", "rabbit:5672", "http://rabbit", "amqp:///vhost"] {
            assert!(BrokerUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_fits_into_names() {
        for good in ["amends", "a", "Shop_1.test-x"] {
            assert!(prefix(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(41)] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }
}
