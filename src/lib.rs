//! `amends`, a saga coordinator. The map of the house is in `ARCHITECTURE.md`.

pub mod definition;
pub mod saga;
pub mod store;
