//! Leases and fencing: which replica lives, and which shards it owns.
//!
//! A replica's row holds its epoch and the time its lease is up, by the database's own clock. Who
//! takes over raises that epoch first and then takes the shards, in one transaction. Every commit
//! of the journal checks the epoch under a row lock that the raise has to wait for, so what the old
//! owner wrote is either there before the takeover reads it, or never written.
//!
//! On PostgreSQL a replica also holds an advisory lock of its session: who gets that lock knows
//! that the session is gone and need not wait for the lease. It is a hint for speed and nothing
//! rests on it. It is not followed shortly after the server's start, which ends every session.
//!
//! The order of row locks is: shards, then replicas.

mod claim;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait, Value};
use serde_json::json;
use uuid::Uuid;

use super::dialect::{column, signed};
use super::{AuditAction, Backend, Store, StoreError};
use crate::saga::{SagaId, Status};

/// What a replica says of itself.
#[derive(Clone, Debug)]
pub struct ReplicaInfo {
    /// Where its API is reached.
    pub address: String,
    /// The version it runs.
    pub version: String,
    /// `active` or `preview`.
    pub role: String,
}

/// What a renewal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease runs again from now.
    Held,
    /// The epoch was raised: another replica has taken over. Drop the shards and register anew.
    Lost,
}

/// A shard and the fence under which it is owned; the fence grows with every owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnedShard {
    /// The shard.
    pub shard: u16,
    /// Its fence.
    pub fence: i64,
}

/// This replica's lease. It is not renewed by itself: whoever runs the replica calls
/// [`Lease::renew`] well within the lease time.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    id: Uuid,
    epoch: i64,
    lease_ms: i64,
    /// What the audit says of this replica.
    described: String,
    /// PostgreSQL: the session that holds the advisory lock.
    session: Option<DatabaseConnection>,
    /// What [`Lease::claim`] has told of already.
    owned: Mutex<BTreeMap<u16, i64>>,
}

impl Store {
    /// Registers a replica with a lease of `lease_ms` from now, and sees to it that the shards
    /// 0 to `shards` - 1 exist. An `id` is for one life of one process: make a new one at each
    /// start, and after a lease was lost.
    ///
    /// # Errors
    /// [`StoreError::ReplicaTaken`] when a replica with this id is alive (PostgreSQL);
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn register(
        &self,
        id: Uuid,
        info: &ReplicaInfo,
        lease_ms: u64,
        shards: u16,
    ) -> Result<Lease, StoreError> {
        let session = match self.backend {
            Backend::Postgres => Some(self.lock_session(id).await?),
            Backend::Sqlite | Backend::MySql => None,
        };
        let lease_ms = signed(lease_ms);
        self.ensure_shards(shards).await?;
        let described = describe(id, info);
        let epoch = self.insert_replica(id, info, lease_ms, &described).await?;
        Ok(Lease {
            store: self.clone(),
            id,
            epoch,
            lease_ms,
            described,
            session,
            owned: Mutex::new(BTreeMap::new()),
        })
    }

    async fn lock_session(&self, id: Uuid) -> Result<DatabaseConnection, StoreError> {
        let session = self.own_connection(true).await?;
        let sql = "SELECT pg_try_advisory_lock(?) AS locked";
        let statement = self.backend.statement(sql, vec![session_key(id).into()]);
        let row = session.query_one(statement).await?;
        match row.as_ref().map(|row| column(row, "locked")).transpose()? {
            Some(true) => Ok(session),
            Some(false) | None => Err(StoreError::ReplicaTaken),
        }
    }

    async fn ensure_shards(&self, shards: u16) -> Result<(), StoreError> {
        if shards == 0 {
            return Ok(());
        }
        let (verb, absent) = self.backend.insert_where_absent();
        let rows = vec!["(?)"; usize::from(shards)].join(", ");
        let sql = format!("{verb} INTO shards (shard) VALUES {rows} {absent}");
        let values = (0..shards)
            .map(|shard| Value::from(i32::from(shard)))
            .collect();
        self.db
            .execute(self.backend.statement(&sql, values))
            .await?;
        Ok(())
    }

    async fn insert_replica(
        &self,
        id: Uuid,
        info: &ReplicaInfo,
        lease_ms: i64,
        described: &str,
    ) -> Result<i64, StoreError> {
        let now = self.backend.now();
        let transaction = self.db.begin().await?;
        let sql = format!(
            "UPDATE replicas SET epoch = epoch + 1, lease_until = {now} + ?, address = ?, \
             version = ?, role = ? WHERE id = ?"
        );
        let mut values: Vec<Value> = vec![
            lease_ms.into(),
            info.address.as_str().into(),
            info.version.as_str().into(),
            info.role.as_str().into(),
            id.into(),
        ];
        let statement = self.backend.statement(&sql, values.clone());
        if transaction.execute(statement).await?.rows_affected() == 0 {
            // The first epoch is the time, so that an id which was forgotten and comes back does
            // not meet its old epoch again.
            let sql = format!(
                "INSERT INTO replicas \
                 (epoch, started_at, lease_until, address, version, role, id) \
                 VALUES ({now}, {now}, {now} + ?, ?, ?, ?, ?)"
            );
            let statement = self.backend.statement(&sql, std::mem::take(&mut values));
            transaction.execute(statement).await?;
        }
        let sql = "SELECT epoch FROM replicas WHERE id = ?";
        let row = transaction
            .query_one(self.backend.statement(sql, vec![id.into()]))
            .await?;
        self.record_now(&transaction, AuditAction::ReplicaStarted, described)
            .await?;
        transaction.commit().await?;
        row.as_ref()
            .map_or(Err(StoreError::LeaseLost), |row| column(row, "epoch"))
    }
}

impl Lease {
    /// This replica's id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The epoch that this replica's journal writes under.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// The store that it is kept in.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Every shard that [`Lease::claim`] has taken and that was not given back.
    #[must_use]
    pub fn owned(&self) -> Vec<OwnedShard> {
        let owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        owned
            .iter()
            .map(|(shard, fence)| OwnedShard {
                shard: *shard,
                fence: *fence,
            })
            .collect()
    }

    /// Makes the lease run again from now, in one statement and by the database's own clock. On
    /// PostgreSQL that statement also takes the session's lock again where a broken connection
    /// had let go of it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Silent`] when the database is away: the lease
    /// runs on until its time is up, so try again at once.
    pub async fn renew(&self) -> Result<Renewal, StoreError> {
        let after = Duration::from_millis(u64::try_from(self.lease_ms).unwrap_or_default());
        match tokio::time::timeout(after, self.renew_now()).await {
            Ok(renewal) => renewal,
            Err(_elapsed) => Err(StoreError::Silent { after }),
        }
    }

    async fn renew_now(&self) -> Result<Renewal, StoreError> {
        let now = self.store.backend.now();
        let mut sql =
            format!("UPDATE replicas SET lease_until = {now} + ? WHERE id = ? AND epoch = ?");
        let mut values: Vec<Value> = vec![self.lease_ms.into(), self.id.into(), self.epoch.into()];
        let held = match &self.session {
            Some(session) => {
                sql.push_str(" RETURNING pg_try_advisory_lock(?)");
                values.push(session_key(self.id).into());
                session
                    .query_one(self.store.backend.statement(&sql, values))
                    .await?
                    .is_some()
            }
            None => {
                let statement = self.store.backend.statement(&sql, values);
                self.store.db.execute(statement).await?.rows_affected() == 1
            }
        };
        Ok(if held { Renewal::Held } else { Renewal::Lost })
    }

    /// Shows a saga as failed because its journal cannot be read, so that nobody recovers it again
    /// and everybody sees it. Only while the epoch is current; the journal itself is left alone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn set_aside(&self, saga: SagaId, why: &str) -> Result<(), StoreError> {
        let sql = "UPDATE sagas SET status = ?, failure_step = NULL, failure_code = ?, \
             failure_message = ?, wake_at = NULL \
             WHERE id = ? AND EXISTS (SELECT 1 FROM replicas WHERE id = ? AND epoch = ?)";
        let values: Vec<Value> = vec![
            Status::Failed.as_str().into(),
            JOURNAL_UNREADABLE.into(),
            why.into(),
            saga.0.into(),
            self.id.into(),
            self.epoch.into(),
        ];
        let store = &self.store;
        let transaction = store.db.begin().await?;
        let shown = transaction
            .execute(store.backend.statement(sql, values))
            .await?;
        if shown.rows_affected() > 0 {
            store.record_set_aside(&transaction, saga, why).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Gives the shards back and ends the lease: from then on this replica's journal is fenced.
    /// Call it after the last write.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away; the lease then runs out by itself.
    pub async fn release(&self) -> Result<(), StoreError> {
        let backend = self.store.backend;
        let transaction = self.store.db.begin().await?;
        let sql = "UPDATE shards SET owner = NULL WHERE owner = ?";
        transaction
            .execute(backend.statement(sql, vec![self.id.into()]))
            .await?;
        let sql = "DELETE FROM replicas WHERE id = ? AND epoch = ?";
        let values = vec![self.id.into(), self.epoch.into()];
        let gone = transaction.execute(backend.statement(sql, values)).await?;
        if gone.rows_affected() > 0 {
            let store = &self.store;
            store
                .record_now(&transaction, AuditAction::ReplicaDrained, &self.described)
                .await?;
        }
        transaction.commit().await?;
        self.owned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        match &self.session {
            Some(session) => Ok(session.clone().close().await?),
            None => Ok(()),
        }
    }
}

fn describe(id: Uuid, info: &ReplicaInfo) -> String {
    let ReplicaInfo {
        address,
        version,
        role,
    } = info;
    json!({ "replica": id, "version": version, "address": address, "role": role }).to_string()
}

/// The failure code of a saga whose journal cannot be read.
pub const JOURNAL_UNREADABLE: &str = "journal_unreadable";

/// The advisory lock of a replica: its id folded into 64 bits.
fn session_key(id: Uuid) -> i64 {
    let (high, low) = id.as_u64_pair();
    i64::from_ne_bytes((high ^ low).to_ne_bytes())
}
