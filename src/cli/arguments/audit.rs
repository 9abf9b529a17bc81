//! What `amends audit` is told.

use clap::Args;

use super::Connection;

#[derive(Args, Debug)]
pub(in crate::cli) struct Audit {
    /// About this saga.
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) saga: Option<String>,
    /// By this actor.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) actor: Option<String>,
    /// This action, like SAGA_CANCELLED; may be repeated.
    #[arg(long = "action", value_name = "ACTION")]
    pub(in crate::cli) actions: Vec<String>,
    /// Done then or later (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) from: Option<String>,
    /// Done before then (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) to: Option<String>,
    /// How many, at most: 50 when left out, with --csv and --ndjson all.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(in crate::cli) limit: Option<u16>,
    /// Where to go on: what the last page ended with.
    #[arg(long)]
    pub(in crate::cli) cursor: Option<String>,
    /// Every entry, as a table for other programs.
    #[arg(long, conflicts_with_all = ["ndjson", "json"])]
    pub(in crate::cli) csv: bool,
    /// Every entry, one JSON object a line.
    #[arg(long, conflicts_with = "json")]
    pub(in crate::cli) ndjson: bool,
    #[command(flatten)]
    pub(in crate::cli) connection: Connection,
}
