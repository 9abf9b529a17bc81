//! Taking shards that nobody owns, or whose owner is gone.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait, Value};
use uuid::Uuid;

use super::{Lease, OwnedShard, session_key};
use crate::store::dialect::{column, marks, signed};
use crate::store::records::shard;
use crate::store::{Backend, StoreError};

/// A replica that has been gone for this long, and owns nothing, is forgotten.
const FORGET_AFTER_MS: u64 = 24 * 3600 * 1000;

struct ShardRow {
    shard: u16,
    owner: Option<Uuid>,
    fence: i64,
}

impl Lease {
    /// Takes every shard that has no owner, and every shard of a replica that is gone: its lease is
    /// up, or (PostgreSQL) its session has ended, or (SQLite) it is not this one, because the lock
    /// on the file says that there is no other. Their epochs are raised first. The shards of a
    /// replica that lives are left alone.
    ///
    /// Answers with the shards that are this replica's and were not in an earlier answer; a call
    /// whose answer was lost is made good by the next.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when this replica's own epoch was raised: register anew;
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn claim(&self) -> Result<Vec<OwnedShard>, StoreError> {
        let transaction = self.store.db.begin().await?;
        if self.store.backend == Backend::Sqlite {
            // A transaction that begins by reading cannot always go on to write.
            self.run(
                &transaction,
                "UPDATE shards SET fence = fence WHERE shard = 0",
                vec![],
            )
            .await?;
        }
        let rows = self.lock_shards(&transaction).await?;
        self.own_epoch(&transaction).await?;
        let owners: BTreeSet<Uuid> = rows
            .iter()
            .filter_map(|row| row.owner)
            .filter(|owner| *owner != self.id)
            .collect();
        let mut gone = BTreeSet::new();
        for owner in owners {
            if self.raise_if_gone(&transaction, owner).await? {
                gone.insert(owner);
            }
        }
        let mut mine = Vec::new();
        let mut taken: Vec<Value> = Vec::new();
        for row in rows {
            match row.owner {
                Some(owner) if owner == self.id => mine.push((row.shard, row.fence)),
                Some(owner) if !gone.contains(&owner) => {}
                Some(_) | None => {
                    taken.push(i32::from(row.shard).into());
                    mine.push((row.shard, row.fence + 1));
                }
            }
        }
        if !taken.is_empty() {
            let sql = format!(
                "UPDATE shards SET owner = ?, fence = fence + 1 WHERE shard IN ({})",
                marks(taken.len())
            );
            taken.insert(0, self.id.into());
            self.run(&transaction, &sql, taken).await?;
        }
        self.forget_the_gone(&transaction).await?;
        transaction.commit().await?;
        Ok(self.not_yet_told(mine))
    }

    fn not_yet_told(&self, mine: Vec<(u16, i64)>) -> Vec<OwnedShard> {
        let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        mine.into_iter()
            .filter(|(shard, fence)| owned.insert(*shard, *fence) != Some(*fence))
            .map(|(shard, fence)| OwnedShard { shard, fence })
            .collect()
    }

    /// Locks all shards, so that two replicas that claim do it one after the other.
    async fn lock_shards(&self, on: &DatabaseTransaction) -> Result<Vec<ShardRow>, StoreError> {
        let backend = self.store.backend;
        let sql = format!(
            "SELECT shard, owner, fence FROM shards ORDER BY shard{}",
            backend.for_update()
        );
        let rows = on.query_all(backend.statement(&sql, Vec::new())).await?;
        rows.iter()
            .map(|row| {
                Ok(ShardRow {
                    shard: shard(row)?,
                    owner: column(row, "owner")?,
                    fence: column(row, "fence")?,
                })
            })
            .collect()
    }

    async fn own_epoch(&self, on: &DatabaseTransaction) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT epoch FROM replicas WHERE id = ? AND epoch = ?{}",
            self.store.backend.for_update()
        );
        let values = vec![self.id.into(), self.epoch.into()];
        match on
            .query_one(self.store.backend.statement(&sql, values))
            .await?
        {
            Some(_) => Ok(()),
            None => Err(StoreError::LeaseLost),
        }
    }

    /// Raises the epoch of a replica that is gone, after any commit of its journal that is under
    /// way. False when it lives.
    async fn raise_if_gone(
        &self,
        on: &DatabaseTransaction,
        owner: Uuid,
    ) -> Result<bool, StoreError> {
        let now = self.store.backend.now();
        let mut values: Vec<Value> = vec![owner.into()];
        let is_gone = match self.store.backend {
            Backend::Sqlite => "1 = 1".to_owned(),
            Backend::MySql => format!("lease_until <= {now}"),
            Backend::Postgres => {
                values.extend([self.lease_ms.into(), session_key(owner).into()]);
                format!(
                    "(lease_until <= {now} OR CASE WHEN clock_timestamp() \
                     - pg_postmaster_start_time() > ? * interval '1 millisecond' \
                     THEN pg_try_advisory_xact_lock(?) ELSE false END)"
                )
            }
        };
        let sql = format!("UPDATE replicas SET epoch = epoch + 1 WHERE id = ? AND {is_gone}");
        if self.run(on, &sql, values).await? == 1 {
            return Ok(true);
        }
        let sql = format!(
            "SELECT epoch FROM replicas WHERE id = ?{}",
            self.store.backend.for_update()
        );
        let statement = self.store.backend.statement(&sql, vec![owner.into()]);
        Ok(on.query_one(statement).await?.is_none())
    }

    async fn forget_the_gone(&self, on: &DatabaseTransaction) -> Result<(), StoreError> {
        let sql = format!(
            "DELETE FROM replicas WHERE lease_until < {} - ? AND id <> ? \
             AND id NOT IN (SELECT owner FROM shards WHERE owner IS NOT NULL)",
            self.store.backend.now()
        );
        let values = vec![signed(FORGET_AFTER_MS).into(), self.id.into()];
        self.run(on, &sql, values).await?;
        Ok(())
    }

    async fn run(
        &self,
        on: &DatabaseTransaction,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<u64, StoreError> {
        let statement = self.store.backend.statement(sql, values);
        Ok(on.execute(statement).await?.rows_affected())
    }
}
