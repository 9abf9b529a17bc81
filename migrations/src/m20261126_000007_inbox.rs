//! The inbox: what has come for a saga that another replica owns. And the secrets that replicas
//! share because nobody configured them.

use sea_orm_migration::prelude::*;

use crate::dialect::{Index, Table, create};

/// Creates `inbox` and `secrets`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, &INBOX).await?;
        create(manager, &SECRETS).await
    }
}

/// A row lives for as long as its saga's owner takes to look: the table is nearly always empty.
const INBOX: Table = Table {
    name: "inbox",
    columns: "id {serial}, \
        saga_id {uuid} NOT NULL, \
        shard integer NOT NULL, \
        received_at bigint NOT NULL, \
        remote {word}, \
        input {text} NOT NULL, \
        namespace {word} NOT NULL DEFAULT 'default'",
    indices: &[Index {
        name: "inbox_by_shard",
        columns: "shard, id",
        only: None,
    }],
    clustered: false,
};

const SECRETS: Table = Table {
    name: "secrets",
    columns: "name {name} NOT NULL PRIMARY KEY, \
        value {text} NOT NULL, \
        made_at bigint NOT NULL, \
        namespace {word} NOT NULL DEFAULT 'default'",
    indices: &[],
    clustered: false,
};
