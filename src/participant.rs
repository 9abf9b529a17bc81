//! What a Rust service needs to be a good participant (participants.md).

pub mod rabbitmq;
