//! Small participants in the process, which behave as participants.md asks: an HTTP server where
//! `/{participant}/…` is the participant of that name, whichever it is, and takes any call.
//!
//! `GET /ledger` shows what was done and undone, by saga, participant and step.
//!
//! **Steering.** A participant looks for one member, anywhere in an action's body, and does what
//! its value says: `"declined"` is refused with a 409 problem, `"silent"` is done and never
//! answered, anything else (or none) is done and answered. Compensations always succeed.
//!
//! | participant | member | code when declined |
//! |---|---|---|
//! | `payment`, `cards` | `card` | `card_declined` |
//! | `inventory` | `stock` | `out_of_stock` |
//! | `shipping` | `delivery` | `undeliverable` |
//! | `flights` | `flight` | `sold_out` |
//! | `hotels` | `hotel` | `sold_out` |
//! | `cars` | `car` | `sold_out` |
//! | `accounts` | `account` | `account_closed` |
//! | `identity` | `identity` | `identity_not_verified` |
//! | `sanctions` | `sanctions` | `sanctioned` |
//! | any other | `demo` | `declined` |

mod answers;
mod ledger;
pub(super) mod queues;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::web::{self, Bytes, Data, Path};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde_json::json;

use crate::definition::request::Phase;
use answers::Answer;
use ledger::Call;

pub use ledger::{Effect, Ledger};

/// The longest body taken, in bytes.
const BODY_MAX_BYTES: usize = 4 << 20;

/// How long a silent participant holds a call whose caller does not hang up.
const SILENCE: Duration = Duration::from_secs(600);
/// What it says then: a code and a sentence.
const SILENT: (&str, &str) = ("silent", "told to be silent");

/// Participants that listen.
#[derive(Debug)]
pub struct Participants {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    handle: ServerHandle,
}

impl Participants {
    /// Listens on `address` (port 0 for a free one) and answers while the returned [`Server`] is
    /// polled: give it to a task.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn bind(address: SocketAddr) -> io::Result<(Self, Server)> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let ledger = Arc::new(Ledger::default());
        let data = Data::from(ledger.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .app_data(web::PayloadConfig::new(BODY_MAX_BYTES))
                .route("/ledger", web::get().to(show))
                .route("/{participant}/{call:.*}", web::route().to(take))
                .default_service(web::route().to(nowhere))
        })
        .workers(1)
        .tcp_nodelay(true)
        .disable_signals()
        .shutdown_timeout(0)
        .listen(listener)?
        .run();
        let handle = server.handle();
        Ok((
            Self {
                address,
                ledger,
                handle,
            },
            server,
        ))
    }

    /// Where they listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the participant called `name`, for the configuration.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// What was done and undone.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Stops listening at once; the [`Server`] then ends.
    pub async fn stop(&self) {
        self.handle.stop(false).await;
    }
}

async fn show(ledger: Data<Ledger>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "effects": ledger.effects() }))
}

async fn nowhere() -> HttpResponse {
    problem(
        StatusCode::NOT_FOUND,
        "not_found",
        "the path is /{participant}/{call}",
    )
}

async fn take(
    request: HttpRequest,
    path: Path<(String, String)>,
    body: Bytes,
    ledger: Data<Ledger>,
) -> HttpResponse {
    let (participant, _) = path.into_inner();
    let Some(call) = call_of(request.headers(), &participant) else {
        return problem(
            StatusCode::BAD_REQUEST,
            "bad_request",
            "the headers Idempotency-Key, Amends-Saga-Id and Amends-Step are required",
        );
    };
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let answer = ledger.take(&call, || answers::decide(&participant, &call, &body));
    match answer {
        Answer::Done(output) => HttpResponse::Ok().json(output),
        Answer::Refused { code, detail } => problem(StatusCode::CONFLICT, code, detail),
        Answer::DoneInSilence => {
            tokio::time::sleep(SILENCE).await;
            let (code, detail) = SILENT;
            problem(StatusCode::SERVICE_UNAVAILABLE, code, detail)
        }
    }
}

fn call_of(headers: &HeaderMap, participant: &str) -> Option<Call> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::to_owned);
    let phase = match text("amends-phase").as_deref() {
        Some("compensation") => Phase::Compensation,
        Some(_) | None => Phase::Action,
    };
    Some(Call {
        key: text("idempotency-key")?,
        effect: (
            text("amends-saga-id")?,
            participant.to_owned(),
            text("amends-step")?,
        ),
        phase,
    })
}

fn problem(status: StatusCode, code: &str, detail: &str) -> HttpResponse {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({
        "type": "about:blank", "title": title, "status": status.as_u16(),
        "detail": detail, "code": code,
    });
    HttpResponse::build(status)
        .content_type("application/problem+json")
        .body(body.to_string())
}
