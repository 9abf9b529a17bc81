//! The role `participants`: answers every call at once with a small JSON, and refuses the one
//! that the failing variant is to be refused.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use amends::message::ReplyOutcome;
use amends::participant::Command;
use amends::saga::StepError;
use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::arguments::Arguments;
use crate::broker::Broker;
use crate::process;

/// The call that is refused.
pub(crate) const REFUSED: &str = "refuse";
/// What every other call is answered.
pub(crate) const ANSWER: &str = r#"{"reference":"r-1","accepted":true}"#;
const REFUSAL: &str = r#"{"code":"no_capacity","title":"No carrier takes it today"}"#;

/// Serves until the bench has ended: over HTTP, and where it is wanted over RabbitMQ.
pub(crate) async fn serve(arguments: &Arguments) -> Result<()> {
    let tasks = TaskTracker::new();
    if let Some(broker) = Broker::of(arguments) {
        broker.serve(&tasks, |command| async move { Ok(replied(&command)) });
    }
    listen(answer).await
}

/// What a command is answered: the same as over HTTP.
fn replied(command: &Command) -> ReplyOutcome {
    if command.name == REFUSED {
        return ReplyOutcome::Refused(StepError::new("no_capacity", "No carrier takes it today"));
    }
    ReplyOutcome::Succeeded(serde_json::from_str(ANSWER).unwrap_or_default())
}

/// The role `collector`: takes in whatever it is sent, until the bench has ended.
pub(crate) async fn collect() -> Result<()> {
    listen(take_in).await
}

async fn listen<F>(answer: fn(Request<Incoming>) -> F) -> Result<()>
where
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    process::announce(listener.local_addr()?)?;
    let connections = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        connections.spawn(async move {
            // A connection that breaks off is its client's business.
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await
                .ok();
        });
    }
}

async fn take_in(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // A sender that goes away half-way is none of a collector's business.
    request.into_body().collect().await.ok();
    Ok(Response::new(Full::default()))
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let refused = request.uri().path().trim_start_matches('/') == REFUSED;
    // Whatever was sent is taken, as a real participant would.
    let taken = request.into_body().collect().await.is_ok();
    let (status, kind, body) = match (refused, taken) {
        (false, true) => (StatusCode::OK, "application/json", ANSWER),
        (true, true) => (StatusCode::CONFLICT, "application/problem+json", REFUSAL),
        (_, false) => (StatusCode::BAD_REQUEST, "application/json", "null"),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(kind),
    );
    Ok(response)
}
