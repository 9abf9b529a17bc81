//! RabbitMQ as a broker, against a real server (participants.md, "RabbitMQ" and "Dead letters").
//!
//! `AMENDS_TEST_RABBITMQ` says where the server is; every test has names of its own on it, and what
//! takes a server down is done to one of the test's own.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may"
)]

mod bed;
mod bringing;
mod losing;
#[path = "../store_contract/proxy.rs"]
mod proxy;
mod publishing;
mod serving;
mod topology;
