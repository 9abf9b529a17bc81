//! The sagas: their summaries, their journal, their labels, and the keys they were started with.

use sea_orm_migration::prelude::*;

use crate::dialect::{Index, Table, create};

/// Creates `sagas`, `saga_events`, `saga_labels` and `start_keys`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [&SAGAS, &SAGA_EVENTS, &SAGA_LABELS, &START_KEYS] {
            create(manager, table).await?;
        }
        Ok(())
    }
}

/// Each index is paid for by every saga, twice (its start and its end), so there are few, and those
/// for what is rare hold only the rare rows. Ids are UUIDv7: the primary key is the order of lists.
const SAGAS: Table = Table {
    name: "sagas",
    columns: "id {uuid} NOT NULL PRIMARY KEY, \
        created_at bigint NOT NULL, \
        finished_at bigint, \
        deadline bigint, \
        wake_at bigint, \
        last_seq bigint NOT NULL, \
        version bigint NOT NULL, \
        shard integer NOT NULL, \
        suspended {bool} NOT NULL DEFAULT {no}, \
        overdue {bool} NOT NULL DEFAULT {no}, \
        status {word} NOT NULL, \
        definition {name} NOT NULL, \
        business_key {name}, \
        failure_step {name}, \
        failure_code {name}, \
        failure_message {text}, \
        labels {text}, \
        namespace {word} NOT NULL DEFAULT 'default'",
    indices: &[
        // Recovery walks it oldest first; the shard is in it so that others' rows cost no visit.
        Index {
            name: "sagas_due",
            columns: "wake_at, id, shard",
            only: Some("wake_at IS NOT NULL"),
        },
        Index {
            name: "sagas_by_status",
            columns: "status, id",
            only: None,
        },
        Index {
            name: "sagas_by_definition",
            columns: "definition, id",
            only: None,
        },
        Index {
            name: "sagas_by_key",
            columns: "business_key, id",
            only: Some("business_key IS NOT NULL"),
        },
        Index {
            name: "sagas_by_failure",
            columns: "failure_code, id",
            only: Some("failure_code IS NOT NULL"),
        },
        Index {
            name: "sagas_suspended",
            columns: "suspended, id",
            only: Some("suspended = true"),
        },
        Index {
            name: "sagas_overdue",
            columns: "overdue, id",
            only: Some("overdue = true"),
        },
    ],
    clustered: true,
};

/// One row is one transition: the facts that one input made, as a JSON array, under the number of
/// the first of them.
const SAGA_EVENTS: Table = Table {
    name: "saga_events",
    columns: "saga_id {uuid} NOT NULL, \
        seq bigint NOT NULL, \
        at bigint NOT NULL, \
        events_count integer NOT NULL CHECK (events_count > 0), \
        events {text} NOT NULL, \
        PRIMARY KEY (saga_id, seq)",
    indices: &[],
    clustered: true,
};

const SAGA_LABELS: Table = Table {
    name: "saga_labels",
    columns: "name {name} NOT NULL, \
        value {name} NOT NULL, \
        saga_id {uuid} NOT NULL, \
        PRIMARY KEY (name, value, saga_id)",
    indices: &[],
    clustered: true,
};

const START_KEYS: Table = Table {
    name: "start_keys",
    columns: "namespace {word} NOT NULL DEFAULT 'default', \
        start_key {name} NOT NULL, \
        digest {digest} NOT NULL, \
        saga_id {uuid} NOT NULL, \
        PRIMARY KEY (namespace, start_key)",
    indices: &[],
    clustered: true,
};
