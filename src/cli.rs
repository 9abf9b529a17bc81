//! The `amends` command, and the composition root: it puts the layers together and runs them.
//!
//! Exit statuses: 0 done; 1 the answer is no (a check found errors, a saga did not complete, a
//! call was refused or came to nothing); 2 used wrongly.

mod act;
mod arguments;
mod audit;
mod check;
mod client;
mod coordinator;
mod dead_letters;
mod definitions;
pub mod demo;
mod error;
mod explain;
mod fact;
mod graph;
mod inspect;
mod layout;
mod migrate;
mod narrate;
mod output;
mod sample;
mod serve;
mod sse;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command};
use client::Client;
use error::CliError;
use output::Output;

/// What a command that could be carried out came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Done.
    Yes,
    /// The answer is no.
    No,
}

/// Runs the command that the process's arguments name.
#[must_use]
pub fn main() -> ExitCode {
    // Whoever uses TLS first would panic without a provider; there is one for all.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("a TLS provider was installed before");
    }
    let arguments = Arguments::parse();
    let run = runtime(&arguments.command).and_then(|runtime| {
        let verdict = runtime.block_on(run(arguments.command));
        // What still runs (a resolver's thread, say) is not waited for.
        runtime.shutdown_background();
        verdict
    });
    match run {
        Ok(Verdict::Yes) => ExitCode::SUCCESS,
        Ok(Verdict::No) => ExitCode::from(1),
        Err(error) => error.report(),
    }
}

/// Many threads for a coordinator, this one for a client.
fn runtime(command: &Command) -> Result<tokio::runtime::Runtime, CliError> {
    let mut builder = match command {
        Command::Serve(_) | Command::Demo(_) => tokio::runtime::Builder::new_multi_thread(),
        Command::Migrate(_)
        | Command::Check(_)
        | Command::Start(_)
        | Command::List(_)
        | Command::Get(_)
        | Command::Watch(_)
        | Command::Explain(_)
        | Command::Cancel(_)
        | Command::Suspend(_)
        | Command::Resume(_)
        | Command::Retry(_)
        | Command::Resolve(_)
        | Command::Signal(_)
        | Command::Definitions(_)
        | Command::Audit(_)
        | Command::DeadLetters(_)
        | Command::Graph(_) => tokio::runtime::Builder::new_current_thread(),
    };
    builder
        .enable_all()
        .build()
        .map_err(|source| CliError::io("the runtime", source))
}

async fn run(command: Command) -> Result<Verdict, CliError> {
    let mut output = Output::of_process();
    match command {
        Command::Demo(demo) => demo::run(demo, output).await,
        Command::Serve(serve) => serve::run(serve, output).await,
        Command::Migrate(migrate) => migrate::run(migrate, output).await,
        Command::Check(check) => check::run(&check, &mut output),
        Command::Start(start) => act::start(start, output).await,
        Command::List(list) => inspect::list(list, output).await,
        Command::Get(get) => inspect::get(get, output).await,
        Command::Watch(watch) => watch::run(watch, output).await,
        Command::Explain(explain) => explain::run(explain, output).await,
        Command::Cancel(cancel) => act::cancel(cancel, output).await,
        Command::Suspend(saga) => act::plain("suspend", saga, output).await,
        Command::Resume(saga) => act::plain("resume", saga, output).await,
        Command::Retry(saga) => act::plain("retry", saga, output).await,
        Command::Resolve(resolve) => act::resolve(resolve, output).await,
        Command::Signal(signal) => act::signal(signal, output).await,
        Command::Definitions(definitions) => definitions::run(definitions.command, output).await,
        Command::Audit(audit) => audit::run(audit, output).await,
        Command::DeadLetters(letters) => dead_letters::run(letters.command, output).await,
        Command::Graph(graph) => graph::run(graph, output).await,
    }
}

impl arguments::Connection {
    fn client(&self) -> Result<Client, CliError> {
        let token = self.token.as_deref();
        Ok(Client::trusting(&self.url, token, &self.trust)?)
    }
}
