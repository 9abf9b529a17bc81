//! The arguments of `amends dead-letters`.

use clap::{Args, Subcommand};

use super::Connection;

#[derive(Args, Debug)]
pub(in crate::cli) struct DeadLetters {
    #[command(subcommand)]
    pub(in crate::cli) command: DeadLettersCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DeadLettersCommand {
    /// List dead letters, newest first.
    #[command(
        after_help = "Example:\n    amends dead-letters list --status open --participant payment"
    )]
    List(ListDeadLetters),
    /// Show a dead letter with its whole message.
    #[command(
        after_help = "Example:\n    amends dead-letters show 0198c7c4-bbbb-7000-8000-000000000000"
    )]
    Show(OneDeadLetter),
    /// Send a dead letter again to where it was going.
    #[command(
        after_help = "Example:\n    amends dead-letters replay 0198c7c4-bbbb-7000-8000-000000000000"
    )]
    Replay(OneDeadLetter),
    /// Close a dead letter; it is kept.
    #[command(after_help = "Example:\n    amends dead-letters discard \
        0198c7c4-bbbb-7000-8000-000000000000 --reason 'of a load test'")]
    Discard(Discard),
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ListDeadLetters {
    /// In this status (open, replayed, discarded); may be repeated.
    #[arg(long = "status", value_name = "STATUS")]
    pub(in crate::cli) statuses: Vec<String>,
    /// Going to this queue.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) queue: Option<String>,
    /// Going to this participant.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) participant: Option<String>,
    /// About this saga.
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) saga: Option<String>,
    /// Come through this broker (rabbitmq, sqs).
    #[arg(long, value_name = "BROKER")]
    pub(in crate::cli) transport: Option<String>,
    /// Dead for just this reason, like `rejected`.
    #[arg(long)]
    pub(in crate::cli) reason: Option<String>,
    /// Come then or later (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) received_after: Option<String>,
    /// Come before then (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) received_before: Option<String>,
    /// How many, at most; fewer where they are long.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(in crate::cli) limit: u16,
    /// Where to go on: what the last page ended with.
    #[arg(long)]
    pub(in crate::cli) cursor: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) connection: Connection,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct OneDeadLetter {
    /// The dead letter.
    pub(in crate::cli) id: String,
    #[command(flatten)]
    pub(in crate::cli) connection: Connection,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Discard {
    /// The dead letter.
    pub(in crate::cli) id: String,
    /// Why: for whoever looks at it later.
    #[arg(long)]
    pub(in crate::cli) reason: String,
    #[command(flatten)]
    pub(in crate::cli) connection: Connection,
}
