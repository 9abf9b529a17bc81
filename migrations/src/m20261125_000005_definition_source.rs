//! Where a published definition came from: the directory, which was the only way until now, or
//! the API.

use sea_orm_migration::prelude::*;

use crate::dialect::add_column;

/// Adds `definitions.source`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        add_column(
            manager,
            "definitions",
            "source",
            "{word} NOT NULL DEFAULT 'directory'",
        )
        .await
    }
}
