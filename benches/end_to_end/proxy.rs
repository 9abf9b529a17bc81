//! The role `proxy`, the ceiling: what the coordinator's server and client do of a saga's calls
//! with no coordinator's work between them. It parses nothing and stores nothing.

use std::net::Ipv4Addr;
use std::time::Duration;

use actix_web::error::ErrorBadGateway;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Result;
use bytes::Bytes;
use http::Uri;

use crate::client::{Client, client, exchange};
use crate::definitions::{Calls, Variant};
use crate::process;

/// As the coordinator's.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Where the calls go.
struct Participants {
    client: Client,
    calls: Calls<Uri>,
}

/// Serves until the bench has ended.
pub(crate) fn serve(participants: &str) -> Result<()> {
    let variants = [Variant::Completed, Variant::Refused]
        .map(|variant| Ok((variant.path(), Calls::of(variant).at(participants)?)))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    actix_web::rt::System::new().block_on(async move {
        let server = HttpServer::new(move || {
            let app = App::new();
            // Each worker has a pool of its own: nothing is shared that need not be.
            variants.iter().fold(app, |app, (path, calls)| {
                let participants = web::Data::new(Participants {
                    client: client(),
                    calls: calls.clone(),
                });
                app.service(
                    web::resource(*path)
                        .app_data(participants)
                        .route(web::post().to(start)),
                )
            })
        })
        .workers(std::thread::available_parallelism()?.get())
        .tcp_nodelay(true)
        .keep_alive(KEEP_ALIVE)
        .bind((Ipv4Addr::LOCALHOST, 0))?;
        for address in server.addrs() {
            process::announce(address)?;
        }
        server.run().await?;
        Ok(())
    })
}

/// Makes a saga's calls one after another: forward, and where one is refused, back.
async fn start(
    participants: web::Data<Participants>,
    body: Bytes,
) -> actix_web::Result<HttpResponse> {
    let Participants { client, calls } = &**participants;
    let mut status = "completed";
    for uri in &calls.actions {
        let answer = exchange(client, uri, &body, None).await;
        if !answer.map_err(ErrorBadGateway)?.status.is_success() {
            status = "compensated";
            break;
        }
    }
    if status == "compensated" {
        for uri in &calls.compensations {
            let answer = exchange(client, uri, &body, None).await;
            answer.map_err(ErrorBadGateway)?;
        }
    }
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(format!(r#"{{"status":"{status}"}}"#)))
}
