//! The HTTP client of one participant and its pool of connections.
//!
//! Every participant has a pool of its own, so one that is slow or has its own certificates takes
//! nothing from another, and no lock is shared between them.
//!
//! **The library's own retry stays on.** A kept-alive connection may be closed by its peer just as
//! a request is given to it. hyper hands such a request back only when not a byte of it was
//! written, and only then (and only on a connection that was used before) does hyper-util send it
//! on another connection: provably unsent, so it is no attempt, and nothing would be gained by
//! making one of it. A request of which something may have been written is never sent again here;
//! it comes back as `connection_failed`, and the saga's policy decides.

use std::fmt;
use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::config::HttpTransport;

use super::DispatchError;
use super::tls;
use super::watched::Watching;

/// The most idle connections kept to one participant.
const IDLE_CONNECTIONS_MAX: usize = 1_024;

/// How long an idle connection is kept: less than the five seconds after which many servers close
/// theirs, so that a request seldom meets a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

type Pool<C> = legacy::Client<Watching<C>, Full<Bytes>>;

/// A pool of connections to one participant.
pub(super) enum Client {
    Plain(Pool<HttpConnector>),
    Tls(Pool<HttpsConnector<HttpConnector>>),
}

impl Client {
    pub(super) fn new(participant: &str, transport: &HttpTransport) -> Result<Self, DispatchError> {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .retry_canceled_requests(true)
            .set_host(false);
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        if transport.url.scheme() != "https" {
            return Ok(Self::Plain(builder.build(Watching(tcp))));
        }
        tcp.enforce_http(false);
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(tls::client_config(participant, transport.tls.as_ref())?)
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self::Tls(builder.build(Watching(tls))))
    }

    pub(super) async fn request(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, legacy::Error> {
        match self {
            Self::Plain(client) => client.request(request).await,
            Self::Tls(client) => client.request(request).await,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Tls(_) => "Tls",
        })
    }
}
