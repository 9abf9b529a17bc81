//! Who owns what: the shards and the replicas.

use sea_orm_migration::prelude::*;

use crate::dialect::{Table, create};

/// Creates `shards` and `replicas`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [&REPLICAS, &SHARDS] {
            create(manager, table).await?;
        }
        Ok(())
    }
}

const REPLICAS: Table = Table {
    name: "replicas",
    columns: "id {uuid} NOT NULL PRIMARY KEY, \
        epoch bigint NOT NULL, \
        lease_until bigint NOT NULL, \
        started_at bigint NOT NULL, \
        address {name} NOT NULL, \
        version {word} NOT NULL, \
        role {word} NOT NULL, \
        namespace {word} NOT NULL DEFAULT 'default'",
    indices: &[],
    clustered: false,
};

const SHARDS: Table = Table {
    name: "shards",
    columns: "shard integer NOT NULL PRIMARY KEY, \
        owner {uuid}, \
        fence bigint NOT NULL DEFAULT 0, \
        namespace {word} NOT NULL DEFAULT 'default'",
    indices: &[],
    clustered: false,
};
