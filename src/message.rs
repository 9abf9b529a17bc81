//! The messages between the coordinator and its participants over brokers: CloudEvents 1.0 in
//! structured JSON, the same over every broker (participants.md, "Messages").
//!
//! Both ends are here, because both are ours: the coordinator writes a [`Command`] and reads a
//! [`Reply`], and `participant` does it the other way round. It knows neither brokers nor sagas'
//! states.

mod command;
mod reply;

pub use command::{Command, MalformedCommand};
pub use reply::{MalformedReply, Reply, ReplyOutcome};

/// The content type of every message.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";
/// The `type` of a command.
pub const COMMAND_TYPE: &str = "amends.command.v1";
/// The `type` of a reply.
pub const REPLY_TYPE: &str = "amends.reply.v1";
/// The version of CloudEvents.
const SPEC_VERSION: &str = "1.0";
/// The longest `id` of a reply, in characters: it is kept with its saga.
pub const REPLY_ID_CHARS_MAX: usize = 255;

#[cfg(test)]
mod tests;
