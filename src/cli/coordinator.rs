//! A coordinator put together: database, definitions, participants, engine, API.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::{Server, ServerHandle};
use tokio::net::TcpSocket;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::CliError;
use crate::api::gate::Gate;
use crate::api::tls::server_config;
use crate::api::{self, App};
use crate::config::Config;
use crate::definition::Severity;
use crate::dispatch::{Dispatcher, Locals, Means, OnPublished, rabbitmq};
use crate::engine::callbacks::Callbacks;
use crate::engine::catalogue::{Catalogue, FileProblem};
use crate::engine::clock;
use crate::engine::{Engine, EngineParts, EngineSettings, Lifecycle};
use crate::store::{DatabaseSettings, ReplicaInfo, Store, StoreError};
use crate::telemetry::{Metrics, Traces, logs};

/// The first wait for a database that does not answer.
const DATABASE_WAIT_FIRST: Duration = Duration::from_millis(250);
/// The longest wait between two tries.
const DATABASE_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long the API goes on answering `draining` at least, closing each connection with its answer,
/// so that no client that is at work finds a connection gone under its request.
const FAREWELL: Duration = Duration::from_millis(300);
/// The web framework's own lines about its workers tell nobody anything, and what it calls an error
/// is a client that speaks no HTTP.
const QUIET: &str = "actix_server=warn,actix_http=off";
/// What the key of callbacks is kept as.
const CALLBACK_SECRET: &str = "callback_key";
/// How many connections may wait to be taken.
const BACKLOG: u32 = 1_024;

/// A coordinator that runs.
pub(super) struct Coordinator {
    engine: Engine,
    store: Store,
    traces: Traces,
    api: ServerHandle,
    tasks: TaskTracker,
    /// Ends the tasks that the API needs beside it.
    end: CancellationToken,
}

impl Coordinator {
    /// Puts a coordinator together on a database that is up to date, and lets it run.
    pub(super) async fn launch(
        config: &Config,
        store: Store,
        listener: TcpListener,
        lifecycle: &Lifecycle,
        telemetry: Telemetry,
    ) -> Result<Self, CliError> {
        let Telemetry { metrics, traces } = telemetry;
        let catalogue = definitions(config, &store).await?;
        let dispatcher = Dispatcher::new(means(config, &metrics))?;
        let settings = engine_settings(config);
        let callbacks = callbacks(config, &store).await?;
        let parts = EngineParts {
            store: store.clone(),
            dispatcher,
            catalogue,
            settings,
            metrics: Arc::clone(&metrics),
            traces: traces.clone(),
            callbacks,
        };
        // What may fail comes before the engine takes a lease, which others would have to wait out.
        let (tasks, end) = (TaskTracker::new(), CancellationToken::new());
        let gate = Gate::launch(&config.auth, &store, &tasks, &end).await?;
        let tls = config.server.tls.as_ref();
        let tls = tls
            .map(|tls| server_config(tls, &tasks, &end))
            .transpose()?;
        let engine = lifecycle.launched(Engine::launch(parts)).clone();
        let app = App {
            engine: engine.clone(),
            store: store.clone(),
            gate,
            surroundings: config.surroundings(),
            body_max_bytes: config.server.body_max_bytes,
            metrics,
        };
        // The API's threads only read and answer; sagas run on the runtime's own. On two cores one
        // was measured to serve more than two, which wake each other.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = cores.div_ceil(2);
        let server = api::serve(app, listener, tls, workers)
            .map_err(|source| CliError::io("the API cannot be served", source))?;
        let api = run(server, &tasks);
        Ok(Self {
            engine,
            store,
            traces,
            api,
            tasks,
            end,
        })
    }

    /// The engine.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Stops: the engine first, so that whoever waits for a saga is answered, then the API.
    pub(super) async fn stop(self) {
        tokio::join!(self.engine.drain(), tokio::time::sleep(FAREWELL));
        self.api.stop(true).await;
        self.end.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Err(error) = self.store.close().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the database was not closed"
            );
        }
        self.traces.shut_down().await;
    }
}

/// Lets a server run as one of `tasks`.
fn run(server: Server, tasks: &TaskTracker) -> ServerHandle {
    let handle = server.handle();
    tasks.spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "a server ended");
        }
    });
    handle
}

/// The management port, which answers while the rest still starts.
pub(super) struct Management {
    server: ServerHandle,
    tasks: TaskTracker,
}

impl Management {
    /// Listens and answers.
    pub(super) fn launch(
        address: SocketAddr,
        lifecycle: &Arc<Lifecycle>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, CliError> {
        let management = api::Management {
            lifecycle: Arc::clone(lifecycle),
            metrics: Arc::clone(metrics),
            begun: Instant::now(),
        };
        let server = api::serve_management(management, listen(address)?)
            .map_err(|source| CliError::io("the management port cannot be served", source))?;
        let tasks = TaskTracker::new();
        let server = run(server, &tasks);
        Ok(Self { server, tasks })
    }

    /// Stops answering.
    pub(super) async fn stop(self) {
        self.server.stop(false).await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Listens on an address.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, CliError> {
    let open = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    open().map_err(|source| CliError::io(format!("{address} cannot be listened on"), source))
}

/// The database, connected and with its schema up to date. One that is away is waited for.
pub(super) async fn database(config: &Config) -> Result<Store, CliError> {
    let mut wait = DATABASE_WAIT_FIRST;
    loop {
        match open_database(config).await {
            Err(CliError::Store(error)) if error.is_unavailable() => {
                tracing::warn!(
                    database = config.database.url.masked(),
                    error = &error as &dyn std::error::Error,
                    wait_ms = wait.as_millis(),
                    "the database does not answer; it is tried again"
                );
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(DATABASE_WAIT_MAX);
            }
            opened => return opened,
        }
    }
}

async fn open_database(config: &Config) -> Result<Store, CliError> {
    let store = connect(config).await?.with_audit(config.audit);
    if config.database.migrate {
        for migration in store.migrate().await? {
            tracing::info!(migration, "the schema was brought up to date");
        }
        return Ok(store);
    }
    match store.pending_migrations().await? {
        pending if pending.is_empty() => Ok(store),
        pending => Err(CliError::SchemaBehind(pending)),
    }
}

/// The database, whatever its schema.
pub(super) async fn connect(config: &Config) -> Result<Store, StoreError> {
    let url = config.database.url.as_str().to_owned();
    Store::connect(&DatabaseSettings {
        url,
        pool: config.database.pool,
    })
    .await
}

/// The published definitions. What a check finds is logged; an error ends a strict start.
async fn definitions(config: &Config, store: &Store) -> Result<Catalogue, CliError> {
    let (catalogue, problems) =
        Catalogue::load(store, &config.sagas.directory, &config.surroundings()).await?;
    problems.iter().for_each(log_problem);
    let bad = problems
        .iter()
        .any(|found| found.problem.severity == Severity::Error);
    if bad && config.sagas.strict {
        Err(CliError::BadDefinition)
    } else {
        Ok(catalogue)
    }
}

fn log_problem(found: &FileProblem) {
    let FileProblem { path, problem } = found;
    let place = format!("{}:{}:{}", path.display(), problem.line, problem.column);
    let (code, message) = (problem.code, problem.message.as_str());
    match problem.severity {
        Severity::Error => {
            tracing::error!(place, code, problem = message, "a definition is not served");
        }
        Severity::Warning => tracing::warn!(place, code, problem = message, "look at a definition"),
    }
}

/// Where participants post replies, where that is configured: with the configured key, or one that
/// every replica of the database shares.
async fn callbacks(config: &Config, store: &Store) -> Result<Option<Callbacks>, CliError> {
    let Some(public_url) = &config.server.public_url else {
        return Ok(None);
    };
    if let Some(key) = &config.server.callback_key {
        return Ok(Some(Callbacks::new(public_url, key.as_bytes())));
    }
    let key = store
        .shared_secret(CALLBACK_SECRET, &clock::secret(), clock::now())
        .await?;
    Ok(Some(Callbacks::new(public_url, key.as_bytes())))
}

/// What participants are reached with.
fn means<'a>(config: &'a Config, metrics: &Arc<Metrics>) -> Means<'a> {
    let metrics = Arc::clone(metrics);
    Means {
        participants: &config.participants,
        rabbitmq: config.rabbitmq.as_ref(),
        sqs: config.sqs.as_ref(),
        locals: Locals::default(),
        published: OnPublished::new(move |broker, result| {
            metrics.message_published(broker, result);
        }),
    }
}

fn engine_settings(config: &Config) -> EngineSettings {
    let engine = &config.engine;
    EngineSettings {
        shards: u16::try_from(engine.shards).unwrap_or(u16::MAX),
        lease_ms: engine.lease_ms,
        active_sagas_max: usize::try_from(engine.active_sagas_max).unwrap_or(usize::MAX),
        drain_timeout: Duration::from_millis(engine.drain_timeout_ms),
        replica: ReplicaInfo {
            address: config.server.listen.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            role: "active".to_owned(),
        },
    }
}

/// What this process tells of itself.
#[derive(Clone)]
pub(super) struct Telemetry {
    /// What it counts.
    pub(super) metrics: Arc<Metrics>,
    /// Where its traces go.
    pub(super) traces: Traces,
}

impl Telemetry {
    /// Begins to write logs, to count, and to trace where that is configured.
    pub(super) fn begin(config: &Config) -> Result<Self, CliError> {
        let traces = match &config.telemetry.otlp {
            Some(otlp) => Traces::to(otlp)?,
            None => Traces::off(),
        };
        // It logs a lost connection in five lines; ours says what follows from it.
        let quiet = format!("{QUIET},{}=off", rabbitmq::LIBRARY_TARGET);
        if let Err(error) = logs::install(&config.telemetry, &quiet, &traces) {
            eprintln!("amends: logs go where they went before: {error}");
        }
        let participants = config.participants.keys().map(String::as_str);
        let metrics = if config.telemetry.counts {
            Metrics::new(participants)?
        } else {
            Metrics::silent()?
        };
        Ok(Self {
            metrics: Arc::new(metrics),
            traces,
        })
    }
}

/// The signals that ask the process to end.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on.
    pub(super) fn listen() -> Result<Self, CliError> {
        let of = |kind| {
            signal(kind).map_err(|source| CliError::io("signals cannot be listened for", source))
        };
        let terminate = of(SignalKind::terminate())?;
        Ok(Self {
            terminate,
            interrupt: of(SignalKind::interrupt())?,
        })
    }

    /// The next of them.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
