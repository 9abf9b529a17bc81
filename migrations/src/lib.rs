//! The schema of amends, as SeaORM migrations: one file a change, never edited once released.
//!
//! Within a release migrations only expand the schema, because two versions run beside each other
//! during every rollout. For the same reason a migration that the database has and this build does
//! not know is no error: a newer replica made it. (`MigratorTrait::up` refuses in that case, which
//! is why [`pending`] and [`apply`] stand in its place.)

use std::collections::HashSet;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{
    DatabaseConnection, DbBackend, EntityTrait, Set, TransactionTrait,
};
use sea_orm_migration::seaql_migrations;

mod dialect;
mod m20261121_000001_definitions;
mod m20261121_000002_sagas;
mod m20261121_000003_leases;
mod m20261125_000004_audit_log;
mod m20261125_000005_definition_source;
mod m20261126_000006_dead_letters;
mod m20261126_000007_inbox;

/// Every migration that this build knows, oldest first.
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_definitions::Migration),
            Box::new(m20261121_000002_sagas::Migration),
            Box::new(m20261121_000003_leases::Migration),
            Box::new(m20261125_000004_audit_log::Migration),
            Box::new(m20261125_000005_definition_source::Migration),
            Box::new(m20261126_000006_dead_letters::Migration),
            Box::new(m20261126_000007_inbox::Migration),
        ]
    }
}

/// The names of the migrations that the database has yet to take, oldest first.
///
/// # Errors
/// The database did not answer, or may not be written to.
pub async fn pending(db: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    let missing = missing(db).await?;
    Ok(missing
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect())
}

/// Brings the schema up to date and names what was applied. The caller sees to it that nobody else
/// does so at the same time.
///
/// # Errors
/// The database refused a statement; on PostgreSQL and SQLite that migration is then undone, on
/// MariaDB and MySQL it may be half done and is safe to run again.
pub async fn apply(db: &DatabaseConnection, applied_at_seconds: i64) -> Result<Vec<String>, DbErr> {
    let mut applied = Vec::new();
    for migration in missing(db).await? {
        let name = migration.name().to_owned();
        let row = seaql_migrations::ActiveModel {
            version: Set(name.clone()),
            applied_at: Set(applied_at_seconds),
        };
        if db.get_database_backend() == DbBackend::MySql {
            // Its DDL commits by itself, so a transaction would promise what it cannot hold.
            migration.up(&SchemaManager::new(db)).await?;
            seaql_migrations::Entity::insert(row)
                .exec_without_returning(db)
                .await?;
        } else {
            let transaction = db.begin().await?;
            migration.up(&SchemaManager::new(&transaction)).await?;
            seaql_migrations::Entity::insert(row)
                .exec_without_returning(&transaction)
                .await?;
            transaction.commit().await?;
        }
        applied.push(name);
    }
    Ok(applied)
}

async fn missing(db: &DatabaseConnection) -> Result<Vec<Box<dyn MigrationTrait>>, DbErr> {
    let done: HashSet<String> = Migrator::get_migration_models(db)
        .await?
        .into_iter()
        .map(|model| model.version)
        .collect();
    let mut migrations = Migrator::migrations();
    migrations.retain(|migration| !done.contains(migration.name()));
    Ok(migrations)
}
