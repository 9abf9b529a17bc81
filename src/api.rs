//! The HTTP API: handlers that parse, call the engine or the store's queries, and answer.
//! It knows no brokers and nothing of how the journal is written.

mod accept;
pub mod access;
mod answer;
mod audit;
mod body;
mod callback;
mod commands;
mod dead_letters;
mod definitions;
mod digest;
mod docs;
mod edge;
pub mod error;
mod explain;
pub mod gate;
mod headers;
mod journal;
mod live;
mod management;
mod measured;
mod members;
pub mod openapi;
mod publish;
mod query;
pub mod routes;
mod sagas;
mod start;
pub mod tls;
pub mod wire;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App as ActixApp, HttpServer};
use rustls::ServerConfig;

use body::BodyRoom;

use crate::definition::Surroundings;
use crate::engine::Engine;
use crate::store::Store;
use crate::telemetry::Metrics;
use gate::Gate;
pub use management::Management;

/// What the handlers work with.
#[derive(Clone)]
pub struct App {
    /// Runs the sagas.
    pub engine: Engine,
    /// Answers queries.
    pub store: Store,
    /// Lets requests in or not.
    pub gate: Gate,
    /// What a definition's check is told of the configuration.
    pub surroundings: Surroundings,
    /// The longest body that is taken, in bytes.
    pub body_max_bytes: usize,
    /// Where answers are counted.
    pub metrics: Arc<Metrics>,
}

/// How long an idle connection is kept: longer than the load balancers before it do, so that it
/// is they who close it, and not we while they send.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client may take to send the head of a request.
const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long answers under way are given when the server stops, in seconds.
const SHUTDOWN_S: u64 = 2;

/// The server of the API, on a socket that already listens. It runs when it is awaited, and stops
/// through its handle. With `tls` it speaks nothing else.
///
/// # Errors
/// When the socket cannot be used.
pub fn serve(
    app: App,
    listener: TcpListener,
    tls: Option<ServerConfig>,
    workers: usize,
) -> io::Result<Server> {
    routes::know(&app.metrics);
    let room = BodyRoom::new(app.body_max_bytes);
    let configure = move |config: &mut ServiceConfig| {
        config.app_data(room.clone());
        routes::configure(config);
    };
    server(Data::new(app), listener, tls, workers, configure)
}

/// The server of the management port, on a socket that already listens. It needs no engine, so it
/// answers while the rest still starts.
///
/// # Errors
/// When the socket cannot be used.
pub fn serve_management(management: Management, listener: TcpListener) -> io::Result<Server> {
    let data = Data::new(management);
    server(data, listener, None, 1, management::configure)
}

fn server<T: Send + Sync + 'static>(
    data: Data<T>,
    listener: TcpListener,
    tls: Option<ServerConfig>,
    workers: usize,
    configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> io::Result<Server> {
    let application = move || {
        ActixApp::new()
            .app_data(data.clone())
            .wrap(from_fn(edge::dress))
            .wrap(from_fn(measured::measure))
            .configure(&configure)
    };
    let server = HttpServer::new(application)
        .workers(workers.max(1))
        .tcp_nodelay(true)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(REQUEST_HEAD_TIMEOUT)
        .shutdown_timeout(SHUTDOWN_S)
        // Signals are the composition root's, which stops the engine first.
        .disable_signals();
    let server = match tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls),
        None => server.listen(listener),
    };
    Ok(server?.run())
}
