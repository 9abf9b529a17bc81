//! The HTTP server of the ledger: one task a connection, so that a connection can be cut.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::Shared;
use super::book::{Call, Verdict};
use super::faults::NetworkFault;

/// How long the end of an action's connection may take to be seen. Only an action that is still
/// there after it was truly in flight when its compensation came.
const GONE_WITHIN: Duration = Duration::from_millis(300);

pub(crate) async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) {
    listener.set_nonblocking(true).expect("a socket");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        stream.set_nodelay(true).ok();
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let shared = shared.clone();
                async move { answer(request, &shared).await }
            });
            // It ends with the client, or with a call that is to be cut.
            let connection = hyper::server::conn::http1::Builder::new();
            connection
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
    }
}

/// The connection is to be closed without an answer.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("cut")
    }
}

impl std::error::Error for Cut {}

/// An action under way, until it is answered or its caller gone.
struct InFlight<'a> {
    shared: &'a Shared,
    call: &'a Call,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.shared.book().left(self.call);
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Result<Response<Full<Bytes>>, Cut> {
    let (head, body) = request.into_parts();
    let Some(call) = call_of(&head.headers) else {
        return Ok(problem(StatusCode::BAD_REQUEST, "headers_missing"));
    };
    body.collect().await.map_err(|_unread| Cut)?;
    let arrival = shared.book().arrived(&call);
    let _in_flight = InFlight {
        shared,
        call: &call,
    };
    if !call.is_action {
        watch_for_actions(shared, &call).await;
    }
    let faults = shared.faults();
    let network = faults.of_network(&call.key, arrival);
    match network {
        NetworkFault::Unavailable => {
            return Ok(problem(StatusCode::SERVICE_UNAVAILABLE, "told_to_fail"));
        }
        NetworkFault::DroppedBefore => return Err(Cut),
        NetworkFault::DroppedAfter
        | NetworkFault::Silent
        | NetworkFault::Slow(_)
        | NetworkFault::None => {}
    }
    let is_refused = faults.is_refused(&call.key, call.is_action);
    let verdict = shared.book().settle(&call, is_refused);
    match network {
        NetworkFault::DroppedAfter => return Err(Cut),
        NetworkFault::Silent => match std::future::pending::<Infallible>().await {},
        NetworkFault::Slow(by) => tokio::time::sleep(by).await,
        NetworkFault::Unavailable | NetworkFault::DroppedBefore | NetworkFault::None => {}
    }
    Ok(match verdict {
        Verdict::Done => json(StatusCode::OK, format!(r#"{{"id":"{}"}}"#, call.key)),
        Verdict::Refused(code) => problem(StatusCode::CONFLICT, code),
    })
}

/// A compensation must not come while its action is in flight (I3).
async fn watch_for_actions(shared: &Shared, call: &Call) {
    let begun = tokio::time::Instant::now();
    while shared.book().has_action_in_flight(call) {
        if begun.elapsed() > GONE_WITHIN {
            shared
                .book()
                .violate(call, "came while the action was in flight");
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn call_of(headers: &HeaderMap) -> Option<Call> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::to_owned);
    Some(Call {
        key: text("idempotency-key")?,
        saga: text("amends-saga-id")?,
        step: text("amends-step")?,
        is_action: match text("amends-phase")?.as_str() {
            "action" => true,
            "compensation" => false,
            _ => return None,
        },
    })
}

fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    with_type(status, "application/json", body)
}

fn problem(status: StatusCode, code: &str) -> Response<Full<Bytes>> {
    let body = format!(
        r#"{{"status":{},"code":"{code}","detail":"{code}"}}"#,
        status.as_u16()
    );
    with_type(status, "application/problem+json", body)
}

fn with_type(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
