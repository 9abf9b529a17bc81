//! What the API says: the wire's own structs, made from the domain's at the last moment and
//! serialised once. They borrow, so nothing is copied on the way out.

pub mod audit;
pub mod dead_letter;
pub mod definition;
pub mod event;
pub mod saga;
mod time;

pub use time::At;

use serde::Serialize;
use utoipa::ToSchema;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins; null on the last.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

#[cfg(test)]
mod tests;
