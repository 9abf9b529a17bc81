//! What the store promises, asked alike of SQLite, PostgreSQL and MariaDB (or MySQL).
//!
//! Each test has a database of its own, made for it and dropped after it. PostgreSQL is looked for
//! at `AMENDS_TEST_POSTGRES`, MariaDB at `AMENDS_TEST_MARIADB`; where one is missing its tests fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is a test in all its functions"
)]

mod audit;
mod audit_lists;
mod bed;
mod dead_letters;
mod inbox;
mod journal;
mod leases;
mod lists;
mod outage;
mod proxy;
mod schema;

/// Makes a test of each function for each database named.
macro_rules! contract {
    ($($name:ident on $($kind:ident)+;)+) => {$(
        mod $name {
            $(crate::contract!(@one $name $kind);)+
        }
    )+};
    (@one $name:ident sqlite) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn sqlite() {
            crate::bed::run(crate::bed::Kind::Sqlite, super::$name).await;
        }
    };
    (@one $name:ident postgres) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn postgres() {
            crate::bed::run(crate::bed::Kind::Postgres, super::$name).await;
        }
    };
    (@one $name:ident mariadb) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn mariadb() {
            crate::bed::run(crate::bed::Kind::MariaDb, super::$name).await;
        }
    };
}
pub(crate) use contract;
