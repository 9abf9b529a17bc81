//! The schema of amends, as SeaORM migrations: one file a change, never edited once released.
