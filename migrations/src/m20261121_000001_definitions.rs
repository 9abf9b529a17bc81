//! The published definitions. A row never changes but for its pause.

use sea_orm_migration::prelude::*;

use crate::dialect::{Table, create};

/// Creates `definitions`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(
            manager,
            &Table {
                name: "definitions",
                columns: "namespace {word} NOT NULL DEFAULT 'default', \
                    name {name} NOT NULL, \
                    version bigint NOT NULL, \
                    published_at bigint NOT NULL, \
                    paused {bool} NOT NULL DEFAULT {no}, \
                    document {text} NOT NULL, \
                    PRIMARY KEY (namespace, name, version)",
                indices: &[],
                clustered: false,
            },
        )
        .await
    }
}
