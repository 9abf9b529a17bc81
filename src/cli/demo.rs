//! `amends demo`: a coordinator with participants beside it, in one process. Nothing but the
//! binary is needed: the database and the sample definitions lie in a temporary folder. With
//! `--rabbitmq` the participants are reached over a broker, where nothing is left either.

mod beside;
mod folder;
mod orders;
pub mod participants;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use super::Verdict;
use super::arguments::Demo;
use super::client::Client;
use super::coordinator::{self, Coordinator, Signals, Telemetry};
use super::error::CliError;
use super::output::{Output, Tone};
use crate::config::{Config, Sources};
use crate::engine::{Lifecycle, Readiness};
use beside::Beside;
use folder::Folder;
use participants::Participants;

/// The port that the demo serves on when it is free.
const PORT: u16 = 8_080;
/// How long the coordinator and the participants may take to get ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How often it is asked whether it is.
const READY_POLL: Duration = Duration::from_millis(5);
/// Why it was not ended in good order.
const HURRIED: &str = "it was ended at once";

/// `amends demo`
pub(super) async fn run(demo: Demo, mut output: Output) -> Result<Verdict, CliError> {
    let mut signals = Signals::listen()?;
    match demo.participants {
        Some(address) => only_participants(address, &mut signals, &mut output).await,
        None => {
            let folder = Folder::make()?;
            let beside = match &demo.rabbitmq {
                Some(url) => Beside::over_rabbitmq(url).await?,
                None => Beside::over_http(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?,
            };
            let mut stage = Stage {
                demo,
                beside,
                output,
                folder,
            };
            stage.run(&mut signals).await
        }
    }
}

/// Serves the demo's participants, and nothing else.
async fn only_participants(
    address: SocketAddr,
    signals: &mut Signals,
    output: &mut Output,
) -> Result<Verdict, CliError> {
    let (participants, server) = Participants::bind(address)
        .map_err(|source| CliError::io(format!("{address} cannot be listened on"), source))?;
    let at = participants.address();
    output.line(format!(
        "participants at http://{at}/NAME, their ledger at http://{at}/ledger"
    ))?;
    let shown = async {
        signals.next().await;
        participants.stop().await;
    };
    let (served, ()) = tokio::join!(server, shown);
    served.map_err(|source| CliError::io("the participants cannot be served", source))?;
    Ok(Verdict::Yes)
}
/// What a demo is shown with.
struct Stage {
    demo: Demo,
    beside: Beside,
    output: Output,
    /// Dropped last, when everything in it is closed.
    folder: Folder,
}

impl Stage {
    /// Shows it all; what is made elsewhere is taken away, however it ends.
    async fn run(&mut self, signals: &mut Signals) -> Result<Verdict, CliError> {
        let mut hurried = false;
        let shown = self.coordinate(signals, &mut hurried).await;
        // What still runs would only make it again.
        let failed = if hurried {
            Some(HURRIED.to_owned())
        } else {
            self.clear(signals).await
        };
        if let (Some(why), Some(left)) = (failed, self.beside.left()) {
            eprintln!("amends: {left} were not removed: {why}");
        }
        shown
    }

    /// Takes away what was made elsewhere; why that did not work.
    async fn clear(&self, signals: &mut Signals) -> Option<String> {
        let cleared = async {
            self.beside.stop().await;
            self.beside.clear().await
        };
        tokio::select! {
            cleared = cleared => cleared.err().map(|error| error.sentence()),
            () = signals.next() => Some(HURRIED.to_owned()),
        }
    }

    /// Runs a coordinator and shows it. `hurried` is whether it was not given the time to end.
    async fn coordinate(
        &mut self,
        signals: &mut Signals,
        hurried: &mut bool,
    ) -> Result<Verdict, CliError> {
        let listener = listen()?;
        let address = listener
            .local_addr()
            .map_err(|source| CliError::io("the API", source))?;
        let config = configuration(&self.folder, &self.beside, address)?;
        let telemetry = Telemetry::begin(&config)?;
        let store = coordinator::database(&config).await?;
        let lifecycle = Lifecycle::default();
        let coordinator =
            Coordinator::launch(&config, store, listener, &lifecycle, telemetry).await?;
        let shown = self.show(&coordinator, address, signals).await;
        let stop = async {
            // A participant that keeps silent would be waited for as long as it may take to answer.
            self.beside.stop().await;
            coordinator.stop().await;
        };
        tokio::select! {
            () = stop => {}
            () = signals.next() => *hurried = true,
        }
        shown
    }

    async fn show(
        &mut self,
        coordinator: &Coordinator,
        address: SocketAddr,
        signals: &mut Signals,
    ) -> Result<Verdict, CliError> {
        let url = format!("http://{address}");
        let client = Client::new(&url, None)?;
        self.introduce(&url)?;
        let as_told = tokio::select! {
            as_told = self.tell(coordinator, &client) => as_told?,
            () = signals.next() => return Ok(Verdict::Yes),
        };
        if !self.demo.exit {
            self.invite(address)?;
            signals.next().await;
            self.output.line("")?;
        }
        Ok(if as_told { Verdict::Yes } else { Verdict::No })
    }

    /// Runs the orders when everything is ready; whether they ended as they should.
    async fn tell(&mut self, coordinator: &Coordinator, client: &Client) -> Result<bool, CliError> {
        let ready = async {
            while coordinator.engine().readiness() != Readiness::Ready {
                tokio::time::sleep(READY_POLL).await;
            }
            self.beside.ready().await
        };
        match tokio::time::timeout(READY_WITHIN, ready).await {
            Ok(ready) => ready?,
            Err(_elapsed) => {
                let late = "the coordinator and its participants did not get ready";
                return Err(CliError::NoAnswer(late.to_owned()));
            }
        }
        orders::run(client, &mut self.output).await
    }

    fn introduce(&mut self, url: &str) -> Result<(), CliError> {
        let output = &mut self.output;
        let database = self.folder.path().join("amends.db");
        let title = "amends: every saga completes, or makes amends";
        output.line(output.toned(Tone::Strong, title))?;
        output.line("")?;
        let database = format!("{} (gone when the demo ends)", database.display());
        let own = [("coordinator", url.to_owned()), ("database", database)];
        for (name, place) in own.into_iter().chain(self.beside.places()) {
            let name = format!("{name:<12}");
            output.line(format!("   {}  {place}", output.toned(Tone::Faint, &name)))?;
        }
        Ok(())
    }

    fn invite(&mut self, address: SocketAddr) -> Result<(), CliError> {
        let program = std::env::args_os()
            .next()
            .unwrap_or_else(|| "amends".into());
        let program = program.display();
        let url = match address.port() {
            PORT => String::new(),
            _ => format!(" --url http://{address}"),
        };
        let (definition, input) = self.beside.try_next();
        let output = &mut self.output;
        output.line("")?;
        let serving = format!("Still serving on http://{address}; Ctrl-C ends it. Try next:");
        output.line(output.toned(Tone::Strong, &serving))?;
        output.line("")?;
        output.line(format!("   {program} list{url}"))?;
        output.line(format!(
            "   {program} start {definition}{url} --wait --input '{input}'"
        ))
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
    beside: &Beside,
    address: SocketAddr,
) -> Result<Config, CliError> {
    let sagas = folder.write("sagas", beside.samples())?;
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
    flags.extend(beside.keys());
    let mut sources = Sources::of_process(None, flags);
    sources.directory = folder.path().to_owned();
    sources.environment.retain(|name, _| name == "RUST_LOG");
    sources
        .environment
        .entry("RUST_LOG".to_owned())
        .or_insert_with(|| "off".to_owned());
    Ok(Config::load(&sources)?)
}
