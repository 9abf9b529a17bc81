//! `amends demo`: a coordinator with participants beside it, in one process. Nothing but the
//! binary is needed: the database and the sample definitions lie in a temporary folder.

mod folder;
mod orders;
pub mod participants;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::Verdict;
use super::arguments::Demo;
use super::client::Client;
use super::coordinator::{self, Coordinator, Signals, Telemetry};
use super::error::CliError;
use super::output::{Output, Tone};
use super::sample::{self, SAMPLES};
use crate::config::{Config, Sources};
use crate::engine::{Lifecycle, Readiness};
use folder::Folder;
use participants::Participants;

/// The port that the demo serves on when it is free.
const PORT: u16 = 8_080;
/// How long the coordinator may take to get ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How often it is asked whether it is.
const READY_POLL: Duration = Duration::from_millis(5);
/// A start to try next.
const TRY_INPUT: &str = r#"{"from": "alice", "to": "bob", "amount": 500, "currency": "EUR"}"#;

/// `amends demo`
pub(super) async fn run(demo: Demo, mut output: Output) -> Result<Verdict, CliError> {
    let mut signals = Signals::listen()?;
    match demo.participants {
        Some(address) => only_participants(address, &mut signals, &mut output).await,
        None => {
            // Dropped last, when everything in it is closed.
            let folder = Folder::make()?;
            show(&demo, &folder, &mut signals, &mut output).await
        }
    }
}

/// Serves the demo's participants, and nothing else.
async fn only_participants(
    address: SocketAddr,
    signals: &mut Signals,
    output: &mut Output,
) -> Result<Verdict, CliError> {
    let beside = Beside::listen(address)?;
    let at = beside.participants.address();
    output.line(format!(
        "participants at http://{at}/NAME, their ledger at http://{at}/ledger"
    ))?;
    signals.next().await;
    beside.stop().await;
    Ok(Verdict::Yes)
}

async fn show(
    demo: &Demo,
    folder: &Folder,
    signals: &mut Signals,
    output: &mut Output,
) -> Result<Verdict, CliError> {
    let beside = Beside::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let listener = listen()?;
    let address = listener
        .local_addr()
        .map_err(|source| CliError::io("the API", source))?;
    let config = configuration(folder, &beside.participants, address)?;
    let telemetry = Telemetry::begin(&config)?;
    let store = coordinator::database(&config).await?;
    let lifecycle = Lifecycle::default();
    let coordinator = Coordinator::launch(&config, store, listener, &lifecycle, telemetry).await?;
    let url = format!("http://{address}");
    let client = Client::new(&url, None)?;
    introduce(&url, folder, &beside.participants, output)?;
    let told = tokio::select! {
        told = tell(&coordinator, &client, output) => told?,
        () = signals.next() => None,
    };
    if let Some(as_told) = told {
        if !demo.exit {
            invite(address, output)?;
            signals.next().await;
            output.line("")?;
        }
        finish(coordinator, beside, signals).await;
        return Ok(if as_told { Verdict::Yes } else { Verdict::No });
    }
    finish(coordinator, beside, signals).await;
    Ok(Verdict::Yes)
}

/// Runs the orders when the coordinator is ready; whether they ended as they should.
async fn tell(
    coordinator: &Coordinator,
    client: &Client,
    output: &mut Output,
) -> Result<Option<bool>, CliError> {
    let ready = async {
        while coordinator.engine().readiness() != Readiness::Ready {
            tokio::time::sleep(READY_POLL).await;
        }
    };
    if tokio::time::timeout(READY_WITHIN, ready).await.is_err() {
        return Err(CliError::NoAnswer(
            "the coordinator did not get ready".to_owned(),
        ));
    }
    orders::run(client, output).await.map(Some)
}

/// Ends everything; a signal ends it at once.
async fn finish(coordinator: Coordinator, beside: Beside, signals: &mut Signals) {
    let stop = async {
        // A participant that keeps silent would be waited for as long as it may take to answer.
        beside.stop().await;
        coordinator.stop().await;
    };
    tokio::select! {
        () = stop => {}
        () = signals.next() => {}
    }
}

/// The participants beside the coordinator.
struct Beside {
    participants: Participants,
    tasks: TaskTracker,
}

impl Beside {
    fn listen(address: SocketAddr) -> Result<Self, CliError> {
        let (participants, server) = Participants::bind(address)
            .map_err(|source| CliError::io(format!("{address} cannot be listened on"), source))?;
        let tasks = TaskTracker::new();
        tasks.spawn(server);
        Ok(Self {
            participants,
            tasks,
        })
    }

    async fn stop(self) {
        self.participants.stop().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Listens on the customary port, or on a free one when that is taken.
fn listen() -> Result<TcpListener, CliError> {
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match coordinator::listen(local(PORT)) {
        Err(CliError::Io { source, .. }) if source.kind() == ErrorKind::AddrInUse => {
            coordinator::listen(local(0))
        }
        listened => listened,
    }
}

/// The configuration of the demo: nothing of the environment but `RUST_LOG` counts.
fn configuration(
    folder: &Folder,
    participants: &Participants,
    address: SocketAddr,
) -> Result<Config, CliError> {
    let sagas = folder.write("sagas", SAMPLES)?;
    let database = folder.path().join("amends.db");
    let mut flags = vec![
        ("server.listen".to_owned(), address.to_string()),
        (
            "database.url".to_owned(),
            format!("sqlite://{}", database.display()),
        ),
        ("sagas.directory".to_owned(), sagas.display().to_string()),
        ("telemetry.log".to_owned(), "text".to_owned()),
    ];
    for name in sample::participants() {
        flags.push((format!("participants.{name}.url"), participants.url(&name)));
    }
    let mut sources = Sources::of_process(None, flags);
    sources.directory = folder.path().to_owned();
    sources.environment.retain(|name, _| name == "RUST_LOG");
    sources
        .environment
        .entry("RUST_LOG".to_owned())
        .or_insert_with(|| "off".to_owned());
    Ok(Config::load(&sources)?)
}

fn introduce(
    url: &str,
    folder: &Folder,
    participants: &Participants,
    output: &mut Output,
) -> Result<(), CliError> {
    let at = participants.address();
    let database = folder.path().join("amends.db");
    let title = "amends: every saga completes, or makes amends";
    output.line(output.toned(Tone::Strong, title))?;
    output.line("")?;
    let parts = [
        ("coordinator", url.to_owned()),
        (
            "database",
            format!("{} (gone when the demo ends)", database.display()),
        ),
        (
            "participants",
            format!("http://{at} (inventory, payment, shipping and more)"),
        ),
    ];
    for (name, place) in parts {
        let name = format!("{name:<12}");
        output.line(format!("   {}  {place}", output.toned(Tone::Faint, &name)))?;
    }
    Ok(())
}

fn invite(address: SocketAddr, output: &mut Output) -> Result<(), CliError> {
    let program = std::env::args_os()
        .next()
        .unwrap_or_else(|| "amends".into());
    let program = program.display();
    let url = match address.port() {
        PORT => String::new(),
        _ => format!(" --url http://{address}"),
    };
    output.line("")?;
    let serving = format!("Still serving on http://{address}; Ctrl-C ends it. Try next:");
    output.line(output.toned(Tone::Strong, &serving))?;
    output.line("")?;
    output.line(format!("   {program} list{url}"))?;
    output.line(format!(
        "   {program} start money_transfer{url} --wait --input '{TRY_INPUT}'"
    ))
}
