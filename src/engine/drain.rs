//! How a process stops, step by step (operations.md, "Drain"): nothing new begins, what is under
//! way is given time to answer, what was not answered is left to the next owner, and the shards are
//! given back. No saga is ended or compensated because of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Engine;

/// How long each of the last steps of a drain may take.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// The signals of a stop, in the order in which they are given, and what they wait for.
pub(super) struct Stopping {
    /// No new starts, no new attempts.
    pub(super) draining: CancellationToken,
    /// What is still under way is left to the next owner.
    pub(super) hard: CancellationToken,
    /// The lease is given back.
    pub(super) stopped: CancellationToken,
    /// The tasks that carry out calls.
    pub(super) calls: TaskTracker,
    /// All other tasks.
    pub(super) tasks: TaskTracker,
    /// Where the tasks run: the runtime that launched the engine, not that of whoever asks.
    pub(super) runtime: tokio::runtime::Handle,
    /// The drain is over.
    over: CancellationToken,
    /// The calls that had not been answered when its time was up.
    unanswered: AtomicUsize,
}

/// What a drain came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Calls that had not been answered when the time was up; the next owner sends them again,
    /// under the same keys.
    pub unanswered: usize,
}

impl Stopping {
    pub(super) fn new(runtime: tokio::runtime::Handle) -> Self {
        Self {
            draining: CancellationToken::new(),
            hard: CancellationToken::new(),
            stopped: CancellationToken::new(),
            calls: TaskTracker::new(),
            tasks: TaskTracker::new(),
            runtime,
            over: CancellationToken::new(),
            unanswered: AtomicUsize::new(0),
        }
    }

    async fn run(&self, timeout: Duration) {
        let exchanges = tokio::time::timeout(timeout, self.calls.wait());
        if exchanges.await.is_err() {
            let unanswered = self.calls.len();
            self.unanswered.store(unanswered, Ordering::Relaxed);
            tracing::warn!(
                unanswered,
                "the drain's time is up; what was not answered is left to the next owner"
            );
        }
        self.stopped.cancel();
        self.tasks.close();
        // Giving the shards back takes one transaction; a database that is away is not waited for.
        let _in_time = tokio::time::timeout(GIVE_BACK, self.tasks.wait()).await;
        self.hard.cancel();
        let _in_time = tokio::time::timeout(GIVE_BACK, self.tasks.wait()).await;
    }
}

impl Engine {
    /// Stops: no new starts, no new attempts; exchanges under way are given until `drain_timeout`
    /// to answer, what was not answered is left to the next owner, and the shards are given back.
    /// However often and by whomever it is asked for, there is one drain, and everybody waits for
    /// its end. Dropping the future does not stop it.
    pub async fn drain(&self) -> Drained {
        self.begin_drain();
        let stopping = &self.parts.stopping;
        stopping.over.cancelled().await;
        Drained {
            unanswered: stopping.unanswered.load(Ordering::Relaxed),
        }
    }

    /// Whether a drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.parts.stopping.draining.is_cancelled()
    }

    /// Begins to stop, and does not wait for the end.
    pub fn begin_drain(&self) {
        let stopping = &self.parts.stopping;
        // Closing tells the first who asks from those who come later.
        if !stopping.calls.close() {
            return;
        }
        stopping.draining.cancel();
        self.parts.dispatcher.begin_drain();
        let parts = std::sync::Arc::clone(&self.parts);
        stopping.runtime.spawn(async move {
            parts.stopping.run(parts.settings.drain_timeout).await;
            let closed = tokio::time::timeout(GIVE_BACK, parts.dispatcher.close()).await;
            if closed.is_err() {
                tracing::debug!("a broker did not let go of its connections in time");
            }
            parts.stopping.over.cancel();
        });
    }
}
