//! `amends serve`: the coordinator, until it is told to end.

use std::sync::Arc;

use super::Verdict;
use super::arguments::{Configured, Serve};
use super::coordinator::{self, Coordinator, Management, Signals, Telemetry};
use super::error::CliError;
use super::output::Output;
use crate::config::{Config, Sources};
use crate::engine::Lifecycle;

/// `amends serve`
pub(super) async fn run(serve: Serve, mut output: Output) -> Result<Verdict, CliError> {
    let config = Config::load(&sources(&serve))?;
    if serve.print_config {
        output.line(config.masked_yaml().trim_end())?;
        return Ok(Verdict::Yes);
    }
    let telemetry = Telemetry::begin(&config)?;
    let mut signals = Signals::listen()?;
    let lifecycle = Arc::new(Lifecycle::default());
    let address = config.server.management;
    let management = Management::launch(address, &lifecycle, &telemetry.metrics)?;
    let started = tokio::select! {
        started = start(&config, &lifecycle, telemetry) => started?,
        () = signals.next() => {
            tracing::info!("told to end before it had started");
            return Ok(Verdict::Yes);
        }
    };
    signals.next().await;
    tracing::info!("told to end; draining");
    let stop = async {
        started.stop().await;
        management.stop().await;
    };
    tokio::select! {
        () = stop => {
            tracing::info!("ended");
            Ok(Verdict::Yes)
        }
        () = signals.next() => {
            Err(CliError::NoAnswer("told to end at once; what was under way is left".to_owned()))
        }
    }
}

async fn start(
    config: &Config,
    lifecycle: &Lifecycle,
    telemetry: Telemetry,
) -> Result<Coordinator, CliError> {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        database = config.database.url.masked(),
        "starting"
    );
    let store = coordinator::database(config).await?;
    let listener = coordinator::listen(config.server.listen)?;
    let coordinator = Coordinator::launch(config, store, listener, lifecycle, telemetry).await?;
    tracing::info!(
        api = %config.server.listen,
        management = %config.server.management,
        "listening"
    );
    Ok(coordinator)
}

fn sources(serve: &Serve) -> Sources {
    let mut flags = flags(&serve.configured);
    let more = [
        ("server.listen", serve.listen.clone()),
        ("server.management", serve.management.clone()),
        ("sagas.directory", serve.sagas.clone()),
        ("sagas.strict", serve.strict.then(|| "true".to_owned())),
    ];
    flags.extend(
        more.into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?))),
    );
    Sources::of_process(serve.configured.config.clone(), flags)
}

/// The flags that every command with a configuration has.
pub(super) fn flags(configured: &Configured) -> Vec<(String, String)> {
    let database = configured.database.clone();
    database
        .map(|url| ("database.url".to_owned(), url))
        .into_iter()
        .collect()
}
