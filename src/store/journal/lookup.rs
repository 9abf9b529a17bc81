//! What the journal reads back: start keys that were there before, and entries of a commit whose
//! outcome is not known.

use std::collections::{HashMap, HashSet};

use sea_orm::{ConnectionTrait, Value};
use uuid::Uuid;

use super::{Pending, StartKey};
use crate::saga::id::SagaId;
use crate::store::dialect::{column, marks, number, signed, text};
use crate::store::{Backend, StoreError};

/// The most rows that one statement looks for.
const LOOKUP_ROWS_MAX: usize = 200;

/// A start key as it is stored: whose it is, and what came with it.
pub(super) type Seen = HashMap<SagaId, (SagaId, [u8; 32])>;

/// Which of these starts have a key that belongs to another saga, by the start's own saga. `lock`
/// is for a transaction whose snapshot may be older than the key.
pub(super) async fn seen_keys(
    on: &impl ConnectionTrait,
    backend: Backend,
    keys: &[(&StartKey, SagaId)],
    lock: bool,
) -> Result<Seen, StoreError> {
    let mut seen = Seen::new();
    for chunk in keys.chunks(LOOKUP_ROWS_MAX) {
        let mut sql = format!(
            "SELECT start_key, digest, saga_id FROM start_keys \
             WHERE namespace = 'default' AND start_key IN ({})",
            marks(chunk.len())
        );
        if lock && backend == Backend::MySql {
            sql.push_str(" LOCK IN SHARE MODE");
        }
        let values = chunk
            .iter()
            .map(|(key, _)| Value::from(key.key.as_str()))
            .collect();
        let mut stored = HashMap::with_capacity(chunk.len());
        for row in on.query_all(backend.statement(&sql, values)).await? {
            let owner = SagaId(column::<Uuid>(&row, "saga_id")?);
            let digest: Vec<u8> = column(&row, "digest")?;
            let digest = <[u8; 32]>::try_from(digest.as_slice())
                .map_err(|source| StoreError::unreadable("digest", source))?;
            stored.insert(text(&row, "start_key")?, (owner, digest));
        }
        for (key, saga) in chunk {
            match stored.get(&key.key) {
                Some((owner, digest)) if owner != saga => {
                    seen.insert(*saga, (*owner, *digest));
                }
                Some(_) | None => {}
            }
        }
    }
    Ok(seen)
}

/// What the journal has under the numbers of these entries.
#[derive(Default)]
pub(super) struct Found {
    /// Exactly the entry.
    pub(super) same: HashSet<(SagaId, u64)>,
    /// Something else.
    pub(super) other: HashSet<(SagaId, u64)>,
}

/// Looks which of these entries are in the journal.
pub(super) async fn find(
    on: &impl ConnectionTrait,
    backend: Backend,
    entries: &[Pending],
) -> Result<Found, StoreError> {
    let mut found = Found::default();
    for chunk in entries.chunks(LOOKUP_ROWS_MAX) {
        let conditions = vec!["(saga_id = ? AND seq = ?)"; chunk.len()].join(" OR ");
        let sql = format!("SELECT saga_id, seq, at, events FROM saga_events WHERE {conditions}");
        let mut values: Vec<Value> = Vec::with_capacity(chunk.len() * 2);
        for pending in chunk {
            values.push(pending.entry.saga.0.into());
            values.push(signed(pending.entry.transition.seq).into());
        }
        let mut stored = HashMap::with_capacity(chunk.len());
        for row in on.query_all(backend.statement(&sql, values)).await? {
            let saga = SagaId(column::<Uuid>(&row, "saga_id")?);
            let seq: u64 = number(&row, "seq")?;
            stored.insert(
                (saga, seq),
                (column::<i64>(&row, "at")?, text(&row, "events")?),
            );
        }
        for pending in chunk {
            let transition = &pending.entry.transition;
            let place = (pending.entry.saga, transition.seq);
            match stored.get(&place) {
                Some((at, events)) if *at == transition.at.0 && *events == transition.events => {
                    found.same.insert(place);
                }
                Some(_) => {
                    found.other.insert(place);
                }
                None => {}
            }
        }
    }
    Ok(found)
}
