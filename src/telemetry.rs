//! What this process tells of itself: metrics for Prometheus, what it was built from, its logs and
//! its traces. It decides nothing, and nothing waits for it.
//!
//! There is one [`Metrics`] and one [`Traces`], made by the composition root and handed to whoever
//! has something to tell. Global is only what `tracing` has to have: the subscriber that [`logs`]
//! installs.

pub mod build;
pub mod logs;
pub mod metrics;
pub mod traces;

pub use metrics::Metrics;
pub use traces::Traces;
