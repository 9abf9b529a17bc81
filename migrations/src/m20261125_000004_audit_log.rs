//! The audit: who did what, and when.

use sea_orm_migration::prelude::*;

use crate::dialect::{Index, Table, create};

/// Creates `audit_log`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, &AUDIT_LOG).await
    }
}

/// Append only. Every saga pays for two rows of it, so what most rows have in common is in no
/// index where the database can leave it out: half of all rows are the coordinator's own
/// (`system`), and nearly all tell of a saga that started or completed. Whoever looks for those
/// finds them wherever he looks.
const AUDIT_LOG: Table = Table {
    name: "audit_log",
    columns: "seq {serial}, \
        at bigint NOT NULL, \
        saga_id {uuid}, \
        version bigint, \
        actor {name} NOT NULL, \
        action {word} NOT NULL, \
        definition {name}, \
        step {name}, \
        remote {word}, \
        detail {text}, \
        namespace {word} NOT NULL DEFAULT 'default'",
    indices: &[
        Index {
            name: "audit_log_by_saga",
            columns: "saga_id, seq",
            only: Some("saga_id IS NOT NULL"),
        },
        Index {
            name: "audit_log_by_time",
            columns: "at, seq",
            only: None,
        },
        Index {
            name: "audit_log_by_actor",
            columns: "actor, seq",
            only: Some("actor <> 'system'"),
        },
        Index {
            name: "audit_log_by_action",
            columns: "action, seq",
            only: Some("action <> 'SAGA_STARTED' AND action <> 'SAGA_COMPLETED'"),
        },
    ],
    clustered: false,
};
