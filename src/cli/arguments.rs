//! The command line, as clap reads it.

mod audit;
mod dead_letters;
mod definitions;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::BrokerUrl;
pub(super) use audit::Audit;
pub(super) use dead_letters::{DeadLetters, DeadLettersCommand, ListDeadLetters};
pub(super) use definitions::{Definitions, DefinitionsCommand, OneDefinition, Publish};

/// A saga coordinator: every saga completes, or makes amends.
#[derive(Debug, Parser)]
#[command(name = "amends", version, arg_required_else_help = true)]
#[command(after_help = "To see it run, with nothing to set up:\n    amends demo")]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show it: a coordinator, a database and participants in one process, and three orders.
    #[command(after_help = "Examples:\n    amends demo --exit\n    \
        amends demo --rabbitmq amqp://guest:guest@localhost:5672")]
    Demo(Demo),
    /// Run the coordinator.
    #[command(after_help = "Example:\n    amends serve --config amends.yaml")]
    Serve(Serve),
    /// Bring the database's schema up to date.
    #[command(after_help = "Example:\n    amends migrate --check")]
    Migrate(Migrate),
    /// Check definitions: every problem as file:line:column.
    #[command(after_help = "Example:\n    amends check sagas/*.yaml")]
    Check(Check),
    /// Start a saga.
    #[command(
        after_help = "Example:\n    amends start money_transfer --wait \\\n        \
        --input '{\"from\": \"A\", \"to\": \"B\", \"amount\": 100, \"currency\": \"EUR\"}'"
    )]
    Start(Start),
    /// List sagas, newest first.
    #[command(
        after_help = "Example:\n    amends list --status failed --definition order_fulfilment"
    )]
    List(List),
    /// Show a saga with its steps.
    #[command(after_help = "Example:\n    amends get 0198c7c4-aaaa-7000-8000-000000000000")]
    Get(OneSaga),
    /// Follow a saga until it has finished or failed.
    #[command(after_help = "Example:\n    amends watch 0198c7c4-aaaa-7000-8000-000000000000")]
    Watch(OneSaga),
    /// Say why a saga stands where it stands, and what a cancel would undo.
    #[command(after_help = "Example:\n    amends explain 0198c7c4-aaaa-7000-8000-000000000000")]
    Explain(OneSaga),
    /// Turn a saga back.
    #[command(
        after_help = "Example:\n    amends cancel 0198c7c4-aaaa-7000-8000-000000000000 \
        --reason 'the customer changed their mind'"
    )]
    Cancel(Cancel),
    /// Send nothing new for a saga until it is resumed.
    #[command(after_help = "Example:\n    amends suspend 0198c7c4-aaaa-7000-8000-000000000000")]
    Suspend(OneSaga),
    /// Let a suspended saga go on.
    #[command(after_help = "Example:\n    amends resume 0198c7c4-aaaa-7000-8000-000000000000")]
    Resume(OneSaga),
    /// Try again what stopped a failed saga.
    #[command(after_help = "Example:\n    amends retry 0198c7c4-aaaa-7000-8000-000000000000")]
    Retry(OneSaga),
    /// Record that a step was settled by hand.
    #[command(
        after_help = "Example:\n    amends resolve 0198c7c4-aaaa-7000-8000-000000000000 ship \
        \\\n        --outcome succeeded --note 'sent by courier' --output '{\"tracking\": \"X1\"}'"
    )]
    Resolve(Resolve),
    /// Send a signal to a saga that waits for it, or will.
    #[command(
        after_help = "Example:\n    amends signal 0198c7c4-aaaa-7000-8000-000000000000 \
        approved --payload '{\"by\": \"ann\"}'"
    )]
    Signal(Signal),
    /// List, publish, pause and resume definitions.
    #[command(after_help = "Example:\n    amends definitions publish sagas/*.yaml")]
    Definitions(Definitions),
    /// Show who did what, newest first.
    #[command(
        after_help = "Examples:\n    amends audit --actor ann --action SAGA_CANCELLED\n    \
        amends audit --from 2026-11-01T00:00:00Z --to 2026-12-01T00:00:00Z --csv > november.csv"
    )]
    Audit(Audit),
    /// List, show, replay and discard messages that nobody could take.
    #[command(
        name = "dead-letters",
        after_help = "Example:\n    amends dead-letters list --status open"
    )]
    DeadLetters(DeadLetters),
    /// Draw the steps of a definition.
    #[command(
        after_help = "Example:\n    amends graph sagas/travel_booking.yaml --format svg > t.svg"
    )]
    Graph(Graph),
}

/// Where the coordinator is.
#[derive(Args, Clone, Debug)]
pub(super) struct Connection {
    /// Where the coordinator's API is.
    #[arg(
        long,
        env = "AMENDS_URL",
        default_value = "http://localhost:8080",
        value_name = "URL"
    )]
    pub(super) url: String,
    /// The credential to show.
    #[arg(
        long,
        env = "AMENDS_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub(super) token: Option<String>,
    #[command(flatten)]
    pub(super) trust: Trust,
    /// Print JSON, for machines.
    #[arg(long)]
    pub(super) json: bool,
}

/// TLS towards a coordinator that is not known to the whole world.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Trust {
    /// The only authorities to trust, in PEM, in place of the system's.
    #[arg(long, env = "AMENDS_CA", value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// The certificate to show, in PEM, to a coordinator that asks for one.
    #[arg(
        long,
        env = "AMENDS_CERTIFICATE",
        value_name = "FILE",
        requires = "certificate_key"
    )]
    pub(super) certificate: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[arg(
        long,
        env = "AMENDS_CERTIFICATE_KEY",
        value_name = "FILE",
        requires = "certificate"
    )]
    pub(super) certificate_key: Option<PathBuf>,
}

/// Which configuration.
#[derive(Args, Clone, Debug)]
pub(super) struct Configured {
    /// The configuration file; else AMENDS_CONFIG's, else amends.yaml where there is one.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The database, over the configuration's.
    #[arg(long, value_name = "URL")]
    pub(super) database: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct Demo {
    /// End after the three orders.
    #[arg(long)]
    pub(super) exit: bool,
    /// Only serve the demo's participants, here: for trying `amends serve` with them.
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "exit")]
    pub(super) participants: Option<SocketAddr>,
    /// Reach the participants over this RabbitMQ. What is made there is named for this run alone,
    /// and taken away at the end.
    #[arg(
        long,
        value_name = "URL",
        value_parser = BrokerUrl::parse,
        conflicts_with = "participants"
    )]
    pub(super) rabbitmq: Option<BrokerUrl>,
}

#[derive(Args, Debug)]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) configured: Configured,
    /// Where the API listens, over the configuration's.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) listen: Option<String>,
    /// Where the management port listens, over the configuration's.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) management: Option<String>,
    /// The directory of definitions, over the configuration's.
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) sagas: Option<String>,
    /// End when a definition has an error, rather than serve the others.
    #[arg(long)]
    pub(super) strict: bool,
    /// Show the configuration in force, secrets masked, and end.
    #[arg(long)]
    pub(super) print_config: bool,
}

#[derive(Args, Debug)]
pub(super) struct Migrate {
    #[command(flatten)]
    pub(super) configured: Configured,
    /// Change nothing; the exit status says whether the schema is up to date.
    #[arg(long)]
    pub(super) check: bool,
    /// Print JSON, for machines.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Check {
    /// The definitions.
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Check against this configuration's participants, too.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print JSON, for machines.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Start {
    /// The definition.
    pub(super) name: String,
    /// The input: JSON, or a file that holds it (`-` is the standard input).
    #[arg(long, value_name = "FILE|JSON")]
    pub(super) input: Option<String>,
    /// The business key.
    #[arg(long)]
    pub(super) key: Option<String>,
    /// A version; the newest when left out.
    #[arg(long = "definition-version", value_name = "N")]
    pub(super) version: Option<u32>,
    /// A label, name:value; may be repeated.
    #[arg(long = "label", value_name = "NAME:VALUE", value_parser = label)]
    pub(super) labels: Vec<(String, String)>,
    /// The same start with the same key is made once.
    #[arg(long, value_name = "KEY")]
    pub(super) idempotency_key: Option<String>,
    /// Follow the saga until it has finished or failed.
    #[arg(long)]
    pub(super) wait: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

#[derive(Args, Debug)]
pub(super) struct List {
    /// Of this definition.
    #[arg(long, value_name = "NAME")]
    pub(super) definition: Option<String>,
    /// In this status; may be repeated.
    #[arg(long = "status", value_name = "STATUS")]
    pub(super) statuses: Vec<String>,
    /// With this business key.
    #[arg(long)]
    pub(super) key: Option<String>,
    /// With this label; may be repeated.
    #[arg(long = "label", value_name = "NAME:VALUE")]
    pub(super) labels: Vec<String>,
    /// With this failure.
    #[arg(long, value_name = "CODE")]
    pub(super) failure_code: Option<String>,
    /// Started then or later (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub(super) created_after: Option<String>,
    /// Started before then (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub(super) created_before: Option<String>,
    /// Only suspended ones.
    #[arg(long)]
    pub(super) suspended: bool,
    /// Only overdue ones.
    #[arg(long)]
    pub(super) overdue: bool,
    /// How many, at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(super) limit: u16,
    /// Where to go on: what the last page ended with.
    #[arg(long)]
    pub(super) cursor: Option<String>,
    #[command(flatten)]
    pub(super) connection: Connection,
}

#[derive(Args, Debug)]
pub(super) struct OneSaga {
    /// The saga.
    pub(super) id: String,
    #[command(flatten)]
    pub(super) connection: Connection,
}

#[derive(Args, Debug)]
pub(super) struct Cancel {
    /// The saga.
    pub(super) id: String,
    /// Why.
    #[arg(long)]
    pub(super) reason: Option<String>,
    #[command(flatten)]
    pub(super) connection: Connection,
}

#[derive(Args, Debug)]
pub(super) struct Resolve {
    /// The saga.
    pub(super) id: String,
    /// The step.
    pub(super) step: String,
    /// How it was settled.
    #[arg(long, value_enum)]
    pub(super) outcome: Outcome,
    /// Why: for whoever reads the journal later.
    #[arg(long)]
    pub(super) note: String,
    /// The step's output, with `succeeded`.
    #[arg(long, value_name = "JSON")]
    pub(super) output: Option<String>,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// How a step was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Outcome {
    /// It was done.
    Succeeded,
    /// The saga goes on without it.
    Skipped,
    /// It was not done.
    Refused,
    /// It was undone.
    Compensated,
}

impl Outcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
            Self::Compensated => "compensated",
        }
    }
}

#[derive(Args, Debug)]
pub(super) struct Signal {
    /// The saga.
    pub(super) id: String,
    /// The signal's name.
    pub(super) name: String,
    /// What comes with it.
    #[arg(long, value_name = "JSON")]
    pub(super) payload: Option<String>,
    /// The same signal with the same key is taken once.
    #[arg(long, value_name = "KEY")]
    pub(super) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(super) connection: Connection,
}

#[derive(Args, Debug)]
pub(super) struct Graph {
    /// A definition's file, or the name of a published one.
    #[arg(value_name = "NAME|FILE")]
    pub(super) definition: String,
    /// How it is drawn.
    #[arg(long, value_enum, default_value_t = GraphFormat::Mermaid)]
    pub(super) format: GraphFormat,
    /// A published version; the newest when left out.
    #[arg(long = "version", alias = "definition-version", value_name = "N")]
    pub(super) version: Option<u32>,
    /// Where the coordinator's API is.
    #[arg(
        long,
        env = "AMENDS_URL",
        default_value = "http://localhost:8080",
        value_name = "URL"
    )]
    pub(super) url: String,
    /// The credential to show.
    #[arg(
        long,
        env = "AMENDS_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub(super) token: Option<String>,
    #[command(flatten)]
    pub(super) trust: Trust,
}

/// How a graph is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum GraphFormat {
    /// Mermaid's text.
    Mermaid,
    /// A picture.
    Svg,
    /// Nodes and edges.
    Json,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write it as name:value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        for command in Arguments::command().get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let call = format!("amends {}", command.get_name());
            assert!(help.contains(&call), "{call}");
        }
    }

    #[test]
    fn commands_are_read() {
        let lines = [
            "demo",
            "demo --exit",
            "demo --participants 127.0.0.1:9000",
            "demo --rabbitmq amqp://guest:guest@localhost:5672/%2f --exit",
            "serve --strict",
            "serve --config a.yaml --listen 127.0.0.1:0 --management 127.0.0.1:0 --print-config",
            "serve --database sqlite://x.db --sagas s",
            "migrate --check",
            "check a.yaml b.yaml",
            "check a.yaml --config c.yaml --json",
            "start order --input {} --key K --wait",
            "start order --label a:b --label c:d --definition-version 2 --idempotency-key k",
            "list --status running --status failed --label a:b --limit 5 --json",
            "get ID",
            "watch ID --url http://h:1 --token t",
            "get ID --url https://h:1 --ca ca.pem --certificate c.pem --certificate-key k.pem",
            "cancel ID --reason R",
            "suspend ID",
            "resume ID",
            "retry ID",
            "resolve ID STEP --outcome skipped --note N --output {}",
            "signal ID NAME --payload 1",
            "audit",
            "audit --saga ID --actor a --action A --action B --from T --to T --limit 5 --json",
            "audit --csv --limit 500 --cursor 1.2",
            "audit --ndjson",
            "graph order --format json",
            "graph order",
        ];
        for line in lines {
            let words = std::iter::once("amends").chain(line.split(' '));
            assert!(Arguments::try_parse_from(words).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_is_used_wrongly_ends_with_two() {
        let lines = [
            "list --limit 0",
            "list --certificate c.pem",
            "list --certificate-key k.pem",
            "list --limit 501",
            "audit --limit 0",
            "audit --csv --json",
            "audit --csv --ndjson",
            "resolve ID STEP --outcome done --note N",
            "resolve ID STEP --outcome skipped",
            "start",
            "check",
            "start o --label x",
            "nothing",
            "graph x --format pdf",
            "demo --exit --participants 127.0.0.1:1",
            "demo --rabbitmq http://localhost",
            "demo --rabbitmq amqp://localhost --participants 127.0.0.1:1",
        ];
        for line in lines {
            let words = std::iter::once("amends").chain(line.split(' '));
            let error = Arguments::try_parse_from(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert_ne!(error.kind(), ErrorKind::DisplayHelp, "{line}");
        }
    }
}
