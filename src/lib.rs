//! `amends`, a saga coordinator. The map of the house is in `ARCHITECTURE.md`.

pub mod api;
pub mod cli;
pub mod config;
pub mod definition;
pub mod dispatch;
pub mod engine;
pub mod message;
pub mod participant;
pub mod saga;
pub mod store;
pub mod telemetry;
