//! The journal: transitions go in as they are made, and become durable together.
//!
//! One task writes. It takes everything that waits, from however many sagas, and commits it in one
//! durable commit; while that is under way the next batch gathers. There is no timer and no delay:
//! alone, a transition is written at once; under load hundreds share one commit.
//!
//! The database being away is no failure: the same batch is tried again until it is back or the
//! journal is stopped, and an entry is found rather than written twice where the commit had gone
//! through before the connection broke. A bad entry fails alone: the batch is halved until it is
//! by itself. A lost epoch fails everything and closes the journal.
//!
//! The queue has no bound of its own: each saga has at most a few transitions in it, and how many
//! sagas there are is bounded by admission. [`Journal::pending`] tells how long it is.

mod batch;
mod commit;
mod lookup;
mod postgres;
mod rows;
mod settle;
mod sqlite;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::inbox::InboxId;
use super::{AuditRecord, Failure, Lease, Store, StoreError};
use crate::saga::id::{SagaId, Timestamp};
use crate::saga::outcome::Status;
use crate::telemetry::Metrics;
use writer::Writer;

/// A transition of one saga, with what changes beside it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The saga.
    pub saga: SagaId,
    /// Its shard.
    pub shard: u16,
    /// The facts.
    pub transition: Transition,
    /// The summary as it is after them; needed at the start and whenever what it shows changes.
    pub summary: Option<SummaryWrite>,
    /// With the first transition of a saga, and only with it.
    pub start: Option<StartRecord>,
    /// What the audit is told of it: about this saga, and about nothing else.
    pub audit: Vec<AuditRecord>,
    /// The row of the inbox that it came of, which goes with it.
    pub inbox: Option<InboxId>,
}

/// The facts that one input made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The number of the first fact.
    pub seq: u64,
    /// When they were made.
    pub at: Timestamp,
    /// The facts, a JSON array.
    pub events: String,
    /// How many they are; at least one.
    pub count: u32,
}

/// A saga's summary, to be written. What it began with (definition, version, key, creation) is
/// taken from the first write and left alone by later ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryWrite {
    /// The name of its definition.
    pub definition: String,
    /// The version of its definition.
    pub version: u32,
    /// The business key, where it has one.
    pub key: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// Whether an operator holds it.
    pub suspended: bool,
    /// Whether its time ran out after the pivot.
    pub overdue: bool,
    /// Why it was turned back or stopped.
    pub failure: Option<Failure>,
    /// When it was started: by the clock that its id was made with, and within ten seconds of it,
    /// because lists by time narrow their walk with the ids.
    pub created_at: Timestamp,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
    /// When its time is up.
    pub deadline: Option<Timestamp>,
    /// When something is to be done for it without an input from outside. `None`: never (finished,
    /// failed, suspended without a deadline, waiting for a signal without a limit). In the past: it
    /// is active, recover it at the start. In the future: it waits, and need not be in memory.
    pub wake_at: Option<Timestamp>,
}

/// What comes with the start of a saga.
#[derive(Clone, Debug)]
pub struct StartRecord {
    /// The key that makes the start happen once, where the client gave one.
    pub key: Option<StartKey>,
    /// The saga's labels.
    pub labels: BTreeMap<String, String>,
    /// Set it when nobody waits for the start any longer: it is then dropped if it is not written
    /// yet.
    pub withdrawn: Arc<AtomicBool>,
}

/// An `Idempotency-Key`, with the digest of the body's JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartKey {
    /// The key.
    pub key: String,
    /// What came with it.
    pub digest: [u8; 32],
}

/// What became of an entry that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is durable.
    Written,
    /// A saga was started with this key before; nothing of the entry was written.
    KeySeen {
        /// The saga that the key belongs to.
        saga: SagaId,
        /// The digest that it was started with.
        digest: [u8; 32],
    },
}

/// Why an entry was not written. Entries of the same saga behind it fail with it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// Another replica has taken over: drop the shards and register anew. The journal is closed.
    #[error("another replica has taken over from this one")]
    Fenced,
    /// Somebody else has written an event with this number: drop the shard.
    #[error("the saga has another event with this number")]
    Clash,
    /// The database refused this entry; the others of its batch were written.
    #[error("the database refused the entry")]
    Rejected(#[source] Arc<StoreError>),
    /// It was withdrawn in time; nothing of it was written.
    #[error("the start was withdrawn")]
    Withdrawn,
    /// The journal is closed. Where the database was away, the entry may have been written.
    #[error("the journal is closed")]
    Closed,
}

/// What has been written since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Durable commits.
    pub commits: u64,
    /// Rows inserted or updated.
    pub rows: u64,
    /// Facts.
    pub events: u64,
    /// Batches taken; more commits than batches means that some were halved.
    pub batches: u64,
}

/// The outcome of an append, to be awaited. Dropping it does not undo the append.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<Appended, AppendError>>);

impl Future for Receipt {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|outcome| outcome.unwrap_or(Err(AppendError::Closed)))
    }
}

/// The journal's handle. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<Shared>,
}

impl Journal {
    /// Starts the writer on a thread of its own, so that an answer of the database is not left
    /// lying while sagas keep the other threads busy: every saga waits for the journal. It ends
    /// when `stop` is cancelled and what waited then is written, or when another replica has taken
    /// over. While the database is away a stopped journal does not wait for it.
    pub fn start(
        store: &Store,
        lease: Arc<Lease>,
        metrics: Arc<Metrics>,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let writer = Writer::new(Arc::clone(&shared), store.clone(), lease, metrics, stop);
        let tracked = tracker.token();
        let closer = Arc::clone(&shared);
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(writer.run()),
                Err(error) => closer.cannot_run(&error),
            }
            drop(tracked);
        };
        if let Err(error) = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(run)
        {
            shared.cannot_run(&error);
        }
        Self { shared }
    }

    /// Hands an entry to the writer. Never waits; entries are written in the order of the calls.
    pub fn append(&self, entry: Entry) -> Receipt {
        let (answer, receipt) = oneshot::channel();
        let pending = Pending { entry, answer };
        let refused = {
            let mut queue = self.shared.queue();
            match &queue.closed {
                Some(why) => Some((why.clone(), pending)),
                None => {
                    queue.waiting.push_back(pending);
                    self.shared.pending.fetch_add(1, Ordering::Relaxed);
                    None
                }
            }
        };
        match refused {
            Some((why, pending)) => pending.tell(Err(why)),
            None => self.shared.wake.notify_one(),
        }
        Receipt(receipt)
    }

    /// How many entries have been appended and not yet answered.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.shared.pending.load(Ordering::Relaxed)
    }

    /// When the entry that has been waiting longest was made.
    #[must_use]
    pub fn waiting_since(&self) -> Option<Timestamp> {
        let committing = self.shared.committing_since.load(Ordering::Relaxed);
        if committing != NOTHING {
            return Some(Timestamp(committing));
        }
        let queue = self.shared.queue();
        queue
            .waiting
            .front()
            .map(|pending| pending.entry.transition.at)
    }

    /// Whether it takes nothing any more, whatever the reason.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.queue().closed.is_some()
    }

    /// What has been written since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            commits: read(&self.shared.commits),
            rows: read(&self.shared.rows),
            events: read(&self.shared.events),
            batches: read(&self.shared.batches),
        }
    }

    /// False while the database is away.
    #[must_use]
    pub fn available(&self) -> watch::Receiver<bool> {
        self.shared.available.subscribe()
    }
}

/// An entry on its way, with whom to tell.
#[derive(Debug)]
struct Pending {
    entry: Entry,
    answer: oneshot::Sender<Result<Appended, AppendError>>,
}

impl Pending {
    fn tell(self, outcome: Result<Appended, AppendError>) {
        if self.answer.send(outcome).is_err() {
            tracing::trace!(saga_id = %self.entry.saga, "nobody waits for this entry");
        }
    }

    fn is_withdrawn(&self) -> bool {
        self.entry
            .start
            .as_ref()
            .is_some_and(|start| start.withdrawn.load(Ordering::Acquire))
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Pending>,
    closed: Option<AppendError>,
}

/// No batch is under way.
const NOTHING: i64 = i64::MIN;

/// What the handles and the writer share.
#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
    pending: AtomicUsize,
    /// When the first entry of the batch under way was made; `NOTHING` between batches.
    committing_since: AtomicI64,
    commits: AtomicU64,
    rows: AtomicU64,
    events: AtomicU64,
    batches: AtomicU64,
    available: watch::Sender<bool>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            queue: Mutex::default(),
            wake: Notify::new(),
            pending: AtomicUsize::new(0),
            committing_since: AtomicI64::new(NOTHING),
            commits: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            events: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            available: watch::Sender::new(true),
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the outcome of an entry that was taken from the queue.
    fn settle(&self, pending: Pending, outcome: Result<Appended, AppendError>) {
        self.pending.fetch_sub(1, Ordering::Relaxed);
        pending.tell(outcome);
    }

    /// Nobody is there to write.
    fn cannot_run(&self, error: &std::io::Error) {
        tracing::error!(%error, "the journal has no thread to run on");
        self.close(&AppendError::Closed);
    }

    /// Closes the queue and fails what waits in it.
    fn close(&self, why: &AppendError) {
        let waiting = {
            let mut queue = self.queue();
            queue.closed.get_or_insert_with(|| why.clone());
            std::mem::take(&mut queue.waiting)
        };
        for pending in waiting {
            self.settle(pending, Err(why.clone()));
        }
    }
}
