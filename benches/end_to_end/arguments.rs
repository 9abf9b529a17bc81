//! What the bench is told on its command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};

/// The reference load of amends, over real HTTP on loopback, beside its ceiling.
#[derive(Clone, Debug, Parser)]
#[command(name = "end_to_end")]
pub(crate) struct Arguments {
    /// One round of 2 s, and few lone sagas: shows that it runs, and no figure to keep.
    #[arg(long)]
    pub(crate) quick: bool,
    /// How long each measurement takes, after a warm-up of 2 s.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// How often everything is measured; 0 leaves the throughput out.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The databases, in this order.
    #[arg(long, value_delimiter = ',', default_value = "sqlite,postgres")]
    pub(crate) databases: Vec<Kind>,
    /// How many clients start sagas side by side.
    #[arg(long, default_value_t = 64)]
    pub(crate) clients: usize,
    /// Measures each database twice in turns: without guards, counts and traces, and with them all.
    #[arg(long)]
    pub(crate) off_and_on: bool,
    /// Measures each database twice in turns: with participants over HTTP, and with the same ones
    /// over RabbitMQ, at amqp://… .
    #[arg(long, conflicts_with = "off_and_on")]
    pub(crate) rabbitmq: Option<String>,
    /// How many sagas run alone, one after another, on PostgreSQL; 0 leaves that out.
    #[arg(long, default_value_t = 2_000)]
    lone: usize,
    /// How many sagas wait in a long delay while the coordinator is killed and started again.
    #[arg(long, default_value_t = 0)]
    pub(crate) waiting: usize,
    /// For how many seconds four times too much is asked for; 0 leaves that out.
    #[arg(long, default_value_t = 0)]
    pub(crate) overload: u64,
    /// Where databases may be made. MariaDB's is read from `AMENDS_TEST_MARIADB`.
    #[arg(
        long,
        env = "AMENDS_BENCH_POSTGRES",
        default_value = "postgres://postgres@127.0.0.1:5432/postgres"
    )]
    pub(crate) postgres: String,
    /// Which other process of the bench this one is.
    #[arg(long, hide = true)]
    pub(crate) role: Option<Role>,
    /// Where the role `proxy` finds the participants.
    #[arg(long, hide = true, default_value = "")]
    pub(crate) participants: String,
    /// What the bench's exchanges and queues begin with.
    #[arg(long, hide = true, default_value = "")]
    pub(crate) prefix: String,
    /// Said by `cargo bench`, and not by `cargo test`.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

/// A process of the bench's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Answers every call at once.
    Participants,
    /// The ceiling: makes a saga's calls and keeps nothing.
    Proxy,
    /// The ceiling over RabbitMQ: publishes a saga's commands and keeps nothing.
    Relay,
    /// Takes in traces and keeps nothing.
    Collector,
}

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A file in a temporary directory.
    Sqlite,
    /// A fresh database of the server of `--postgres`.
    Postgres,
    /// A fresh database of the server of `AMENDS_TEST_MARIADB`.
    Mariadb,
}

impl Arguments {
    /// How long each measurement takes.
    pub(crate) fn measured(&self) -> Duration {
        Duration::from_secs(if self.quick { 2 } else { self.seconds })
    }

    /// How long the load runs before it is measured.
    pub(crate) fn warm_up(&self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { 2 })
    }

    /// How often everything is measured.
    pub(crate) fn rounds(&self) -> u32 {
        if self.quick {
            self.rounds.min(1)
        } else {
            self.rounds
        }
    }

    /// What each database is measured with.
    pub(crate) fn trims(&self) -> &'static [Trim] {
        if self.rabbitmq.is_some() {
            &[Trim::Shipped, Trim::RabbitMq]
        } else if self.off_and_on {
            &[Trim::Off, Trim::On]
        } else {
            &[Trim::Shipped]
        }
    }

    /// How many sagas run alone.
    pub(crate) fn lone(&self) -> usize {
        if self.quick {
            self.lone.min(200)
        } else {
            self.lone
        }
    }
}

/// What a coordinator is measured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trim {
    /// As it ships: it counts what happens, and has neither guards nor traces.
    Shipped,
    /// Without guards, counts and traces.
    Off,
    /// As it ships, with participants over RabbitMQ.
    RabbitMq,
    /// With every guard, none of which holds anything back; it counts, and traces every saga.
    On,
}

impl Kind {
    /// Its name in a report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::Mariadb => "MariaDB",
        }
    }

    /// Its name in a report, measured so.
    pub(crate) fn titled(self, trim: Trim) -> &'static str {
        match (self, trim) {
            (kind, Trim::Shipped) => kind.name(),
            (Self::Sqlite, Trim::RabbitMq) => "SQLite, RabbitMQ",
            (Self::Postgres, Trim::RabbitMq) => "PostgreSQL, RabbitMQ",
            (Self::Mariadb, Trim::RabbitMq) => "MariaDB, RabbitMQ",
            (Self::Sqlite, Trim::Off) => "SQLite, all off",
            (Self::Sqlite, Trim::On) => "SQLite, all on",
            (Self::Postgres, Trim::Off) => "PostgreSQL, all off",
            (Self::Postgres, Trim::On) => "PostgreSQL, all on",
            (Self::Mariadb, Trim::Off) => "MariaDB, all off",
            (Self::Mariadb, Trim::On) => "MariaDB, all on",
        }
    }
}
