//! A dead letter as it was kept, and how many there are.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, QueryResult};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::{DeadLetterId, DeadLetterStatus};
use crate::saga::id::{SagaId, Timestamp};
use crate::store::dialect::{column, maybe_text, number, text};
use crate::store::{Store, StoreError};

/// A message that nobody could take, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// Where it stands.
    pub status: DeadLetterStatus,
    /// What it came through: a word of [`Transport`](super::Transport), or a newer one.
    pub transport: String,
    /// The queue that it was going to.
    pub queue: String,
    /// Whose queue that is.
    pub participant: Option<String>,
    /// Why nobody could take it.
    pub reason: String,
    /// How often it was delivered.
    pub deliveries: u32,
    /// When it came here.
    pub received_at: Timestamp,
    /// The saga that it is about.
    pub saga: Option<SagaId>,
    /// The step.
    pub step: Option<String>,
    /// Which of the step's two calls.
    pub phase: Option<String>,
    /// Its own id.
    pub message_id: Option<String>,
    /// All of it.
    pub message: Vec<u8>,
    /// What came beside it.
    pub headers: Map<String, Json>,
    /// How often it was replayed, as this letter or as the one before it.
    pub replays: u32,
    /// When it was replayed or discarded.
    pub settled_at: Option<Timestamp>,
    /// By whom.
    pub settled_by: Option<String>,
    /// Why it was discarded.
    pub note: Option<String>,
}

/// How many letters a queue has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterCount {
    /// The queue that they were going to.
    pub queue: String,
    /// Those that are open.
    pub open: u64,
    /// Those that were replayed.
    pub replayed: u64,
    /// Those that were discarded.
    pub discarded: u64,
}

/// The columns that [`DeadLetter::read`] needs.
pub(super) const COLUMNS: &str = "id, status, transport, queue, participant, reason, deliveries, \
    received_at, saga_id, step, phase, message_id, message, headers, replays, settled_at, \
    settled_by, note";

impl DeadLetter {
    pub(super) fn read(row: &QueryResult) -> Result<Self, StoreError> {
        let headers = text(row, "headers")?;
        Ok(Self {
            id: DeadLetterId(column(row, "id")?),
            status: status(row)?,
            transport: text(row, "transport")?,
            queue: text(row, "queue")?,
            participant: maybe_text(row, "participant")?,
            reason: text(row, "reason")?,
            deliveries: number(row, "deliveries")?,
            received_at: Timestamp(column(row, "received_at")?),
            saga: column::<Option<Uuid>>(row, "saga_id")?.map(SagaId),
            step: maybe_text(row, "step")?,
            phase: maybe_text(row, "phase")?,
            message_id: maybe_text(row, "message_id")?,
            message: column(row, "message")?,
            headers: serde_json::from_str(&headers)
                .map_err(|source| StoreError::unreadable("headers", source))?,
            replays: number(row, "replays")?,
            settled_at: column::<Option<i64>>(row, "settled_at")?.map(Timestamp),
            settled_by: maybe_text(row, "settled_by")?,
            note: maybe_text(row, "note")?,
        })
    }
}

fn status(row: &QueryResult) -> Result<DeadLetterStatus, StoreError> {
    let word = text(row, "status")?;
    DeadLetterStatus::of(&word).ok_or(StoreError::Unreadable {
        column: "status",
        source: None,
    })
}

impl Store {
    /// One dead letter.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM dead_letters WHERE id = ?");
        let statement = self.backend.statement(&sql, vec![id.0.into()]);
        let row = self.db.query_one(statement).await?;
        row.as_ref().map(DeadLetter::read).transpose()
    }

    /// How many letters each queue has that has any, by the queue's name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn count_dead_letters(&self) -> Result<Vec<DeadLetterCount>, StoreError> {
        let sql = "SELECT queue, status, COUNT(*) AS letters FROM dead_letters \
                   GROUP BY queue, status";
        let statement = self.backend.statement(sql, Vec::new());
        let mut queues: BTreeMap<String, DeadLetterCount> = BTreeMap::new();
        for row in self.db.query_all(statement).await? {
            let queue = text(&row, "queue")?;
            let letters = number(&row, "letters")?;
            let status = status(&row)?;
            let count = queues
                .entry(queue.clone())
                .or_insert_with(|| DeadLetterCount {
                    queue,
                    open: 0,
                    replayed: 0,
                    discarded: 0,
                });
            match status {
                DeadLetterStatus::Open => count.open = letters,
                DeadLetterStatus::Replayed => count.replayed = letters,
                DeadLetterStatus::Discarded => count.discarded = letters,
            }
        }
        Ok(queues.into_values().collect())
    }
}
