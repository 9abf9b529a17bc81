//! From the journal into memory: after a start or a takeover, when the time of a long wait comes
//! near, and when somebody asks for a saga.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use super::active::Entry;
use super::summary::{HORIZON_MS, Persisted, rest};
use super::tenure::Tenure;
use super::{CommandError, Parts, Snapshot, clock};
use crate::saga::replay::{Transition, replay, started};
use crate::saga::{Input, ReplayError, Rest, SagaId, Timestamp};
use crate::store::{OwnedShard, Renewal, StoreError, StoredSaga};

/// How many sagas are read at a time.
const PAGE: u64 = 500;
/// How many timers are taken at a time.
const TIMERS_AT_ONCE: usize = 1_000;

/// More unfinished sagas than this are a backlog: the participants are approached slowly.
const BACKLOG: u64 = 16;

/// A saga read from its journal.
pub(super) struct Read {
    /// Where it stands.
    pub(super) snapshot: Snapshot,
    /// The shard it lies on.
    pub(super) shard: u16,
    /// What its summary row says.
    pub(super) persisted: Persisted,
}

/// A saga whose journal cannot be replayed.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("its definition {name}/{version} is not published")]
    NoDefinition { name: String, version: u32 },
    #[error("its definition could not be looked for")]
    Store(#[from] StoreError),
}

fn shards_of(owned: &[OwnedShard]) -> Vec<u16> {
    owned.iter().map(|owned| owned.shard).collect()
}

impl Parts {
    /// Reads a saga from its journal.
    pub(super) async fn read(&self, id: SagaId) -> Result<Read, CommandError> {
        let stored = self.store.load(&[id]).await.map_err(|error| away(&error))?;
        let stored = stored.into_iter().next().ok_or(CommandError::NotFound)?;
        self.rebuild(stored).await.map_err(|error| match error {
            Unreadable::Store(error) => away(&error),
            Unreadable::Replay(_) | Unreadable::NoDefinition { .. } => {
                tracing::error!(saga_id = %id, %error, "the journal cannot be read");
                CommandError::JournalUnreadable
            }
        })
    }

    async fn rebuild(&self, stored: StoredSaga) -> Result<Read, Unreadable> {
        let transitions = stored
            .transitions
            .iter()
            .map(|row| Transition::read(row.seq, row.at, &row.events))
            .collect::<Result<Vec<_>, _>>()?;
        let start = started(&transitions)?;
        // Another replica may have published it a moment ago.
        let published = self
            .catalogue
            .look_up(&start.definition, Some(start.version))
            .await?;
        let definition = published
            .ok_or_else(|| Unreadable::NoDefinition {
                name: start.definition.clone(),
                version: start.version,
            })?
            .definition;
        let saga = replay(&definition, stored.summary.id, &transitions)?;
        // What the row says was right when the newest transition that changed it was written.
        let persisted = Persisted::of(&saga, false, saga.updated_at);
        let shard = stored.summary.shard;
        Ok(Read {
            snapshot: Snapshot {
                definition,
                saga: Arc::new(saga),
            },
            shard,
            persisted,
        })
    }
}

/// What a failed query means for whoever asked.
fn away(error: &StoreError) -> CommandError {
    if error.is_unavailable() {
        CommandError::DatabaseUnavailable
    } else {
        tracing::error!(%error, "the database refuses a query");
        CommandError::Internal
    }
}

impl Tenure {
    /// Puts a saga that was read into memory.
    pub(super) fn bring_in(&self, read: Read, fence: i64) -> Arc<Entry> {
        let Snapshot { definition, saga } = read.snapshot;
        let metrics = self.parts.metrics.sagas_of(&definition);
        let (shard, persisted) = (read.shard, read.persisted);
        let entry = Entry::new(definition, shard, fence, metrics, saga, persisted);
        self.active.insert(Arc::clone(&entry));
        entry
    }

    /// Takes shards that were just claimed in: from here on sagas may be started on them.
    ///
    /// # Errors
    /// When the database goes away; nothing has changed then.
    pub(super) async fn take_over(&self, claimed: &[OwnedShard]) -> Result<(), StoreError> {
        let standing = self.parts.store.standing(&shards_of(claimed)).await?;
        let unfinished = standing.unfinished();
        self.count_in(usize::try_from(unfinished).unwrap_or(usize::MAX));
        if unfinished > BACKLOG {
            self.approach_slowly(Some(tokio::time::Instant::now()));
        }
        self.standing.take_over(standing);
        self.take_in(claimed);
        let (shards, failed) = (claimed.len(), standing.failed);
        tracing::info!(shards, unfinished, failed, "took over");
        Ok(())
    }

    /// Recovers the sagas of shards that were taken in: all that have something to do before the
    /// horizon come into memory and go on; the others stay where they are. Answers how far ahead
    /// it looked.
    ///
    /// # Errors
    /// When the database goes away; what is in memory stays, and the same call goes on with the
    /// rest.
    pub(super) async fn recover(
        self: &Arc<Self>,
        taken: &[OwnedShard],
    ) -> Result<Timestamp, StoreError> {
        let upper = clock::now().plus_ms(HORIZON_MS);
        let resumed = self.bring_in_due(&shards_of(taken), None, upper).await?;
        tracing::info!(resumed, "recovered");
        Ok(upper)
    }

    /// Brings in the sagas whose times lie after `lower` and not after `upper`, oldest first, in
    /// pages.
    pub(super) async fn bring_in_due(
        self: &Arc<Self>,
        shards: &[u16],
        lower: Option<Timestamp>,
        upper: Timestamp,
    ) -> Result<usize, StoreError> {
        let mut after = lower.map(|time| (time, SagaId(uuid::Uuid::max())));
        let mut brought = 0;
        let renew_every = Duration::from_millis(self.parts.settings.lease_ms / 3);
        let mut renewed = Instant::now();
        loop {
            // Many pages take longer than a lease lasts, and whoever holds it waits for this.
            if renewed.elapsed() >= renew_every {
                if self.lease.renew().await? == Renewal::Lost {
                    return Err(StoreError::LeaseLost);
                }
                renewed = Instant::now();
            }
            let page = self.parts.store.due(shards, upper, after, PAGE).await?;
            let Some((first, last)) = page.first().zip(page.last()) else {
                self.backlog.read_up_to(None);
                return Ok(brought);
            };
            self.backlog.read_up_to(Some(first.wake_at));
            after = Some((last.wake_at, last.id));
            let ids: Vec<SagaId> = page.iter().map(|due| due.id).collect();
            brought += self.bring_in_page(ids).await?;
        }
    }

    pub(super) async fn bring_in_page(
        self: &Arc<Self>,
        mut ids: Vec<SagaId>,
    ) -> Result<usize, StoreError> {
        let absent = |id: &SagaId| !self.active.contains(*id) && !self.is_aside(*id);
        if !ids.iter().any(absent) {
            return Ok(0);
        }
        let _loading = self.loading_any().await;
        ids.retain(absent);
        if ids.is_empty() {
            return Ok(0);
        }
        let mut brought = 0;
        for stored in self.load(&ids).await? {
            let (id, shard) = (stored.summary.id, stored.summary.shard);
            let (status, overdue) = (stored.summary.status, stored.summary.overdue);
            let definition = stored.summary.definition.clone();
            let Some(fence) = self.fence(shard) else {
                continue;
            };
            match self.parts.rebuild(stored).await {
                Ok(read) if read.snapshot.saga.status().is_settled() => {}
                Ok(read) => {
                    let entry = self.bring_in(read, fence);
                    self.resume(&entry);
                    brought += 1;
                }
                Err(Unreadable::Store(error)) if error.is_unavailable() => return Err(error),
                Err(error) => {
                    tracing::error!(saga_id = %id, %error, "the journal cannot be read; the saga is set aside as failed");
                    self.lease.set_aside(id, &error.to_string()).await?;
                    self.set_aside(id);
                    self.count_out();
                    self.standing.set_aside(status, overdue);
                    self.parts.metrics.saga_unreadable(&definition);
                }
            }
        }
        Ok(brought)
    }

    /// Reads sagas. Where a row is damaged, the others are read one by one, and its saga is set aside.
    async fn load(&self, ids: &[SagaId]) -> Result<Vec<StoredSaga>, StoreError> {
        match self.parts.store.load(ids).await {
            Err(StoreError::Unreadable { .. }) => {}
            loaded => return loaded,
        }
        let mut loaded = Vec::with_capacity(ids.len());
        for id in ids {
            match self.parts.store.load(&[*id]).await {
                Ok(one) => loaded.extend(one),
                Err(error @ StoreError::Unreadable { .. }) => {
                    tracing::error!(saga_id = %id, %error, "a row of the saga cannot be read; it is set aside as failed");
                    self.lease.set_aside(*id, &error.to_string()).await?;
                    self.set_aside(*id);
                    self.count_out();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(loaded)
    }

    /// Lets a saga that came into memory go on: its calls are sent again, its times are watched.
    fn resume(self: &Arc<Self>, entry: &Arc<Entry>) {
        let now = clock::now();
        let (due, active, since, nobodys) = {
            let mut state = entry.state.lock();
            self.park(entry, &state.saga);
            let next = state.saga.next_time_but_held();
            let active = rest(&state.saga, false) == Rest::Active;
            self.timers.set(entry.id, state.timer, next);
            state.timer = next;
            let nobodys = self.held_by_nobody(entry, &state.saga);
            let due = next.filter(|time| *time <= now);
            let since = due.unwrap_or(state.saga.updated_at);
            (due.is_some(), active, since, nobodys)
        };
        for call in nobodys {
            let tenure = Arc::clone(self);
            self.spawn_for(entry.id, async move {
                tenure.let_through(call).await;
            });
        }
        if !due && !active {
            return;
        }
        let tenure = Arc::clone(self);
        let entry = Arc::clone(entry);
        self.spawn_for(entry.id, async move {
            let place = tenure.backlog.enter(since);
            let permit = tokio::select! {
                permit = Arc::clone(&tenure.resuming).acquire_owned() => permit,
                () = tenure.stopping().draining.cancelled() => return,
                () = tenure.ended.cancelled() => return,
            };
            drop(place);
            tenure.wake(&entry, permit.ok()).await;
        });
    }

    /// Looks at a saga whose time may have come, and follows its first call to the end.
    async fn wake(self: &Arc<Self>, entry: &Arc<Entry>, resuming: Option<OwnedSemaphorePermit>) {
        let Ok(submitted) = self.submit(
            entry,
            Input::Wake {
                draw: clock::draw(),
            },
            None,
        ) else {
            return;
        };
        let durable = tokio::select! {
            biased;
            durable = self.durable(entry, submitted) => durable,
            () = self.stopping().hard.cancelled() => return,
        };
        let Ok((_, _, mut calls)) = durable else {
            return;
        };
        let Some(last) = calls.pop() else { return };
        self.send(entry, calls);
        Arc::clone(self)
            .carry_out(Arc::clone(entry), last, resuming)
            .await;
    }

    /// Wakes sagas as their times come, until the tenure ends or a drain begins.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            let now = clock::now();
            for id in self.timers.take_due(now, TIMERS_AT_ONCE) {
                let Some(entry) = self.active.get(id) else {
                    continue;
                };
                entry.state.lock().timer = None;
                let tenure = Arc::clone(&self);
                self.spawn_for(id, async move { tenure.wake(&entry, None).await });
            }
            let wait = self
                .timers
                .first()
                .map_or(HORIZON_MS, |time| now.ms_until(time));
            tokio::select! {
                () = tokio::time::sleep(std::time::Duration::from_millis(wait)) => {}
                () = self.timers.earlier() => {}
                () = self.ended.cancelled() => return,
                () = self.stopping().draining.cancelled() => return,
            }
        }
    }
}
