//! The arguments of `amends definitions`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Connection;

#[derive(Args, Debug)]
pub(in crate::cli) struct Definitions {
    #[command(subcommand)]
    pub(in crate::cli) command: DefinitionsCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DefinitionsCommand {
    /// List the published definitions.
    #[command(after_help = "Example:\n    amends definitions list")]
    List(ListDefinitions),
    /// Publish definitions; a published version never changes.
    #[command(after_help = "Example:\n    amends definitions publish sagas/*.yaml")]
    Publish(Publish),
    /// Take no new starts of a definition; sagas that run go on.
    #[command(after_help = "Example:\n    amends definitions pause order_fulfilment --version 2")]
    Pause(OneDefinition),
    /// Take new starts of a paused definition again.
    #[command(after_help = "Example:\n    amends definitions resume order_fulfilment")]
    Resume(OneDefinition),
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ListDefinitions {
    #[command(flatten)]
    pub(in crate::cli) connection: Connection,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Publish {
    /// The definitions: YAML, or JSON in files that end in `.json`.
    #[arg(required = true, value_name = "FILE")]
    pub(in crate::cli) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) connection: Connection,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct OneDefinition {
    /// The definition's name.
    pub(in crate::cli) name: String,
    /// That version; every one when left out.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) version: Option<u32>,
    #[command(flatten)]
    pub(in crate::cli) connection: Connection,
}
