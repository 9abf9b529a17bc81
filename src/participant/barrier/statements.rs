//! The barrier's table and statements, per database: those of docs/participants.md, word by word.

use sea_orm::DbBackend;

/// What is said to one kind of database.
#[derive(Debug)]
pub struct Statements {
    /// Makes the table where there is none.
    pub create: &'static str,
    /// Claims a key with the answer to it, or null; it waits for whoever is claiming the same key,
    /// and claims nothing where somebody has. Parameters: key, reply.
    pub claim: &'static str,
    /// The answer that was kept under a key.
    pub kept: &'static str,
    /// Keeps the answer under a claimed key. Parameters: reply, key.
    pub keep: &'static str,
    /// Forgets what is older than so many seconds.
    pub forget: &'static str,
}

const POSTGRES: Statements = Statements {
    create: "\
CREATE TABLE IF NOT EXISTS amends_barrier (
    idempotency_key VARCHAR(128) PRIMARY KEY,
    reply TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
)",
    claim: "INSERT INTO amends_barrier (idempotency_key, reply) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    kept: "SELECT reply FROM amends_barrier WHERE idempotency_key = $1",
    keep: "UPDATE amends_barrier SET reply = $1 WHERE idempotency_key = $2",
    forget: "DELETE FROM amends_barrier WHERE created_at < now() - make_interval(secs => $1)",
};

const MYSQL: Statements = Statements {
    create: "\
CREATE TABLE IF NOT EXISTS amends_barrier (
    idempotency_key VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY,
    reply LONGTEXT CHARACTER SET utf8mb4,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE = InnoDB",
    claim: "INSERT IGNORE INTO amends_barrier (idempotency_key, reply) VALUES (?, ?)",
    // The newest that is committed, not what the transaction saw when it began.
    kept: "SELECT reply FROM amends_barrier WHERE idempotency_key = ? LOCK IN SHARE MODE",
    keep: "UPDATE amends_barrier SET reply = ? WHERE idempotency_key = ?",
    forget: "DELETE FROM amends_barrier WHERE created_at < CURRENT_TIMESTAMP - INTERVAL ? SECOND",
};

const SQLITE: Statements = Statements {
    create: "\
CREATE TABLE IF NOT EXISTS amends_barrier (
    idempotency_key TEXT PRIMARY KEY,
    reply TEXT,
    created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
)",
    claim: "INSERT INTO amends_barrier (idempotency_key, reply) VALUES (?, ?) ON CONFLICT DO NOTHING",
    kept: "SELECT reply FROM amends_barrier WHERE idempotency_key = ?",
    keep: "UPDATE amends_barrier SET reply = ? WHERE idempotency_key = ?",
    forget: "DELETE FROM amends_barrier WHERE created_at < datetime('now', '-' || ? || ' seconds')",
};

impl Statements {
    /// Those of one kind of database; MariaDB is a MySQL.
    #[must_use]
    pub fn of(backend: DbBackend) -> &'static Self {
        match backend {
            DbBackend::Postgres => &POSTGRES,
            DbBackend::MySql => &MYSQL,
            DbBackend::Sqlite => &SQLITE,
        }
    }
}
