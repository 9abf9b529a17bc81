//! What differs between the databases in the schema: the names of types, the collation, and what
//! an index may do. The tables themselves are written once.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DbBackend, Statement};

/// A secondary index.
pub(crate) struct Index {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its columns, as SQL.
    pub(crate) columns: &'static str,
    /// Which rows it holds, where the database can leave the others out.
    pub(crate) only: Option<&'static str>,
}

/// A table, its columns in words that [`create`] turns into each database's own: `{uuid}`,
/// `{digest}`, `{name}` (up to 255 characters, compared byte by byte), `{word}` (the same, up to
/// 63), `{text}` (any length), `{bool}`, `{no}` (false).
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// Columns and constraints.
    pub(crate) columns: &'static str,
    /// Its secondary indices.
    pub(crate) indices: &'static [Index],
    /// Whether SQLite keeps the rows in the primary key's own tree.
    pub(crate) clustered: bool,
}

/// Creates the table and its indices where they are absent.
pub(crate) async fn create(manager: &SchemaManager<'_>, table: &Table) -> Result<(), DbErr> {
    let db = manager.get_connection();
    let mut body = spelled(db, table.columns).await?;
    if db.get_database_backend() == DbBackend::MySql {
        // Inline, because MySQL has no CREATE INDEX IF NOT EXISTS and its DDL is not undone.
        for index in table.indices {
            body.push_str(&format!(", INDEX {} ({})", index.name, index.columns));
        }
    }
    let tail = match db.get_database_backend() {
        DbBackend::Sqlite if table.clustered => " WITHOUT ROWID",
        DbBackend::MySql => " ENGINE=InnoDB",
        DbBackend::Sqlite | DbBackend::Postgres => "",
    };
    db.execute_unprepared(&format!(
        "CREATE TABLE IF NOT EXISTS {} ({body}){tail}",
        table.name
    ))
    .await?;
    if db.get_database_backend() != DbBackend::MySql {
        for index in table.indices {
            let only = index
                .only
                .map(|rows| format!(" WHERE {rows}"))
                .unwrap_or_default();
            db.execute_unprepared(&format!(
                "CREATE INDEX IF NOT EXISTS {} ON {} ({}){only}",
                index.name, table.name, index.columns
            ))
            .await?;
        }
    }
    Ok(())
}

/// Adds a column where it is absent. `what` is its type and constraints, in the words of [`Table`].
pub(crate) async fn add_column(
    manager: &SchemaManager<'_>,
    table: &str,
    column: &str,
    what: &str,
) -> Result<(), DbErr> {
    if manager.has_column(table, column).await? {
        return Ok(());
    }
    let db = manager.get_connection();
    let what = spelled(db, what).await?;
    db.execute_unprepared(&format!("ALTER TABLE {table} ADD COLUMN {column} {what}"))
        .await?;
    Ok(())
}

/// Columns in the database's own words.
async fn spelled(db: &SchemaManagerConnection<'_>, columns: &str) -> Result<String, DbErr> {
    Ok(match db.get_database_backend() {
        DbBackend::Postgres => spell(
            columns,
            [
                "uuid",
                "bytea",
                "varchar(255)",
                "varchar(63)",
                "text",
                "boolean",
                "false",
            ],
        ),
        DbBackend::Sqlite => spell(
            columns,
            ["blob", "blob", "text", "text", "text", "boolean", "false"],
        ),
        DbBackend::MySql => {
            let collation = collation(db).await?;
            let name = format!("varchar(255) character set utf8mb4 collate {collation}");
            let word = format!("varchar(63) character set utf8mb4 collate {collation}");
            let text = "longtext character set utf8mb4 collate utf8mb4_bin";
            spell(
                columns,
                [
                    "binary(16)",
                    "binary(32)",
                    &name,
                    &word,
                    text,
                    "boolean",
                    "false",
                ],
            )
        }
    })
}

fn spell(columns: &str, words: [&str; 7]) -> String {
    let names = [
        "{uuid}", "{digest}", "{name}", "{word}", "{text}", "{bool}", "{no}",
    ];
    names
        .iter()
        .zip(words)
        .fold(columns.to_owned(), |columns, (name, word)| {
            columns.replace(name, word)
        })
}

/// The collation that tells any two texts apart, trailing blanks included.
async fn collation(db: &SchemaManagerConnection<'_>) -> Result<&'static str, DbErr> {
    let question = Statement::from_string(
        DbBackend::MySql,
        "SELECT CAST(VERSION() LIKE '%MariaDB%' AS SIGNED) AS mariadb",
    );
    let row = db.query_one(question).await?;
    let mariadb: i64 = row.map_or(Ok(0), |row| row.try_get("", "mariadb"))?;
    Ok(if mariadb == 1 {
        "utf8mb4_nopad_bin"
    } else {
        "utf8mb4_0900_bin"
    })
}
