//! Waiting for a time that may not be set.

use tokio::time::Instant;

/// Until then; for ever where nothing is due.
pub(crate) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
