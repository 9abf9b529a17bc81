//! The task that writes: takes batches, commits them, and deals with what goes wrong.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sea_orm::DatabaseConnection;
use tokio_util::sync::CancellationToken;

use super::batch;
use super::commit::{CommitError, Done};
use super::lookup::{self, Seen};
use super::{AppendError, Appended, NOTHING, Pending, Shared, postgres, rows, sqlite};
use crate::saga::id::SagaId;
use crate::store::{Backend, Lease, Store, StoreError};
use crate::telemetry::Metrics;

/// How long a commit may take before its connection counts as dead.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);
/// The first pause while the database is away; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest pause while the database is away.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What became of a part of a batch.
enum Verdict {
    Done(Done),
    Fenced,
    /// An entry of it is bad.
    Bad(StoreError),
    /// The database is away, and the journal was told to stop.
    Stopped,
}

/// Whether the writer goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    End,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    store: Store,
    lease: Arc<Lease>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    /// The journal's own connection; none before the first commit and after a failure.
    connection: Option<DatabaseConnection>,
    /// Entries that are durable, and whose sagas are told so while the next batch is under way:
    /// the database does not stand idle meanwhile.
    pub(super) written: Vec<Pending>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        store: Store,
        lease: Arc<Lease>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            shared,
            store,
            lease,
            metrics,
            stop,
            connection: None,
            written: Vec::new(),
        }
    }

    /// Writes until it is told to stop and nothing waits, or until it is fenced.
    pub(super) async fn run(mut self) {
        // Should the task panic, nobody is left waiting for it.
        let _closer = Closer(Arc::clone(&self.shared));
        loop {
            let batch = self.take();
            if batch.is_empty() {
                self.tell_written();
            }
            if !batch.is_empty() {
                self.shared.batches.fetch_add(1, Ordering::Relaxed);
                let flow = self.write(batch).await;
                self.shared
                    .committing_since
                    .store(NOTHING, Ordering::Relaxed);
                if flow == Flow::End {
                    break;
                }
            } else if self.stop.is_cancelled() {
                break;
            } else {
                tokio::select! {
                    () = self.shared.wake.notified() => {}
                    () = self.stop.cancelled() => {}
                }
            }
        }
        self.tell_written();
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "the journal's connection did not close");
        }
    }

    fn take(&self) -> Vec<Pending> {
        let mut queue = self.shared.queue();
        let length = batch::length(queue.waiting.iter());
        if let Some(first) = queue.waiting.front() {
            let since = first.entry.transition.at.0;
            self.shared.committing_since.store(since, Ordering::Relaxed);
        }
        queue.waiting.drain(..length).collect()
    }

    /// Writes a batch, halving it until a bad entry is alone.
    async fn write(&mut self, batch: Vec<Pending>) -> Flow {
        let (own, followers) = batch::part_followers(batch);
        let mut led: HashMap<SagaId, Option<Appended>> = followers
            .iter()
            .map(|follower| (follower.leader, None))
            .collect();
        let mut failed: HashMap<SagaId, AppendError> = HashMap::new();
        let mut parts = vec![own];
        while let Some(part) = parts.pop() {
            let mut part = self.without_failed(part, &failed);
            let end = match self.commit(&mut part).await {
                Verdict::Done(done) => {
                    self.settle(part, &done, &mut led);
                    continue;
                }
                Verdict::Bad(error) => {
                    if part.len() > 1 {
                        let tail = part.split_off(part.len() / 2);
                        parts.extend([tail, part]);
                    } else {
                        self.judge(part, error, &mut failed).await;
                    }
                    continue;
                }
                Verdict::Fenced => AppendError::Fenced,
                Verdict::Stopped => AppendError::Closed,
            };
            parts.push(part);
            let followers = followers.into_iter().map(|follower| follower.pending);
            for pending in parts.into_iter().rev().flatten().chain(followers) {
                self.shared.settle(pending, Err(end.clone()));
            }
            self.shared.close(&end);
            return Flow::End;
        }
        self.settle_followers(followers, &led);
        Flow::On
    }

    /// Commits, as often as it takes while the database is away. What turns out to be settled
    /// already is answered and leaves `part`.
    async fn commit(&mut self, part: &mut Vec<Pending>) -> Verdict {
        let mut pause = PAUSE_FIRST;
        let mut uncertain = false;
        loop {
            self.drop_withdrawn(part, uncertain);
            let begun = Instant::now();
            let outcome = self.try_commit(part, uncertain).await;
            let error = match outcome {
                Ok(done) => {
                    self.set_available(true);
                    if done.rows > 0 {
                        self.metrics.committed(done.events, begun.elapsed());
                    }
                    return Verdict::Done(done);
                }
                Err(CommitError::Fenced) => return Verdict::Fenced,
                Err(CommitError::Failed(error @ StoreError::Refused(_))) => {
                    // SQLite ends a transaction by itself on a full disk, and sqlx then counts it as
                    // open for ever: its next commits would be none.
                    if self.store.backend == Backend::Sqlite {
                        self.connection = None;
                    }
                    return Verdict::Bad(error);
                }
                Err(CommitError::Failed(error)) => error,
            };
            if self.set_available(false) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    entries = part.len(),
                    "the journal cannot write; it tries until it can"
                );
            }
            uncertain = true;
            // The connection may be half-way through anything: a fresh one next time.
            self.connection = None;
            if self.stop.is_cancelled() {
                return Verdict::Stopped;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn try_commit(
        &mut self,
        part: &mut Vec<Pending>,
        uncertain: bool,
    ) -> Result<Done, CommitError> {
        if part.is_empty() {
            return Ok(Done {
                seen: Seen::new(),
                rows: 0,
                events: 0,
            });
        }
        let connection = match &self.connection {
            Some(connection) => connection.clone(),
            None => {
                self.tell_written();
                self.connect().await?
            }
        };
        let written = std::mem::take(&mut self.written);
        let backend = self.store.backend;
        let (id, epoch) = (self.lease.id(), self.lease.epoch());
        let committed = tokio::time::timeout(COMMIT_TIMEOUT, async {
            if uncertain {
                let found = lookup::find(&connection, backend, part).await?;
                self.settle_found(part, &found.same);
                self.drop_withdrawn(part, false);
                if part.is_empty() {
                    return Ok(Done {
                        seen: Seen::new(),
                        rows: 0,
                        events: 0,
                    });
                }
            }
            match backend {
                Backend::Postgres => postgres::commit(&connection, part, id, epoch).await,
                Backend::Sqlite => sqlite::commit(&connection, part, id, epoch).await,
                Backend::MySql => rows::commit(&connection, backend, part, id, epoch).await,
            }
        });
        // The first poll sends the batch; then there is time to tell of the one before.
        let told = async {
            for pending in written {
                self.shared.settle(pending, Ok(Appended::Written));
            }
        };
        match tokio::join!(committed, told).0 {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(StoreError::Silent {
                after: COMMIT_TIMEOUT,
            }
            .into()),
        }
    }

    async fn connect(&mut self) -> Result<DatabaseConnection, StoreError> {
        let connection = self.store.own_connection(false).await?;
        rows::prepare_session(&connection, self.store.backend).await?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    /// Finds out what is wrong with the one entry of this part.
    async fn judge(
        &mut self,
        part: Vec<Pending>,
        error: StoreError,
        failed: &mut HashMap<SagaId, AppendError>,
    ) {
        let found = match &self.connection {
            Some(connection) => lookup::find(connection, self.store.backend, &part).await,
            None => lookup::find(&self.store.db, self.store.backend, &part).await,
        }
        .unwrap_or_default();
        let error = Arc::new(error);
        for pending in part {
            let saga = pending.entry.saga;
            let place = (saga, pending.entry.transition.seq);
            if found.same.contains(&place) {
                self.shared.settle(pending, Ok(Appended::Written));
                continue;
            }
            let why = if found.other.contains(&place) {
                AppendError::Clash
            } else {
                AppendError::Rejected(Arc::clone(&error))
            };
            tracing::error!(
                error = &*error as &dyn std::error::Error,
                saga_id = %saga,
                seq = place.1,
                "an entry could not be written"
            );
            failed.insert(saga, why.clone());
            self.shared.settle(pending, Err(why.clone()));
            self.fail_waiting(saga, &why);
        }
    }

    /// Tells whether that is news.
    fn set_available(&self, now: bool) -> bool {
        self.shared.available.send_if_modified(|available| {
            let news = *available != now;
            *available = now;
            news
        })
    }
}

/// Closes the queue when the writer ends, however it ends.
struct Closer(Arc<Shared>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.close(&AppendError::Closed);
    }
}
